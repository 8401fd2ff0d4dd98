"""CompiledRunner: one model and its environments in a graph, for experiments."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from trifolium._json import brief
from trifolium.errors import WorldError
from trifolium.experiment.options import TrainOptions
from trifolium.experiment.runners import AGENT, MODEL
from trifolium.models import BaseModel
from trifolium.models.learner import Learner
from trifolium_jax.training import CompiledTraining, Metrics

__all__ = ["CompiledRunner"]


class CompiledRunner:
    """Trains one model in environments of arrays, many steps in one compiled call.

    It is a :class:`~trifolium.experiment.runners.BlockRunner`: it takes no single steps.

    Args:
        training: of ``model``.
        model: the model that acts and learns.

    Attributes:
        agents, models: as of a Runner.
        block: environment steps that a run is made of a multiple of.
        width: environments that step together.
    """

    agents: Sequence[str] = (AGENT,)

    def __init__(self, training: CompiledTraining, model: BaseModel) -> None:
        self.models: Mapping[str, BaseModel] = {MODEL: model}
        self.block: int = training.block
        self.width: int = model.memory.n_streams
        self._training = training

    @classmethod
    def of(cls, options: TrainOptions, world: Any, model: Any) -> "CompiledRunner | None":
        """Return a runner if ``world`` is of arrays, and ``model`` can be trained there in a graph."""
        env: Any = world.envs[0] if isinstance(world, gym.vector.SyncVectorEnv) else world
        if not isinstance(model, Learner) or model.backend.name != "jax":
            return None
        training = CompiledTraining(
            model,
            env.functional,
            env.env_params,
            seed=options.seed,
            train_every=options.train_every,
            updates_per_train=options.updates_per_train,
            learning_starts=options.learning_starts,
            epsilon=None if options.epsilon_start is None else options.epsilon,
        )
        if options.steps % training.block:
            raise ValueError(
                f"steps={options.steps}; a compiled run takes a multiple of {training.block}, which "
                f"train_every={options.train_every} and n_envs={options.n_envs} make"
            )
        return cls(training, model)

    def run(self, steps: int) -> Metrics:
        """Act, store and learn for ``steps``; return the metrics."""
        return self._training.run(steps, memories=False)

    def state(self) -> dict[str, Any]:
        """Return the state to resume from, without the models, whose memories are updated first."""
        self._training.store_memories()
        return {
            name: {"dtype": array.dtype.name, "values": array.tolist()}
            for name, array in self._training.state().items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state`.

        Raises:
            WorldError: it is of another environment.
        """
        try:
            arrays = {
                name: np.array(kept["values"], _numeric(kept["dtype"])) for name, kept in state.items()
            }
            self._training.restore(arrays)
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise WorldError(f"the environment is another one than that of the run: {error}") from error


def _numeric(name: str) -> np.dtype:
    """Return the dtype of that name, if its arrays take no more memory than their numbers."""
    found = np.dtype(name)
    if found.kind not in "biuf":
        raise TypeError(f"dtype={brief(name)}; expected one of numbers")
    return found
