"""Experiment: the loop, its schedules and its record."""

import json
import math

import gymnasium as gym
import numpy as np
import pytest

import trifolium as tri
from trifolium.experiment import Experiment, TrainOptions, evaluate
from trifolium.experiment.record import read_metrics
from trifolium.worlds import gym as gym_worlds


@pytest.fixture
def options(backend):
    def make(**chosen):
        model = "ddqn" if backend.capabilities.train else "random"
        defaults = {"steps": 400, "learning_starts": 200, "batch_size": 16, "memory_size": 500}
        return TrainOptions(
            **({"env": "CartPole-v1", "model": model, "backend": backend.name} | defaults | chosen)
        )

    return make


def test_metrics_add_up(options, tmp_path):
    heard = []
    Experiment(options(), tmp_path / "run").train(on_progress=heard.append)
    episodes = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [e.episode for e in episodes] == list(range(1, len(episodes) + 1))
    assert [e.step for e in episodes] == np.cumsum([e.length for e in episodes]).tolist()
    assert 300 < episodes[-1].step <= 400
    assert all(e.episode_return == e.length for e in episodes)  # CartPole pays 1 a step
    assert [p.episode.step for p in heard][: len(episodes)] == [e.step for e in episodes]
    assert heard[-1].episode.step == 400  # the run's end, in the middle of an episode perhaps
    assert heard[-1].recent_return == pytest.approx(np.mean([e.episode_return for e in episodes[-20:]]))


def test_same_seed_same_run(options, tmp_path):
    for name in ("one", "two"):
        Experiment(options(), tmp_path / name).train()
    one, two = ((tmp_path / name / "metrics.csv").read_bytes() for name in ("one", "two"))
    assert one == two
    Experiment(options(seed=1), tmp_path / "three").train()
    assert one != (tmp_path / "three" / "metrics.csv").read_bytes()


def test_learning_begins_when_asked(options, tmp_path, learner):
    Experiment(options(), tmp_path / "run").train()
    for episode in read_metrics(tmp_path / "run" / "metrics.csv"):
        assert math.isnan(episode.loss) == (episode.step <= 201), episode


def test_memory_holds_the_true_successor_of_a_truncated_step(options, tmp_path):
    run = Experiment(options(env="CartPole-v1", steps=30), tmp_path / "run")
    run.env = gym.wrappers.TimeLimit(run.env, 5)
    seen = []
    step = run.env.step
    run.env.step = lambda action: seen.append(step(action)) or seen[-1]
    run.train()
    memory = run.model.memory
    cut = [i for i, outcome in enumerate(seen) if outcome[3] and not outcome[2]]
    assert cut
    stored = [tri.backend.as_numpy(memory[i][0]).tolist() for i in range(len(memory))]
    for i in cut:
        assert seen[i][0].tolist() in stored


def test_loaded_run_evaluates_the_same(options, tmp_path):
    run = Experiment(options(), tmp_path / "run")
    run.train()
    assert np.array_equal(run.evaluate(), Experiment.load(tmp_path / "run").evaluate())


def test_evaluation_is_greedy_and_leaves_the_model_as_it_was(backend):
    class Counting(tri.BaseModel):
        def take_action(self, state):
            assert self.epsilon == 0.0
            assert np.shape(state) == (3, 4)
            return 1

    model = Counting(4, 2, 100, 0.7, backend=backend, n_frames=3)
    returns = evaluate(model, gym_worlds.make("CartPole-v1"), 3, seed=5)
    assert returns.shape == (3,)
    assert np.array_equal(returns, evaluate(model, gym_worlds.make("CartPole-v1"), 3, seed=5))
    assert model.epsilon == 0.7
    assert len(model.memory) == 0


def test_schedules():
    options = TrainOptions(env="x", steps=100, exploration=0.5, epsilon_end=0.1, learning_rate=1.0)
    assert [options.epsilon(step) for step in (0, 25, 50, 99)] == pytest.approx([1.0, 0.55, 0.1, 0.1])
    assert [options.learning_rate_at(step) for step in (0, 50, 99)] == pytest.approx([1.0, 0.5, 0.01])
    at_once = TrainOptions(env="x", exploration=0.0)
    assert at_once.epsilon(0) == at_once.epsilon_end


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 1.5),
        ("model", "dqqn"),
        ("gamma", 1.1),
        ("learning_rate", -1.0),
        ("hidden", (0,)),
        ("seed", -1),
        ("eval_episodes", 0),
    ],
)
def test_bad_options_are_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        TrainOptions(**({"env": "CartPole-v1"} | {name: value}))


def test_options_survive_their_file(tmp_path):
    options = TrainOptions(env="CartPole-v1", hidden=(8, 4), device="cpu")
    options.save(tmp_path / "config.json")
    assert TrainOptions.load(tmp_path / "config.json") == options


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"env": "x", "stepz": 3}', '{"env": "x", "steps": 0}']
)
def test_bad_options_file_is_a_checkpoint_error(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(tri.CheckpointError, match=r"config\.json"):
        TrainOptions.load(tmp_path / "config.json")


def test_folder_of_another_run_is_left_alone(options, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"env": "other"}))
    with pytest.raises(FileExistsError, match="holds a run"):
        Experiment(options(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("name", ["NoSuchWorld-v0", "CartPole-v9", "Pendulum-v1", "FrozenLake-v1"])
def test_worlds_that_can_not_be_driven_are_named(name):
    with pytest.raises(tri.WorldError, match=name):
        gym_worlds.make(name)
