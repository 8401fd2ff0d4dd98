"""The bugs that replay buffers are known for, planted one by one: the comparison must notice each."""

from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay.host import columns, prioritized, ring, samplers, store, successors
from trifolium.replay.rules import chunk, marks, steps, windows
from trifolium.replay.rules import ring as rules
from trifolium.testing import Twin
from trifolium.testing.history import HISTORIES, wander

from .planting import Plant, changed, constant


def from_the_first_row(original: Any, ring: Any, ordinals: Any, span: int = 1) -> Any:
    streams, _ = original(ring, ordinals, span)
    written = ring.written[streams]
    return streams, written - written % ring.length + ordinals % ring.length


def without_the_last_observation(original: Any, self: Any, *step: Any) -> Any:
    return (*original(self, *step)[:-1], None)


def without_the_observation(original: Any, self: Any, stream: int, step: Any) -> None:
    mark, columns, *rest = step
    original(
        self, stream, (mark, {name: np.zeros_like(value) for name, value in columns.items()}, *rest)
    )


def exchanged(original: Any, self: Any, row: int, values: Any) -> None:
    if "obs/rest/second" in values:
        first, second = values["obs/first"], values["obs/rest/second"]
        values = values | {"obs/first": second, "obs/rest/second": np.reshape(first, ())}
    original(self, row, values)


def the_first_leaf_for_all(
    original: Any, xp: Any, take: Any, spec: Any, given: Any, *plan_and_zero: Any
) -> Any:
    first = given[spec.leaves[0].column]
    leaves = {leaf.column: np.reshape(first, (-1, *leaf.shape)) for leaf in spec.leaves}
    return original(xp, take, spec, given | leaves, *plan_and_zero)


def passed_on_unseen(original: Any, self: Any, stream: int, columns: Any, following: Any) -> bool:
    if self._bytes is None or self._stream != stream:
        return bool(original(self, stream, columns, following))
    self._bytes = following["obs"].tobytes()
    return True


def first_reward_only(original: Any, xp: Any, marks: Any, rows: Any, newer: Any, shape: Any) -> Any:
    found = original(xp, marks, rows, newer, shape)
    whole = found.count == shape.n_step
    summed = found.summed & (whole[:, None] | (np.arange(shape.n_step) == 0))
    return found._replace(summed=summed, count=np.where(whole, found.count, 1))


PLANTED: dict[str, Plant] = {
    "windows across the write head, draws from the first row of the ring": changed(
        ring.Ring, "locate", from_the_first_row
    ),
    "windows across the write head, stacks go on past the oldest row": changed(
        windows, "stack", lambda f, xp, marks, rows, older, shape: f(xp, marks, rows, older + 99, shape)
    ),
    "windows across the write head, tails go on past the newest row": changed(
        windows, "tail", lambda f, xp, marks, rows, newer, shape: f(xp, marks, rows, newer + 99, shape)
    ),
    "the newest row is drawn": changed(
        ring.Ring, "drawable", lambda f, self, span=1: np.where(self.sizes, f(self, span) + 1, 0)
    ),
    "stale frames, of the episode before": constant(windows, "FIRST"),
    "stale frames, in current_state": changed(
        ring.Ring,
        "open_episode_rows",
        lambda f, self, stream, n: self.stored_rows(stream)[::-1][:n][::-1],
    ),
    "stale frames, in current_state, of the episode before the last": constant(rules, "FIRST"),
    "stale frames, of before a merge": constant(windows, "LOST"),
    "what was added last is not in what is sampled": changed(
        store.Store, "put", without_the_observation
    ),
    "truncation, bootstrapped from the next episode": changed(
        steps.StepFields, "one", without_the_last_observation
    ),
    "truncation, its last observation stacked on nothing": constant(ring, "BOUNDARY"),
    "truncation, taken for a termination": constant(windows, "TERMINATED", marks.ENDED),
    "truncation, valid without a successor": constant(windows, "UNKNOWN"),
    "tails lost at the end of an episode": changed(windows, "tail", first_reward_only),
    "tails leak past a termination": constant(windows, "TERMINATED"),
    "tails leak past a truncation": constant(windows, "TRUNCATED"),
    "blank rows are valid": constant(windows, "NO_TRANSITION"),
    "priorities for rows overwritten since": changed(
        ring.Ring, "current_rows", lambda f, *args: (f(*args)[0], np.ones(len(args[1]), bool))
    ),
    "priorities of overwritten rows stay": changed(
        prioritized.Prioritized, "_forget", lambda f, *args: None
    ),
    "priorities for stacks that were overwritten": changed(
        prioritized.Prioritized, "_drop_broken_stacks", lambda f, *args: None
    ),
    "priorities for rows that are invalid": changed(
        store.Store, "valid_rows", lambda f, self, streams, serials: np.ones(len(serials), bool)
    ),
    "a given successor is not compared with what follows": changed(
        successors.Successors, "held", lambda f, self, stream, columns: f(self, stream, columns) or True
    ),
    "in a chunk, given successors are not compared": changed(
        chunk, "differs", lambda f, xp, given, found, axes: np.zeros(given.shape[:axes], bool)
    ),
    "a boundary row for the step before holds zeros": changed(
        store.Store,
        "_put_boundaries",
        lambda f, self, streams, given: f(
            self, streams, {name: each * 0 for name, each in given.items()}
        ),
    ),
    "a successor is passed on without a look at it": changed(
        successors.Successors, "passed_on", passed_on_unseen
    ),
    "frames of other episodes are never set to zero": changed(
        columns, "_zero", lambda f, xp, frames, kept: frames
    ),
    "in a chunk, episodes have no first row": constant(chunk, "FIRST"),
    "in a chunk, boundary rows are steps": constant(chunk, "BOUNDARY"),
    "in a chunk, steps lie where boundary rows are": changed(
        store, "layout", lambda f, *args: f(*args)._replace(is_step=~f(*args).is_step)
    ),
    "a terminated newest step waits for the next row": constant(rules, "TERMINATED"),
    "sequences cross the end of an episode": changed(
        store.Store, "unbroken", lambda f, self, streams, firsts, length: np.ones(len(firsts), bool)
    ),
    "rows that can't be drawn are fetched as valid": changed(
        ring.Ring, "is_drawable", lambda f, self, streams, serials: np.ones(len(serials), bool)
    ),
    "of valid rows alone, invalid ones are drawn": changed(
        samplers.Uniform,
        "draw",
        lambda f, self, source, rng, n: samplers.Draw(*samplers.draw_runs(source.ring, rng, n)),
    ),
    "leaves of an observation are exchanged": changed(columns.HostColumns, "put", exchanged),
    "all leaves of an observation are the first": changed(columns, "gather", the_first_leaf_for_all),
    "streams share their rows": changed(
        ring.Ring, "rows", lambda f, self, streams, serials: f(self, 0, serials)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_a_planted_bug_is_noticed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception, tri.NotEnoughTransitions)):
        compare(tri.get_backend("numpy"))  # the code that is broken here is the same for all


@pytest.mark.slow_on("jax")
def test_nothing_is_noticed_without_one(backend: tri.Backend) -> None:
    compare(backend)


def test_a_stage_that_is_never_emptied_is_noticed(
    backend: tri.Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns.DeviceColumns, "arrays", property(lambda self: self._arrays))
    buffer = tri.Buffer(8, (2,), backend=backend)
    if isinstance(buffer._store.columns, columns.HostColumns):
        return  # it has no stage
    with pytest.raises(AssertionError):
        compare(backend)


def compare(backend: tri.Backend) -> None:
    for seed, options in enumerate(HISTORIES):
        wander(Twin(backend, options, seed), seed, 60, Twin.check_all)
