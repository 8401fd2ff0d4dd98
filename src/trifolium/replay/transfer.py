"""Transfer: a buffer's rows to and from files, the functional form, and recordings."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from trifolium import files
from trifolium.backend import Backend
from trifolium.replay import saving
from trifolium.replay.contents import Contents
from trifolium.replay.conversion import from_state, to_state
from trifolium.replay.offline import EpisodeSource, from_episodes
from trifolium.replay.samplers import Sampler
from trifolium.replay.state import State

__all__ = ["Transfer"]


class Transfer(Contents):
    """The part of a buffer that brings its rows elsewhere, and makes buffers of what is elsewhere.

    Attributes:
        sampler: how rows are drawn.
        rng: the generator that draws them.
    """

    sampler: Sampler
    rng: np.random.Generator

    # Files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rows, the options, the sampler and the generator to one safetensors file."""
        files.write(path, "buffer", saving.manifest_of(self), saving.arrays_of(self))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        backend: str | Backend | None = None,
        device: Any = None,
        sampler: Sampler | None = None,
    ) -> Self:
        """Return the buffer saved at ``path``; it goes on to draw what the saved one would have.

        Args:
            path: the file.
            backend: another backend than it was saved from; None for the same.
            device: as for the constructor.
            sampler: needed for a buffer that was saved with a sampler of your own.

        Raises:
            CheckpointError: the file is damaged, or holds no buffer.
            FileNotFoundError: there is no such file.
        """
        return saving.unpack(cls, path, files.read(path, "buffer"), backend, device, sampler)

    # Compiled code

    def state(self) -> State:
        """Return all rows in the functional form, for code that is compiled: a copy.

        With :class:`Prioritized` the priorities are in it; of another sampler nothing is.

        Raises:
            ValueError: the buffer has more than 2**29 rows.
        """
        return to_state(self.spec, self.backend, self._rows, self.sampler)

    @classmethod
    def from_state(
        cls,
        state: State,
        *,
        backend: str | Backend | None = None,
        device: Any = None,
        seed: int | None = None,
    ) -> Self:
        """Return a buffer with the rows of a state: a copy.

        Args:
            state: what :meth:`state` or :func:`trifolium.replay.init` returned, or came of that.
            backend: another backend than the state's; None for the same.
            device: as for the constructor.
            seed: of the generator that draws rows; None for a random one.

        Raises:
            ValueError: the arrays have another shape than the options tell: those of many states, as
                ``jax.vmap`` makes them, are to be taken apart first.

        >>> from trifolium import Buffer
        >>> buffer = Buffer(8, (2,))
        >>> buffer.add([0.0, 1.0], action=0, reward=1.0, done=False)
        >>> len(Buffer.from_state(buffer.state()))
        1
        """
        return from_state(cls, state, backend, device, seed)

    # Recordings

    @classmethod
    def from_minari(
        cls,
        dataset: EpisodeSource,
        *,
        capacity: int | None = None,
        observe: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> Self:
        """Return a buffer with the episodes of a dataset, of which every step can be drawn.

        An episode whose recording stops before its end counts as truncated: the observation after its
        last step is known. float64 observations and actions are stored as float32.

        Args:
            dataset: what ``minari.load_dataset`` returns, or anything with ``iterate_episodes()``.
            capacity: rows held, if not those of all episodes; the oldest episodes go first.
            observe: makes an array [T + 1, *obs_shape] of the observations of an episode of T steps,
                where they are dictionaries or tuples.
            **options: further arguments of the constructor. Shapes and dtypes of observations and
                actions are those of the dataset unless they are given.

        Raises:
            TypeError, ValueError: the dataset has no episodes, or they are not of that kind.

        >>> from types import SimpleNamespace
        >>> import numpy as np
        >>> from trifolium import Buffer
        >>> episode = SimpleNamespace(
        ...     observations=np.zeros((4, 2)),
        ...     actions=np.zeros(3, int),
        ...     rewards=np.ones(3),
        ...     terminations=np.array([False, False, True]),
        ...     truncations=np.zeros(3, bool),
        ... )
        >>> dataset = SimpleNamespace(iterate_episodes=lambda: [episode] * 5)
        >>> Buffer.from_minari(dataset, gamma=0.9).drawable
        15
        """
        return from_episodes(cls, dataset, capacity, observe, options)
