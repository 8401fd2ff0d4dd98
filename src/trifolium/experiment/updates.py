"""Updates: when models learn, and what their losses come to."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from trifolium.backend import as_numpy
from trifolium.experiment.options import TrainOptions
from trifolium.models import BaseModel

__all__ = ["Updates"]


class Updates:
    """Lets models learn as often as the options say, and keeps their losses until they are asked for.

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

    def keep(self, name: str, losses: np.ndarray) -> None:
        """Keep the ``losses`` [rounds] of updates made elsewhere; nan stands for a round without."""
        self._losses[name] += losses[~np.isnan(losses)].tolist()

    def mean_loss(self, name: str) -> float:
        """Return the mean loss of a model's updates since the last call; nan if there were none.

        A loss that is not a number is warned of, once.
        """
        losses = self._hosted(name)
        self._losses[name] = []
        mean = float(np.mean(losses)) if losses else math.nan
        if losses and math.isnan(mean) and not self._warned:
            self._warned = True
            warnings.warn(
                f"a loss of the model {name!r} is not a number (nan)", RuntimeWarning, stacklevel=2
            )
        return mean

    def state(self) -> dict[str, list[float]]:
        """Return the losses not asked for yet, by model."""
        for name in self._losses:
            self._losses[name] = list(self._hosted(name))
        return {name: list(losses) for name, losses in self._losses.items()}

    def restore(self, state: Mapping[str, list[float]]) -> None:
        """Take up what :meth:`state` returned."""
        self._losses = {name: [float(loss) for loss in state[name]] for name in self._models}

    def _hosted(self, name: str) -> list[float]:
        """Return losses as numbers; only now is there a wait for a device that is still at it."""
        return [float(np.mean(as_numpy(loss))) for loss in self._losses[name]]
