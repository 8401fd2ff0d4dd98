"""Gymnasium's environments, alone and in vectors."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym

from trifolium.agents import ActionSpec, ObservationSpec
from trifolium.experiment.kinds.kind import Specs, WorldKind
from trifolium.experiment.options import STOP, TrainOptions
from trifolium.experiment.runners import GymRunner, Runner, VectorRunner
from trifolium.models import BaseModel
from trifolium.worlds import gym as gym_worlds

__all__ = ["GymnasiumKind"]


class GymnasiumKind(WorldKind):
    """Environments and vector environments of Gymnasium; names need no prefix."""

    one_agent = True

    def make(self, name: str, *, render_mode: str | None = None, turns: int | None = None) -> Any:
        """Return the environment of that id."""
        limit = {} if turns is None else {"max_episode_steps": turns}
        return gym_worlds.make(name, render_mode=render_mode, **limit)

    def adopt(self, made: Any, turns: int | None) -> Any:
        """Return an environment, with a limit of steps if there is one, or a vector environment."""
        if isinstance(made, gym.Env):
            return made if turns is None else gym.wrappers.TimeLimit(made, turns)
        return made if isinstance(made, gym.vector.VectorEnv) else None

    def specs(self, world: Any) -> Mapping[str, Specs]:
        """Return the specs of the spaces of one environment."""
        return self._specs(world, structured=False)

    def structured_specs(self, world: Any) -> Mapping[str, Specs]:
        """Return the specs of the spaces of one environment; Dict and Tuple keep their structure."""
        return self._specs(world, structured=True)

    def _specs(self, world: Any, *, structured: bool) -> Mapping[str, Specs]:
        if isinstance(world, gym.vector.VectorEnv):
            seen, done = world.single_observation_space, world.single_action_space
        else:
            seen, done = world.observation_space, world.action_space
        observations = ObservationSpec.from_space(seen, structured=structured)
        return {"agent": (observations, ActionSpec.from_space(done))}

    def runner(
        self,
        world: Any,
        models: BaseModel | Mapping[str, BaseModel],
        options: TrainOptions,
        *,
        seed: int,
        remember: bool,
    ) -> Runner:
        """Return a GymRunner, or a VectorRunner for a vector environment."""
        if not isinstance(models, BaseModel):
            raise ValueError(f"models are {', '.join(models)}; expected one model, for one agent")
        stop = options.on_nan == STOP
        if isinstance(world, gym.vector.VectorEnv):
            return VectorRunner(world, models, seed=seed, remember=remember, check_nan=stop)
        return GymRunner(world, models, seed=seed, remember=remember, check_nan=stop)

    def vector(self, make: Callable[[], Any], count: int) -> Any:
        """Return a vector environment that the runner resets."""
        return gym.vector.SyncVectorEnv(
            [make] * count, autoreset_mode=gym.vector.AutoresetMode.DISABLED
        )

    def width(self, world: Any) -> int:
        """Return the number of environments of a vector environment."""
        return int(world.num_envs) if isinstance(world, gym.vector.VectorEnv) else 1

    def names_code(self, name: str) -> bool:
        """Return whether the id is "module:Id": Gymnasium imports the module."""
        return ":" in name
