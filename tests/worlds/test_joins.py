"""A second runner on one model: nothing joins its first episode to one that the first left open."""

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import trifolium as tri
import trifolium.agents
from trifolium.experiment import runners
from trifolium.experiment.runners import GymRunner, VectorRunner, WorldRunner
from trifolium.worlds import AECWorld, GymWorld, ParallelWorld

MODES = list(AutoresetMode)


class Counting(gym.Env):
    """Counts from a number that no other episode of any environment contains."""

    observation_space = gym.spaces.Box(0, 1e9, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, start=0, length=7):
        self.first, self.length = start, length

    def reset(self, *, seed=None, options=None):
        self.first += 1_000
        self.time = 0
        return self._seen(), {}

    def step(self, action):
        self.time += 1
        over = self.time == self.length
        return self._seen(), 1.0, over and self.first % 2_000 == 0, over, {}

    def _seen(self):
        return np.array([self.first + self.time], np.float32)


def random_model(backend, n_streams=1, size=600):
    return tri.RandomModel(1, 2, size, n_streams=n_streams, backend=backend, seed=0)


def check_successors(memory):
    """Check that every valid row that is not terminated is followed by the next number."""
    batch = memory.sample(memory.drawable)
    columns = (batch.states, batch.next_states, batch.dones, batch.valid)
    states, following, dones, valid = (tri.backend.as_numpy(each)[:, 0] for each in columns)
    counted = (valid == 1) & (dones == 0)
    assert counted.sum() > 5
    np.testing.assert_array_equal(following[counted], states[counted] + 1)


def single(model, start):
    return GymRunner(Counting(start), model, seed=0)


def vector(model, start, mode=AutoresetMode.DISABLED, kind=SyncVectorEnv, n=3):
    makers = [lambda i=i: Counting(start + 100_000 * i, length=5 + i) for i in range(n)]
    return VectorRunner(kind(makers, autoreset_mode=mode), model, seed=0)


def world(model, start):
    return WorldRunner(GymWorld(Counting(start)), model, seed=0)


MAKERS = {"gym": (single, 1), "vector": (vector, 3), "world": (world, 1)}


@pytest.mark.parametrize("name", MAKERS)
def test_a_second_runner_begins_an_episode_in_the_memory(backend, name):
    make, n_streams = MAKERS[name]
    model = random_model(backend, n_streams)
    for start in (0, 10_000_000):
        runner = make(model, start)
        for _ in range(17):  # the last episodes stay open
            runner.step()
    check_successors(model.memory)


@pytest.mark.parametrize("name", MAKERS)
def test_an_evaluation_leaves_the_open_episode_open(backend, name):
    make, n_streams = MAKERS[name]
    model = random_model(backend, n_streams)
    runner = make(model, 0)
    runner.step()
    other = make(model, 1)
    driven = getattr(other, {"gym": "env", "vector": "envs", "world": "world"}[name])
    evaluation = type(other)(driven, model, seed=1, remember=False)
    evaluation.step()
    runner.step()
    batch = model.memory.sample(model.memory.drawable)
    assert tri.backend.as_numpy(batch.valid).all()


@pytest.mark.filterwarnings("ignore:os.fork")  # JAX's: it is not used in the processes
@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_no_reset_is_a_transition(backend, mode, kind):
    model = random_model(backend, 3, size=6_000)
    runner = vector(model, 0, mode, kind)
    try:
        for _ in range(300 if kind is SyncVectorEnv else 60):
            runner.step()
    finally:
        runner.close()
    check_successors(model.memory)


@pytest.mark.parametrize("name", MAKERS)
def test_a_long_open_episode_is_not_replayed_and_joins_nothing(backend, name, monkeypatch):
    for module in (runners.gym, runners.vector, runners.world):
        monkeypatch.setattr(module, "LONGEST_REPLAY", 10)
    make, n_streams = MAKERS[name]
    model = random_model(backend, n_streams)
    runner = make(model, 0)
    envs = {
        "gym": lambda: [runner.env],
        "vector": lambda: runner.envs.envs,
        "world": lambda: [runner.world.env],
    }
    for env in envs[name]():
        env.length = 1_000
    for _ in range(30):
        runner.step()
    state = runner.state()
    assert len(str(state)) < 400
    again = make(model, 10_000_000)
    again.restore(state)
    assert again.episodes == n_streams  # those that were cut
    for _ in range(30):
        again.step()
    check_successors(model.memory)


# Agents that come back


class Returning(pettingzoo.ParallelEnv):
    """One agent dies every third step and is back a step later; another never dies."""

    metadata = {"name": "returning"}  # noqa: RUF012
    possible_agents = ["stays", "returns"]  # noqa: RUF012

    def observation_space(self, agent):
        return Counting.observation_space

    def action_space(self, agent):
        return Counting.action_space

    def reset(self, seed=None, options=None):
        self.time, self.agents = 0, list(self.possible_agents)
        return self._seen(self.agents), {}

    def step(self, actions):
        assert actions.keys() == set(self.agents)
        self.time += 1
        dies = [agent for agent in self.agents if agent == "returns" and self.time % 4 == 3]
        seen = self._seen(self.agents)
        self.agents = [agent for agent in self.possible_agents if agent not in dies]
        seen |= self._seen(self.agents)
        over = self.time == 23
        if over:
            self.agents = []
        flags = dict.fromkeys(seen, False) | dict.fromkeys(dies, True)
        return seen, dict.fromkeys(seen, 1.0), flags, dict.fromkeys(seen, over), {}

    def _seen(self, agents):
        return {agent: np.array([self.time], np.float32) for agent in agents}


class ReturningInTurns(pettingzoo.AECEnv):
    """The same, one after the other."""

    metadata = {"name": "returning"}  # noqa: RUF012
    possible_agents = Returning.possible_agents
    observation_space, action_space = Returning.observation_space, Returning.action_space

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        self.times = dict.fromkeys(self.agents, 0)
        self.terminations, self.truncations = dict.fromkeys(self.agents, False), {}
        self.rewards = self._cumulative_rewards = dict.fromkeys(self.agents, 1.0)
        self.infos = {agent: {} for agent in self.agents}
        self.truncations = dict.fromkeys(self.agents, False)
        self.agent_selection = "stays"

    def observe(self, agent):
        return np.array([self.times[agent]], np.float32)

    def step(self, action):
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self.agents.remove(agent)
        else:
            self.times[agent] += 1
            if agent == "returns" and self.times[agent] % 4 == 3:
                self.terminations[agent] = True
            if self.times["stays"] == 20:
                self.truncations = dict.fromkeys(self.possible_agents, True)
        if agent == "stays" and "returns" not in self.agents and not self.truncations["stays"]:
            self.agents.append("returns")
            self.terminations["returns"] = False
            self.times["returns"] += 1
        self.agent_selection = next((each for each in self.agents if each != agent), None) or next(
            iter(self.agents), agent
        )


@pytest.mark.parametrize("game", ["parallel", "turns"])
def test_an_agent_that_comes_back_begins_a_new_episode(backend, game):
    made = ParallelWorld(Returning()) if game == "parallel" else AECWorld(ReturningInTurns())
    models = {name: random_model(backend) for name in Returning.possible_agents}
    runner = WorldRunner(made, models, seed=0)
    ends = []
    while runner.episodes == 0:
        ends += runner.step()
    stays = [end.length for end in ends if end.agent == "stays"]
    assert stays == [23 if game == "parallel" else 20]
    assert len([end for end in ends if end.agent == "returns"]) >= 5
    for model in models.values():
        check_successors(model.memory)


@pytest.mark.filterwarnings("ignore")
def test_knights_archers_zombies_is_played_to_its_end(backend):
    pytest.importorskip("pygame")
    from pettingzoo.butterfly import knights_archers_zombies_v11

    env = knights_archers_zombies_v11.parallel_env(max_cycles=300, spawn_delay=2)
    models = {
        agent: tri.RandomModel(
            env.observation_space(agent).shape, 6, 400, obs_dtype="float32", backend=backend, seed=i
        )
        for i, agent in enumerate(env.possible_agents)
    }
    runner = WorldRunner(env, models, seed=3)
    ends = []
    while runner.episodes == 0:
        ends += runner.step()
    assert {end.agent for end in ends} == set(env.possible_agents)
    runner.close()


# What environments give


class Odd(Counting):
    """An environment whose rewards are arrays of one number."""

    def step(self, action):
        obs, reward, *rest = super().step(action)
        return obs, np.array([reward]), *rest


@pytest.mark.parametrize("name", ["gym", "world", "vector"])
def test_a_reward_may_be_an_array_of_one_number(backend, name):
    model = random_model(backend, 2 if name == "vector" else 1)
    if name == "gym":
        runner = GymRunner(Odd(), model, seed=0)
    elif name == "world":
        runner = WorldRunner(GymWorld(Odd()), model, seed=0)
    else:

        class Column(gym.vector.VectorWrapper):
            def step(self, actions):
                obs, rewards, *rest = self.env.step(actions)
                return obs, rewards[:, None], *rest

        mode = AutoresetMode.DISABLED
        envs = Column(SyncVectorEnv([Counting, Counting], autoreset_mode=mode))
        runner = VectorRunner(envs, model, seed=0)
    ends = [end for _ in range(8) for end in runner.step()]
    assert ends[0].episode_return == 7.0


@pytest.mark.parametrize("reward", [None, [1.0, 2.0], "high"])
def test_a_reward_that_is_no_number_is_named(backend, reward):
    class Wrong(Counting):
        def step(self, action):
            obs, _, *rest = super().step(action)
            return obs, reward, *rest

    for runner in (
        GymRunner(Wrong(), random_model(backend), seed=0),
        WorldRunner(GymWorld(Wrong()), random_model(backend), seed=0),
    ):
        with pytest.raises(tri.WorldError, match="gave the reward"):
            runner.step()


def test_a_raw_environment_of_pettingzoo_is_a_world(backend):
    runner = WorldRunner(Returning(), random_model(backend, 2), seed=0)
    runner.step()
    assert isinstance(runner.world, ParallelWorld)


def test_an_agent_says_what_makes_a_world(backend):
    agent = tri.agents.Agent("stays", random_model(backend))
    for env, hint in ((Returning(), r"ParallelWorld\(env\)"), (Counting(), r"GymWorld\(env\)")):
        with pytest.raises(tri.WorldError, match=hint):
            agent.transition(env)


@pytest.mark.parametrize("what", ["observation", "reward"])
@pytest.mark.parametrize("name", ["gym", "vector", "world"])
def test_nan_is_an_error_that_names_what_it_is_in(backend, name, what):
    class Poisoned(Counting):
        def step(self, action):
            obs, reward, *rest = super().step(action)
            if self.time < 3:
                return obs, reward, *rest
            return (obs * np.nan, reward, *rest) if what == "observation" else (obs, np.nan, *rest)

    def made(check_nan):
        if name == "gym":
            return GymRunner(Poisoned(), random_model(backend), seed=0, check_nan=check_nan)
        if name == "world":
            return WorldRunner(GymWorld(Poisoned()), random_model(backend), seed=0, check_nan=check_nan)
        envs = SyncVectorEnv([Counting, Poisoned], autoreset_mode=AutoresetMode.DISABLED)
        return VectorRunner(envs, random_model(backend, 2), seed=0, check_nan=check_nan)

    runner = made(check_nan=True)
    runner.step()
    runner.step()
    with pytest.raises(tri.NanError, match=f"the {what} of .* NaN"):
        runner.step()
    silent = made(check_nan=False)
    for _ in range(4):
        silent.step()
