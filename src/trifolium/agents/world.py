"""World: what agents act in, and what one of them learns when it looks."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

__all__ = ["Turn", "World"]


class Turn(NamedTuple):
    """What an agent learns when it looks.

    Attributes:
        observation: what it sees, as its :class:`~trifolium.agents.ObservationSpec` takes it. Where its
            episode was truncated, this is the true successor of its last step; None if that is not
            known. Where it was terminated, it means nothing.
        reward: what it earned since its last action; 0.0 if it hasn't acted.
        terminated: whether its episode has come to its own end.
        truncated: whether its episode was cut off, by a time limit say.
    """

    observation: Any
    reward: float
    terminated: bool
    truncated: bool


class World(Protocol):
    """What agents act in, one after another or all at once: three methods, and whose turn it is.

    An agent whose turn it is looks; if that did not tell it of its end, it acts then. One whose episode
    is over may stay in ``agents`` and is not asked again; one that leaves ``agents`` and comes back
    begins a new episode. The episode of the world is over when no other agent is left there.

    Two more methods are used where there are some: ``observation_spec(agent)`` and
    ``action_spec(agent)``, the specs of an agent that was given none.

    """

    @property
    def agents(self) -> Sequence[str]:
        """Names of those whose turn it is, in the order in which they are to act.

        Before the first :meth:`reset` it may be missing.
        """
        ...

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode; the same ``seed`` and the same actions lead to the same observations."""
        ...

    def turn(self, agent: str) -> Turn:
        """Return what ``agent`` sees now. A turn that tells of the end is its last."""
        ...

    def act(self, agent: str, action: Any) -> None:
        """Do what ``agent`` has decided on: an int, or the value that its ActionSpec has for it."""
        ...
