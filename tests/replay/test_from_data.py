"""Buffers made of what people have: spaces, arrays, chunks of steps; and rows read by index."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import trifolium as tri
from trifolium.testing.cases import OPTIONS, fill, made, on_host


def everything(buffer: tri.Buffer) -> dict[float, tuple[float, float, float]]:
    """Return (next state, done, valid) by state, of all that can be drawn."""
    batch = buffer.sample(buffer.drawable)
    states, _, _, next_states, dones, valid = map(buffer.backend.to_numpy, batch)
    rows = zip(states[:, 0], next_states[:, 0], dones[:, 0], valid[:, 0], strict=True)
    return {float(s): (float(n), float(d), float(v)) for s, n, d, v in rows}


PICTURE = gym.spaces.Box(0, 255, (5, 5, 1), np.uint8)
SPACES = {
    "box": (gym.spaces.Box(-1, 1, (3,)), gym.spaces.Discrete(4), (3,), ()),
    "image": (
        gym.spaces.Box(0, 255, (5, 5, 1), np.uint8),
        gym.spaces.Box(-1, 1, (2,)),
        (5, 5, 1),
        (2,),
    ),
    "discrete": (gym.spaces.Discrete(7), gym.spaces.MultiDiscrete([2, 3]), (), (2,)),
}


@pytest.mark.parametrize("name", SPACES)
def test_spaces_tell_shapes_and_dtypes(backend: tri.Backend, name: str) -> None:
    seen, done, obs_shape, action_shape = SPACES[name]
    buffer = tri.Buffer.from_spaces(16, seen, done, backend=backend, n_frames=2)
    assert (buffer.obs_shape, buffer.spec.action_shape) == (obs_shape, action_shape)
    seen.seed(0), done.seed(0)
    given = [(seen.sample(), done.sample()) for _ in range(4)]
    for obs, action in given:
        buffer.add(obs, action, 0.0, False)
    found = backend.to_numpy(buffer[:][0])
    assert np.array_equal(found, np.array([obs for obs, _ in given]).astype(found.dtype))


def test_structured_spaces_keep_their_structure(backend: tri.Backend) -> None:
    box = gym.spaces.Box(0, 255, (4, 4, 1), np.uint8)
    space = gym.spaces.Dict(
        {"camera": box, "body": gym.spaces.Dict({"at": gym.spaces.Box(-1, 1, (2,))})}
    )
    space["pair"] = gym.spaces.Tuple([gym.spaces.Discrete(3), gym.spaces.Box(-1, 1, (3,))])
    buffer = tri.Buffer.from_spaces(
        16, space, gym.spaces.Discrete(2), backend=backend, n_frames={"camera": 3}
    )
    space.seed(0)
    seen = [space.sample() for _ in range(6)]
    for obs in seen:
        buffer.add(obs, 0, 1.0, False)
    batch = buffer.sample(3, flatten=False)
    assert batch.states["camera"].shape == (3, 3, 4, 4, 1)
    assert batch.states["body"]["at"].shape == (3, 1, 2)
    assert buffer.current_state()["camera"].shape == (2, 4, 4, 1)
    for row, index in enumerate(batch.indices):
        at = backend.to_numpy(batch.next_states["body"]["at"])[row, 0]
        assert np.array_equal(at, seen[index + 1]["body"]["at"])
        camera = backend.to_numpy(batch.states["camera"])[row]
        assert np.array_equal(camera, [seen[index - back]["camera"] for back in (2, 1, 0)])
        assert backend.to_numpy(batch.states["pair"]["0"])[row, 0] == seen[index]["pair"][0]


def test_a_space_without_arrays_is_refused(backend: tri.Backend) -> None:
    text = gym.spaces.Text(5)
    with pytest.raises(TypeError, match=r"observation_space\['a'\].*Box"):
        tri.Buffer.from_spaces(8, gym.spaces.Dict({"a": text}), gym.spaces.Discrete(2), backend=backend)


@pytest.mark.parametrize("known", [False, True])
def test_arrays_have_right_successors(backend: tri.Backend, known: bool) -> None:
    steps = np.arange(12.0)
    done, cut = steps % 6 == 5, steps % 6 == 2
    after = steps + 0.5
    after[[0, 3, 4, 9]] += 0.5  # these are the observations that follow
    buffer = tri.Buffer.from_arrays(
        steps[:, None],
        np.zeros(12, int),
        np.ones((12, 1)),
        done,
        cut,
        after[:, None] if known else None,
        backend=backend,
    )
    found = everything(buffer)
    for step in steps[:-1]:
        next_state, ended, valid = found[step]
        assert ended == done[int(step)]
        assert valid == (known or not cut[int(step)])
        if valid and not ended:
            assert next_state == (after[int(step)] if known else step + 1)
    assert found[11.0][1:] == (1.0, 1.0)


@pytest.mark.parametrize("options", [{}, {"n_frames": 3}, {"n_step": 3, "boundary": "pad"}])
def test_arrays_are_what_adds_store(backend: tri.Backend, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    obs, after = rng.integers(0, 3, (2, 200, 2)).astype(np.float32)
    action, reward = rng.integers(0, 4, 200), rng.normal(size=200).astype(np.float32)
    done, cut = rng.random((2, 200)) < 0.1
    whole = tri.Buffer.from_arrays(
        {"a": obs},
        action,
        reward,
        done,
        cut,
        {"a": after},
        capacity=150,
        seed=0,
        backend=backend,
        **options,
    )
    shape = {"a": (2,)}
    one = tri.Buffer(150, shape, seed=0, backend=backend, **options)
    for t in range(200):
        one.add(
            {"a": obs[t]}, action[t], reward[t], done[t], truncated=cut[t], next_obs={"a": after[t]}
        )
    one.end_episode()
    ours, theirs = whole.sample(50), one.sample(50)
    assert ours.indices.tolist() == theirs.indices.tolist()
    for name in ("actions", "rewards", "dones", "valid", "discounts"):
        assert np.array_equal(*(backend.to_numpy(getattr(b, name)) for b in (ours, theirs))), name
    for name in ("states", "next_states"):
        assert np.array_equal(*(backend.to_numpy(getattr(b, name)["a"]) for b in (ours, theirs))), name


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"actions": np.zeros(3, int)}, ValueError, "actions has 3 steps; expected 4"),
        ({"terminations": np.full(4, 2)}, ValueError, "terminations .*expected 0 or 1"),
        ({"rewards": np.array(["a"] * 4)}, TypeError, "rewards is a ndarray"),
        ({"next_observations": np.zeros((4, 3))}, ValueError, "next_observations has shapes"),
    ],
    ids=repr,
)
def test_bad_arrays_are_named(
    backend: tri.Backend, change: dict[str, Any], error: type[Exception], match: str
) -> None:
    good = {
        "observations": np.zeros((4, 2)),
        "actions": np.zeros(4, int),
        "rewards": np.zeros(4),
        "terminations": np.zeros(4, bool),
    }
    with pytest.raises(error, match=match):
        tri.Buffer.from_arrays(**(good | change), backend=backend)


@pytest.mark.parametrize("name", OPTIONS)
def test_fetched_rows_are_those_drawn(backend: tri.Backend, name: str) -> None:
    buffer = made(backend, OPTIONS[name] | {"sampler": tri.Uniform})
    fill(buffer, 60, seed=0)
    batch = buffer.sample(6)
    ours, theirs = on_host(backend, buffer.fetch(batch.indices)), on_host(backend, batch)
    for found, expected in zip(ours, theirs, strict=True):
        assert np.array_equal(found, expected)
    fill(buffer, 60, seed=1)
    with pytest.raises(IndexError, match="not stored"):
        buffer.fetch(batch.indices)


def test_rows_that_can_not_be_drawn_are_fetched_as_invalid(backend: tri.Backend) -> None:
    buffer = tri.Buffer(8, (1,), 2, backend=backend)
    for step in range(4):
        buffer.add([step], 0, 1.0, False)
    assert backend.to_numpy(buffer.fetch([0, 1, 2, 3]).valid)[:, 0].tolist() == [0, 1, 1, 0]


def test_rows_are_read_by_lists_and_arrays(backend: tri.Backend) -> None:
    buffer = tri.Buffer(8, (1,), backend=backend)
    for step in range(5):
        buffer.add([step], step, 1.0, False)
    for index in ([0, 3, -1], np.array([0, 3, 4]), np.array([True, False, False, True, True])):
        assert backend.to_numpy(buffer[index][1]).tolist() == [0, 3, 4]
    with pytest.raises(IndexError, match="index=9 is out of range: 5 rows"):
        buffer[[0, 9]]
    with pytest.raises(IndexError, match=r"shape \(2,\)"):
        buffer[np.array([True, False])]


def test_an_extra_can_not_be_assigned(backend: tri.Backend) -> None:
    buffer = tri.Buffer(8, (1,), backend=backend)
    with pytest.raises(TypeError, match="Declare the column when the buffer is made, extras="):
        buffer.extra_data["tag"] = np.zeros(8)


def test_a_batch_moves_to_a_device(backend: tri.Backend) -> None:
    buffer = made(backend, OPTIONS["extras"])
    fill(buffer, 20, seed=0)
    batch = buffer.sample(3)
    moved = batch.to(backend.device)
    for found, expected in zip(on_host(backend, moved), on_host(backend, batch), strict=True):
        assert np.array_equal(found, expected)
    with pytest.raises(tri.BackendError, match="no_such_device"):
        batch.to("no_such_device")
