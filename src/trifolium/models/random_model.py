"""RandomModel: every action is equally likely."""

from typing import Any

import numpy as np

from trifolium.models.base import BaseModel
from trifolium.models.masks import random_legal

__all__ = ["RandomModel"]


class RandomModel(BaseModel):
    """Chooses uniformly among its actions, whatever the state; the baseline to beat.

    With ``action_mask`` it chooses among those that are legal in the state.

    >>> model = RandomModel(input_size=4, action_space=2, memory_size=100, seed=0)
    >>> {model.take_action(None) for _ in range(20)}
    {0, 1}
    """

    def take_action(self, state: Any) -> int:
        """Return a random action; ``state`` may be anything, unless there is an ``action_mask``.

        Raises:
            ValueError: no action is legal.
        """
        if self.mask is None:
            return int(self.rng.integers(self.action_space))
        return int(random_legal(self.rng, self.mask.of_state(state)[None, :])[0])

    def take_actions(self, states: Any) -> np.ndarray:
        """Return a random action for each of ``states`` [N, ...]: [N] int64.

        It is -1 where ``action_mask`` says that none is legal.
        """
        if self.mask is None:
            return super().take_actions(states)
        return random_legal(self.rng, self.mask.legal(self.flat_states(states)))
