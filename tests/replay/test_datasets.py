"""Batches in the shapes that other libraries take, and episodes that they recorded."""

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.backend import as_numpy
from trifolium.replay.batch import map_tree


def filled(backend: tri.Backend, **options: Any) -> tri.Buffer:
    buffer = tri.Buffer(64, (2,), backend=backend, seed=0, extras={"tag": "int32"}, **options)
    for step in range(50):
        buffer.add([step, -step], step % 3, 1.0, step % 10 == 9, tag=step)
    return buffer


def test_a_dataset_draws_what_the_buffer_draws(backend: tri.Backend) -> None:
    dataset, buffer = filled(backend).as_dataset(8, n_batches=3), filled(backend)
    for _ in range(2):  # each iteration goes on where the last stopped
        batches = list(dataset)
        assert len(batches) == 3
        for batch in batches:
            assert np.array_equal(batch.indices, buffer.sample(8).indices)


def test_a_dataset_sees_what_is_added_later(backend: tri.Backend) -> None:
    buffer = filled(backend)
    endless = iter(buffer.as_dataset(8, flatten=False))
    assert next(endless).states.shape == (8, 1, 2)
    for _ in range(100):
        buffer.add([7, 7], 0, 0.0, False, tag=1000)
    assert all(batch.extras["tag"][0] == 1000 for batch in islice(endless, 5))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 4, "n_batches": 0}])
def test_datasets_of_nothing_are_refused(backend: tri.Backend, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=list(wrong)[-1]):
        filled(backend).as_dataset(**wrong)


@pytest.mark.interop
def test_tensordicts_hold_the_batch(backend: tri.Backend) -> None:
    tensordict = pytest.importorskip("tensordict")
    batch = filled(backend).sample(8)
    found = batch.to_tensordict()
    assert isinstance(found, tensordict.TensorDict)
    assert found.batch_size == (8,)
    for name in ("states", "actions", "rewards", "next_states", "dones", "valid", "indices"):
        assert np.array_equal(as_numpy(found[name]), as_numpy(getattr(batch, name)))
    assert np.array_equal(as_numpy(found["extras", "tag"]), as_numpy(batch.extras["tag"]))
    assert found[:3]["states"].shape == (3, 2)


def test_tensordict_that_is_missing_is_named(
    backend: tri.Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensordict", None)
    monkeypatch.delitem(sys.modules, "trifolium_torch.tensordicts", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'trifolium\[tensordict\]'"):
        filled(backend).sample(2).to_tensordict()


class Recorded:
    """Episodes of some lengths, as Minari has them; ``ends`` are "done", "truncated" or ""."""

    def __init__(self, *ends: tuple[int, str], **changes: Any) -> None:
        self.ends = ends
        self.changes = changes

    def iterate_episodes(self) -> Iterator[SimpleNamespace]:
        for number, (steps, end) in enumerate(self.ends):
            last = np.arange(steps) == steps - 1
            episode = {
                "observations": np.arange(2.0 * steps + 2).reshape(-1, 2) + 100 * number,
                "actions": np.arange(steps),
                "rewards": np.ones(steps) * number,
                "terminations": last & (end == "done"),
                "truncations": last & (end == "truncated"),
            }
            yield SimpleNamespace(**(episode | self.changes))


def test_every_recorded_step_can_be_drawn(backend: tri.Backend) -> None:
    ends = ((4, "done"), (3, "truncated"), (2, ""), (1, "done"), (3, "done"))
    buffer = tri.Buffer.from_minari(Recorded(*ends), backend=backend, seed=0)
    batch = buffer.sample(buffer.drawable)
    expected = {}
    for number, (steps, end) in enumerate(ends):
        for step in range(steps):
            done = step == steps - 1 and end == "done"
            here, there = (100.0 * number + 2 * at for at in (step, step + 1))
            following = None if done else (there, there + 1)
            expected[here, here + 1] = (step, float(number), float(done), following)
    assert valid_rows(batch) == expected
    assert batch.states.dtype == backend.dtype("float32")


def test_options_go_before_what_is_recorded(backend: tri.Backend) -> None:
    recorded = Recorded((4, "done"), (5, "done"))
    buffer = tri.Buffer.from_minari(
        recorded, capacity=6, backend=backend, n_frames=2, n_step=3, action_dtype="int32"
    )
    assert (buffer.capacity, len(buffer)) == (6, 6)
    assert buffer.actions.dtype == backend.dtype("int32")
    assert as_numpy(buffer[0][0]).tolist() == [100, 101]  # the first episode has gone


def test_observations_are_made_of_what_was_recorded(backend: tri.Backend) -> None:
    seen = {"observation": np.ones((5, 3)), "goal": np.zeros((5, 1))}
    recorded = Recorded((4, "done"), observations=seen)
    buffer = tri.Buffer.from_minari(
        recorded, backend=backend, observe=lambda seen: np.hstack([seen["observation"], seen["goal"]])
    )
    assert as_numpy(buffer[0][0]).tolist() == [1, 1, 1, 0]
    with pytest.raises(TypeError, match="episode 0 has observations without an array"):
        tri.Buffer.from_minari(
            Recorded((1, "done"), observations={"mission": ["go", "go"]}), backend=backend
        )
    with pytest.raises(TypeError, match=r"episode 0 has observations of type object.*give observe="):
        tri.Buffer.from_minari(Recorded((1, "done"), observations=object()), backend=backend)
    short = Recorded((1, "done"), observations={"a": np.ones((2, 3)), "b": np.ones((1, 3))})
    with pytest.raises(ValueError, match="1 rewards and 1 observations"):
        tri.Buffer.from_minari(short, backend=backend)


def test_structured_observations_keep_their_structure(backend: tri.Backend) -> None:
    number = np.arange(8)
    seen = {
        "at": number[:, None] + [0.0, 0.5],
        "pair": (number, {"image": np.zeros((8, 2, 2), np.uint8) + number[:, None, None].astype("u1")}),
        "mission": ["go to the door"] * 8,
    }
    recorded = Recorded((7, "truncated"), (7, "done"), observations=seen)
    buffer = tri.Buffer.from_minari(recorded, backend=backend, n_frames={"at": 2}, boundary="pad")
    assert buffer.obs_shape == {
        "at": ((2,), "float32"),
        "pair": {"0": ((), backend.default_int), "1": {"image": ((2, 2), "uint8")}},
    }
    batch = buffer.sample(buffer.drawable, flatten=False)
    names = ("states", "actions", "next_states", "dones", "valid")
    states, actions, following, dones, valid = (
        map_tree(as_numpy, getattr(batch, name)) for name in names
    )
    assert int(valid.sum()) == 14
    for row in np.flatnonzero(valid[:, 0]):
        step = int(actions[row, 0])
        assert states["at"][row].tolist() == [
            [max(step - 1, 0), max(step - 0.5, 0)] if step else [0, 0],
            [step, step + 0.5],
        ]
        assert states["pair"]["0"][row, 0] == step
        assert (states["pair"]["1"]["image"][row] == step).all()
        if not dones[row, 0]:
            assert following["at"][row, -1].tolist() == [step + 1, step + 1.5]
            assert (following["pair"]["1"]["image"][row] == step + 1).all()


def test_numbers_are_observations_of_length_1(backend: tri.Backend) -> None:
    recorded = Recorded((4, "done"), observations=np.arange(5, dtype=np.int32), actions=np.ones((4, 2)))
    buffer = tri.Buffer.from_minari(recorded, backend=backend)
    assert (buffer.obs_shape, buffer.spec.obs_dtype) == ((1,), "int32")
    assert (buffer.spec.action_shape, buffer.spec.action_dtype) == ((2,), "float32")


WRONG = {
    "not a dataset": ([1, 2], TypeError, "list; expected a minari.MinariDataset"),
    "nothing in it": (Recorded(), ValueError, "no episodes"),
    "too few observations": (
        Recorded((4, "done"), observations=np.ones((4, 2))),
        ValueError,
        "4 rewards and 4 observations",
    ),
    "names as actions": (Recorded((2, "done"), actions=["a", "b"]), TypeError, "actions of type list"),
}


@pytest.mark.parametrize(("dataset", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_recording_is_refused(
    backend: tri.Backend, dataset: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tri.Buffer.from_minari(dataset, backend=backend)
    with pytest.raises(TypeError, match="n_streams"):
        tri.Buffer.from_minari(Recorded((2, "done")), n_streams=2)


RECORD = """
import json
import gymnasium as gym
import minari

collector = minari.DataCollector(gym.make("CartPole-v1", max_episode_steps=15), data_format="hdf5")
collector.action_space.seed(0)
steps = []
for seed in range(4):
    obs, _ = collector.reset(seed=seed)
    ended = False
    while not ended:
        action = int(collector.action_space.sample())
        following, reward, terminated, truncated, _ = collector.step(action)
        steps.append((obs.tolist(), action, reward, terminated, following.tolist()))
        obs, ended = following, terminated or truncated
collector.create_dataset("cartpole/random-v0")
print(json.dumps(steps))
"""


@pytest.mark.interop
def test_a_dataset_of_minari(
    backend: tri.Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded by Minari's own collector, which warns of much, and read here."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    pytest.importorskip("gymnasium")
    command = [sys.executable, "-c", RECORD]
    recorded = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    buffer = tri.Buffer.from_minari(minari.load_dataset("cartpole/random-v0"), backend=backend, seed=0)
    found = valid_rows(buffer.sample(buffer.drawable))
    assert len(found) == len(recorded)
    for obs, action, reward, terminated, following in recorded:
        known = None if terminated else tuple(following)
        assert found[tuple(obs)] == (action, reward, terminated, known)


RECORD_PARTS = """
import gymnasium as gym
import minari
import numpy as np

class Arm(gym.Env):
    pair = gym.spaces.Tuple((gym.spaces.Discrete(9), gym.spaces.Box(-1, 99, (2,), np.float32)))
    camera = gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)
    observation_space = gym.spaces.Dict({"camera": camera, "pair": pair})
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.time = 0
        return self.seen(), {}

    def step(self, action):
        self.time += 1
        return self.seen(), 1.0, self.time == 6, False, {}

    def seen(self):
        camera = np.full((4, 4, 3), self.time, np.uint8)
        return {"camera": camera, "pair": (self.time, np.array([self.time, 0.5], np.float32))}

collector = minari.DataCollector(Arm(), data_format="hdf5")
for seed in range(3):
    collector.reset(seed=seed)
    terminated = False
    while not terminated:
        _, _, terminated, _, _ = collector.step(1)
collector.create_dataset("arm/random-v0")
"""


@pytest.mark.interop
def test_a_dataset_of_minari_with_parts(
    backend: tri.Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    pytest.importorskip("gymnasium")
    subprocess.run([sys.executable, "-c", RECORD_PARTS], capture_output=True, check=True)
    dataset = minari.load_dataset("arm/random-v0")
    buffer = tri.Buffer.from_minari(
        dataset, backend=backend, n_frames={"camera": 2}, boundary="pad", seed=0
    )
    batch = buffer.sample(buffer.drawable, flatten=False)
    states = map_tree(as_numpy, batch.states)
    assert int(as_numpy(batch.valid).sum()) == 3 * 6
    for row in range(batch.batch_size):
        time = int(states["pair"]["0"][row, 0])
        assert states["pair"]["1"][row].tolist() == [[time, 0.5]]
        assert states["camera"][row, :, 0, 0, 0].tolist() == [max(time - 1, 0), time]


def valid_rows(batch: tri.Batch) -> dict[tuple[float, ...], tuple[Any, ...]]:
    """Return (action, reward, done, next state unless done) of each valid row, by state."""
    names = ("states", "actions", "rewards", "dones", "next_states", "valid")
    found = {}
    for row in zip(*(as_numpy(getattr(batch, name)).tolist() for name in names), strict=True):
        states, [action], [reward], [done], following, [valid] = row
        if valid:
            found[tuple(states)] = (action, reward, done, None if done else tuple(following))
    return found
