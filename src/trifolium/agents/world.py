"""World: the protocol of worlds that agents act in, and Turn, the result of an observation."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

__all__ = ["Turn", "World"]


class Turn(NamedTuple):
    """The observation, the reward and the end flags that an agent gets at its turn.

    Attributes:
        observation: the input of the agent's :class:`~trifolium.agents.ObservationSpec`. Where its
            episode was truncated, this is the true successor of its last step; None if that is not
            known. Where it was terminated, it is ignored.
        reward: sum of its rewards since its last action; 0.0 if it hasn't acted.
        terminated: whether its episode reached a terminal state.
        truncated: whether its episode was cut off, for example by a time limit.
    """

    observation: Any
    reward: float
    terminated: bool
    truncated: bool


class World(Protocol):
    """The protocol of worlds, in which agents act one after another or all at once.

    At its turn an agent calls ``turn``, and then ``act`` unless its episode ended. An agent whose
    episode is over may stay in ``agents``; it gets no further turn. An agent that leaves ``agents`` and
    comes back begins a new episode. The episode of the world is over when no other agent is left in
    ``agents``.

    Three more methods are optional: ``observation_spec(agent)`` and ``action_spec(agent)`` return the
    specs of an agent that is created without specs; ``structured_spec(agent)`` returns that of the
    observations for a model whose observations are structured.
    """

    @property
    def agents(self) -> Sequence[str]:
        """Names of the agents whose turn it is, in the order in which they act.

        The attribute may be missing before the first :meth:`reset`.
        """
        ...

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode; the same ``seed`` and the same actions lead to the same observations."""
        ...

    def turn(self, agent: str) -> Turn:
        """Return the current turn of ``agent``. A turn that ends its episode is its last."""
        ...

    def act(self, agent: str, action: Any) -> None:
        """Apply the action of ``agent``: an int, or the value that its ActionSpec has for it."""
        ...
