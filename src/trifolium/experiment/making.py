"""Worlds, models and runners, made from the options of a run or given by the user."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeAlias

from threadpoolctl import threadpool_limits

from trifolium.errors import CheckpointError
from trifolium.experiment.inputs import ModelInputs, inputs_of
from trifolium.experiment.kinds import WorldKind, kind_named, kind_of
from trifolium.experiment.modelnames import parameters
from trifolium.experiment.options import OWN, TrainOptions
from trifolium.experiment.runners import BlockRunner, Runner
from trifolium.experiment.suggestions import nearest
from trifolium.models import BaseModel, get_model
from trifolium.models.learner import Learner
from trifolium.replay import Buffer, Prioritized
from trifolium.schedules import Linear

__all__ = ["MakeWorld", "OwnModels", "Stage", "check_names_no_code"]

MakeWorld: TypeAlias = Callable[[], Any]
"""Makes a world: an environment of Gymnasium or PettingZoo, or anything with the methods of a World."""

_OF_ONE_MODEL = (
    *("huber_delta", "kappa", "double", "polyak"),
    *("quantiles", "target_quantiles", "action_quantiles", "cosines"),
)
"""Options that not every learner has."""

OwnModels: TypeAlias = BaseModel | Mapping[str, BaseModel]


class Stage:
    """Makes the worlds of a run, and the models and runners that belong there.

    Args:
        options: of the run.
        make: makes a custom world, which replaces ``options.env``.

    Raises:
        TypeError: ``make`` is no function.
    """

    kind: WorldKind  # known once a world is made

    def __init__(self, options: TrainOptions, make: MakeWorld | None = None) -> None:
        if make is not None and not callable(make):
            raise TypeError(
                f"world is a {type(make).__name__}; expected a function that makes one, since an "
                "evaluation makes another one: world=lambda: ..."
            )
        self._options = options
        self._make = make

    def world(self, render_mode: str | None = None) -> Any:
        """Return a new world: a custom one, or the one that the options name.

        Args:
            render_mode: how a world that is named is to be shown, as for ``gymnasium.make``.

        Raises:
            WorldError: there is none of that name, or the models can't act in it.
            TypeError: the user's function makes no world.
        """
        turns = self._options.turns
        if self._make is not None:
            self.kind, world = kind_of(self._make(), turns)
            return world
        self.kind, name = kind_named(self._options.env)
        return self.kind.make(name, render_mode=render_mode, turns=turns)

    def worlds(self) -> Any:
        """Return the world of training, or ``n_envs`` of them that step together."""
        if self._options.n_envs == 1:
            return self.world()
        self.world().close()  # its errors say more than those of many
        return self.kind.vector(self.world, self._options.n_envs)

    def models(self, world: Any) -> OwnModels:
        """Return new models of the sizes that ``world`` asks for."""
        options = self._options
        inputs = inputs_of(self.kind, world, options)
        first, *_ = inputs.values()
        if options.actors:
            return _learning_model(options, first, self._streams(world, inputs))
        if self.kind.one_agent:
            return _model(options, first, n_streams=self.kind.width(world))
        if options.shared:
            return _model(options, first, n_streams=len(inputs))
        return {
            agent: _model(replace(options, seed=options.seed + index), each)
            for index, (agent, each) in enumerate(inputs.items())
        }

    def _streams(self, world: Any, inputs: Mapping[str, ModelInputs]) -> int:
        """Return the streams of one model for a world; ValueError if it needs several models."""
        if self.kind.one_agent:
            return self.kind.width(world)
        if not self._options.shared:
            raise ValueError("actors with several agents need one model for all: expected shared=True")
        return len(inputs)

    def acting(self, memory: Any, seed: int) -> Runner:
        """Return the runner of an actor, in a world and with a model of its own."""
        threadpool_limits(self._options.threads)
        world = self.worlds()
        first, *_ = inputs_of(self.kind, world, self._options).values()
        model = _model(replace(self._options, seed=seed), first, memory=memory)
        return self.kind.runner(world, model, self._options, seed=seed, remember=True)

    def training(self, world: Any, models: OwnModels) -> Runner | BlockRunner:
        """Return the runner that trains ``models`` in ``world``."""
        options = self._options
        if options.actors:
            from trifolium.distributed.runner import ActorsRunner

            if not isinstance(models, BaseModel) or options.model == OWN:
                raise ValueError("actors= takes a model that the options name; expected models=None")
            world.close()
            acting = Stage(replace(options, actors=0, backend="numpy", device=None), self._make)
            return ActorsRunner(
                models,
                acting.acting,
                options.actors,
                lockstep=options.lockstep,
                seed=options.seed,
                cores=0 if options.address == "local" else 1,
            )
        return self.kind.training(world, models, self._options)

    def evaluation(self, world: Any, models: OwnModels, seed: int) -> Runner:
        """Return a runner in which ``models`` act in ``world`` and remember nothing."""
        return self.kind.runner(world, models, self._options, seed=seed, remember=False)


def check_names_no_code(env: str, path: Path) -> None:
    """Raise CheckpointError if the world ``env``, read from ``path``, names a module to import."""
    kind, name = kind_named(env)
    if kind.names_code(name):
        raise CheckpointError(
            f"{path} has env={env!r}, which imports the module {name.partition(':')[0]!r}; if you "
            "trust the file, give trust=True (--trust), or the environment on the command line"
        )


def _learning_model(options: TrainOptions, inputs: ModelInputs, streams: int) -> BaseModel:
    """Return a new model that learns from the rows of all actors.

    Args:
        options: of the run.
        inputs: what it is made for.
        streams: of one actor.
    """
    from trifolium.distributed import ShardedBuffer
    from trifolium.distributed.rollouts import POLICY_VERSION

    n_streams = streams * options.actors
    memory = ShardedBuffer(
        _memory_size(options.memory_size, n_streams),
        inputs.observations.shape,
        options.n_frames,
        shards=options.shards,
        address=None if options.address == "process" else options.address,
        backend=options.backend,
        device=options.device,
        seed=options.seed,
        obs_dtype=inputs.observations.dtype,
        n_streams=n_streams,
        n_step=options.n_step,
        gamma=options.gamma,
        boundary="pad",
        sampler=Prioritized(options.alpha, options.beta) if options.prioritized else None,
        extras={POLICY_VERSION: "int32"} if options.policy_version else None,
        prefetch=0 if options.lockstep else options.prefetch,
    )
    return _model(options, inputs, memory=memory)


def _model(
    options: TrainOptions, inputs: ModelInputs, n_streams: int = 1, memory: Any = None
) -> BaseModel:
    """Return a new model of the options' kind for what one agent sees and can do."""
    observations, actions, mask = inputs
    made = get_model(options.model)
    taken = parameters(made)
    _check_options(options, made)
    given = _model_options(options)
    given = {name: value for name, value in given.items() if name in taken} | {
        "input_size": observations.shape,
        "action_space": actions.n,
        "obs_dtype": observations.dtype,
        "epsilon": 1.0 if options.epsilon_start is None else options.epsilon_start,
        "backend": options.backend,
        "device": options.device,
        "seed": options.seed,
        "n_frames": options.n_frames,
        "n_step": options.n_step,
        "gamma": options.gamma,
        "boundary": "pad",
        **_of_memory(options, memory, n_streams),
        **({} if mask is None else {"action_mask": mask}),
        **options.model_options,
    }
    try:
        return made(**given)
    except MemoryError as error:
        raise MemoryError(
            f"memory_size={given['memory_size']} rows of observations {observations.shape} "
            f"{observations.dtype} do not fit: {error}; give a smaller memory_size"
        ) from error


def _of_memory(options: TrainOptions, memory: Any, n_streams: int) -> dict[str, Any]:
    """Return the options of a model that concern its memory, an existing one or a new one."""
    if memory is None:
        sampler = Prioritized(options.alpha, options.beta) if options.prioritized else None
        size = _memory_size(options.memory_size, n_streams)
        return {"memory_size": size, "n_streams": n_streams, "sampler": sampler}
    sizes = {"memory_size": memory.spec.capacity, "n_streams": memory.n_streams}
    return sizes | {"memory": memory, "sampler": memory.sampler}


def _model_options(options: TrainOptions) -> dict[str, Any]:
    """Return the options of learners; a model takes those that its constructor names."""
    names = (
        *("convolutions", "hidden", "dueling", "noisy", "max_grad_norm", "batch_size", "huber_delta"),
        *("quantiles", "target_quantiles", "action_quantiles", "cosines", "kappa"),
    )
    given: dict[str, Any] = {name: getattr(options, name) for name in names}
    updates = max(1, options.updates_between(0, options.steps))
    first, last = options.learning_rate, options.learning_rate_end
    given["learning_rate"] = first if last is None else Linear(first, last, updates)
    if options.double is not None:
        given["double"] = options.double
    if options.polyak is None:
        given["target_update"] = options.target_update
    else:
        given["polyak"] = options.polyak
    return given


def _check_options(options: TrainOptions, made: type[BaseModel]) -> None:
    """Raise ValueError for an option that was given and that the model does not have."""
    known = sorted({*parameters(made), *parameters(Buffer)} - {"self"})
    for name in options.model_options:
        if name not in known:
            raise ValueError(
                f"model_options has {name!r}, which is no option of model={options.model!r}"
                f"{nearest(name, known)}"
            )
    if issubclass(made, Learner):
        for field in fields(options):
            if field.name in _OF_ONE_MODEL and field.name not in known:
                value = getattr(options, field.name)
                if value != field.default:
                    raise ValueError(f"{field.name}={value!r} is no option of model={options.model!r}")


def _memory_size(wanted: int, n_streams: int) -> int:
    """Return ``wanted`` rounded up to a multiple of the streams, and say so."""
    size = -(-wanted // n_streams) * n_streams
    if size != wanted:
        warnings.warn(
            f"memory_size={wanted} is rounded up to {size}, a multiple of its {n_streams} streams",
            RuntimeWarning,
            stacklevel=2,
        )
    return size
