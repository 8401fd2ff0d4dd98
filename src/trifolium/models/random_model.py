"""RandomModel: every action is equally likely."""

from typing import Any

from trifolium.models.base import BaseModel

__all__ = ["RandomModel"]


class RandomModel(BaseModel):
    """Chooses uniformly among its actions, whatever the state; the baseline to beat.

    >>> model = RandomModel(input_size=4, action_space=2, memory_size=100, seed=0)
    >>> {model.take_action(None) for _ in range(20)}
    {0, 1}
    """

    def take_action(self, state: Any) -> int:  # noqa: ARG002 (it does not look)
        """Return a random action; ``state`` may be anything."""
        return int(self.rng.integers(self.action_space))
