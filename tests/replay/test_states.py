"""States: which are too large, which lie on the host, and what of them is static."""

from dataclasses import fields, replace
from inspect import signature
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium import replay
from trifolium.replay.graph.state import check_capacity, native
from trifolium.replay.graph.write import _has_native
from trifolium.testing.functional_suite import rollout
from trifolium_numpy.backend import NumpyBackend

ARRAYS = {"actions", "rewards", "marks", "written", "sizes", "has_successor"}


class Elsewhere(NumpyBackend):
    """Like JAX without x64: it has no 64-bit integers, and NumPy's arrays are not its own."""

    default_int = "int32"

    def dtype(self, name: str) -> Any:
        if name == "int64":
            raise tri.BackendError("Elsewhere lacks int64")
        return super().dtype(name)

    def is_array(self, value: Any) -> bool:
        return False


class FirstWins(NumpyBackend):
    """Writes the first of several values for a row, as a backend may; NumPy writes the last."""

    def put(self, array: Any, rows: Any, values: Any, where: Any = None) -> np.ndarray:
        if where is not None:
            rows, values = rows[where], values[where]
        return super().put(array, rows[::-1], values[::-1])


def filled(**options: Any) -> replay.State:
    state = replay.init(8, (2,), extras={"tag": "int32"}, **options)
    return replay.add(state, [[1.0, 2.0]] * 3, [1, 2, 3], [1.0] * 3, [False] * 3, tag=[4, 5, 6])


def arrays_of(state: replay.State) -> dict[str, np.ndarray]:
    found = {name: getattr(state, name) for name in ARRAYS} | dict(state.columns)
    found |= {f"next {name}": array for name, array in state.successors.items()}
    return found if state.priorities is None else found | state.priorities._asdict()


@pytest.mark.parametrize("sampler", [None, tri.Prioritized()])
def test_arrays_on_the_host_are_copied(sampler: Any) -> None:
    state = filled(sampler=sampler)
    narrow = replace(state, written=state.written.astype(np.int32), backend=Elsewhere())
    moved = native(narrow)
    assert isinstance(moved.priorities, type(state.priorities))
    expected, found = arrays_of(narrow), arrays_of(moved)
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.dtype == expected[name].dtype
        assert np.array_equal(array, expected[name]), name
        assert not np.shares_memory(array, expected[name]), name


def test_arrays_of_the_backend_are_not_copied() -> None:
    state = filled()
    assert native(state) is state


def test_cursors_that_the_backend_lacks_are_refused() -> None:
    """They were made with x64, and x64 is off now."""
    with pytest.raises(tri.BackendError, match="lacks int64"):
        native(replace(filled(), backend=Elsewhere()))


def test_all_is_in_arrays_but_the_options(backend: tri.Backend) -> None:
    """Which a compiler takes as constants."""
    state = replay.init(8, (2,), backend=backend, extras={"tag": "int32"}, sampler=tri.Prioritized())
    static = {field.name for field in fields(state) if field.metadata.get("static")}
    assert static == {"spec", "priority_options", "backend"}
    assert all(backend.is_array(array) for array in arrays_of(state).values())


def test_capacities_that_are_too_large_are_refused(backend: tri.Backend) -> None:
    spec = replay.init(8, (2,), backend=backend).spec
    check_capacity(replace(spec, capacity=2**29))
    with pytest.raises(ValueError, match=f"capacity={2**29 + 1} .*at most {2**29}"):
        replay.init(2**29 + 1, (2,), backend=backend)


@pytest.mark.parametrize("n_streams", [1, 3])
def test_no_index_is_used_again_soon(backend: tri.Backend, n_streams: int) -> None:
    """Where 32 bits are all there is: not within 2**29 rows, and none is too large."""
    state = replay.init(7 * n_streams, (2,), backend=backend, n_streams=n_streams)
    xp = state.backend.xp
    narrow = replace(state, written=xp.astype(state.written, xp.int32))
    assert 2**29 <= narrow.serials * n_streams < 2**31
    assert narrow.serials % 7 == 0


def test_no_row_has_several_values() -> None:
    """Of which a backend may write any one: not in chunks either that are longer than the ring."""
    written = []
    for backend in (NumpyBackend(), FirstWins()):
        state = replay.init(6, (2,), backend=backend, sampler=tri.Prioritized())
        for seed in range(6):
            steps = rollout(9, 1, seed) | {"done": np.arange(9) % 3 == 2}
            state = replay.add(state, **steps)
            batch = replay.sample(state, np.random.default_rng(seed).integers(2**30, size=(8, 2)))
            state = replay.update_priorities(state, batch.indices, np.arange(8.0))
        written.append({name: array.tolist() for name, array in arrays_of(state).items()})
    assert written[0] == written[1]


def test_of_many_errors_for_a_row_the_last_counts() -> None:
    state = filled(sampler=tri.Prioritized(alpha=1.0, epsilon=1.0))
    indices = np.random.default_rng(0).integers(2, size=1000)
    updated = replay.update_priorities(state, indices, np.arange(1000.0))
    assert updated.priorities is not None
    last = [np.flatnonzero(indices == row)[-1] + 1 for row in range(2)]
    assert updated.priorities.tree[:2].tolist() == last


def test_a_stream_is_a_number_or_an_array() -> None:
    for number in (0, 1):
        for stream in (number, np.array(number), np.array([number])):
            state = replay.init(8, (2,), n_streams=2)
            state = replay.add(state, [1.0, 2.0], 0, 1.0, False, stream=stream)
            assert state.sizes.tolist() == [1 - number, number]


def test_options_have_the_defaults_of_a_buffer() -> None:
    pairs: list[tuple[Any, Any]] = [(replay.init, tri.Buffer.__init__)]
    for name in ("add", "extend", "sample", "sample_sequences"):
        pairs.append((getattr(replay, name), getattr(tri.Buffer, name)))
    for function, method in pairs:
        ours, theirs = signature(function).parameters, signature(method).parameters
        for name in ours.keys() & theirs.keys():
            assert ours[name].default == theirs[name].default, (function, name)


def test_one_boundary_row_is_enough_for_some() -> None:
    steps = rollout(4, 1, 0) | {"done": np.zeros(4, bool), "truncated": np.arange(4) == 1}
    state = replay.extend(replay.init(8, (2,)), **steps, boundary_rows=1)
    assert state.sizes.tolist() == [5]


@pytest.mark.parametrize(
    ("indices", "errors"), [((2, 1), (2,)), ((2,), (3,)), ((2,), (2, 2)), ((2,), (1, 2)), ((), ())]
)
def test_errors_of_other_shapes_are_refused(indices: Any, errors: Any) -> None:
    state = filled(sampler=tri.Prioritized())
    with pytest.raises(ValueError, match=r"indices has shape \("):
        replay.update_priorities(state, np.zeros(indices, int), np.zeros(errors))


def test_errors_may_have_an_axis_of_1() -> None:
    found = []
    for shape in ((2,), (2, 1)):
        state = filled(sampler=tri.Prioritized())
        updated = replay.update_priorities(state, np.arange(2), np.array([3.0, 4.0]).reshape(shape))
        assert updated.priorities is not None
        found.append(updated.priorities.tree.tolist())
    assert found[0] == found[1]


def test_an_empty_memory_has_no_frames() -> None:
    """Also where its rows hold what was cleared."""
    buffer = tri.Buffer(4, (2,), 3)
    for _ in range(6):
        buffer.add([1.0, 2.0], 0, 1.0, False)
    assert replay.current_state(buffer.state()).all()
    buffer.clear()
    state = buffer.state()
    state.columns["obs"][...] = 7.0
    assert not replay.current_state(state).any()


def test_integers_that_do_not_fit_wrap_around() -> None:
    state = replay.add(replay.init(4, (2,), obs_dtype="uint8"), [300, -1], 0, 1.0, False)
    assert state.columns["obs"][0].tolist() == [44, 255]


def test_lists_with_arrays_are_told_from_others(backend: tri.Backend) -> None:
    """Which not every backend makes an array of."""
    array = backend.from_numpy(np.ones(2, np.float32))
    for value in ([array], [1.0, array], ([1.0], [[2.0], array])):
        assert _has_native(backend, value)
    for value in (array, 1.0, [], [1.0], [[1.0], (2.0,)]):
        assert not _has_native(backend, value)


def test_beta_may_be_of_any_dtype() -> None:
    state, bits = filled(sampler=tri.Prioritized()), np.ones((4, 2), np.int64)
    for beta in (0.5, 1, np.array(0.5), np.float64(0.5)):
        assert replay.sample(state, bits, beta=beta).weights.dtype == np.float32
    with pytest.raises(TypeError, match=r"^beta"):
        replay.sample(state, bits, beta="a half")
