"""PettingZoo's environments as worlds: ParallelWorld, and AECWorld, in which agents take turns."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from trifolium.agents.action import ActionSpec
from trifolium.agents.agent import as_reward
from trifolium.agents.observation import ObservationSpec
from trifolium.agents.world import Turn
from trifolium.errors import WorldError

__all__ = ["AECWorld", "ParallelWorld", "as_world", "make"]


def make(name: str, **options: Any) -> ParallelWorld | AECWorld:
    """Return the PettingZoo environment with this id as a world, if possible a parallel one.

    Args:
        name: its id, such as "classic/rps-v2".
        **options: passed on to ``pettingzoo.make``.

    Raises:
        WorldError: the id is unknown, or a package that it needs is missing.

    >>> make("classic/tictactoe-v3").possible_agents
    ('player_1', 'player_2')
    """
    import pettingzoo
    from pettingzoo.env_registry.exceptions import NameNotFound

    try:
        try:
            return ParallelWorld(pettingzoo.make("parallel", name, **options))
        except NameNotFound:
            return AECWorld(pettingzoo.make("aec", name, **options))
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        raise WorldError(f"env={name!r} can't be made: {reason}") from error


def as_world(env: Any) -> ParallelWorld | AECWorld | None:
    """Return a PettingZoo environment as a world; None for other objects.

    >>> import pettingzoo
    >>> type(as_world(pettingzoo.make("aec", "classic/rps-v2"))).__name__
    'AECWorld'
    """
    if not hasattr(env, "possible_agents") or not callable(getattr(env, "action_space", None)):
        return None
    return AECWorld(env) if hasattr(env, "last") else ParallelWorld(env)


class _PettingZooWorld:
    """Base of ParallelWorld and AECWorld: names, specs and closing."""

    def __init__(self, env: Any) -> None:
        if hasattr(env, "last") != self._takes_turns or not callable(
            getattr(env, "action_space", None)
        ):
            raise WorldError(
                f"env is a {type(env).__name__}; {type(self).__name__} takes a PettingZoo environment "
                f"made with pettingzoo.make({'aec' if self._takes_turns else 'parallel'!r}, ...); "
                "AECWorld is for those in which agents take turns, ParallelWorld for the others"
            )
        self.env = env

    _takes_turns: bool

    @property
    def possible_agents(self) -> tuple[str, ...]:
        """Names of all agents that may appear; () if the environment has no ``possible_agents``."""
        return tuple(getattr(self.env, "possible_agents", ()))

    def observation_spec(self, agent: str) -> ObservationSpec:
        """Return the spec of the observation space of ``agent``."""
        return ObservationSpec.from_space(self.env.observation_space(agent))

    def action_spec(self, agent: str) -> ActionSpec:
        """Return the spec of the action space of ``agent``."""
        return ActionSpec.from_space(self.env.action_space(agent))

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


class ParallelWorld(_PettingZooWorld):
    """A PettingZoo environment in which all agents act at the same time.

    It makes a step once each live agent has acted. Agents may leave and appear.

    Args:
        env: a parallel environment, such as ``pettingzoo.make("parallel", ...)`` returns.

    Raises:
        WorldError: it is none.

    >>> import pettingzoo
    >>> world = ParallelWorld(pettingzoo.make("parallel", "classic/rps-v2"))
    >>> world.reset(seed=0)
    >>> for agent, action in (("player_0", 0), ("player_1", 2)):  # rock against scissors
    ...     world.act(agent, action)
    >>> [world.turn(agent).reward for agent in world.agents]
    [1.0, -1.0]
    """

    _takes_turns = False

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._turns: dict[str, Turn] = {}  # of the living
        self._last_turns: dict[str, Turn] = {}  # of those that have yet to see their end
        self._actions: dict[str, Any] = {}

    @property
    def agents(self) -> Sequence[str]:
        """The agents that have not seen their end, and the live agents that haven't acted yet."""
        waiting = (agent for agent in self._turns if agent not in self._actions)
        return (*self._last_turns, *waiting)

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode."""
        observations, _ = self.env.reset(seed=seed)
        self._turns = {agent: Turn(observations[agent], 0.0, False, False) for agent in self.env.agents}
        self._last_turns, self._actions = {}, {}

    def turn(self, agent: str) -> Turn:
        """Return the result of the last step for ``agent``."""
        if agent in self._last_turns:
            return self._last_turns.pop(agent)
        return self._turns[agent]

    def act(self, agent: str, action: Any) -> None:
        """Keep the action of ``agent``; the action of the last agent makes the step."""
        self._actions[agent] = action
        if self._actions.keys() >= self._turns.keys():
            self._step()

    def _step(self) -> None:
        actors, self._actions, self._turns = self._actions, {}, {}
        observations, rewards, terminations, truncations, _ = self.env.step(actors)
        living = self.env.agents
        for agent in dict.fromkeys((*actors, *living)):
            terminated = bool(terminations.get(agent, False))
            # an agent that disappeared without a flag: its episode is over, its successor unknown
            truncated = bool(truncations.get(agent, agent not in living and not terminated))
            reward = as_reward(rewards.get(agent, 0.0), self.env)
            turn = Turn(observations.get(agent), reward, terminated, truncated)
            (self._last_turns if terminated or truncated else self._turns)[agent] = turn


class AECWorld(_PettingZooWorld):
    """A PettingZoo environment in which agents take turns.

    Warnings about illegal moves, which lose the game in PettingZoo's classic games, are not logged.

    Args:
        env: an AEC environment, such as ``pettingzoo.make("aec", ...)`` returns.

    Raises:
        WorldError: it is none.

    >>> import pettingzoo
    >>> world = AECWorld(pettingzoo.make("aec", "classic/tictactoe-v3"))
    >>> world.reset(seed=0)
    >>> world.act("player_1", 4)
    >>> world.agents
    ('player_2',)
    """

    _takes_turns = True

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        logging.getLogger("pettingzoo.utils.env_logger").addFilter(_is_news)

    @property
    def agents(self) -> Sequence[str]:
        """The agent whose turn it is; empty when all are done."""
        return (self.env.agent_selection,) if self.env.agents else ()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode."""
        self.env.reset(seed=seed)

    def turn(self, agent: str) -> Turn:  # noqa: ARG002 (it is the one that is selected)
        """Return the result of the last action of ``agent`` up to now."""
        observation, reward, terminated, truncated, _ = self.env.last()
        if terminated or truncated:
            self.env.step(None)  # removes the agent
        earned = as_reward(reward, self.env)
        return Turn(observation, earned, bool(terminated), bool(truncated))

    def act(self, agent: str, action: Any) -> None:  # noqa: ARG002
        """Make the move."""
        self.env.step(action)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether PettingZoo may log this: illegal moves are not logged, learners make many."""
    return "Illegal move" not in record.getMessage()
