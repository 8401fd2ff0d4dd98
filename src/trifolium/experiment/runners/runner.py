"""The Runner protocol: a world and the models that act in it, one step at a time."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from trifolium._json import brief
from trifolium.models import BaseModel

__all__ = [
    "AGENT",
    "LONGEST_REPLAY",
    "MODEL",
    "BlockRunner",
    "EpisodeEnd",
    "Runner",
    "checked_count",
    "episode_seed",
    "fingerprint",
]

AGENT = "agent"
"""Name of the agent where there is one."""

MODEL = "model"
"""Name of the model where there is one."""


LONGEST_REPLAY = 10_000
"""Steps of an open episode that are repeated on resume at most.

An open episode that is longer ends at the checkpoint, and the run begins a new one: its record is
then not the one of a run without an interruption, but no row of the memory is wrong."""


@dataclass(frozen=True, slots=True)
class EpisodeEnd:
    """An agent's episode that is over.

    Attributes:
        agent: name of the agent; one of :attr:`Runner.agents`.
        episode_return: sum of its rewards.
        length: its steps.
        model: name of the model that acted, a key of :attr:`Runner.models`.
    """

    agent: str
    episode_return: float
    length: int
    model: str


class Runner(Protocol):
    """The protocol of runners, which an experiment drives.

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
        """Act once and store the step; return the agents' episodes that ended."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the state to resume from bit for bit, without the models, in JSON's types."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the point at which :meth:`state` was taken, without use of models or memories.

        Raises:
            WorldError: the world does not repeat itself: it comes to another observation.
            LookupError, TypeError, ValueError: ``state`` is not of such a runner.
        """
        ...

    def close(self) -> None:
        """Close the world."""
        ...


@runtime_checkable
class BlockRunner(Protocol):
    """A runner that also learns, and takes many steps in one call, such as a compiled one.

    Attributes:
        block: environment steps that a call takes a multiple of.
        width: environments that step together.
    """

    block: int
    width: int

    @property
    def models(self) -> Mapping[str, BaseModel]:
        """The model, by the name :data:`MODEL`."""
        ...

    @property
    def agents(self) -> Sequence[str]:
        """As for :class:`Runner`."""
        ...

    def run(self, steps: int) -> Any:
        """Act, store and learn for ``steps``.

        Returns:
            An object with three host arrays. ``returns`` and ``lengths`` [steps]: of the episode that
            ended with a step; the length is 0 where none did. ``losses`` [steps / block]: the mean loss
            of each block's updates; nan before ``learning_starts``.
        """
        ...

    def state(self) -> dict[str, Any]:
        """As for :class:`Runner`."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """As for :class:`Runner`."""
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


def checked_count(name: str, value: Any) -> int:
    """Return a count from a file; TypeError or ValueError where it is none."""
    if type(value) is not int:
        raise TypeError(f"{name}={brief(value)}; expected an integer")
    if not 0 <= value < 1 << 53:
        raise ValueError(f"{name}={brief(value)}; expected a count")
    return value


def fingerprint(observation: Any) -> str:
    """Return a digest that shows whether a world returns the same observation again.

    Args:
        observation: an array, or a mapping of arrays.
    """
    return hashlib.sha256(_content(observation)).hexdigest()


def _content(observation: Any) -> bytes:
    if isinstance(observation, Mapping):
        parts = (repr(name).encode() + _content(part) for name, part in observation.items())
        return b"".join(parts)
    return f"{observation.dtype}{observation.shape}".encode() + bytes(observation.tobytes())
