"""PettingZoo's environments as worlds: ParallelWorld, and AECWorld, in which agents take turns."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trifolium import _checks as checks
from trifolium.agents.action import ActionSpec
from trifolium.agents.agent import as_reward
from trifolium.agents.observation import ObservationSpec
from trifolium.agents.world import Turn
from trifolium.errors import WorldError

__all__ = ["ACTION_MASK", "AECWorld", "ParallelWorld", "as_world", "make"]

OBSERVATION, ACTION_MASK = "observation", "action_mask"
"""PettingZoo's names of the parts of an observation with a mask."""


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
    """Base of ParallelWorld and AECWorld: names, specs, masks and closing."""

    def __init__(self, env: Any, *, mask_from_info: bool = False) -> None:
        if hasattr(env, "last") != self._takes_turns or not callable(
            getattr(env, "action_space", None)
        ):
            raise WorldError(
                f"env is a {type(env).__name__}; {type(self).__name__} takes a PettingZoo environment "
                f"made with pettingzoo.make({'aec' if self._takes_turns else 'parallel'!r}, ...); "
                "AECWorld is for those in which agents take turns, ParallelWorld for the others"
            )
        self.env = env
        self._mask_from_info = checks.flag("mask_from_info", mask_from_info)

    _takes_turns: bool

    @property
    def possible_agents(self) -> tuple[str, ...]:
        """Names of all agents that may appear; () if the environment has no ``possible_agents``."""
        return tuple(getattr(self.env, "possible_agents", ()))

    def observation_spec(self, agent: str) -> ObservationSpec:
        """Return the spec of the observation space of ``agent``."""
        return ObservationSpec.from_space(self._observation_space(agent))

    def structured_spec(self, agent: str) -> ObservationSpec:
        """Return the spec of the observation space, in which Dict and Tuple keep their structure.

        >>> import pettingzoo
        >>> world = AECWorld(pettingzoo.make("aec", "classic/tictactoe-v3"))
        >>> sorted(world.structured_spec("player_1").shape)
        ['action_mask', 'observation']
        """
        return ObservationSpec.from_space(self._observation_space(agent), structured=True)

    def _observation_space(self, agent: str) -> Any:
        space = self.env.observation_space(agent)
        if not self._mask_from_info:
            return space
        import gymnasium as gym

        legal = gym.spaces.MultiBinary(self.action_spec(agent).n)
        parts = space.spaces if isinstance(space, gym.spaces.Dict) else {OBSERVATION: space}
        return gym.spaces.Dict({**parts, ACTION_MASK: legal})

    def _shown(self, agent: str, observation: Any, info: Mapping[str, Any], *, is_over: bool) -> Any:
        """Return an observation with the mask of its info as a part, where that was asked for."""
        if not self._mask_from_info or observation is None:
            return observation
        mask = info.get(ACTION_MASK)
        if mask is None:
            if not is_over:
                raise WorldError(
                    f"the info of agent {agent!r} has no {ACTION_MASK!r}; expected the mask of its "
                    "legal actions there, as mask_from_info=True"
                )
            mask = np.zeros(self.action_spec(agent).n, np.int8)  # it acts no more
        parts = observation if isinstance(observation, Mapping) else {OBSERVATION: observation}
        return {**parts, ACTION_MASK: mask}

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
        mask_from_info: whether the ``"action_mask"`` of an agent's info becomes a part of that name of
            its observations. An observation that is no mapping is the part "observation" then. Masks
            that are part of the observations already do not need it.

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

    def __init__(self, env: Any, *, mask_from_info: bool = False) -> None:
        super().__init__(env, mask_from_info=mask_from_info)
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
        observations, infos = self.env.reset(seed=seed)
        self._turns = {}
        for agent in self.env.agents:
            shown = self._shown(agent, observations[agent], infos.get(agent, {}), is_over=False)
            self._turns[agent] = Turn(shown, 0.0, False, False)
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
        observations, rewards, terminations, truncations, infos = self.env.step(actors)
        living = self.env.agents
        for agent in dict.fromkeys((*actors, *living)):
            terminated = bool(terminations.get(agent, False))
            # an agent that disappeared without a flag: its episode is over, its successor unknown
            truncated = bool(truncations.get(agent, agent not in living and not terminated))
            reward = as_reward(rewards.get(agent, 0.0), self.env)
            is_over = terminated or truncated
            seen, info = observations.get(agent), infos.get(agent, {})
            shown = self._shown(agent, seen, info, is_over=is_over)
            turn = Turn(shown, reward, terminated, truncated)
            (self._last_turns if is_over else self._turns)[agent] = turn


class AECWorld(_PettingZooWorld):
    """A PettingZoo environment in which agents take turns.

    Warnings about illegal moves, which lose the game in PettingZoo's classic games, are not logged.

    Args:
        env: an AEC environment, such as ``pettingzoo.make("aec", ...)`` returns.
        mask_from_info: as for :class:`ParallelWorld`.

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

    def __init__(self, env: Any, *, mask_from_info: bool = False) -> None:
        super().__init__(env, mask_from_info=mask_from_info)
        logging.getLogger("pettingzoo.utils.env_logger").addFilter(_is_news)

    @property
    def agents(self) -> Sequence[str]:
        """The agent whose turn it is; empty when all are done."""
        return (self.env.agent_selection,) if self.env.agents else ()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode."""
        self.env.reset(seed=seed)

    def turn(self, agent: str) -> Turn:
        """Return the result of the last action of ``agent``, the one that is selected, up to now."""
        observation, reward, terminated, truncated, info = self.env.last()
        is_over = bool(terminated or truncated)
        if is_over:
            self.env.step(None)  # removes the agent
        shown = self._shown(agent, observation, info, is_over=is_over)
        return Turn(shown, as_reward(reward, self.env), bool(terminated), bool(truncated))

    def act(self, agent: str, action: Any) -> None:  # noqa: ARG002
        """Make the move."""
        self.env.step(action)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether PettingZoo may log this: illegal moves are not logged, learners make many."""
    return "Illegal move" not in record.getMessage()
