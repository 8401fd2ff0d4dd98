"""Bugs of the code that the functional form has for itself, planted one by one: each is noticed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay import functional, places, writing
from trifolium.testing import StateTwin
from trifolium.testing.functional_suite import check_twin
from trifolium.testing.history import HISTORIES, wander

from .planting import Plant, changed, constant


def one_row_later(original: Callable[..., Any], state: Any, streams: Any, ages: Any) -> Any:
    return original(state, streams, ages - 1)


def without_masks(
    original: Callable[..., Any], state: Any, streams: Any, at: Any, new: Any, *_: Any
) -> Any:
    return original(state, streams, at, new)


def always_the_largest(original: Callable[..., Any], state: Any, indices: Any, errors: Any) -> Any:
    return original(state, indices, np.full_like(errors, 9.0))


def of_what_is_there_now(original: Callable[..., Any], state: Any, indices: Any, errors: Any) -> Any:
    length = state.spec.window.length
    streams, serials = indices % state.spec.n_streams, indices // state.spec.n_streams
    newest = state.written[streams] - 1
    now = newest - (newest - serials) % length
    return original(state, np.where(indices < 0, -1, now * state.spec.n_streams + streams), errors)


PLANTED: dict[str, Plant] = {
    "rows are one too new": changed(functional, "of_age", one_row_later),
    "places left over are written": changed(writing, "_put", without_masks),
    "the newest row is drawn": changed(
        functional, "drawable_counts", lambda f, state: np.where(state.sizes, f(state) + 1, 0)
    ),
    "the oldest stacks are drawn": constant(places, "oldest_drawable", lambda state: 0),
    "episodes have no first row": constant(writing, "FIRST", 0),
    "boundary rows are steps": constant(writing, "BOUNDARY", 0),
    "terminations are forgotten": constant(writing, "TERMINATED", 0),
    "steps without a successor are valid": constant(writing, "UNKNOWN", 0),
    "cursors move on by one, however many rows": changed(
        writing, "_moved_on", lambda f, state, streams, count: f(state, streams, count * 0 + 1)
    ),
    "streams share their rows": changed(
        places, "of_age", lambda f, state, streams, ages: f(state, streams * 0, ages)
    ),
    "frames of the episode before, in current_state": constant(functional, "ENDED", 0),
    "frames of the episode before that, in current_state": constant(functional, "FIRST", 0),
    "priorities stay those of new rows": changed(
        writing, "_last_of_each", lambda f, xp, leaves, masses: masses * 0 + 1
    ),
    "priorities for rows overwritten since": changed(functional, "with_errors", of_what_is_there_now),
    "of two errors for a row the first counts": changed(
        writing, "_last_of_each", lambda f, xp, leaves, masses: f(xp, leaves[::-1], masses[::-1])[::-1]
    ),
    "new rows have no priority": changed(writing, "_with_new_rows", lambda f, state, *args: state),
    "priorities for rows that are invalid": changed(
        writing, "valid_of_age", lambda f, *args: (f(*args)[0], np.ones_like(f(*args)[1]))
    ),
    "priorities for stacks that were overwritten": changed(
        writing,
        "valid_of_age",
        lambda f, state, streams, ages: f(replace(state, sizes=state.sizes + 9), streams, ages),
    ),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_a_planted_bug_is_noticed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    noticed = (AssertionError, pytest.fail.Exception, IndexError, tri.NotEnoughTransitions)
    with pytest.raises(noticed):
        compare()


def compare() -> None:
    for seed, options in enumerate(HISTORIES):
        wander(StateTwin(tri.get_backend("numpy"), options, seed), seed, 60, check_twin)
