"""gymnax's environments: as environments of Gymnasium, and trained in one compiled call."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import gymnax
import numpy as np
from gymnax.wrappers.gym import GymnaxToGymWrapper

from trifolium.errors import WorldError
from trifolium.experiment.kinds.gymnasium import GymnasiumKind
from trifolium.experiment.options import TrainOptions
from trifolium.experiment.runners import BlockRunner, Runner
from trifolium.models import BaseModel
from trifolium.replay.batch import map_tree
from trifolium.worlds.gym import sizes
from trifolium_jax.runner import CompiledRunner

__all__ = ["GymnaxEnv", "GymnaxKind", "make"]


class GymnaxKind(GymnasiumKind):
    """gymnax's environments, registered as a kind of worlds; JAX's learners train there in a graph."""

    def make(self, name: str, *, render_mode: str | None = None, turns: int | None = None) -> Any:
        """Return the environment of that id."""
        return make(name, render_mode=render_mode, max_steps=turns)

    def adopt(self, made: Any, turns: int | None) -> Any:
        """Return a :class:`GymnaxEnv`."""
        return super().adopt(made, turns) if isinstance(made, GymnaxEnv) else None

    def training(
        self, world: Any, models: BaseModel | Mapping[str, BaseModel], options: TrainOptions
    ) -> Runner | BlockRunner:
        """Return a CompiledRunner for a learner on JAX, else a runner of single steps."""
        return CompiledRunner.of(options, world, models) or super().training(world, models, options)

    def names_code(self, name: str) -> bool:  # noqa: ARG002
        """Return False: gymnax makes only its own environments."""
        return False


def make(
    name: str, *, render_mode: str | None = None, max_steps: int | None = None
) -> "gym.Env[Any, Any]":
    """Return the gymnax environment of that name, as an environment of Gymnasium.

    Args:
        name: its id, such as "CartPole-v1".
        render_mode: "rgb_array" for pictures, "human" for a window; None for neither.
        max_steps: steps after which an episode is cut off; None for the environment's own limit.

    Raises:
        WorldError: the id is unknown, or its spaces are not supported.

    >>> make("CartPole-v1").reset(seed=0)[0].shape
    (4,)
    """
    try:
        env, params = gymnax.make(name)
    except ValueError as error:
        raise WorldError(
            f"env='gymnax:{name}' can't be made: {error} Known are: {', '.join(gymnax.registered_envs)}"
        ) from error
    if max_steps is not None:
        params = params.replace(max_steps_in_episode=max_steps)
    made = GymnaxEnv(env, params, render_mode=None if render_mode is None else "rgb_array")
    sizes(made, f"gymnax:{name}")
    return gym.wrappers.HumanRendering(made) if render_mode == "human" else made


class GymnaxEnv(GymnaxToGymWrapper):  # type: ignore[misc]  # gymnax has no types
    """A gymnax environment with the methods of a Gymnasium one; its results are on the host.

    Args:
        env: the environment.
        params: its parameters.
        render_mode: "rgb_array", or None.

    Attributes:
        functional: the environment itself.
        env_params: its parameters.
    """

    def __init__(self, env: Any, params: Any, *, render_mode: str | None = None) -> None:
        super().__init__(env, params)
        self.functional = env
        self.metadata = {"name": env.name, "render_modes": ["rgb_array", "human"], "render_fps": 30}
        self.render_mode = render_mode

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self.functional.name}>"

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        gym.Env.reset(self, seed=seed)
        obs, info = super().reset(seed=seed, options=options)
        return map_tree(np.asarray, obs), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step. The observation after an episode's last one is its own, not the next one's."""
        _, reward, terminated, truncated, info = super().step(action)
        obs = map_tree(np.asarray, info["final_observation"])
        return obs, float(reward), bool(terminated), bool(truncated), {}

    def render(self) -> np.ndarray | None:
        """Return a picture [height, width, 3] uint8 as gymnax draws it."""
        if self.render_mode is None:
            return None
        from gymnax.visualize import Visualizer
        from matplotlib import pyplot

        drawn = Visualizer(self.functional, self.env_params, [self.env_state])
        try:
            drawn.init()
            drawn.fig.canvas.draw()
            return np.array(drawn.fig.canvas.buffer_rgba())[..., :3]
        finally:
            pyplot.close(drawn.fig)
