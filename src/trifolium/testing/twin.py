"""Twin: applies the same operations to a Buffer and its reference, and compares both."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trifolium.backend import Backend
from trifolium.errors import NotEnoughTransitions
from trifolium.replay import Buffer, Prioritized, Sampler, Uniform
from trifolium.testing.compare import check_batch, check_weights, importance, tuples
from trifolium.testing.priorities import ReferencePriorities
from trifolium.testing.reference import ReferenceBuffer, is_unbroken
from trifolium.testing.split import SPLIT, SplitBuffer

__all__ = ["Options", "Twin"]

OBS_SIZE = 2
GAMMA = 0.5  # with whole rewards, n-step sums are exact in any order
ALPHA, BETA, EPSILON = 0.6, 0.4, 0.125


@dataclass(frozen=True)
class Options:
    """The options of a Twin: those of :class:`trifolium.Buffer` that shape its transitions.

    Attributes:
        prioritized: whether rows are drawn by priority.
        valid_only: whether valid rows alone are drawn.
        is_structured: whether observations are mappings.
    """

    capacity: int
    n_frames: int = 1
    n_streams: int = 1
    n_step: int = 1
    boundary: str = "mask"
    prioritized: bool = False
    valid_only: bool = False
    is_structured: bool = False

    @property
    def sampler(self) -> Sampler:
        """A new sampler."""
        if self.prioritized:
            return Prioritized(ALPHA, BETA, epsilon=EPSILON)
        return Uniform(valid_only=self.valid_only)


class Twin:
    """Drives a Buffer and a ReferenceBuffer; what is added is made up, unlike from row to row.

    An ``end`` says what became of the episode with a step: "done", "truncated" (with the observation
    after it), "unknown" (without), or "" where it goes on.

    Args:
        backend: of the Buffer.
        options: of both.
        seed: of the Buffer's draws.

    Attributes:
        omits_successors: whether some steps that go on are given no ``next_obs``.
    """

    omits_successors = True

    def __init__(self, backend: Backend, options: Options, seed: int = 0) -> None:
        self.backend = backend
        self.options = options
        buffer = Buffer(
            options.capacity,
            SPLIT if options.is_structured else OBS_SIZE,
            options.n_frames,
            backend=backend,
            seed=seed,
            extras={"tag": "int32"},
            n_streams=options.n_streams,
            n_step=options.n_step,
            gamma=GAMMA,
            boundary=options.boundary,
            sampler=options.sampler,
        )
        self.buffer: Any = self.wrapped(buffer)
        self.reference = ReferenceBuffer(
            options.capacity,
            OBS_SIZE,
            options.n_frames,
            n_streams=options.n_streams,
            n_step=options.n_step,
            gamma=GAMMA,
            boundary=options.boundary,
        )
        self.priorities = ReferencePriorities(self.reference, EPSILON)
        self._steps = 0
        self._promised: dict[int, int] = {}  # the number of the observation to come, by stream

    def wrapped(self, buffer: Any) -> Any:
        """Return ``buffer`` with the methods of one whose observations are arrays."""
        return SplitBuffer(buffer, self.backend) if self.options.is_structured else buffer

    # The same to both

    def add(self, *ends: str, stream: int = 0) -> None:
        """Add one step for each of ``ends`` to a stream."""
        for end in ends:
            step = self._step(end, stream)
            self.buffer.add(**step, stream=stream)
            self._refer(stream, step, end)

    def extend(self, ends: Sequence[str], stream: int = 0) -> None:
        """Add one step for each of ``ends`` to a stream, in one call."""
        steps = [self._step(end, stream) for end in ends]
        self._extend([steps], [stream], {"stream": stream})
        for step, end in zip(steps, ends, strict=True):
            self._refer(stream, step, end)

    def extend_each(self, ends: Sequence[Sequence[str]]) -> None:
        """Add a step of every stream for each of ``ends``, in one call."""
        streams = range(self.options.n_streams)
        steps = [[self._step(each[stream], stream) for each in ends] for stream in streams]
        self._extend(steps, streams, {})
        for at, each in enumerate(ends):
            for stream in streams:
                self._refer(stream, steps[stream][at], each[stream])

    def add_each(self, ends: Sequence[str | None]) -> None:
        """Add one step to every stream in one call; a stream whose end is None takes no step.

        "truncated" and "unknown" don't go together.
        """
        steps = [self._step(end or "", stream) for stream, end in enumerate(ends)]
        together: dict[str, Any] = {name: [step[name] for step in steps] for name in steps[0]}
        if None in [step["next_obs"] for step in steps]:
            self._forget_successors(steps, range(len(ends)))
            together["next_obs"] = None
        if None in ends:
            together["where"] = [end is not None for end in ends]
        self.buffer.add(**together)
        for stream, (step, end) in enumerate(zip(steps, ends, strict=True)):
            if end is None:
                self._promised.pop(stream, None)
            else:
                self._refer(stream, step, end)

    def end_episode(self, stream: int | None = None) -> None:
        """End the episode of one stream, or of each."""
        self.buffer.end_episode(stream)
        for each in range(self.options.n_streams) if stream is None else [stream]:
            self.reference.end_episode(each)

    def add_empty(self, stream: int | None = None) -> None:
        """End the episode of one stream, or of each, and leave blank rows."""
        self.buffer.add_empty(stream)
        for each in range(self.options.n_streams) if stream is None else [stream]:
            self.reference.add_empty(each)

    def add_from(self, other: "Twin") -> None:
        """Append all of another Twin."""
        self.buffer.add_from_buffer(other.buffer)
        self.reference.add_from_buffer(other.reference)

    def clear(self) -> None:
        """Forget all rows."""
        self.buffer.clear()
        self.reference.clear()

    def update_priorities(self, indices: Sequence[int], errors: Sequence[float]) -> None:
        """Report errors of rows, some of which may be gone."""
        self.priorities.at_draw()  # rows new until now have the largest priority seen before
        self.buffer.update_priorities(indices, errors)
        self.priorities.update(indices, errors)

    # Comparisons

    def check_cursors(self) -> None:
        """Compare what is cheap to compare."""
        assert len(self.buffer) == self.buffer.size == len(self.reference)
        assert self.buffer.idx == self.reference.written[0] % self.reference.length

    def check_all(self) -> None:
        """Compare every transition that can be drawn, and all that can be read."""
        self.check_cursors()
        self.check_sample(None)
        self.check_fetch()
        for stream in range(self.options.n_streams):
            self.check_reads(stream, 0)

    def check_sample(self, size: int | None, *, flatten: bool = True) -> list[int]:
        """Draw ``size`` rows (None: as many as there are), compare them, and return their indices."""
        expected = self.reference.transitions()
        if self.options.valid_only:
            expected = {index: each for index, each in expected.items() if each.valid}
        priorities = self.priorities.at_draw() if self.options.prioritized else None
        available = len(expected if priorities is None else priorities)
        size = max(available, 1) if size is None else size
        if available < size and (priorities is None or not available):
            with pytest.raises(NotEnoughTransitions) as caught:
                self.buffer.sample(size)
            assert (caught.value.requested, caught.value.available) == (size, available)
            return []
        batch = self.buffer.sample(size, flatten=flatten)
        indices: list[int] = batch.indices.tolist()
        assert len(indices) == size
        if priorities is None:
            assert len(set(indices)) == size
            weights = [1.0] * size
        else:
            assert set(indices) <= priorities.keys()
            drawn = [priorities[index] for index in indices]
            weights = importance(drawn, list(priorities.values()), ALPHA, BETA)
        assert set(indices) <= expected.keys()
        found = [expected[index] for index in indices]
        check_batch(self.backend, batch, found, (size,), flatten=flatten)
        check_weights(self.backend, batch, weights)
        return indices

    def check_sequences(self, size: int, length: int, *, within_episode: bool = False) -> list[int]:
        """Draw ``size`` runs of ``length`` rows, compare them, and return their indices."""
        runs = self.reference.sequences(length)
        if within_episode:
            runs = [run for run in runs if is_unbroken([each.row for each in run])]
        priorities = self.priorities.at_draw() if self.options.prioritized else None
        if priorities is not None:
            runs = [run for run in runs if run[0].row.index in priorities]
        expected = {run[0].row.index: run for run in runs}
        if len(expected) < (size if priorities is None else 1):
            with pytest.raises(NotEnoughTransitions) as caught:
                self.buffer.sample_sequences(size, length, within_episode=within_episode)
            assert (caught.value.requested, caught.value.available) == (size, len(expected))
            return []
        batch = self.buffer.sample_sequences(size, length, within_episode=within_episode)
        indices: list[int] = batch.indices.tolist()
        assert set(indices) <= expected.keys()
        weights = [1.0] * size
        if priorities is None:
            assert len(set(indices)) == size
        else:
            drawn = [priorities[index] for index in indices]
            weights = importance(drawn, list(priorities.values()), ALPHA, BETA)
        rows = [row for index in indices for row in expected[index]]
        check_batch(self.backend, batch, rows, (size, length))
        check_weights(self.backend, batch, [weight for weight in weights for _ in range(length)])
        return indices

    def check_fetch(self) -> None:
        """Read all rows by index: those that can be drawn are right, the others invalid."""
        expected = self.reference.transitions()
        stored = [row.index for rows in self.reference.streams for row in rows]
        if stored:
            batch = self.buffer.fetch(stored)
            valid = self.backend.to_numpy(batch.valid)[:, 0].tolist()
            found = dict(zip(stored, valid, strict=True))
            assert not any(found[index] for index in found.keys() - expected.keys())
        if expected:
            batch = self.buffer.fetch(list(expected))
            assert batch.indices.tolist() == list(expected)
            check_batch(self.backend, batch, list(expected.values()), (len(expected),))

    def check_reads(self, stream: int, offset: int) -> None:
        """Compare what is read without drawing."""
        state = self.buffer.current_state(stream)
        assert state.shape == (self.options.n_frames - 1, OBS_SIZE)
        assert tuples(self.backend, state) == self.reference.current_state(stream)
        last = self.buffer.last_transition(offset, stream)
        assert last == self.reference.last_transition(offset, stream)
        rows = [row for rows in self.reference.streams for row in rows]
        if offset < len(rows):
            obs, *outcome = self.buffer[offset]
            row = rows[offset]
            assert tuple(self.backend.to_numpy(obs).tolist()) == row.obs
            assert outcome == [row.action, row.reward, row.end == "done"]
        obs, actions, _, _ = self.buffer[offset:]
        assert tuples(self.backend, obs) == [row.obs for row in rows[offset:]]
        assert self.backend.to_numpy(actions).tolist() == [row.action for row in rows[offset:]]

    def reload(self) -> None:
        """Go on with a copy that was in a file, once it draws what the original draws."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "buffer"
            self.buffer.save(path)
            loaded = Buffer.load(path, backend=self.backend)
        indices = self.check_sample(None)
        if indices:
            assert loaded.sample(len(indices)).indices.tolist() == indices
        self.buffer = self.wrapped(loaded)

    # Helpers

    def _step(self, end: str, stream: int) -> dict[str, Any]:
        """Return the arguments of ``add``: some without a successor, some with one that won't come."""
        self._steps += 1
        n = self._promised.pop(stream, self._steps)
        next_obs: list[float] | None = [n + 0.5, -n - 0.5]
        if end == "unknown" or (end == "" and self.omits_successors and self._steps % 4 == 0):
            next_obs = None
        elif end == "" and self._steps % 4 != 1:
            self._steps += 1
            self._promised[stream] = self._steps
            next_obs = [self._steps, -self._steps]
        return {
            "obs": [n, -n],
            "action": n % 1000,
            "reward": n * 7 % 11 - 3,
            "done": end == "done",
            # where a step is both, it is done
            "truncated": end in ("truncated", "unknown") or (end == "done" and n % 2 == 0),
            "next_obs": next_obs,
            "tag": n,
        }

    def _extend(
        self, steps: Sequence[Sequence[dict[str, Any]]], streams: Sequence[int], given: dict[str, Any]
    ) -> None:
        """Add the ``steps`` of each stream in one call: without successors, if one has none."""
        if any(step["next_obs"] is None for each in steps for step in each):
            for each, stream in zip(steps, streams, strict=True):
                self._forget_successors(each, [stream] * len(each))
        arguments: dict[str, Any] = {
            name: [[each[at][name] for each in steps] for at in range(len(steps[0]))]
            for name in steps[0][0]
        }
        if steps[0][0]["next_obs"] is None:
            arguments["next_obs"] = None
        one = "stream" in given or self.options.n_streams == 1
        if one:
            arguments = {
                name: None if values is None else [value for (value,) in values]
                for name, values in arguments.items()
            }
        self.buffer.extend(**arguments, **given)

    def _forget_successors(self, steps: Sequence[dict[str, Any]], streams: Sequence[int]) -> None:
        for step, stream in zip(steps, streams, strict=True):
            step["next_obs"] = None
            self._promised.pop(stream, None)

    def _refer(self, stream: int, step: dict[str, Any], end: str) -> None:
        obs = tuple(map(float, step["obs"]))
        next_obs = None if step["next_obs"] is None else tuple(map(float, step["next_obs"]))
        if end == "truncated" and next_obs is None:
            end = "unknown"
        self.reference.add(stream, obs, step["action"], step["reward"], step["tag"], end, next_obs)
