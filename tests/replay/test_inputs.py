"""What may be given to a buffer: arrays of any framework, in any form; and they are copied."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium import replay

pytestmark = pytest.mark.interop

Convert = Callable[[Any], Any]
STEP = {
    "obs": [1.5, -2.0],
    "action": 3,
    "reward": 0.25,
    "done": False,
    "truncated": True,
    "next_obs": [4.0, 0.5],
    "tag": 7,
}
DTYPES = {"action": np.int32, "tag": np.int32, "done": np.bool, "truncated": np.bool}


def torch_tensors() -> dict[str, Convert]:
    torch = pytest.importorskip("torch")

    def tensor(value: Any) -> Any:
        return torch.from_numpy(np.array(value))

    def floating(value: Any, change: Convert) -> Any:
        found = tensor(value)
        return change(found) if found.is_floating_point() else found

    return {
        "tensors": tensor,
        "tensors with a gradient": lambda v: floating(v, lambda t: t.requires_grad_() * 1),
        "bfloat16 tensors": lambda v: floating(v, lambda t: t.bfloat16()),
        "tensors with strides": lambda v: torch.stack([tensor(v)] * 2, -1)[..., 0],
    }


def jax_arrays() -> dict[str, Convert]:
    jnp = pytest.importorskip("jax").numpy

    def narrow(value: Any) -> Any:
        found = jnp.asarray(value)
        return found.astype(jnp.bfloat16) if jnp.issubdtype(found.dtype, jnp.floating) else found

    return {"JAX arrays": jnp.asarray, "bfloat16 JAX arrays": narrow}


def numpy_arrays() -> dict[str, Convert]:
    return {
        "arrays": np.asarray,
        "float64": lambda v: v.astype("float64") if v.dtype == np.float32 else v,
        "int64": lambda v: v.astype("int64") if v.dtype == np.int32 else v,
        "read-only": lambda v: np.broadcast_to(v, v.shape),
        "backwards": lambda v: v[..., ::-1][..., ::-1] if v.ndim else v,
        "big-endian": lambda v: v.astype(v.dtype.newbyteorder(">")),
        "lists and Python's numbers": lambda v: v.tolist(),
        "lists of NumPy's numbers": lambda v: list(v) if v.ndim else v[()],
        "flags as numbers": lambda v: v.astype("int64") if v.dtype == np.bool else v,
        "an axis of 1": lambda v: v[None],
        "three axes of 1": lambda v: v[None, None, None],
    }


def strict_arrays() -> dict[str, Convert]:
    return {"standard arrays": pytest.importorskip("array_api_strict").asarray}


FRAMEWORKS = {
    "numpy": numpy_arrays,
    "torch": torch_tensors,
    "jax": jax_arrays,
    "strict": strict_arrays,
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("n_streams", [1, 3])
def test_inputs_of_any_framework(backend: tri.Backend, framework: str, n_streams: int) -> None:
    for form, convert in FRAMEWORKS[framework]().items():
        plain, converted = (made(backend, n_streams) for _ in range(2))
        for _ in range(2):
            plain.add(**values(n_streams, lambda value: value))
            converted.add(**values(n_streams, convert))
        assert stored(converted) == stored(plain), form


def test_inputs_of_the_backend(backend: tri.Backend) -> None:
    """Of all the frameworks above, the backend's own is not skipped for want of it."""
    plain, native = made(backend, 1), made(backend, 1)
    plain.add(**values(1, lambda value: value))
    native.add(**values(1, lambda value: backend.from_numpy(value.copy())))
    assert stored(native) == stored(plain)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_inputs_of_any_framework_in_the_functional_form(backend: tri.Backend, framework: str) -> None:
    """Also what torch and JAX don't take themselves: negative strides, read-only, big-endian."""

    def added(convert: Convert) -> list[bytes]:
        state = replay.init(4, (2,), backend=backend, extras={"tag": "int32"})
        state = replay.add(state, **values(1, convert))
        columns = [state.columns["obs"], state.columns["tag"], state.actions, state.rewards]
        return [backend.to_numpy(column).tobytes() for column in (*columns, state.marks)]

    expected = added(lambda value: value)
    for form, convert in FRAMEWORKS[framework]().items():
        assert added(convert) == expected, form


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_errors_of_any_framework_in_the_functional_form(backend: tri.Backend, framework: str) -> None:
    state = replay.init(4, (2,), backend=backend, sampler=tri.Prioritized())
    state = replay.add(state, np.ones((3, 2)), [0] * 3, [1.0] * 3, [False] * 3)
    errors = np.array([0.5, -3.0], np.float32)

    def largest(convert: Convert) -> float:
        indices = np.arange(2, dtype=backend.default_int)
        updated = replay.update_priorities(deepcopy(state), indices, convert(errors))
        return float(updated.priorities.largest[0])

    for form, convert in FRAMEWORKS[framework]().items():
        if "of 1" not in form:
            assert largest(convert) == pytest.approx(3.0, abs=0.01), form


def test_lists_of_the_widest_floats_are_stored_whole(backend: tri.Backend) -> None:
    dtype = "float64" if backend.capabilities.float64 else "float32"
    state = replay.init(4, (2,), backend=backend, obs_dtype=dtype, extras={"tag": dtype})
    state = replay.add(state, [0.1, 0.2], 0, 1.0, False, tag=0.3)
    assert backend.to_numpy(state.columns["obs"])[0].tolist() == np.array([0.1, 0.2], dtype).tolist()
    assert backend.to_numpy(state.columns["tag"])[0] == np.array(0.3, dtype)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_errors_of_any_framework(backend: tri.Backend, framework: str, shape: tuple[int, ...]) -> None:
    errors = np.array([0.5, -1.0, 2.0], np.float32).reshape(shape)
    expected = weights_after(backend, errors)
    for form, convert in FRAMEWORKS[framework]().items():
        if "of 1" not in form:
            assert weights_after(backend, convert(errors)) == expected, form


def weights_after(backend: tri.Backend, errors: Any) -> Any:
    buffer = tri.Buffer(8, (2,), backend=backend, seed=0, sampler=tri.Prioritized())
    for step in range(4):
        buffer.add([step, 0], 0, 0.0, False)
    indices = sorted(set(buffer.sample(32).indices.tolist()))
    buffer.update_priorities(indices, errors)
    return backend.to_numpy(buffer.sample(8).weights).tolist()


@pytest.mark.parametrize("n_streams", [1, 3])
def test_inputs_are_copied(backend: tri.Backend, n_streams: int) -> None:
    given = values(n_streams, np.array)
    buffer, plain = made(backend, n_streams), made(backend, n_streams)
    buffer.add(**given)
    plain.add(**values(n_streams, np.array))
    for array in given.values():
        array[...] = 0
    assert stored(buffer) == stored(plain)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "bool"])
def test_narrow_observations_take_no_more_room(backend: tri.Backend, dtype: str) -> None:
    buffer = tri.Buffer(8, (4, 4), backend=backend, obs_dtype=dtype)
    buffer.add(np.ones((4, 4), dtype), 0, 0.0, False)
    assert buffer.states.dtype == backend.dtype(dtype)
    assert backend.to_numpy(buffer.states).itemsize == np.dtype(dtype).itemsize


def test_dtypes_are_names_or_objects(backend: tri.Backend) -> None:
    for dtype in ("uint8", np.uint8, np.dtype("uint8"), backend.dtype("uint8")):
        assert tri.Buffer(8, (2,), backend=backend, obs_dtype=dtype).spec.obs_dtype == "uint8"


def made(backend: tri.Backend, n_streams: int) -> tri.Buffer:
    return tri.Buffer(
        4 * n_streams, (2,), backend=backend, n_streams=n_streams, extras={"tag": "int32"}
    )


def values(n_streams: int, convert: Convert) -> dict[str, Any]:
    """Return a step of one stream, or of each."""
    found = {}
    for name, value in STEP.items():
        array = np.array(value, DTYPES.get(name, np.float32))
        found[name] = convert(np.stack([array] * n_streams) if n_streams > 1 else array)
    return found


def stored(buffer: tri.Buffer) -> list[bytes]:
    columns = [buffer.states, buffer.actions, buffer.rewards, buffer.dones, buffer.extra_data["tag"]]
    held = [buffer.backend.to_numpy(column).tobytes() for column in columns]
    return [*held, buffer._store.ring.marks.tobytes()]
