"""A single Gymnasium environment: what it leaves in the memory, by hand and through its runner."""

from enum import IntEnum

import gymnasium as gym
import numpy as np
import pytest

import trifolium as tri
from trifolium.agents import Agent
from trifolium.experiment.runners import GymRunner
from trifolium.experiment.runners.world import WorldRunner
from trifolium.worlds import GymWorld
from trifolium.worlds import gym as gym_worlds

from .diary import DiaryEnv, check_memory, clockwork, episodes_of


def by_runner(model, steps):
    runner = GymRunner(DiaryEnv(), model, seed=0)
    for _ in range(steps):
        runner.step()


def by_world_runner(model, steps):
    runner = WorldRunner(GymWorld(DiaryEnv()), model, seed=0)
    for _ in range(steps):
        runner.step()


def by_hand(model, steps):
    world = GymWorld(DiaryEnv())
    agent = Agent("agent", model, action_spec=world.action_spec("agent"))
    acted, agent.is_over = 0, True
    while acted < steps:
        if agent.is_over:
            world.reset()
        acted += not agent.transition(world)
    agent.look(world)  # at what came of the last step


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize(("n_frames", "boundary"), [(1, "mask"), (3, "mask"), (3, "pad")])
@pytest.mark.parametrize("play", [by_runner, by_world_runner, by_hand])
def test_memory_holds_what_is_true(backend, play, n_frames, boundary, n_step):
    model = clockwork(backend, n_frames, n_step, boundary=boundary)
    play(model, 60)
    check_memory(model.memory, [episodes_of(0, 60)])


def test_an_agent_counts_what_it_earned(backend):
    world = GymWorld(gym.make("CartPole-v1"))
    model = tri.RandomModel(4, 2, memory_size=100, backend=backend, seed=0)
    agent = Agent("agent", model)
    for seed in (0, 1):
        world.reset(seed)
        while not agent.transition(world):
            pass
        assert agent.length == agent.episode_return > 0
    assert model.memory.last_transition()[1:] == (1.0, True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"input_size": 3, "action_space": 2}, r"has input_size=\(3,\); expected input_size=\(4,\)"),
        ({"input_size": 4, "action_space": 3}, "has action_space=3; expected action_space=2"),
    ],
)
def test_an_agent_whose_model_does_not_fit_is_refused(backend, model, message):
    world = GymWorld(gym.make("CartPole-v1"))
    model = tri.RandomModel(**model, memory_size=100, backend=backend)
    with pytest.raises(ValueError, match=message):
        Agent("agent", model, world.observation_spec("agent"), world.action_spec("agent"))


def test_what_is_no_turn_is_refused(backend):
    class Gymlike:
        def turn(self, agent):
            return np.zeros(2), 1.0, False, False, {}

    agent = Agent("agent", tri.RandomModel(2, 2, memory_size=10, backend=backend))
    with pytest.raises(tri.WorldError, match=r"turn\('agent'\) of Gymlike returned .* expected Turn"):
        agent.transition(Gymlike())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CartPole-v9", "'CartPole-v9' can't be made"),
        ("nothing:CartPole-v1", "can't be made"),
        ("Pendulum-v1", r"action space Box.*expected Discrete"),
    ],
)
def test_environments_that_can_not_be_acted_in_are_refused(name, message):
    for make in (gym_worlds.make, lambda name: gym_worlds.make_vector(name, 2)):
        with pytest.raises(tri.WorldError, match=message):
            make(name)


def test_sizes_are_those_of_what_a_model_sees():
    assert gym_worlds.sizes(gym_worlds.make("FrozenLake-v1")) == ((16,), 4)
    assert gym_worlds.sizes(gym_worlds.make("Blackjack-v1")) == ((32 + 11 + 2,), 2)


@pytest.mark.parametrize("processes", [False, "forkserver"])
def test_a_vector_that_is_made_here_is_reset_by_its_caller(processes):
    envs = gym_worlds.make_vector("CartPole-v1", 2, processes=processes)
    assert envs.metadata["autoreset_mode"] is gym.vector.AutoresetMode.DISABLED
    obs, _ = envs.reset(seed=[3, 4])
    assert obs.shape == (2, 4)
    envs.close()
    with pytest.raises(ValueError, match="count=0 is too small"):
        gym_worlds.make_vector("CartPole-v1", 0)


@pytest.mark.parametrize(
    ("unwrapped", "names"),
    [
        ({"get_action_meanings": lambda: ["NOOP", "FIRE"]}, ("NOOP", "FIRE")),
        ({"actions": IntEnum("Actions", ["left", "right"], start=0)}, ("left", "right")),
        ({"get_action_meanings": lambda: ["NOOP"]}, ("0", "1")),  # another number than the space has
        ({"actions": [1, 2]}, ("0", "1")),
        ({}, ("0", "1")),
    ],
)
def test_actions_have_the_names_of_the_environment(unwrapped, names):
    env = gym.make("CartPole-v1")
    vars(env.unwrapped).update(unwrapped)
    assert GymWorld(env).action_spec("agent").names == names
