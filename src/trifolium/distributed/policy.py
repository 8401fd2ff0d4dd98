"""Policy: what acting needs of a model, in host arrays, and the version that it is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trifolium.models import BaseModel, Learner

__all__ = ["Policy"]

_PARAMS, _STATISTICS = "params.", "statistics."


class Policy(NamedTuple):
    """The parameters that a model acts by. The rest of a learner's state is several times as large.

    Attributes:
        version: how many were published before.
        arrays: of a learner the parameters and statistics of its network, of others ``state()``.
        epsilon: the probability of random actions; None where a schedule says it.
        actions: taken so far, by which schedules go.
    """

    version: int
    arrays: dict[str, np.ndarray]
    epsilon: float | None
    actions: int

    @classmethod
    def of(cls, model: BaseModel, version: int, actions: int) -> Policy:
        """Return the policy of a model."""
        if not isinstance(model, Learner):
            return cls(version, model.state(), model.epsilon, actions)
        learned, to_numpy = model.progress.learned, model.backend.to_numpy
        groups = {_PARAMS: learned.params, _STATISTICS: learned.statistics}
        arrays = {
            prefix + name: np.array(to_numpy(array))
            for prefix, group in groups.items()
            for name, array in group.items()
        }
        return cls(version, arrays, None if model.epsilon_schedule else model.epsilon, actions)

    def give_to(self, model: BaseModel) -> None:
        """Make a model of the same kind act by this policy; it may be on another backend."""
        if self.epsilon is not None:
            model.epsilon = self.epsilon
        if not isinstance(model, Learner):
            model.restore(self.arrays)
            return
        learned, from_numpy = model.progress.learned, model.backend.from_numpy
        params, statistics = (
            {
                name.removeprefix(prefix): from_numpy(array)
                for name, array in self.arrays.items()
                if name.startswith(prefix)
            }
            for prefix in (_PARAMS, _STATISTICS)
        )
        model.progress = model.progress._replace(
            learned=learned._replace(params=params, statistics=statistics), actions=self.actions
        )
