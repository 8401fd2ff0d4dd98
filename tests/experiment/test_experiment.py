"""Experiment: its loop, its schedules, its hooks and its record."""

import itertools
import json
import math
import warnings

import gymnasium as gym
import numpy as np
import pytest

import trifolium as tri
from trifolium.experiment import Experiment, TrainOptions, evaluate
from trifolium.experiment.rows import EpisodeRow, EvaluationRow, read_rows


class Diarist(tri.BaseModel):
    """Does nothing well, and notes what happens to it."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.diary = []

    def take_action(self, state):
        self.diary.append(("act", self.epsilon))
        return 1

    def train_step(self):
        self.diary.append(("learn", len(self.memory)))
        return len(self.memory)

    def start_epoch_action(self, **kwargs):
        self.diary.append(("start", kwargs["epoch"]))

    def end_epoch_action(self, **kwargs):
        self.diary.append(("end", kwargs["epoch"]))

    def reset(self):
        self.diary.append(("reset", None))


def episodes_of(out):
    return read_rows(out / "metrics.csv", EpisodeRow)


def test_metrics_add_up(options, tmp_path):
    heard = []
    Experiment(options(), tmp_path / "run").train(on_progress=heard.append)
    episodes = episodes_of(tmp_path / "run")
    assert [e.episode for e in episodes] == list(range(1, len(episodes) + 1))
    assert [e.step for e in episodes] == np.cumsum([e.length for e in episodes]).tolist()
    assert 300 < episodes[-1].step <= 400
    assert all(e.episode_return == e.length for e in episodes)  # CartPole pays 1 a step
    assert {e.step for e in episodes} <= {p.step for p in heard}
    assert heard[-1].step == 400  # the run's end, in the middle of an episode perhaps
    assert len(heard) >= 100
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
    for episode in episodes_of(tmp_path / "run"):
        assert math.isnan(episode.loss) == (episode.step <= 201), episode


def test_epochs_hooks_and_learning_come_in_order(backend, tmp_path):
    model = Diarist(4, 2, 1000, backend=backend)
    options = TrainOptions(
        env="CartPole-v1",
        steps=40,
        learning_starts=5,
        train_every=4,
        updates_per_train=2,
        epsilon_end=0.0,
        exploration=1.0,
    )
    Experiment(options, tmp_path / "run", models=model).train()
    lengths = [episode.length for episode in episodes_of(tmp_path / "run")]
    lengths.append(40 - sum(lengths))  # the epoch that the run's end cuts off
    assert len(lengths) > 3
    expected, step = [], 0
    for epoch, length in enumerate(lengths, start=1):
        expected += [("start", epoch), ("reset", None)]
        for _ in range(length):
            expected.append(("act", 1.0 - step / 40))
            step += 1
            expected += [("learn", step)] * (2 if step > 5 and step % 4 == 0 else 0)
        expected.append(("end", epoch))
    assert [kind for kind, _ in model.diary] == [kind for kind, _ in expected]
    for (kind, found), (_, value) in zip(model.diary, expected, strict=True):
        # nothing tells how many rows, as boundary rows come between
        assert kind == "learn" or found == (pytest.approx(value) if kind == "act" else value)


def test_losses_are_means_of_an_episode(backend, tmp_path):
    model = Diarist(4, 2, 1000, backend=backend)
    options = TrainOptions(env="CartPole-v1", steps=60, learning_starts=0, train_every=1)
    Experiment(options, tmp_path / "run", models=model).train()
    losses = iter([float(value) for kind, value in model.diary if kind == "learn"])
    for episode in episodes_of(tmp_path / "run"):
        assert episode.loss == pytest.approx(np.mean(list(itertools.islice(losses, episode.length))))


def test_epsilon_is_left_to_the_model_where_that_is_asked(backend, tmp_path):
    model = Diarist(4, 2, 1000, 0.25, backend=backend)
    options = TrainOptions(env="CartPole-v1", steps=20, epsilon_start=None)
    Experiment(options, tmp_path / "run", models=model).train()
    assert {value for kind, value in model.diary if kind == "act"} == {0.25}


def test_a_loss_that_is_no_number_is_warned_of_once(backend, tmp_path):
    class Broken(Diarist):
        def train_step(self):
            return math.nan

    options = TrainOptions(env="CartPole-v1", steps=60, learning_starts=0, on_nan="ignore")
    run = Experiment(options, tmp_path / "run", models=Broken(4, 2, 1000, backend=backend))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.train()
    assert [str(warning.message) for warning in caught] == ["the loss of the model 'model' is NaN"]


def test_turns_cut_an_episode_off(options, tmp_path):
    Experiment(options(turns=5, steps=60), tmp_path / "run").train()
    assert max(episode.length for episode in episodes_of(tmp_path / "run")) == 5


def test_memory_holds_the_true_successor_of_a_truncated_step(options, tmp_path):
    run = Experiment(options(steps=30, turns=5), tmp_path / "run")
    env = run.runner.env
    seen = []
    step = env.step
    env.step = lambda action: seen.append(step(action)) or seen[-1]
    run.train()
    memory = run.models["model"].memory
    cut = [i for i, outcome in enumerate(seen) if outcome[3] and not outcome[2]]
    assert cut
    stored = [tri.backend.as_numpy(memory[i][0]).tolist() for i in range(len(memory))]
    for i in cut:
        assert seen[i][0].tolist() in stored


def test_vector_of_environments(options, tmp_path):
    Experiment(options(n_envs=4, steps=402), tmp_path / "run").train()
    episodes = episodes_of(tmp_path / "run")
    assert [e.episode for e in episodes] == list(range(1, len(episodes) + 1))
    assert all(e.step % 4 == 0 for e in episodes)
    assert sum(e.length for e in episodes) <= 404
    assert sum(e.length for e in episodes) > 200


# Evaluation


def test_evaluations_change_nothing_but_their_log(options, tmp_path):
    Experiment(options(), tmp_path / "without").train()
    Experiment(options(eval_every=100, eval_episodes=3), tmp_path / "with").train()
    without, evaluated = (tmp_path / name / "metrics.csv" for name in ("without", "with"))
    assert without.read_bytes() == evaluated.read_bytes()
    rows = read_rows(tmp_path / "with" / "evaluations.csv", EvaluationRow)
    assert [row.step // 100 for row in rows] == [1, 2, 3, 4]
    ends = {episode.step for episode in episodes_of(tmp_path / "with")}
    assert all(row.step in ends | {400} for row in rows)
    assert all(row.episodes == 3 for row in rows)
    assert all(row.lowest_return <= row.mean_return <= row.highest_return for row in rows)
    assert not (tmp_path / "without" / "evaluations.csv").exists()


def test_last_evaluation_is_that_of_the_trained_model(options, tmp_path):
    run = Experiment(options(eval_every=150, eval_episodes=3), tmp_path / "run")
    run.train()
    last = read_rows(tmp_path / "run" / "evaluations.csv", EvaluationRow)[-1]
    assert last == EvaluationRow.of(400, run.evaluate()["agent"], "agent")


def test_loaded_run_evaluates_the_same(options, tmp_path):
    run = Experiment(options(), tmp_path / "run")
    run.train()
    loaded = Experiment.load(tmp_path / "run")
    for _ in range(2):
        assert np.array_equal(run.evaluate()["agent"], loaded.evaluate()["agent"])


def test_evaluation_is_greedy_and_leaves_the_model_as_it_was(backend):
    class Counting(tri.BaseModel):
        def take_action(self, state):
            assert self.epsilon == 0.0
            assert not self.exploring
            assert np.shape(state) == (3, 4)
            return int(self.rng.integers(2))

    model = Counting(4, 2, 100, 0.7, backend=backend, n_frames=3)
    returns = evaluate(model, gym.make("CartPole-v1"), 3, seed=5)
    assert returns.shape == (3,)
    assert np.array_equal(returns, evaluate(model, gym.make("CartPole-v1"), 3, seed=5))
    assert model.epsilon == 0.7
    assert len(model.memory) == 0


# Models and worlds of one's own


class Counter:
    """A world without end: a number, and an agent that is paid for counting it down."""

    possible_agents = agents = ("counter",)

    def reset(self, seed=None):
        self.value, self.reward = seed % 7, 0.0

    def turn(self, agent):
        return tri.worlds.Turn(np.array([self.value], np.float32), self.reward, False, False)

    def act(self, agent, action):
        self.reward = float(self.value > 0 and action == 1)
        self.value -= action

    def observation_spec(self, agent):
        return tri.agents.Passthrough((1,))

    def action_spec(self, agent):
        return tri.agents.ActionSpec(2)


def test_world_of_ones_own(options, tmp_path):
    run = Experiment(options(turns=12, env="counter"), tmp_path / "run", world=Counter)
    run.train()
    assert {episode.length for episode in episodes_of(tmp_path / "run")} == {12}
    returns = run.evaluate(4)["counter"]
    assert np.array_equal(
        returns, Experiment.load(tmp_path / "run", world=Counter).evaluate(4)["counter"]
    )


def test_several_agents_have_a_column(options, tmp_path):
    run = Experiment(options(env="pettingzoo:classic/rps-v2"), tmp_path / "run")
    run.train()
    episodes = episodes_of(tmp_path / "run")
    assert {episode.agent for episode in episodes} == {"player_0", "player_1"}
    assert [e.episode for e in episodes if e.agent == "player_0"] == list(range(1, 27))
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"model-player_0.safetensors", "model-player_1.safetensors"} <= names
    one, two = (model.memory.states for model in run.models.values())
    assert one.shape == two.shape


def test_shared_model_serves_all_agents(options, tmp_path):
    run = Experiment(options(env="pettingzoo:classic/rps-v2", shared=True), tmp_path / "run")
    run.train()
    (model,) = run.models.values()
    assert model.memory.n_streams == 2
    assert {episode.agent for episode in episodes_of(tmp_path / "run")} == {"player_0", "player_1"}


def test_own_models_are_asked_for_again(options, tmp_path, backend):
    out = tmp_path / "run"
    Experiment(options(steps=20), out, models=Diarist(4, 2, 100, backend=backend)).train()
    assert json.loads((out / "config.json").read_text())["model"] == "own"
    with pytest.raises(ValueError, match="'own'"):
        Experiment.load(out)
    Experiment.load(out, models=Diarist(4, 2, 100, backend=backend)).evaluate(1)


def test_worlds_must_be_made(options, tmp_path):
    with pytest.raises(TypeError, match="world is a Counter; expected a function"):
        Experiment(options(), tmp_path / "run", world=Counter())
    with pytest.raises(TypeError, match="world makes a list"):
        Experiment(options(), tmp_path / "run", world=list)
    assert not (tmp_path / "run").exists()


def test_model_that_does_not_fit_is_named(options, tmp_path, backend):
    with pytest.raises(ValueError, match="input_size"):
        Experiment(options(), tmp_path / "run", models=Diarist(3, 2, 100, backend=backend))
    models = {"one": Diarist(4, 2, 100, backend=backend)}
    with pytest.raises(ValueError, match="expected one model"):
        Experiment(options(), tmp_path / "run", models=models)


# The folder


def test_folder_of_another_run_is_left_alone(options, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"env": "other"}))
    with pytest.raises(FileExistsError, match=r"holds config\.json"):
        Experiment(options(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_out_may_not_be_a_file(options, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        Experiment(options(), tmp_path / "run")


def test_folder_says_what_it_was_made_with(options, tmp_path, backend):
    Experiment(options(steps=20), tmp_path / "run").train()
    versions = json.loads((tmp_path / "run" / "versions.json").read_text())
    assert versions["trifolium"] == tri.__version__
    assert versions[backend.name] == backend.version
    assert versions["numpy"] == np.__version__


def test_trained_model_can_be_used_alone(options, tmp_path, learner):
    run = Experiment(options(), tmp_path / "run")
    run.train()
    model = tri.DDQN.from_file(tmp_path / "run" / "model.safetensors", learning_rate=1e-3)
    states = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    values = [run.models["model"].action_values(state) for state in states]
    assert np.array_equal(values, [model.action_values(state) for state in states])
