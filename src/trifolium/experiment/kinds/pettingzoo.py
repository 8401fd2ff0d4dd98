"""PettingZoo's environments."""

from typing import Any

from trifolium.experiment.kinds.own import OwnKind
from trifolium.worlds import pettingzoo

__all__ = ["PettingZooKind"]


class PettingZooKind(OwnKind):
    """PettingZoo's parallel and turn-taking environments, as worlds.

    Classic games show which moves are legal.
    """

    shows_masks = True

    def make(self, name: str, *, render_mode: str | None = None, turns: int | None = None) -> Any:  # noqa: ARG002
        """Return the environment of that id as a world; the runner cuts off its episodes."""
        shown = {} if render_mode is None else {"render_mode": render_mode}
        return pettingzoo.make(name, **shown)

    def adopt(self, made: Any, turns: int | None) -> Any:  # noqa: ARG002
        """Return an environment of PettingZoo as a world; one that is a world already as it is."""
        is_world = isinstance(made, pettingzoo.ParallelWorld | pettingzoo.AECWorld)
        return made if is_world else pettingzoo.as_world(made)
