"""Worlds, models and runners, made from the options of a run or taken as they are given."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import gymnasium as gym

from trifolium.agents import ActionSpec, ObservationSpec
from trifolium.errors import WorldError
from trifolium.experiment.options import OWN, TrainOptions
from trifolium.experiment.runners import GymRunner, Runner, VectorRunner, WorldRunner
from trifolium.models import DDQN, IQN, BaseModel, RandomModel
from trifolium.replay import Prioritized
from trifolium.schedules import Linear
from trifolium.worlds import AECWorld, ParallelWorld
from trifolium.worlds import gym as gym_worlds
from trifolium.worlds import pettingzoo as pettingzoo_worlds

__all__ = ["MakeWorld", "OwnModels", "make_models", "make_runner", "make_world", "make_worlds"]

MakeWorld: TypeAlias = Callable[[], Any]
"""Makes a world: an environment of Gymnasium or PettingZoo, or anything with the methods of a World."""

OwnModels: TypeAlias = BaseModel | Mapping[str, BaseModel]

PETTINGZOO, GYMNAX = "pettingzoo:", "gymnax:"
"""What names of PettingZoo's and gymnax's environments begin with."""


def make_worlds(options: TrainOptions, world: MakeWorld | None = None) -> Any:
    """Return what is learned from: a world, or ``n_envs`` of them that step together.

    Raises:
        WorldError, TypeError: as for :func:`make_world`.
    """
    if options.n_envs == 1:
        return make_world(options, world)
    make_world(options, world).close()  # its errors say more than those of many
    return gym.vector.SyncVectorEnv(
        [lambda: make_world(options, world)] * options.n_envs,
        autoreset_mode=gym.vector.AutoresetMode.DISABLED,
    )


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
        TypeError: ``world`` is no function, or makes no world.
    """
    if world is None:
        return _named_world(options, render_mode)
    if not callable(world):
        raise TypeError(
            f"world is a {type(world).__name__}; expected a function that makes one, since an "
            "evaluation needs one of its own: world=lambda: ..."
        )
    made = _as_world(world())
    if options.turns is not None and isinstance(made, gym.Env):
        return gym.wrappers.TimeLimit(made, options.turns)
    return made


def make_models(options: TrainOptions, world: Any, models: OwnModels | None = None) -> OwnModels:
    """Return the models: those given, or new ones of the sizes that ``world`` asks for."""
    if models is not None:
        return models
    if isinstance(world, gym.Env):
        observations = ObservationSpec.from_space(world.observation_space)
        return _model(options, observations, ActionSpec.from_space(world.action_space))
    if isinstance(world, gym.vector.VectorEnv):
        observations = ObservationSpec.from_space(world.single_observation_space)
        actions = ActionSpec.from_space(world.single_action_space)
        return _model(options, observations, actions, n_streams=world.num_envs)
    return _models_of_agents(options, world)


def make_runner(
    options: TrainOptions, world: Any, models: OwnModels, *, seed: int, remember: bool = True
) -> Runner:
    """Return the runner for the kind of world that ``world`` is."""
    if not isinstance(world, gym.Env | gym.vector.VectorEnv):
        return WorldRunner(world, models, seed=seed, turns=options.turns, remember=remember)
    if not isinstance(models, BaseModel):
        raise ValueError(f"models are {', '.join(models)}; expected one model, for one agent")
    if isinstance(world, gym.Env):
        return GymRunner(world, models, seed=seed, remember=remember)
    return VectorRunner(world, models, seed=seed, remember=remember)


def _named_world(options: TrainOptions, render_mode: str | None) -> Any:
    if options.env.startswith(PETTINGZOO):
        name = options.env.removeprefix(PETTINGZOO)
        shown = {} if render_mode is None else {"render_mode": render_mode}
        return pettingzoo_worlds.make(name, **shown)
    if options.env.startswith(GYMNAX):
        from trifolium.worlds import gymnax as gymnax_worlds  # which loads JAX

        name = options.env.removeprefix(GYMNAX)
        return gymnax_worlds.make(name, render_mode=render_mode, max_steps=options.turns)
    limit = {} if options.turns is None else {"max_episode_steps": options.turns}
    return gym_worlds.make(options.env, render_mode=render_mode, **limit)


def _as_world(made: Any) -> Any:
    """Return an environment of PettingZoo as a world, and others as they are."""
    if isinstance(made, gym.Env | gym.vector.VectorEnv):
        return made
    if all(callable(getattr(made, method, None)) for method in ("reset", "turn", "act")):
        return made
    if hasattr(made, "possible_agents"):
        return AECWorld(made) if hasattr(made, "last") else ParallelWorld(made)
    raise TypeError(
        f"world makes a {type(made).__name__}; expected an environment of Gymnasium or PettingZoo, "
        "or an object with the methods reset, turn and act"
    )


def _models_of_agents(options: TrainOptions, world: Any) -> OwnModels:
    agents = tuple(getattr(world, "possible_agents", ()) or getattr(world, "agents", ()))
    if not agents or not hasattr(world, "observation_spec") or not hasattr(world, "action_spec"):
        raise WorldError(
            f"the world {type(world).__name__} does not tell its agents, what they see and what they "
            "can do (possible_agents, observation_spec, action_spec); give models=..."
        )
    specs = {agent: (world.observation_spec(agent), world.action_spec(agent)) for agent in agents}
    if options.shared:
        return _model(options, *specs[agents[0]], n_streams=len(agents))
    return {
        agent: _model(replace(options, seed=options.seed + index), *spec)
        for index, (agent, spec) in enumerate(specs.items())
    }


def _model(
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
    updates = max(1, options.updates_between(0, options.steps))
    learning: dict[str, Any] = {
        "convolutions": options.convolutions,
        "input_scale": 1 / 255 if observations.dtype == "uint8" else 1.0,
        "hidden": options.hidden,
        "dueling": options.dueling,
        "noisy": options.noisy,
        "learning_rate": Linear(options.learning_rate, 0.0, updates),
        "max_grad_norm": options.max_grad_norm,
        "batch_size": options.batch_size,
        "target_update": options.target_update,
    }
    if options.model == "iqn":
        return IQN(**common, **learning, kappa=options.huber_delta)
    return DDQN(**common, **learning, huber_delta=options.huber_delta)
