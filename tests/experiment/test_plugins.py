"""What others plug into an experiment: logs, kinds of worlds, models."""

import gymnasium as gym
import pytest

import trifolium as tri
from trifolium.experiment import Experiment, Log, TrainOptions
from trifolium.experiment.kinds import WorldKind, kind_named, kind_of, kinds
from trifolium.experiment.rows import EpisodeRow, EvaluationRow, read_rows
from trifolium.worlds import GymWorld, ParallelWorld

from .command import check_mistake, trifolium


class Kept(Log):
    """Keeps rows in memory, and how many there were at each checkpoint."""

    def __init__(self):
        self.episodes, self.evaluations, self.calls = [], [], []

    def start(self, start):
        self.calls.append("start")
        del self.episodes[start.saved or 0 :]
        self.began = start

    def episode(self, row):
        self.episodes.append(row)

    def evaluation(self, row):
        self.evaluations.append(row)

    def save(self):
        self.calls.append("save")
        return len(self.episodes)

    def close(self):
        self.calls.append("close")


def test_a_log_gets_every_row(options, tmp_path):
    log, other = Kept(), Kept()
    chosen = options(model="random", steps=200, eval_every=50, eval_episodes=2)
    Experiment(chosen, tmp_path, logs=[log, other]).train()
    assert repr(log.episodes) == repr(read_rows(tmp_path / "metrics.csv", EpisodeRow))
    assert log.evaluations == read_rows(tmp_path / "evaluations.csv", EvaluationRow)
    assert len(log.episodes) > 3
    assert log.calls == ["start", "save", "close"]
    assert other.episodes == log.episodes
    began = (log.began.out, log.began.step, tuple(log.began.agents), log.began.saved)
    assert began == (tmp_path, 0, ("agent",), None)


def test_a_log_undoes_what_came_after_the_checkpoint(options, tmp_path):
    log = Kept()
    chosen = options(model="random", steps=300, checkpoint_every=50)

    def fail(progress):
        if progress.step > 180:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        Experiment(chosen, tmp_path, logs=[log]).train(on_progress=fail)
    assert log.calls[-1] == "close"
    Experiment.resume(tmp_path, logs=[log]).train()
    assert repr(log.episodes) == repr(read_rows(tmp_path / "metrics.csv", EpisodeRow))
    assert log.began.step >= 150


def test_a_log_overrides_only_what_it_needs(options, tmp_path):
    class Counted(Log):
        count = 0

        def episode(self, row):
            self.count += 1

    log = Counted()
    Experiment(options(model="random", steps=200), tmp_path, logs=[log]).train()
    assert log.count == len(read_rows(tmp_path / "metrics.csv", EpisodeRow)) > 3


def test_kinds_are_found_by_the_prefix_of_a_name():
    assert {"gymnasium", "pettingzoo", "gymnax"} <= kinds().keys()
    names = {
        "CartPole-v1": ("GymnasiumKind", "CartPole-v1"),
        "module:Id-v0": ("GymnasiumKind", "module:Id-v0"),
        "pettingzoo:classic/rps-v2": ("PettingZooKind", "classic/rps-v2"),
    }
    for env, (kind, name) in names.items():
        found, rest = kind_named(env)
        assert (type(found).__name__, rest) == (kind, name)
        assert isinstance(found, WorldKind)


def test_the_kind_of_a_world_of_ones_own():
    pettingzoo = pytest.importorskip("pettingzoo")
    env = gym.make("CartPole-v1")
    kind, world = kind_of(env, turns=5)
    assert (type(kind).__name__, type(world)) == ("GymnasiumKind", gym.wrappers.TimeLimit)
    assert type(kind_of(GymWorld(env))[0]).__name__ == "OwnKind"
    kind, world = kind_of(pettingzoo.make("parallel", "classic/rps-v2"))
    assert (type(kind).__name__, type(world)) == ("PettingZooKind", ParallelWorld)
    with pytest.raises(TypeError, match="world makes a int; expected an environment"):
        kind_of(3)


ALIKE = ["a/b", "a_b", "é", "ü", "Wolf", "wolf"]
KIND = f"""
import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv
from trifolium.experiment.kinds.gymnasium import GymnasiumKind
from trifolium.experiment.kinds.pettingzoo import PettingZooKind
from trifolium.models import RandomModel
from trifolium.worlds import pettingzoo


class Alike(ParallelEnv):
    metadata = {{"name": "alike"}}
    render_mode = None
    possible_agents = {ALIKE!r}

    def observation_space(self, agent):
        return Box(-1, 1, (2,))

    def action_space(self, agent):
        return Discrete(2)

    def reset(self, seed=None, options=None):
        self.agents, self.steps = list(self.possible_agents), 0
        everyone = {{agent: np.zeros(2, np.float32) for agent in self.agents}}
        return everyone, {{agent: {{}} for agent in self.agents}}

    def step(self, actions):
        self.steps += 1
        everyone = {{agent: np.zeros(2, np.float32) for agent in self.agents}}
        over = dict.fromkeys(self.agents, self.steps == 5)
        infos = {{agent: {{}} for agent in self.agents}}
        rewards = dict.fromkeys(self.agents, 1.0)
        self.agents = [] if self.steps == 5 else self.agents
        return everyone, rewards, over, dict.fromkeys(over, False), infos


class Crowd(PettingZooKind):
    def make(self, name, *, render_mode=None, turns=None):
        return pettingzoo.as_world(Alike())


class Short(GymnasiumKind):
    def make(self, name, *, render_mode=None, turns=None):
        return super().make("CartPole-v1", render_mode=render_mode, turns=int(name))


class Zero(RandomModel):
    def __init__(self, *args, first=0, **options):
        super().__init__(*args, **options)
        self.first = first

    def take_action(self, state):
        return self.first
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a distribution with one file, in which are a kind of worlds and a model."""
    site = tmp_path / "site"
    info = site / "plugin-1.dist-info"
    info.mkdir(parents=True)
    (site / "plugged.py").write_text(KIND)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[trifolium.worlds]\nshort = plugged:Short\ncrowd = plugged:Crowd\nnone = plugged:RandomModel\n"
        "[trifolium.models]\nzero = plugged:Zero\n"
    )
    import os

    paths = [str(site), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def test_a_kind_of_worlds_and_a_model_are_one_file_of_a_distribution(plugin, tmp_path):
    command = ("train", "short:4", "--model", "zero", "--steps", "40", "--out", "run")
    done = trifolium(*command, "--model-option", "first=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = read_rows(tmp_path / "run" / "metrics.csv", EpisodeRow)
    assert [row.length for row in rows] == [4] * 10
    assert "mean greedy return 4.0" in done.stdout
    done = trifolium("train", "CartPole-v1", "--model", "zer", "--out", "x", cwd=tmp_path)
    check_mistake(done, "'zer'", "did you mean 'zero'?")


def test_a_model_made_with_options_of_its_own(learner, tmp_path):
    options = TrainOptions(
        env="CartPole-v1",
        model="iqn",
        backend=learner.name,
        steps=40,
        quantiles=5,
        target_quantiles=6,
        action_quantiles=7,
        cosines=9,
        kappa=0.5,
        double=True,
        polyak=0.25,
        learning_rate=0.01,
        learning_rate_end=None,
        prioritized=True,
        alpha=0.3,
        beta=0.9,
        model_options={"adam_epsilon": 1e-4},
    )
    model = Experiment(options, tmp_path / "run").models["model"]
    made = (model.quantiles, model.target_quantiles, model.action_quantiles, model.cosines)
    assert made == (5, 6, 7, 9)
    assert (model.kappa, model.double, model.polyak, model.adam_epsilon) == (0.5, True, 0.25, 1e-4)
    assert model.learning_rate == 0.01
    assert (model.memory.sampler.alpha, model.memory.sampler.beta) == (0.3, 0.9)


def test_the_command_line_has_the_defaults_of_the_constructors(learner, tmp_path):
    for name, made in (("ddqn", tri.DDQN), ("iqn", tri.IQN)):
        options = TrainOptions(env="CartPole-v1", model=name, backend=learner.name)
        run = Experiment(options, tmp_path / name).models["model"]
        plain = made(4, 2, options.memory_size, backend=learner).options()
        for option, value in run.options().items():
            if option not in ("learning_rate", "epsilon"):
                assert value == plain[option], option
        assert run.learning_rate(0) == made(4, 2, 1_000, backend=learner).learning_rate


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"quantiles": 3}, "quantiles=3 is no option of model='ddqn'"),
        ({"model": "iqn", "huber_delta": 0.3}, "huber_delta=0.3 is no option of model='iqn'"),
        ({"model_options": {"adam_epsilom": 1.0}}, "did you mean 'adam_epsilon'"),
    ],
)
def test_an_option_that_the_model_does_not_have_is_refused(tmp_path, chosen, message):
    with pytest.raises(ValueError, match=message):
        Experiment(TrainOptions(env="CartPole-v1", **chosen), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_memory_that_streams_do_not_divide_is_rounded_up(options, tmp_path):
    with pytest.warns(RuntimeWarning, match="memory_size=500 is rounded up to 501"):
        run = Experiment(options(n_envs=3), tmp_path / "run")
    assert run.models["model"].memory.capacity == 501


def test_agents_whose_names_are_alike_have_files_of_their_own(plugin, tmp_path):
    command = ("train", "crowd:all", "--model", "random", "--steps", "40", "--out", "run")
    done = trifolium(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [path.name for path in (tmp_path / "run").glob("model-*.safetensors")]
    assert len({name.casefold() for name in found}) == len(ALIKE)
    assert trifolium("evaluate", "run", "--trust", "--episodes", "1", cwd=tmp_path).returncode == 0
