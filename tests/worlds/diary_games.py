"""The diary, written by several agents: all at once, in turns, and one after another."""

from typing import Any

import gymnasium as gym
import numpy as np
from pettingzoo import AECEnv, ParallelEnv

from .diary import N_ACTIONS, action_at, ending, entry, length, reward_at

AGENTS = ["writer_0", "writer_1", "writer_2"]
SPACE = gym.spaces.Box(-1, 1000, (3,), np.float32)


def number(agent: str) -> int:
    return int(agent[-1])


def flags(writer: int, episode: int, steps: int) -> tuple[bool, bool]:
    """Return (terminated, truncated) after so many steps."""
    over, end = steps == length(writer, episode), ending(writer, episode)
    return over and end in ("terminated", "both"), over and end in ("truncated", "both")


class Game:
    metadata: dict[str, Any] = {"name": "diary"}  # noqa: RUF012 (PettingZoo's)
    render_mode = None
    possible_agents = AGENTS

    def observation_space(self, agent: str) -> gym.Space[Any]:
        return SPACE

    def action_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Discrete(N_ACTIONS)


class DiaryParallel(Game, ParallelEnv):
    """All write at the same time. Some die before others; the last one appears after a step."""

    births = (0, 0, 1)
    episode = -1

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.episode += 1
        self.time = 0
        self.agents = [agent for agent in AGENTS if self.births[number(agent)] == 0]
        return {agent: self.observe(agent) for agent in self.agents}, {}

    def observe(self, agent: str) -> np.ndarray:
        return entry(number(agent), self.episode, self.age(agent))

    def age(self, agent: str) -> int:
        return self.time - self.births[number(agent)]

    def step(self, actions: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        assert sorted(actions) == sorted(self.agents)
        times = {agent: (number(agent), self.episode, self.age(agent)) for agent in self.agents}
        for agent, now in times.items():
            assert actions[agent] == action_at(*now), now
        self.time += 1
        rewards = {agent: reward_at(*now) for agent, now in times.items()}
        ends = {agent: flags(*now[:2], now[2] + 1) for agent, now in times.items()}
        born = [agent for agent in AGENTS if self.births[number(agent)] == self.time]
        observations = {agent: self.observe(agent) for agent in (*self.agents, *born)}
        self.agents = [agent for agent in self.agents if not any(ends[agent])] + born
        terminations = {agent: end[0] for agent, end in ends.items()}
        return observations, rewards, terminations, {a: end[1] for a, end in ends.items()}, {}

    def close(self) -> None:
        pass


class DiaryTurns(Game, AECEnv):
    """They write in turns. Half of a reward, and the end, come only when another has written."""

    episode = -1

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        self.episode += 1
        self.agents = AGENTS[:]
        self.steps = dict.fromkeys(AGENTS, 0)
        self.rewards = dict.fromkeys(AGENTS, 0.0)
        self._cumulative_rewards = dict.fromkeys(AGENTS, 0.0)
        self.terminations = dict.fromkeys(AGENTS, False)
        self.truncations = dict.fromkeys(AGENTS, False)
        self.infos = {agent: {} for agent in AGENTS}
        self.agent_selection = AGENTS[0]
        self.owed: list[tuple[str, float]] = []

    def observe(self, agent: str) -> np.ndarray:
        return entry(number(agent), self.episode, self.steps[agent])

    def step(self, action: int | None) -> None:
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        now = (number(agent), self.episode, self.steps[agent])
        assert action == action_at(*now), now
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        self.rewards[agent] = reward_at(*now) / 2
        self.steps[agent] += 1
        self._settle()
        self.owed = [(agent, reward_at(*now) / 2)]
        others = [other for other in self._living() if other != agent]
        if not others:
            self._settle()
        later = [other for other in others if number(other) > number(agent)]
        self.agent_selection = (later or others or [agent])[0]
        self._accumulate_rewards()
        self._deads_step_first()

    def _settle(self) -> None:
        """Pay what is owed, and tell its owner of the end."""
        for agent, reward in self.owed:
            self.rewards[agent] += reward
            ends = flags(number(agent), self.episode, self.steps[agent])
            self.terminations[agent], self.truncations[agent] = ends
        self.owed = []

    def _living(self) -> list[str]:
        return [a for a in self.agents if not (self.terminations[a] or self.truncations[a])]

    def close(self) -> None:
        pass


class Relay(Game, ParallelEnv):
    """One writes at a time: the next one appears as the last one dies."""

    episode = -1

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.episode += 1
        self.agents, self.steps = AGENTS[:1], 0
        return {AGENTS[0]: entry(0, self.episode, 0)}, {}

    def step(self, actions: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        [agent] = self.agents
        writer, now = number(agent), self.steps
        assert actions == {agent: action_at(writer, self.episode, now)}
        self.steps += 1
        terminated, truncated = flags(writer, self.episode, self.steps)
        observations = {agent: entry(writer, self.episode, self.steps)}
        if terminated or truncated:
            self.agents, self.steps = AGENTS[writer + 1 : writer + 2], 0
            observations |= {each: entry(number(each), self.episode, 0) for each in self.agents}
        rewards = {agent: reward_at(writer, self.episode, now)}
        return observations, rewards, {agent: terminated}, {agent: truncated}, {}

    def close(self) -> None:
        pass
