"""States: which are too large, which lie on the host, and what of them is static."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium import replay
from trifolium.replay.graph.state import check_capacity, native
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
