"""Agent: a model that acts in a world and remembers."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from trifolium._nan import check_observation
from trifolium.agents.action import ActionSpec
from trifolium.agents.frames import FrameStacks
from trifolium.agents.observation import ObservationSpec
from trifolium.agents.world import Turn, World
from trifolium.errors import NanError, WorldError
from trifolium.models import BaseModel

__all__ = ["Agent", "as_reward", "check_fit"]


class Agent:
    """A model with the specs of its observations and actions in a world.

    Args:
        name: the agent's name in the world.
        model: chooses the actions and stores the steps in its memory.
        observation_spec: converts the world's observations to the model's input; None if they are
            arrays of the right shape already.
        action_spec: converts actions to the world's values; None for a world that takes 0 to n - 1.
        stream: the agent's stream in the model's memory, if several agents share the model.
        check_nan: whether NaN in an observation or a reward is an error.

    Attributes:
        observation: the newest observation, as an array or a mapping of arrays.
        episode_return: sum of the rewards of the episode so far.
        length: number of finished steps of the episode.
        is_over: whether the episode is over; the next look begins another.

    Raises:
        ValueError: ``input_size`` or ``action_space`` of the model differs from the specs.

    >>> import gymnasium, trifolium as tri
    >>> from trifolium.worlds import GymWorld
    >>> world = GymWorld(gymnasium.make("CartPole-v1"))
    >>> model = tri.RandomModel(input_size=4, action_space=2, memory_size=100, seed=0)
    >>> agent = Agent("agent", model)
    >>> world.reset(seed=0)
    >>> while not agent.transition(world):
    ...     pass
    >>> agent.length == len(model.memory) == agent.episode_return
    True
    """

    def __init__(
        self,
        name: str,
        model: BaseModel,
        observation_spec: ObservationSpec | None = None,
        action_spec: ActionSpec | None = None,
        *,
        stream: int = 0,
        check_nan: bool = True,
    ) -> None:
        spec = model.memory.spec
        self.name = name
        self.model = model
        if observation_spec is None:
            observation_spec = ObservationSpec.of_arrays(spec.obs_shape, spec.obs_dtype)
        self.observation_spec = observation_spec
        self.action_spec = action_spec or ActionSpec(model.action_space)
        self.stream = stream
        self._check_nan = check_nan
        check_fit(f"agent {name!r}", model, self.observation_spec, self.action_spec)
        self._frames = FrameStacks(spec.frames, count=1)
        self.begin()

    def begin(self) -> None:
        """Begin an episode: discard the state of the last one."""
        self.observation: Any = None
        self.episode_return = 0.0
        self.length = 0
        self.is_over = False
        self._state: Any = None
        self._action: int | None = None

    def transition(self, world: World, *, remember: bool = True) -> bool:
        """Make one step: observe, store the result of the last action; act unless the episode ended.

        Args:
            world: the world to observe and to act in.
            remember: as for :meth:`look`.

        Returns:
            Whether the episode is over.
        """
        if not self.look(world, remember=remember):
            self.act(world)
        return self.is_over

    def look(self, world: World, *, remember: bool = True, last: bool = False) -> bool:
        """Observe the result of the last action and store it in the memory.

        Args:
            world: the world to observe.
            remember: whether the finished step is stored in the memory.
            last: whether the episode is truncated here, although it continues in the world.

        Returns:
            Whether the episode is over.

        Raises:
            WorldError: the world does not return a Turn, or the observation does not fit the spec.
            NanError: an observation or a reward is NaN.
        """
        if self.is_over:
            self.begin()
        turn = self._turn(world)
        if last and not turn.terminated:
            turn = turn._replace(truncated=True)
        self.is_over = bool(turn.terminated or turn.truncated)
        unknown = self.is_over and turn.observation is None
        observation = None if unknown else self._observed(world, turn.observation)
        if self._check_nan and math.isnan(turn.reward):
            raise NanError(f"the reward of agent {self.name!r} is NaN")
        if self._action is not None:
            self._finish(turn.reward, turn.terminated, turn.truncated, observation, remember)
        self.episode_return += turn.reward
        if observation is not None:
            self._state = self._frames.push_one(observation, first=self.length == 0)
        self.observation = observation
        return self.is_over

    def act(self, world: World, action: int | None = None) -> int:
        """Act on the newest observation; return the action.

        Args:
            world: the world to act in.
            action: the action to take; None to let the model choose it.
        """
        if action is None:
            action = int(self.model.take_action(self._state))
        world.act(self.name, self.action_spec.value(action))
        self._action = action
        return action

    def cut(self, *, remember: bool = True) -> None:
        """End an episode without a further turn: the successor of its last step is unknown."""
        self.is_over = True
        if self._action is not None:
            self._finish(0.0, False, True, None, remember)

    def _finish(
        self,
        reward: float,
        terminated: bool,
        truncated: bool,
        successor: Any,
        remember: bool,
    ) -> None:
        if remember:
            self.model.memory.add(
                self.observation,
                self._action,
                reward,
                terminated,
                truncated=truncated,
                next_obs=successor,
                stream=self.stream,
            )
        self.length += 1
        self._action = None

    def _observed(self, world: World, shown: Any) -> Any:
        try:
            observation = self.observation_spec.observe(shown)
        except (TypeError, ValueError) as error:
            raise WorldError(
                f"{type(world).__name__} showed agent {self.name!r} a wrong observation: {error}"
            ) from error
        if self._check_nan:
            check_observation(f"agent {self.name!r}", observation)
        return observation

    def _turn(self, world: World) -> Turn:
        if not hasattr(world, "turn"):
            many = hasattr(world, "possible_agents")
            hint = "ParallelWorld(env) or AECWorld(env)" if many else "GymWorld(env)"
            raise WorldError(
                f"world is a {type(world).__name__}, which has no method turn; expected a World, which "
                f"trifolium.worlds.{hint} makes of an environment"
            )
        shown = world.turn(self.name)
        try:
            observation, reward, terminated, truncated = shown
            earned = as_reward(reward, world)
            return Turn(observation, earned, terminated, truncated)
        except (TypeError, ValueError):
            raise WorldError(
                f"turn({self.name!r}) of {type(world).__name__} returned {shown!r:.80}; "
                "expected Turn(observation, reward, terminated, truncated)"
            ) from None


def as_reward(reward: Any, source: Any) -> float:
    """Return a reward, a number or an array of one number, as a float; errors name ``source``.

    Raises:
        WorldError: it is neither.

    >>> as_reward(np.array([1.5]), "the environment")
    1.5
    """
    if type(reward) is float:
        return reward
    try:
        return float(np.asarray(reward).reshape(()))
    except (TypeError, ValueError):
        raise WorldError(
            f"{source} gave the reward {reward!r:.80}; expected a number, or an array of one number"
        ) from None


def check_fit(
    who: str, model: BaseModel, observation_spec: ObservationSpec, action_spec: ActionSpec
) -> None:
    """Raise ValueError unless ``model`` fits the observations and the number of actions."""
    wanted, found = observation_spec.shape, model.memory.spec.obs_shape
    if _shapes(wanted) != _shapes(found):
        raise ValueError(
            f"{who} has observations of shape {wanted} and its model has input_size={found}; "
            f"expected input_size={wanted}"
        )
    if action_spec.n != model.action_space:
        raise ValueError(
            f"{who} has {action_spec.n} actions and its model has action_space={model.action_space}; "
            f"expected action_space={action_spec.n}"
        )


def _shapes(kinds: Any) -> Any:
    """Return shapes without the dtypes that those of structured observations have."""
    if isinstance(kinds, Mapping):
        return {name: _shapes(k) if isinstance(k, Mapping) else k[0] for name, k in kinds.items()}
    return kinds
