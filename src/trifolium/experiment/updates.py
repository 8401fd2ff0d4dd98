"""Updates: the schedule of models' updates, and their losses."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trifolium._json import brief
from trifolium.backend import as_numpy
from trifolium.errors import NanError
from trifolium.experiment.options import STOP, TrainOptions
from trifolium.models import BaseModel
from trifolium.models.learner import Learner

__all__ = ["Updates"]


class Updates:
    """Lets models learn as often as the options say, and keeps their losses until they are read.

    Args:
        models: the models by name.
        options: of the run.
    """

    def __init__(self, models: Mapping[str, BaseModel], options: TrainOptions) -> None:
        self._models = models
        self._options = options
        self._losses: dict[str, list[Any]] = {name: [] for name in models}
        self._warned = False

    def make(self, before: int, after: int) -> None:
        """Make the updates that are due after the steps from ``before`` to ``after``."""
        for _ in range(self._options.updates_between(before, after)):
            for name, model in self._models.items():
                self._losses[name].append(model.train_step())

    def keep(self, name: str, losses: Sequence[float | None]) -> None:
        """Keep the ``losses`` [rounds] of updates made elsewhere; None for a round without updates."""
        self._losses[name] += [loss for loss in losses if loss is not None]

    def mean_loss(self, name: str) -> float:
        """Return the mean loss of a model's updates since the last call; nan if there were none.

        Raises:
            NanError: it is NaN. If the options ignore that, there is one warning.
        """
        losses = self._hosted(name)
        self._losses[name] = []
        mean = float(np.mean(losses)) if losses else math.nan
        if losses and math.isnan(mean):
            self._tell_of_nan(name)
        return mean

    def unlearned(self) -> list[str]:
        """Return a message for each learner that has made no update."""
        options = self._options
        return [
            f"the model {name!r} has learned nothing: no update was made in {options.steps} steps, "
            f"with learning_starts={options.learning_starts}, train_every={options.train_every}, "
            f"batch_size={model.batch_size} and {model.memory.drawable} rows to draw from"
            for name, model in self._models.items()
            if isinstance(model, Learner) and model.progress.updates == 0
        ]

    def state(self) -> dict[str, list[float]]:
        """Return the losses that were not read yet, by model.

        Raises:
            NanError: as for :meth:`mean_loss`.
        """
        for name in self._losses:
            self._losses[name] = list(self._hosted(name))
            if any(map(math.isnan, self._losses[name])):
                self._tell_of_nan(name)
        return {name: list(losses) for name, losses in self._losses.items()}

    def _tell_of_nan(self, name: str) -> None:
        what = f"the loss of the model {name!r} is NaN"
        if self._options.on_nan == STOP:
            raise NanError(what)
        if not self._warned:
            self._warned = True
            warnings.warn(what, RuntimeWarning, stacklevel=3)

    def restore(self, state: Mapping[str, list[float]]) -> None:
        """Restore the state that :meth:`state` returned; ValueError or TypeError where it can't be."""
        for name in self._models:
            for loss in state[name]:
                if type(loss) not in (int, float):
                    raise TypeError(f"a loss of {name!r} is {brief(loss)}; expected a number")
                if math.isnan(loss) and self._options.on_nan == STOP:
                    raise ValueError(f"a loss of {name!r} is NaN")
        self._losses = {name: [float(loss) for loss in state[name]] for name in self._models}

    def _hosted(self, name: str) -> list[float]:
        """Return losses as numbers, which waits for the device."""
        return [float(np.mean(as_numpy(loss))) for loss in self._losses[name]]
