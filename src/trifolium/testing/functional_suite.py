"""Tests of the functional form of the replay memory, for every backend."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from trifolium import replay
from trifolium.backend import Backend, get_backend
from trifolium.replay import Batch, Buffer, Prioritized, State
from trifolium.replay.io import pieces
from trifolium.testing.cases import FIELDS, OPTIONS, fill, made
from trifolium.testing.history import HISTORIES, wander
from trifolium.testing.statetwin import Functions, StateTwin, random_bits
from trifolium.testing.twin import Options, Twin

__all__ = ["FunctionalSuite", "check_twin"]


def check_twin(twin: Twin) -> None:
    """Compare all, and a batch that is smaller than what can be drawn."""
    twin.check_all()
    twin.check_sample(3)


class FunctionalSuite:
    """Tests of :func:`trifolium.replay.add` and the like, on a backend from a fixture ``backend``.

    They are compiled as the backend compiles: on some that is not at all.
    """

    @pytest.fixture
    def functions(self, backend: Backend) -> Functions:
        """Return what is tested."""
        return _compiled(backend)  # type: ignore[arg-type]

    def test_does_what_the_reference_does(self, backend: Backend, functions: Functions) -> None:
        """All that can be drawn is what plain Python says, after each of many operations."""
        slow_to_compile = backend.capabilities.compile
        for seed, options in enumerate(HISTORIES[1::2] if slow_to_compile else HISTORIES):
            wander(StateTwin(backend, options, seed, functions), seed, 20, check_twin)

    def test_comes_from_a_buffer_and_goes_back(self, backend: Backend) -> None:
        """A state is all of a buffer, whatever its options, also by way of NumPy."""
        for options in OPTIONS.values():
            buffer = made(backend, {"action_dtype": "int32"} | options)
            fill(buffer, 60, seed=0)
            there = Buffer.from_state(buffer.state(), backend=get_backend("numpy"), seed=0)
            back = Buffer.from_state(there.state(), backend=backend, seed=0)
            for part in (1, 2):
                expected = _contents(buffer)
                assert _contents(there) == expected
                assert _contents(back) == expected
                for each in (buffer, there, back):
                    fill(each, 20, seed=part)

    @pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
    def test_batches_are_those_of_a_buffer(
        self, backend: Backend, functions: Functions, options: dict[str, Any]
    ) -> None:
        """Shapes, dtypes and contents are what ``Buffer`` gives for the same rows."""
        buffer = made(backend, options)
        fill(buffer, 60, seed=0)
        state, rng = buffer.state(), np.random.default_rng(0)
        for flatten in (True, False):
            found = functions.sample(state, random_bits(backend, rng, 6), flatten=flatten)
            example = buffer.sample(6, flatten=flatten)
            for name in FIELDS:
                ours, theirs = getattr(found, name), getattr(example, name)
                assert (tuple(ours.shape), ours.dtype) == (tuple(theirs.shape), theirs.dtype), name
            assert found.extras.keys() == example.extras.keys()
            assert found.indices.dtype == backend.dtype(backend.default_int)
            stored = _rows_by_index(backend, example)
            for _ in range(30):  # until every row that can be valid was drawn
                stored |= _rows_by_index(backend, buffer.sample(6, flatten=flatten))
            for index, row in _rows_by_index(backend, found).items():
                if row["valid"] == [1.0]:
                    for name, values in row.items():
                        np.testing.assert_allclose(values, stored[index][name], rtol=1e-6)

    @pytest.mark.parametrize("n_streams", [1, 3])
    @pytest.mark.parametrize("sampler", [None, Prioritized()], ids=["uniform", "prioritized"])
    def test_many_steps_are_as_one_after_another(
        self, backend: Backend, functions: Functions, n_streams: int, sampler: Prioritized | None
    ) -> None:
        """An axis of steps before that of the streams writes what as many calls write."""
        options: dict[str, Any] = {"backend": backend, "n_streams": n_streams, "sampler": sampler}
        together = replay.init(12 * n_streams, (2,), 2, **options)
        apart = replay.init(12 * n_streams, (2,), 2, **options)
        for seed in range(8):
            steps = _episodes(4, n_streams, seed)
            together = functions.add(together, **on_device(backend, steps))
            for step in range(4):
                now = {name: each[step] for name, each in steps.items()}
                apart = functions.add(apart, **on_device(backend, now))
            _check_same_state(together, apart)

    def test_few_places_for_boundary_rows(self, backend: Backend, functions: Functions) -> None:
        """Where they are enough nothing changes; truncations beyond have no known successor."""
        chunk, apart = (replay.init(30, (2,), backend=backend) for _ in range(2))
        for seed, truncations in enumerate([0, 1, 2, 3, 5, 2]):
            steps = rollout(5, 1, seed) | {"done": np.zeros(5, bool)}
            places = np.sort(np.random.default_rng(seed).permutation(5)[:truncations])
            cut = np.isin(np.arange(5), places)
            unlike = (np.arange(5) % 2 == seed % 2) & (np.arange(5) < 4)  # its successor is another
            steps["truncated"] = cut & ~unlike
            steps["next_obs"] = np.roll(steps["obs"], -1, axis=0) + cut[:, None]
            chunk = functions.extend(chunk, 2, **on_device(backend, steps))
            waits = backend.to_numpy(apart.has_successor)[0]  # for a row that does not come
            for step in range(5):
                now = {name: each[step] for name, each in steps.items()}
                if step in places[2 - waits :]:
                    now |= {"next_obs": None, "truncated": np.array(True)}
                apart = functions.add(apart, **on_device(backend, now))
            _check_same_state(chunk, apart)

    def test_rows_are_missing_where_there_are_too_few(
        self, backend: Backend, functions: Functions
    ) -> None:
        """A batch that asks for more than there is tells which rows stand for nothing."""
        rng = np.random.default_rng(0)
        for n_streams in (1, 2):
            state = replay.init(8, (2,), backend=backend, n_streams=n_streams)
            for expected in (0, 0, n_streams, 2 * n_streams):
                assert int(backend.to_numpy(functions.drawable(state))) == expected
                for draw in ("stratified", "subset"):
                    found = functions.sample(state, random_bits(backend, rng, 5), draw=draw)
                    indices = backend.to_numpy(found.indices).tolist()
                    assert sorted(indices) == [-1] * (5 - expected) + list(range(expected))
                    valid = backend.to_numpy(found.valid)[:, 0].tolist()
                    assert valid == [float(index >= 0) for index in indices]
                steps = rollout(1, n_streams, 0)
                del steps["truncated"], steps["next_obs"]
                steps["done"] = np.zeros_like(steps["done"], bool)
                state = functions.add(state, **on_device(backend, steps))

    @pytest.mark.parametrize("draw", ["subset", "independent"])
    def test_runs_within_an_episode_are_drawn_alike(
        self, backend: Backend, functions: Functions, draw: str
    ) -> None:
        """Chi-square over all of them, of episodes of 1 to 5 steps."""
        state = replay.init(40, (1,), backend=backend)
        ends = [place == episode % 5 for episode in range(20) for place in range(1 + episode % 5)]
        done = np.array(ends[:56])
        steps = rollout(56, 1, 0) | {"obs": np.zeros((56, 1), np.float32), "done": done}
        del steps["truncated"], steps["next_obs"]
        state = functions.add(state, **on_device(backend, steps))
        expected = [n for n in range(16, 53) if not done[n : n + 2].any()]
        counts = dict.fromkeys(expected, 0)
        rng, size = np.random.default_rng(0), 6
        for _ in range(300):
            bits = random_bits(backend, rng, size)
            how: Any = {"length": 3, "within_episode": True, "draw": draw}
            found = functions.sample_sequences(state, bits, **how)
            indices = backend.to_numpy(found.indices).tolist()
            assert draw == "independent" or len(set(indices)) == size
            for index in indices:
                counts[index] += 1
        mean = 300 * size / len(expected)
        spread = 1 - (size - 1) / (len(expected) - 1) if draw == "subset" else 1.0
        chi_square = sum((count - mean) ** 2 / mean for count in counts.values()) / spread
        freedom = len(expected) - 1
        assert abs(chi_square - freedom) < 4 * (2 * freedom) ** 0.5

    def test_the_run_that_ends_with_a_terminated_step_is_drawn(
        self, backend: Backend, functions: Functions
    ) -> None:
        """Of the newest step: no row needs to follow it."""
        steps = rollout(6, 1, 0) | {"done": np.arange(6) == 5}
        del steps["truncated"], steps["next_obs"]
        state = functions.add(replay.init(12, (2,), backend=backend), **on_device(backend, steps))
        bits = random_bits(backend, np.random.default_rng(0), 6)
        found = functions.sample_sequences(state, bits, length=3, within_episode=True)
        assert sorted(backend.to_numpy(found.indices).tolist()) == [-1, -1, 0, 1, 2, 3]

    def test_weights_correct_for_priorities(self, backend: Backend, functions: Functions) -> None:
        """By the ``beta`` of the sampler or the one given; the largest in a batch is 1."""
        sampler = Prioritized(alpha=1.0, beta=0.5, epsilon=1.0)
        state = replay.init(12, (2,), backend=backend, sampler=sampler)
        steps = rollout(8, 1, 0) | {"done": np.zeros(8, bool)}
        del steps["truncated"], steps["next_obs"]
        state = functions.add(state, **on_device(backend, steps))
        indices = backend.from_numpy(np.arange(8, dtype=backend.default_int))
        errors = backend.from_numpy(np.arange(8, 0, -1, dtype=np.float32))
        state = functions.update_priorities(state, indices, errors)
        assert state.priorities is not None
        masses = backend.to_numpy(state.priorities.tree)[:8].tolist()
        assert masses == [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 0.0]  # the newest can't be drawn yet
        bits = random_bits(backend, np.random.default_rng(0), 4)
        for exponent, length, found in (
            (0.5, 1, functions.sample(state, bits)),
            (1.0, 2, functions.sample_sequences(state, bits, length=2, beta=1.0)),
        ):
            priorities = 9.0 - backend.to_numpy(found.indices)
            expected = (priorities.min() / priorities) ** exponent
            weights = backend.to_numpy(found.weights).reshape(4, length)
            assert len(set(priorities.tolist())) > 1
            np.testing.assert_allclose(weights, np.stack([expected] * length, axis=1), rtol=1e-5)

    def test_bad_bits_are_refused(self, backend: Backend, functions: Functions) -> None:
        """Other shapes and dtypes; a batch of one row is none of them."""
        state = replay.init(8, (2,), backend=backend)
        for shape in ((), (2,), (0, 2), (4, 0), (4, 1), (4, 3), (4, 2, 2)):
            with pytest.raises(ValueError, match=r"bits has shape \("):
                replay.sample(state, backend.from_numpy(np.ones(shape, np.int32)))
        for dtype in ("float32", "bool", "uint8", "int16"):
            with pytest.raises(TypeError, match=r"bits has dtype .*32 or 64"):
                replay.sample(state, backend.from_numpy(np.ones((4, 2), dtype)))
        found = functions.sample(state, backend.from_numpy(np.ones((1, 2), np.int32)))
        assert tuple(found.indices.shape) == (1,)

    def test_bad_draws_of_runs_are_refused(self, backend: Backend) -> None:
        """The error names the argument."""
        state = replay.init(8, (2,), backend=backend)
        bits = random_bits(backend, np.random.default_rng(0), 4)
        for options, error in (
            ({"length": 0}, "length=0"),
            ({"length": 2, "draw": "all"}, "draw='all'"),
            ({"length": 2, "within_episode": 3}, "within_episode=3"),
        ):
            with pytest.raises((TypeError, ValueError), match=error):
                replay.sample_sequences(state, bits, **options)
        with pytest.raises(ValueError, match="boundary_rows=0"):
            replay.extend(state, np.zeros((2, 2)), [0, 0], [0, 0], [0, 0], boundary_rows=0)

    def test_nothing_is_drawn_by_priority_where_nothing_is_valid(
        self, backend: Backend, functions: Functions
    ) -> None:
        """The batch is invalid, and its weights are finite."""
        state = replay.init(8, (2,), backend=backend, sampler=Prioritized())
        for _ in range(3):
            bits = random_bits(backend, np.random.default_rng(0), 4)
            found = functions.sample(state, bits)
            assert backend.to_numpy(found.indices).tolist() == [-1] * 4
            assert not backend.to_numpy(found.valid).any()
            assert np.all(np.isfinite(backend.to_numpy(found.weights)))
            steps = on_device(backend, rollout(1, 1, 0))
            steps |= {
                "truncated": steps["done"] | True,
                "next_obs": None,
                "done": steps["done"] & False,
            }
            state = functions.add(state, **steps)

    @pytest.mark.parametrize("sampler", [None, Prioritized()], ids=["uniform", "prioritized"])
    @pytest.mark.parametrize("n_streams", [1, 3])
    def test_serial_numbers_begin_again(
        self, backend: Backend, functions: Functions, n_streams: int, sampler: Prioritized | None
    ) -> None:
        """Before integers overflow, without a difference but in the indices."""
        rng = np.random.default_rng(0)
        shape = (7 * n_streams, (2,), 2)
        states = [
            replay.init(*shape, backend=backend, n_streams=n_streams, sampler=sampler) for _ in range(2)
        ]
        far = states[0].serials - 7
        moved = Buffer.from_state(states[1])
        moved._store.ring.written += far
        states[1] = moved.state()
        drawn = []
        for seed in range(12):
            steps, bits = _episodes(2, n_streams, seed), rng.integers(2**30, size=(5, 2))
            states = [functions.add(state, **on_device(backend, steps)) for state in states]
            here, there = (
                functions.sample(state, backend.from_numpy(bits.astype(backend.default_int)))
                for state in states
            )
            indices = [backend.to_numpy(batch.indices) for batch in (here, there)]
            drawn += indices[0].tolist()
            expected = (indices[0] + far * n_streams) % (states[0].serials * n_streams)
            assert np.array_equal(indices[1], np.where(indices[0] < 0, -1, expected))
            for name in FIELDS:
                ours, theirs = (backend.to_numpy(getattr(each, name)) for each in (here, there))
                np.testing.assert_array_equal(ours, theirs)
            if sampler is not None:
                errors = np.arange(5, dtype=np.float32)
                states = [
                    functions.update_priorities(state, batch.indices, backend.from_numpy(errors.copy()))
                    for state, batch in zip(states, (here, there), strict=True)
                ]
        assert len(set(drawn)) > 5
        assert np.all(backend.to_numpy(states[1].written) < far)
        assert _contents(Buffer.from_state(states[0])) == _contents(Buffer.from_state(states[1]))

    def test_errors_that_are_not_finite_are_passed_over(
        self, backend: Backend, functions: Functions
    ) -> None:
        """A network that diverged spoils no priority but by its finite errors."""
        state = replay.init(8, (2,), backend=backend, sampler=Prioritized(alpha=1.0, epsilon=1.0))
        steps = rollout(4, 1, 0) | {"done": np.zeros(4, bool), "truncated": np.zeros(4, bool)}
        del steps["next_obs"]
        state = functions.add(state, **on_device(backend, steps))
        errors = np.array([np.nan, np.inf, 4.0, -np.inf], np.float32)
        indices = np.array([0, 1, 2, 2], backend.default_int)
        state = functions.update_priorities(
            state, backend.from_numpy(indices), backend.from_numpy(errors)
        )
        assert state.priorities is not None
        masses = backend.to_numpy(state.priorities.tree)[:4].tolist()
        assert masses[:2] == [1.0, 1.0]
        assert backend.to_numpy(state.priorities.largest).tolist() == [5.0]
        errors = np.array([np.nan, np.inf, np.finfo(np.float32).max, np.nan], np.float32)
        state = functions.update_priorities(
            state, backend.from_numpy(indices), backend.from_numpy(errors)
        )
        assert state.priorities is not None
        assert backend.to_numpy(state.priorities.largest).tolist() == [errors[2]]

    def test_priorities_stay_with_their_rows(self, backend: Backend, functions: Functions) -> None:
        """Also of the newest row, which can be drawn where it is the last of an episode."""
        sampler = Prioritized(alpha=1.0, epsilon=1.0)
        state = replay.init(8, (2,), backend=backend, sampler=sampler)

        def masses() -> list[float]:
            assert state.priorities is not None
            found: list[float] = backend.to_numpy(state.priorities.tree)[:8].tolist()
            return found

        def update(indices: list[int], errors: list[float]) -> State:
            which, values = np.array(indices, backend.default_int), np.array(errors, np.float32)
            return functions.update_priorities(
                state, backend.from_numpy(which), backend.from_numpy(values)
            )

        steps = rollout(4, 1, 0)
        del steps["truncated"], steps["next_obs"]
        for done in (0, 0, 1):
            steps["done"] = np.arange(4) + done == 4
            state = functions.add(state, **on_device(backend, steps))
        assert masses() == [1.0] * 8
        state = update([3, 0, -1, 12], [9.0] * 4)  # no longer there, or not yet
        assert masses() == [1.0] * 8
        state = update([11, 10, -1, -1], [1.0, 4.0, 9.0, 9.0])
        assert masses() == [1.0, 1.0, 5.0, 2.0, 1.0, 1.0, 1.0, 1.0]
        state = functions.add(state, **on_device(backend, steps | {"done": np.zeros(4, bool)}))
        assert masses() == [1.0, 1.0, 5.0, 2.0, 5.0, 5.0, 5.0, 0.0]

    def test_lists_may_hold_arrays_and_numbers(self, backend: Backend) -> None:
        """In compiled code too, where no array can become a number."""

        def added(state: State, pair: Any) -> State:
            obs, reward = [pair, [3.0, pair[1]]], [pair[0], 1.0]
            return replay.add(state, obs=obs, action=[0, 1], reward=reward, done=[False, False])

        pair = backend.from_numpy(np.array([1.0, 2.0], np.float32))
        state = backend.compile(added)(replay.init(4, (2,), backend=backend), pair)
        assert backend.to_numpy(state.columns["obs"])[:2].tolist() == [[1.0, 2.0], [3.0, 2.0]]
        assert backend.to_numpy(state.rewards)[:2].tolist() == [1.0, 1.0]

    def test_no_steps_change_nothing(self, backend: Backend) -> None:
        """A chunk may be empty."""
        state = replay.init(8, (2,), backend=backend)
        empty = {name: each[:0] for name, each in rollout(1, 1, 0).items()}
        assert replay.add(state, **on_device(backend, empty)) is state

    def test_copies_are_copies(self, backend: Backend, functions: Functions) -> None:
        """A state that is written changes neither the buffer it came from nor one made of it."""
        buffer = made(backend, {})
        fill(buffer, 10, seed=0)
        state = buffer.state()
        copy = Buffer.from_state(state)
        before = _contents(buffer)
        functions.add(state, **on_device(backend, rollout(6, 1, 0)))
        assert _contents(buffer) == before
        assert _contents(copy) == before

    @pytest.mark.parametrize("n_frames", [1, 2, 4])
    def test_current_state_is_that_of_a_buffer(
        self, backend: Backend, functions: Functions, n_frames: int
    ) -> None:
        """For every stream at once."""
        twin = StateTwin(backend, Options(24, n_frames, 2), 0, functions)
        for end in ("", "", "truncated", "", "done", "", "unknown", "", "", "", ""):
            twin.add(end, stream=0)
            for stream in (0, 1):
                twin.check_reads(stream, 0)
        assert tuple(functions.current_state(twin.buffer.state).shape) == (2, n_frames - 1, 2)


@cache
def _compiled(backend: Backend) -> Functions:
    return Functions(backend.compile)


def rollout(n_steps: int, n_streams: int, seed: int) -> dict[str, np.ndarray]:
    """Return made-up arguments of ``add``, [T, ...] or [T, n_streams, ...], with all ends."""
    rng = np.random.default_rng(seed)
    axes = (n_steps, n_streams) if n_streams > 1 else (n_steps,)
    return {
        "obs": rng.normal(size=(*axes, 2)).astype(np.float32),
        "action": rng.integers(9, size=axes).astype(np.int32),
        "reward": rng.integers(9, size=axes).astype(np.float32),
        "done": rng.random(axes) < 0.2,
        "truncated": rng.random(axes) < 0.3,
        "next_obs": rng.normal(size=(*axes, 2)).astype(np.float32),
    }


def _episodes(n_steps: int, n_streams: int, seed: int) -> dict[str, np.ndarray]:
    """Return a rollout most of whose successors are what follows, in that of the next seed too."""
    steps = rollout(n_steps, n_streams, seed)
    numbers = np.arange(seed * n_steps, (seed + 1) * n_steps, dtype=np.float32)
    numbers = numbers.reshape(-1, *(1,) * (steps["obs"].ndim - 1))
    steps["obs"][...] = numbers
    follows = np.random.default_rng(seed).random(steps["done"].shape)[..., None] < 0.8
    return steps | {"next_obs": np.where(follows, numbers + 1, steps["next_obs"])}


def on_device(backend: Backend, steps: Mapping[str, np.ndarray | None]) -> dict[str, Any]:
    """Return copies of host arrays on the device."""
    return {
        name: None if each is None else backend.from_numpy(np.array(each))
        for name, each in steps.items()
    }


def _contents(buffer: Buffer) -> dict[str, Any]:
    """Return all that is stored, by age, but for serial numbers."""
    stored = {name: np.asarray(each) for name, each in pieces.stored(buffer._store).items()}
    del stored["written"]
    if isinstance(buffer.sampler, Prioritized):
        masses, largest = buffer.sampler.masses(buffer._store)
        stored |= {
            "largest": np.array(largest, np.float32),
            "masses": masses[buffer._store.ring.all_rows()].astype(np.float32),
        }
    return {name: array.tolist() for name, array in stored.items()}


def _rows_by_index(backend: Backend, batch: Batch) -> dict[int, dict[str, Any]]:
    named = {name: getattr(batch, name) for name in FIELDS if name != "weights"} | dict(batch.extras)
    host = {name: backend.to_numpy(array) for name, array in named.items()}
    indices = batch.indices
    indices = indices if isinstance(indices, np.ndarray) else backend.to_numpy(indices)
    return {
        int(index): {name: array[row].tolist() for name, array in host.items()}
        for row, index in enumerate(indices)
    }


def _check_same_state(one: State, other: State) -> None:
    assert _contents(Buffer.from_state(one)) == _contents(Buffer.from_state(other))
    to_numpy = one.backend.to_numpy
    assert to_numpy(one.written).tolist() == to_numpy(other.written).tolist()
