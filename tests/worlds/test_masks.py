"""Games that show which moves are legal: models with an action mask make no other move."""

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from pettingzoo import ParallelEnv

import trifolium as tri
from trifolium.agents import Structured
from trifolium.backend import as_numpy
from trifolium.experiment.runners import WorldRunner
from trifolium.worlds import AECWorld, ParallelWorld

from .test_games import play

CLASSIC = {"classic/tictactoe-v3": 9, "classic/connect_four-v3": 7}


class Watched(AECWorld):
    """Sees to it that each move is legal."""

    moves = 0

    def act(self, agent, action):
        assert self.env.last()[0]["action_mask"][action] == 1
        self.moves += 1
        super().act(agent, action)


def random_model(backend, world, agent="player_1", **options):
    shape, n = world.structured_spec(agent).shape, world.action_spec(agent).n
    options = {"memory_size": 500, "n_streams": 2, "seed": 0, "backend": backend} | options
    return tri.RandomModel(shape, n, action_mask="action_mask", **options)


@pytest.mark.parametrize("name", CLASSIC)
def test_a_random_model_makes_legal_moves(backend, name):
    world = Watched(pettingzoo.make("aec", name))
    agent = world.possible_agents[0]
    spec = world.structured_spec(agent)
    assert isinstance(spec, Structured)
    assert spec.shape["action_mask"] == ((CLASSIC[name],), "int8")
    model = random_model(backend, world, agent)
    ends = play(WorldRunner(world, model, seed=0), 5)
    assert world.moves > 5 * 4
    assert {end.episode_return for end in ends} <= {-1.0, 0.0, 1.0}
    obs, actions, *_ = model.memory[:]
    mask, actions = as_numpy(obs["action_mask"]), as_numpy(actions)
    ended = mask.sum(axis=1) == 0  # observations of one whose turn it is not: no moves
    assert mask[~ended, :][np.arange((~ended).sum()), actions[~ended]].all()
    assert not ended.all()


class InInfo:
    """Tic-tac-toe whose mask is in the info, and whose observation is the board alone."""

    def __init__(self, env):
        self.env = env

    def __getattr__(self, name):
        return getattr(self.env, name)

    def observation_space(self, agent):
        return self.env.observation_space(agent)["observation"]

    def last(self):
        seen, reward, terminated, truncated, _ = self.env.last()
        over = terminated or truncated
        info = {} if over else {"action_mask": seen["action_mask"]}
        return seen["observation"], reward, terminated, truncated, info


def test_a_mask_in_the_info_becomes_a_part(backend):
    def rows(world):
        model = random_model(backend, world)
        ends = play(WorldRunner(world, model, seed=1), 4)
        obs, *rest = model.memory[:]
        return ends, obs, [as_numpy(each) for each in rest]

    make = lambda: pettingzoo.make("aec", "classic/tictactoe-v3")  # noqa: E731
    shown, told = AECWorld(make()), AECWorld(InInfo(make()), mask_from_info=True)
    assert shown.structured_spec("player_1").shape == told.structured_spec("player_1").shape
    assert shown.observation_spec("player_1").shape == told.observation_spec("player_1").shape
    (ends, obs, rest), (same_ends, same_obs, same_rest) = rows(shown), rows(told)
    assert ends == same_ends
    for one, two in zip([*obs.values(), *rest], [*same_obs.values(), *same_rest], strict=True):
        assert np.array_equal(as_numpy(one), as_numpy(two))


class Doors(ParallelEnv):
    """All choose a door of three at once; which are open changes with each step."""

    metadata = {"name": "doors"}  # noqa: RUF012 (PettingZoo's)
    possible_agents = ["a", "b"]  # noqa: RUF012
    render_mode = None

    def __init__(self, space=None, masks=True):
        self.space = space or gym.spaces.Box(0, 9, (1,))
        self.masks = masks

    def observation_space(self, agent):
        return self.space

    def action_space(self, agent):
        return gym.spaces.Discrete(3, start=2)

    def reset(self, seed=None, options=None):
        self.agents, self.time = self.possible_agents[:], 0
        return self._seen(), self._infos()

    def _seen(self):
        now = np.array([self.time], np.float32)
        is_dict = isinstance(self.space, gym.spaces.Dict)
        return {agent: {"time": now} if is_dict else now for agent in self.possible_agents}

    def _open(self, agent):
        return [(self.time + door + (agent == "b")) % 3 != 0 for door in range(3)]

    def _infos(self):
        if not self.masks:
            return {}
        return {agent: {"action_mask": self._open(agent)} for agent in self.agents}

    def step(self, actions):
        for agent, action in actions.items():
            assert self._open(agent)[action - 2]
        self.time += 1
        over = self.time == 5
        agents, self.agents = self.agents, [] if over else self.agents
        ends = dict.fromkeys(agents, over)
        return (
            self._seen(),
            dict.fromkeys(agents, 1.0),
            dict.fromkeys(agents, False),
            ends,
            self._infos(),
        )

    def close(self):
        pass


@pytest.mark.parametrize("space", [None, gym.spaces.Dict({"time": gym.spaces.Box(0, 9, (1,))})])
def test_masks_of_agents_that_act_at_once(backend, space):
    world = ParallelWorld(Doors(space), mask_from_info=True)
    name = "observation" if space is None else "time"
    assert world.structured_spec("a").shape == {
        "action_mask": ((3,), "int8"),
        name: ((1,), "float32"),
    }
    model = random_model(backend, world, "a")
    play(WorldRunner(world, model, seed=0), 3)
    batch = model.memory.sample(model.memory.drawable)
    assert int(as_numpy(batch.valid).sum()) == 2 * 3 * 5
    cut = as_numpy(batch.next_states[name])[:, 0] == 5
    assert cut.sum() == 2 * 3
    assert not as_numpy(batch.next_states["action_mask"])[cut].any()


def test_a_mask_that_is_missing_is_named(backend):
    world = ParallelWorld(Doors(masks=False), mask_from_info=True)
    with pytest.raises(tri.WorldError, match="info of agent 'a' has no 'action_mask'"):
        world.reset(seed=0)
    with pytest.raises(TypeError, match="mask_from_info"):
        AECWorld(pettingzoo.make("aec", "classic/tictactoe-v3"), mask_from_info="yes")
