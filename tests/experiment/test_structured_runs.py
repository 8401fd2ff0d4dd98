"""Runs in worlds that show structured observations, and in games that show which moves are legal."""

import json
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest

import trifolium as tri
from trifolium.backend import as_numpy
from trifolium.experiment import Experiment, TrainOptions
from trifolium.experiment.evaluation import evaluate
from trifolium.worlds import AECWorld
from trifolium.worlds.pettingzoo import make

from .command import trifolium

GRID = "minigrid:MiniGrid-Empty-5x5-v0"  # image, direction and text
TICTACTOE = "pettingzoo:classic/tictactoe-v3"
ELSEWHERE = pytest.mark.slow_on("strict", "torch", "jax")


def test_a_run_keeps_the_structure_when_asked_to(options, backend, tmp_path):
    chosen = options(env=GRID, structured=True, turns=30, steps=260, eval_every=130, eval_episodes=2)
    run = Experiment(chosen, tmp_path / "run")
    memory = run.models["model"].memory
    assert memory.obs_shape == {"direction": ((4,), "float32"), "image": ((7, 7, 3), "uint8")}
    run.train()
    batch = memory.sample(8, flatten=False)
    assert as_numpy(batch.states["direction"]).sum(axis=-1).tolist() == [[1.0]] * 8
    again = Experiment.load(tmp_path / "run", trust=True)
    assert again.models["model"].memory.obs_shape == memory.obs_shape
    assert np.array_equal(again.evaluate(2)["agent"], run.evaluate(2)["agent"])
    returns = evaluate(run.models["model"], gym.make(GRID), 2, seed=0)
    assert returns.shape == (2,)


def test_other_runs_join_the_parts_as_before(options, tmp_path):
    run = Experiment(options(env=GRID), tmp_path / "run")
    assert run.models["model"].memory.obs_shape == (4 + 7 * 7 * 3,)


def legal_moves(memory):
    """Return whether each stored action of a memory is legal by the mask of its observation."""
    obs, actions, *_ = memory[:]
    mask, actions = as_numpy(obs["action_mask"]), as_numpy(actions)
    played = mask.any(axis=1)  # others are last observations
    return mask[played, actions[played]] == 1


@pytest.mark.parametrize("shared", [False, True])
def test_games_use_the_mask_that_they_show(options, tmp_path, shared):
    run = Experiment(options(env=TICTACTOE, shared=shared), tmp_path / "run")
    run.train()
    assert len(run.models) == 2 - shared
    for model in run.models.values():
        assert model.memory.obs_shape["action_mask"] == ((9,), "int8")
        assert model.mask is not None
        moves = legal_moves(model.memory)
        assert len(moves) > 150
        assert moves.all()
    run.evaluate(3)


@pytest.mark.parametrize("as_world", [lambda env: env, AECWorld], ids=["environment", "world"])
def test_games_of_ones_own_use_the_mask_too(options, tmp_path, as_world):
    def game():
        return as_world(pettingzoo.make("aec", "classic/tictactoe-v3"))

    run = Experiment(options(env="my game", model="random", steps=60), tmp_path / "run", world=game)
    run.train()
    assert all(legal_moves(model.memory).all() for model in run.models.values())


def test_games_use_no_mask_when_told_so(options, tmp_path):
    run = Experiment(options(env=TICTACTOE, action_mask="none"), tmp_path / "run")
    for model in run.models.values():
        assert model.memory.obs_shape == (27,)
        assert model.mask is None
    run = Experiment(options(env=TICTACTOE, action_mask="none", structured=True), tmp_path / "other")
    assert {model.mask for model in run.models.values()} == {None}
    run = Experiment(options(env="pettingzoo:classic/rps-v2"), tmp_path / "rps")
    assert {model.memory.obs_shape for model in run.models.values()} == {(4,)}


class Doors(gym.Env):
    """Three doors, of which two are open; the parts of an observation are named by the test."""

    action_space = gym.spaces.Discrete(3)

    def __init__(self, name):
        self.name = name
        self.observation_space = gym.spaces.Dict(
            {name: gym.spaces.MultiBinary(3), "time": gym.spaces.Box(0, 9, (1,))}
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._seen(), {}

    def step(self, action):
        assert self.seen[self.name][action], "a closed door"
        self.time += 1
        return self._seen(), float(action), self.time == 6, False, {}

    def _seen(self):
        is_open = np.arange(3) != self.np_random.integers(3)
        self.seen = {self.name: is_open.astype(np.int8), "time": np.array([self.time], np.float32)}
        return self.seen


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("action_mask", {"structured": True}), ("open", {"action_mask": "open"})],
)
@pytest.mark.parametrize("n_envs", [1, 2])
@ELSEWHERE
def test_masks_of_a_gymnasium_world(options, tmp_path, name, chosen, n_envs):
    chosen = options(env="doors", n_envs=n_envs, steps=300, **chosen)
    Experiment(chosen, tmp_path / "run", world=lambda: Doors(name)).train()


def test_a_mask_that_can_not_be_used_is_refused(options, tmp_path):
    with pytest.raises(ValueError, match="action_mask='legal'"):
        Experiment(options(env=TICTACTOE, action_mask="legal"), tmp_path / "run")
    with pytest.raises(ValueError, match="action_mask='image'"):
        Experiment(options(env=GRID, action_mask="image"), tmp_path / "run")
    with pytest.raises(TypeError, match="action_mask=3"):
        TrainOptions(env="x", action_mask=3)
    assert not (tmp_path / "run").exists()


def test_a_run_of_an_earlier_version_has_no_mask(options, tmp_path):
    chosen = options(env=TICTACTOE, model="random", action_mask="none")
    Experiment(chosen, tmp_path / "run").train()
    config = tmp_path / "run" / "config.json"
    earlier = json.loads(config.read_text())
    for name in ("action_mask", "structured"):
        del earlier[name]
    config.write_text(json.dumps(earlier))
    assert TrainOptions.load(config) == chosen
    run = Experiment.resume(tmp_path / "run", steps=chosen.steps + 50)
    run.train()
    assert run.step >= chosen.steps + 50


def test_custom_models_get_the_structure_that_they_have(options, backend, tmp_path):
    world = make("classic/tictactoe-v3")
    players = {
        name: tri.RandomModel(shape, 9, 200, backend=backend, seed=0, **more)
        for name, shape, more in (
            ("player_1", world.structured_spec("player_1").shape, {"action_mask": "action_mask"}),
            ("player_2", world.observation_spec("player_2").shape, {}),
        )
    }
    run = Experiment(replace(options(env=TICTACTOE), steps=150), tmp_path / "run", models=players)
    run.train()
    assert legal_moves(players["player_1"].memory).all()
    assert len(players["player_2"].memory) > 20


@pytest.mark.slow
def test_the_command_trains_in_a_structured_world(backend, tmp_path):
    model = "ddqn" if isinstance(backend, tri.Differentiable) else "random"
    options = ("--structured", "--turns", "30", "--backend", backend.name, "--model", model)
    short = ("--steps", "200", "--learning-starts", "100", "--eval-episodes", "2", "--out", "run")
    done = trifolium("train", GRID, *options, *short, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "config.json").read_text())["structured"] is True
    again = trifolium("train", "--resume", "run", "--steps", "260", "--trust", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    done = trifolium("evaluate", "run", "--episodes", "2", "--trust", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "over 2 episodes" in done.stdout
    done = trifolium("watch", "run", "--gif", "played.gif", "--trust", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = trifolium("report", "run", "--trust", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
