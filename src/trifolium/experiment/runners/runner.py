"""The Runner protocol: a world and the models that act in it, one step at a time."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from trifolium.models import BaseModel

__all__ = ["EpisodeEnd", "Runner", "episode_seed", "fingerprint"]


@dataclass(frozen=True, slots=True)
class EpisodeEnd:
    """An agent's episode that is over.

    Attributes:
        agent: whose; one of :attr:`Runner.agents`.
        episode_return: sum of its rewards.
        length: its steps.
        model: name of the model that acted, a key of :attr:`Runner.models`.
    """

    agent: str
    episode_return: float
    length: int
    model: str


class Runner(Protocol):
    """What an experiment drives.

    A runner acts and remembers, and never learns: learning, schedules, hooks, logs and checkpoints are
    the experiment's. It calls ``model.reset()`` when an episode begins.

    An environment can't be saved. So each episode is reset with :func:`episode_seed`, and begins when
    the first :meth:`step` of it is taken, not before. :meth:`state` then holds what was done in the
    episodes that are open; :meth:`restore` begins them with the same seeds and does it again.
    """

    @property
    def models(self) -> Mapping[str, BaseModel]:
        """The models by name; one that several agents share appears once."""
        ...

    @property
    def agents(self) -> Sequence[str]:
        """Names of all agents that may act; the environments of a vector are one agent."""
        ...

    @property
    def width(self) -> int:
        """Environment steps that a call of :meth:`step` makes: environments of a vector, else 1."""
        ...

    @property
    def episodes(self) -> int:
        """Episodes of the world that are over; an experiment ends an epoch whenever it grows.

        Where agents of one world end theirs at different times, it grows when the world is to be reset;
        each environment of a vector counts its own.
        """
        ...

    def step(self) -> Sequence[EpisodeEnd]:
        """Act once and remember it; return the agents' episodes that ended with that."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on bit for bit, the models apart, in JSON's types."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back, or on, to where :meth:`state` was taken: no memory is written, no model asked.

        Raises:
            WorldError: the world does not repeat itself: it comes to another observation.
            LookupError, TypeError, ValueError: ``state`` is none of this runner's.
        """
        ...

    def close(self) -> None:
        """Close the world."""
        ...


def episode_seed(seed: int, stream: int, episode: int) -> int:
    """Return the seed that an episode's world is reset with, from 0 to 2**31 - 1.

    Args:
        seed: of the run.
        stream: number of the environment, where there are several.
        episode: number of its episode.

    >>> episode_seed(0, 0, 1) == episode_seed(0, 0, 1) != episode_seed(0, 1, 0)
    True
    """
    return int(np.random.SeedSequence(seed, spawn_key=(stream, episode)).generate_state(1)[0] >> 1)


def fingerprint(observation: np.ndarray) -> str:
    """Return what tells whether a world came to the same observation again."""
    content = f"{observation.dtype}{observation.shape}".encode() + observation.tobytes()
    return hashlib.sha256(content).hexdigest()
