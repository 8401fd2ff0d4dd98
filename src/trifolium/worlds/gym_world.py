"""GymWorld: a Gymnasium environment as a world."""

from __future__ import annotations

from enum import EnumMeta
from typing import TYPE_CHECKING, Any

from trifolium.agents.action import ActionSpec
from trifolium.agents.agent import as_reward
from trifolium.agents.observation import ObservationSpec
from trifolium.agents.world import Turn

if TYPE_CHECKING:
    import gymnasium as gym

__all__ = ["GymWorld", "action_names"]


def action_names(env: gym.Env[Any, Any]) -> list[str] | None:
    """Return the names of the actions of ``env``, which Atari and MiniGrid have, or None.

    >>> import gymnasium, minigrid
    >>> action_names(gymnasium.make("MiniGrid-Empty-5x5-v0"))[:3]
    ['left', 'right', 'forward']
    """
    meanings = getattr(env.unwrapped, "get_action_meanings", None)
    actions = getattr(env.unwrapped, "actions", None)
    if callable(meanings):
        names = [str(name) for name in meanings()]
    elif isinstance(actions, EnumMeta):
        names = list(actions.__members__)
    else:
        return None
    return names if len(names) == getattr(env.action_space, "n", None) == len(set(names)) else None


class GymWorld:
    """A Gymnasium environment as a world of one agent, named "agent".

    Args:
        env: the environment.

    >>> import gymnasium
    >>> world = GymWorld(gymnasium.make("CartPole-v1"))
    >>> world.reset(seed=0)
    >>> world.act("agent", 1)
    >>> world.turn("agent").reward
    1.0
    """

    agents = ("agent",)

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env = env
        self._turn = Turn(None, 0.0, False, False)

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode."""
        self._turn = Turn(self.env.reset(seed=seed)[0], 0.0, False, False)

    def turn(self, agent: str) -> Turn:  # noqa: ARG002 (there is one)
        """Return the result of the last step."""
        return self._turn

    def act(self, agent: str, action: Any) -> None:  # noqa: ARG002
        """Make a step."""
        observation, reward, terminated, truncated, _ = self.env.step(action)
        self._turn = Turn(observation, as_reward(reward, self.env), terminated, truncated)

    def observation_spec(self, agent: str) -> ObservationSpec:  # noqa: ARG002
        """Return the spec of the observation space."""
        return ObservationSpec.from_space(self.env.observation_space)

    def structured_spec(self, agent: str) -> ObservationSpec:  # noqa: ARG002
        """Return the spec of the observation space, in which Dict and Tuple keep their structure."""
        return ObservationSpec.from_space(self.env.observation_space, structured=True)

    def action_spec(self, agent: str) -> ActionSpec:  # noqa: ARG002
        """Return the spec of the action space, with the environment's action names, if it has any."""
        return ActionSpec.from_space(self.env.action_space, action_names(self.env))

    def close(self) -> None:
        """Close the environment."""
        self.env.close()
