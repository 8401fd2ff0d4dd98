"""Copies of buffers, states and batches, by copy.deepcopy and by pickle."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium import replay
from trifolium.backend import as_numpy

COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}
MEMORIES: dict[str, dict[str, Any]] = {
    "plain": {"obs_shape": (2,)},
    "prioritized": {"obs_shape": (2,), "n_frames": 2, "sampler": tri.Prioritized()},
    "structured": {
        "obs_shape": {"camera": ((2, 2, 1), "uint8"), "body": {"pos": (3,)}},
        "n_frames": {"camera": 3},
        "n_step": 2,
    },
}
both = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
each_memory = pytest.mark.parametrize("options", MEMORIES.values(), ids=MEMORIES)


def made(backend: tri.Backend, options: dict[str, Any]) -> tri.Buffer:
    buffer = tri.Buffer(
        32, **(options | {"sampler": copy.deepcopy(options.get("sampler"))}), backend=backend,
        extras={"tag": "float32"}, seed=0,
    )  # fmt: skip
    for number in range(12):
        buffer.add(**step(buffer, number))
    buffer.sample(4)
    return buffer


def step(buffer: tri.Buffer, number: int) -> dict[str, Any]:
    def obs(value: int) -> Any:
        if not buffer.spec.is_structured:
            return [value, 0]
        return {"camera": np.full((2, 2, 1), value, "uint8"), "body": {"pos": [value, 0, 1]}}

    ends = {"done": number == 5, "truncated": number == 8}
    return {
        "obs": obs(number), "action": number % 2, "reward": float(number), "tag": float(number),
        "next_obs": obs(number + 1), **ends,
    }  # fmt: skip


def arrays(backend: tri.Backend, value: Any) -> list[np.ndarray]:
    """Return the arrays of a batch or a state, or of nested mappings and tuples, on the host."""
    if isinstance(value, tri.Batch | replay.State):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        value = [value[name] for name in sorted(value)]
    if isinstance(value, list | tuple):
        return [array for each in value for array in arrays(backend, each)]
    return [as_numpy(value)] if isinstance(value, np.ndarray) or backend.is_array(value) else []


def same(backend: tri.Backend, ours: Any, theirs: Any) -> None:
    found, expected = arrays(backend, ours), arrays(backend, theirs)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@both
@each_memory
def test_a_copied_buffer_draws_what_the_original_would(
    backend: tri.Backend, options: dict[str, Any], copied: Callable[[Any], Any]
) -> None:
    buffer = made(backend, options)
    other, third = copied(buffer), copied(buffer)
    assert other.backend is buffer.backend
    expected = []
    for each in (buffer, other, third):
        each.add(**step(each, 20))
        batch = each.sample(6)
        each.update_priorities(batch.indices, np.ones(6)) if "sampler" in options else None
        expected.append((batch, each.sample(6), each.state()))
    same(backend, [list(one) for one in expected[1:]], [list(expected[0])] * 2)


@both
@each_memory
def test_a_copied_state_is_of_the_registered_backend(
    backend: tri.Backend, options: dict[str, Any], copied: Callable[[Any], Any]
) -> None:
    state = made(backend, options).state()
    other = copied(state)
    assert other.backend is state.backend
    assert other.spec == state.spec
    assert hash(other.spec) == hash(state.spec)  # what was compiled for one is found for the other
    same(backend, other, state)


@both
@each_memory
def test_a_copied_batch_has_its_arrays(
    backend: tri.Backend, options: dict[str, Any], copied: Callable[[Any], Any]
) -> None:
    batch = made(backend, options).sample(5)
    other = copied(batch)
    same(backend, other, batch)
    assert backend.is_array(other.rewards)
