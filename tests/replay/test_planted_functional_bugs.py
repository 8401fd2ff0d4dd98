"""Bugs of the code that the functional form has for itself, planted one by one: each is noticed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay import functional
from trifolium.replay.graph import draw, runs, state, write
from trifolium.replay.rules import chunk, ring
from trifolium.testing import StateTwin
from trifolium.testing.functional_suite import check_twin
from trifolium.testing.history import HISTORIES, wander

from .planting import Plant, changed, constant


def one_row_later(original: Callable[..., Any], state: Any, streams: Any, ages: Any) -> Any:
    return original(state, streams, ages - 1)


def without_masks(original: Callable[..., Any], *args: Any) -> Any:
    found = original(*args)
    return found._replace(offsets=np.abs(found.offsets))


def from_each_row(original: Callable[..., Any], state: Any, length: int, **how: Any) -> Any:
    return np.ones_like(original(state, length, **how))


def always_the_largest(original: Callable[..., Any], state: Any, indices: Any, errors: Any) -> Any:
    return original(state, indices, np.full_like(errors, 9.0))


def of_what_is_there_now(original: Callable[..., Any], state: Any, indices: Any, errors: Any) -> Any:
    length = state.spec.window.length
    streams, serials = indices % state.spec.n_streams, indices // state.spec.n_streams
    newest = state.written[streams] - 1
    now = newest - (newest - serials) % length
    return original(state, np.where(indices < 0, -1, now * state.spec.n_streams + streams), errors)


PLANTED: dict[str, Plant] = {
    "rows are one too new": changed(draw, "of_age", one_row_later),
    "frames are one too new, in current_state": changed(functional, "of_age", one_row_later),
    "places left over are written": changed(write, "layout", without_masks),
    "the newest row is drawn": changed(
        draw, "counts", lambda f, state, span=1: np.where(state.sizes, f(state, span) + 1, 0)
    ),
    "runs are one row too long for their stream": changed(
        draw, "counts", lambda f, state, span=1: f(state, 1) if span > 1 else f(state)
    ),
    "runs by priority begin at any row": changed(runs, "_begin_runs", from_each_row),
    "runs cross the end of an episode": changed(
        runs, "unbroken_from", lambda f, xp, marks, length: np.ones(marks.shape, bool)
    ),
    "runs within an episode are one row too long": changed(
        runs, "unbroken_from", lambda f, xp, marks, length: f(xp, marks, length - 1)
    ),
    "runs within an episode begin one row late": changed(
        runs, "unbroken_from", lambda f, xp, marks, length: np.roll(f(xp, marks, length), 1, axis=1)
    ),
    "rows of runs are in another order": changed(
        runs,
        "batch_of",
        lambda f, state, rows, flatten: f(state, rows._replace(ages=rows.ages[::-1]), flatten),
    ),
    "the oldest stacks are drawn": constant(state, "skipped", lambda state: 0),
    "episodes have no first row": constant(chunk, "FIRST", 0),
    "boundary rows are steps": constant(chunk, "BOUNDARY", 0),
    "given successors are not compared with what follows": changed(
        chunk, "differs", lambda f, xp, given, found, axes: np.zeros(given.shape[:axes], bool)
    ),
    "given successors are forgotten": changed(
        write, "_with_successors", lambda f, state, streams, steps: state
    ),
    "terminations are forgotten": constant(chunk, "TERMINATED", 0),
    "steps without a successor are valid": constant(chunk, "UNKNOWN", 0),
    "cursors move on by one, however many rows": changed(
        write, "_moved_on", lambda f, state, streams, count: f(state, streams, count * 0 + 1)
    ),
    "streams share their rows": changed(
        state, "of_age", lambda f, state, streams, ages: f(state, streams * 0, ages)
    ),
    "frames of the episode before, in current_state": constant(ring, "ENDED", 0),
    "frames of the episode before that, in current_state": constant(ring, "FIRST", 0),
    "priorities stay those of new rows": changed(
        write, "_last_of_each", lambda f, xp, leaves, masses: masses * 0 + 1
    ),
    "priorities for rows overwritten since": changed(functional, "with_errors", of_what_is_there_now),
    "of two errors for a row the first counts": changed(
        write, "_last_of_each", lambda f, xp, leaves, masses: f(xp, leaves[::-1], masses[::-1])[::-1]
    ),
    "new rows have no priority": changed(write, "_with_new_rows", lambda f, state, *args: state),
    "priorities for rows that are invalid": changed(
        write, "valid_of_age", lambda f, *args: (f(*args)[0], np.ones_like(f(*args)[1]))
    ),
    "priorities for stacks that were overwritten": changed(
        write,
        "valid_of_age",
        lambda f, state, streams, ages: f(replace(state, sizes=state.sizes + 9), streams, ages),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_a_planted_bug_is_noticed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    noticed = (AssertionError, pytest.fail.Exception, IndexError, tri.NotEnoughTransitions)
    with pytest.raises(noticed):
        compare()


def compare() -> None:
    for seed, options in enumerate(HISTORIES):
        wander(StateTwin(tri.get_backend("numpy"), options, seed), seed, 60, check_twin)
