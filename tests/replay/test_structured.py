"""A structured buffer holds what plain buffers of its leaves hold, as methods and as functions."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium import replay
from trifolium.backend import as_numpy

SHAPE = {"camera": ((4, 4, 1), "uint8"), "body": {"pos": (3,)}}
FRAMES = {"camera": 3}
LEAVES: dict[str, dict[str, Any]] = {
    "camera": {"obs_shape": (4, 4, 1), "obs_dtype": "uint8"},
    "pos": {"obs_shape": (3,)},
}
"""Buffers with one leaf each. They have the window of the structured buffer, of three frames."""

MEMORIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "padded": {"boundary": "pad", "n_step": 2},
    "streams": {"n_streams": 2, "n_step": 3},
    "prioritized": {"sampler": tri.Prioritized()},
}
STEPS = 30


def observed(number: np.ndarray) -> dict[str, Any]:
    """Return the observation of a number below 256; both leaves tell it."""
    camera = np.zeros((*number.shape, 4, 4, 1), np.uint8)
    camera[...] = number[..., None, None, None]
    return {"camera": camera, "body": {"pos": number[..., None] + np.array([0.0, 0.25, 0.5])}}


def history(n_streams: int) -> dict[str, Any]:
    """Return the arguments of ``add`` for some steps, in arrays [STEPS] or [STEPS, n_streams]."""
    rng = np.random.default_rng(n_streams)
    lead = (STEPS, n_streams) if n_streams > 1 else (STEPS,)
    number = np.broadcast_to(np.arange(STEPS).reshape(-1, *(1,) * (len(lead) - 1)), lead) + 0
    if n_streams > 1:
        number += 100 * np.arange(n_streams)
    return {
        "obs": observed(number),
        "action": number % 3,
        "reward": rng.normal(size=lead).astype(np.float32),
        "done": rng.random(lead) < 0.1,
        "truncated": rng.random(lead) < 0.1,
        # two of ten observations are not the next one's, so the step counts as truncated
        "next_obs": observed(number + np.where(rng.random(lead) < 0.2, 50, 1)),
    }


def leaf_of(steps: dict[str, Any], leaf: str) -> dict[str, Any]:
    """Return the arguments for the buffer of one leaf."""

    def part(obs: Any) -> Any:
        return obs["camera"] if leaf == "camera" else obs["body"]["pos"]

    return steps | {"obs": part(steps["obs"]), "next_obs": part(steps["next_obs"])}


def same_rows(backend: tri.Backend, structured: tri.Batch, plain: tri.Batch, leaf: str) -> None:
    """Fail unless two batches, not flattened, have the same rows of a leaf."""
    for field in ("actions", "rewards", "dones", "valid", "discounts", "weights"):
        ours, theirs = (backend.to_numpy(getattr(each, field)) for each in (structured, plain))
        np.testing.assert_array_equal(ours, theirs, err_msg=field)
    np.testing.assert_array_equal(*(as_numpy(each.indices) for each in (structured, plain)))
    for field in ("states", "next_states"):
        found, expected = getattr(structured, field), backend.to_numpy(getattr(plain, field))
        found = backend.to_numpy(found["camera"] if leaf == "camera" else found["body"]["pos"])
        assert found.shape[1] == FRAMES.get(leaf, 1)  # of a leaf with one frame there is the newest
        np.testing.assert_array_equal(found, expected[:, -found.shape[1] :], err_msg=field)
        assert found.dtype == expected.dtype


@pytest.mark.parametrize("options", MEMORIES.values(), ids=MEMORIES)
@pytest.mark.parametrize("leaf", LEAVES)
def test_a_buffer_equals_plain_buffers_of_its_leaves(
    backend: tri.Backend, leaf: str, options: dict[str, Any]
) -> None:
    structured = tri.Buffer(40, SHAPE, FRAMES, backend=backend, seed=3, **deepcopy(options))
    plain = tri.Buffer(40, n_frames=3, backend=backend, seed=3, **LEAVES[leaf], **deepcopy(options))
    steps = history(structured.n_streams)
    structured.extend(**steps)
    plain.extend(**leaf_of(steps, leaf))
    for _ in range(3):
        batches = [each.sample(8, flatten=False) for each in (structured, plain)]
        same_rows(backend, *batches, leaf)
        if "sampler" in options:
            for each in (structured, plain):
                each.update_priorities(batches[0].indices, np.arange(8.0))
    for stream in range(plain.n_streams):
        found = structured.current_state(stream)
        found = backend.to_numpy(found["camera"] if leaf == "camera" else found["body"]["pos"])
        expected = backend.to_numpy(plain.current_state(stream))
        np.testing.assert_array_equal(found, expected[len(expected) - len(found) :])


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("options", MEMORIES.values(), ids=MEMORIES)
def test_a_state_equals_plain_states_of_its_leaves(
    backend: tri.Backend, options: dict[str, Any]
) -> None:
    structured = replay.init(40, SHAPE, FRAMES, backend=backend, **options)
    steps = history(structured.spec.n_streams)
    structured = replay.add(structured, **steps)
    generator = np.random.default_rng(0)
    bits = generator.integers(2**30, size=(8, 2)).astype(backend.default_int)
    batch = replay.sample(structured, backend.from_numpy(bits), flatten=False)
    for leaf in LEAVES:
        plain = replay.init(40, n_frames=3, backend=backend, **LEAVES[leaf], **options)
        plain = replay.add(plain, **leaf_of(steps, leaf))
        expected = replay.sample(plain, backend.from_numpy(bits), flatten=False)
        same_rows(backend, batch, expected, leaf)
        frames = replay.current_state(plain)
        found = replay.current_state(structured)
        found = backend.to_numpy(found["camera"] if leaf == "camera" else found["body"]["pos"])
        axis = frames.ndim - len(plain.spec.obs_shape) - 1
        newest = np.split(backend.to_numpy(frames), [frames.shape[axis] - found.shape[axis]], axis)[1]
        np.testing.assert_array_equal(found, newest)


@pytest.mark.parametrize("options", MEMORIES.values(), ids=MEMORIES)
def test_buffers_and_states_convert(backend: tri.Backend, options: dict[str, Any]) -> None:
    buffer = tri.Buffer(40, SHAPE, FRAMES, backend=backend, seed=0, **deepcopy(options))
    buffer.extend(**history(buffer.n_streams))
    state = buffer.state()
    assert all(map(backend.is_array, state.columns.values()))
    again = tri.Buffer.from_state(state, seed=1).state()
    for name, column in state.columns.items():
        np.testing.assert_array_equal(*map(backend.to_numpy, (column, again.columns[name])))
    assert again.spec == state.spec
