"""Worlds, models and runners, made from the options of a run or taken as they are given."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import gymnasium as gym

from trifolium.agents import ActionSpec, ObservationSpec
from trifolium.errors import WorldError
from trifolium.experiment.options import OWN, TrainOptions
from trifolium.experiment.runners import GymRunner, Runner
from trifolium.experiment.runners.gym import MODEL
from trifolium.models import DDQN, IQN, BaseModel, RandomModel
from trifolium.replay import Prioritized
from trifolium.worlds import gym as gym_worlds

__all__ = ["MakeWorld", "OwnModels", "make_model", "make_models", "make_runner", "make_world"]

MakeWorld: TypeAlias = Callable[[], Any]
"""Makes a world: a Gymnasium environment."""

OwnModels: TypeAlias = BaseModel | Mapping[str, BaseModel]


def make_world(
    options: TrainOptions, world: MakeWorld | None = None, *, render_mode: str | None = None
) -> Any:
    """Return a new world: one that ``world`` makes, or the one that the options name.

    Args:
        options: of the run; ``turns`` is a limit of steps for each episode.
        world: makes a world of the user's own.
        render_mode: what a world that is named shall be able to show, as for ``gymnasium.make``.

    Raises:
        WorldError: there is none of that name, or the models can't act in it.
        TypeError: ``world`` is no function.
    """
    if world is None:
        limit = {} if options.turns is None else {"max_episode_steps": options.turns}
        return gym_worlds.make(options.env, render_mode=render_mode, **limit)
    if not callable(world):
        raise TypeError(
            f"world is a {type(world).__name__}; expected a function that makes one, since an "
            "evaluation needs one of its own: world=lambda: ..."
        )
    made = world()
    if isinstance(made, gym.Env) and options.turns is not None:
        return gym.wrappers.TimeLimit(made, options.turns)
    return made


def make_models(
    options: TrainOptions, world: Any, models: OwnModels | None = None
) -> dict[str, BaseModel]:
    """Return the models by name: those given, or new ones of the size that ``world`` asks for."""
    if isinstance(models, BaseModel):
        return {MODEL: models}
    if models is not None:
        return dict(models)
    _check_kind(world)
    observations = ObservationSpec.from_space(world.observation_space)
    actions = ActionSpec.from_space(world.action_space)
    return {MODEL: make_model(options, observations, actions)}


def make_runner(
    world: Any, models: Mapping[str, BaseModel], *, seed: int, remember: bool = True
) -> Runner:
    """Return the runner for the kind of world that ``world`` is."""
    _check_kind(world)
    (model,) = models.values()
    return GymRunner(world, model, seed=seed, remember=remember)


def make_model(
    options: TrainOptions,
    observations: ObservationSpec,
    actions: ActionSpec,
    **memory_options: Any,
) -> BaseModel:
    """Return a new model of the options' kind for what one agent sees and can do."""
    if options.model == OWN:
        raise ValueError(
            f"model={OWN!r} stands for a model that is given to the experiment: models=..."
        )
    common: dict[str, Any] = {
        "input_size": observations.shape,
        "obs_dtype": observations.dtype,
        "action_space": actions.n,
        "memory_size": options.memory_size,
        "epsilon": 1.0 if options.epsilon_start is None else options.epsilon_start,
        "backend": options.backend,
        "device": options.device,
        "seed": options.seed,
        "n_frames": options.n_frames,
        "n_step": options.n_step,
        "gamma": options.gamma,
        "boundary": "pad",
        "sampler": Prioritized() if options.prioritized else None,
        **memory_options,
    }
    if options.model == "random":
        return RandomModel(**common)
    learning: dict[str, Any] = {
        "hidden": options.hidden,
        "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
        "target_update": options.target_update,
    }
    if options.model == "iqn":
        return IQN(**common, **learning, kappa=options.huber_delta)
    return DDQN(**common, **learning, dueling=options.dueling, huber_delta=options.huber_delta)


def _check_kind(world: Any) -> None:
    if not isinstance(world, gym.Env):
        raise WorldError(f"world is a {type(world).__name__}; expected a Gymnasium environment")
