"""How rows are drawn: the Sampler protocol, and uniform draws.

A sampler runs on the host. It sees the :class:`~trifolium.replay.host.ring.Ring` of a buffer, never its
arrays, so it draws the same rows on every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

from trifolium._checks import flag
from trifolium.errors import NotEnoughTransitions
from trifolium.replay.host.kernels import kernels
from trifolium.replay.host.ring import Ring

__all__ = [
    "Accept",
    "Draw",
    "Drawable",
    "Sampler",
    "SequenceSampler",
    "Uniform",
    "draw_accepted",
    "draw_ordinals",
    "draw_runs",
]

Accept: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Which runs may be drawn, [N] bool, by the streams [N] and serials [N] of their first rows."""

ROUNDS = 4  # of draws, after which all runs are looked at
MOST_NUMBERS = 1 << 40  # below which a number and its place fit in 64 bits
SMALL_TABLE = 1 << 15  # numbers for which a table with a place for each is fast


class Draw(NamedTuple):
    """Rows that a sampler drew.

    Attributes:
        streams: [B] int64, the stream of each.
        serials: [B] int64, the serial number of each in its stream.
        weights: [B] float32, importance weights; None where all are 1.
    """

    streams: np.ndarray
    serials: np.ndarray
    weights: np.ndarray | None = None


class Drawable(Protocol):
    """What a sampler may ask of the buffer that it draws for."""

    ring: Ring

    def valid_rows(self, streams: np.ndarray, serials: np.ndarray) -> np.ndarray:
        """Return [N] bool: which drawable rows ``sample`` would return as valid."""
        ...


class Sampler(Protocol):
    """What ``Buffer(sampler=...)`` takes.

    A sampler belongs to one buffer. It is asked for rows only, and must ask ``source`` each time what
    can be drawn: rows come and go between draws.
    """

    def draw(self, source: Drawable, rng: np.random.Generator, batch_size: int) -> Draw:
        """Draw ``batch_size`` >= 1 rows, or raise `NotEnoughTransitions`."""
        ...

    def update(self, source: Drawable, rows: np.ndarray, priorities: np.ndarray) -> None:
        """Take new ``priorities`` [N] float64 >= 0 for buffer ``rows`` [N] that are still stored."""
        ...

    def clear(self) -> None:
        """Remove all rows."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Return all that must be saved with the buffer, as named arrays."""
        ...

    def restore(self, source: Drawable, state: Mapping[str, np.ndarray]) -> None:
        """Set what :meth:`state` returned."""
        ...


@runtime_checkable
class SequenceSampler(Protocol):
    """A sampler that also chooses sequences; others leave that to uniform draws."""

    def draw_sequences(
        self,
        source: Drawable,
        rng: np.random.Generator,
        batch_size: int,
        length: int,
        accept: Accept | None,
    ) -> Draw:
        """Draw the first rows of ``batch_size`` runs of ``length`` rows.

        Args:
            source: the buffer.
            rng: the generator to draw with.
            batch_size: runs to draw.
            length: rows in a run.
            accept: which runs may be drawn; None for all.
        """
        ...


class Uniform:
    """Every row that can be drawn is equally likely.

    Args:
        replacement: whether one row may appear twice in a batch. Without, the time of a draw does not
            grow with the buffer.
        valid_only: whether only valid rows are drawn, each equally likely, for losses that have no
            place for ``valid``. A draw takes time in proportion to the batch while most rows are valid,
            and to the buffer where few are.

    >>> from trifolium import Buffer
    >>> buffer = Buffer(8, (2,), seed=0, sampler=Uniform(valid_only=True))
    """

    def __init__(self, *, replacement: bool = False, valid_only: bool = False) -> None:
        self.replacement = flag("replacement", replacement)
        self.valid_only = flag("valid_only", valid_only)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make such a sampler, in JSON's types."""
        return {"replacement": self.replacement, "valid_only": self.valid_only}

    def draw(self, source: Drawable, rng: np.random.Generator, batch_size: int) -> Draw:
        if self.valid_only:
            accept, again = source.valid_rows, self.replacement
            return Draw(*draw_accepted(source.ring, rng, batch_size, accept, replacement=again))
        return Draw(*draw_runs(source.ring, rng, batch_size, replacement=self.replacement))

    def update(self, source: Drawable, rows: np.ndarray, priorities: np.ndarray) -> None:  # noqa: ARG002
        raise TypeError("update_priorities: this buffer draws uniformly; give it Prioritized()")

    def clear(self) -> None:
        pass

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, source: Drawable, state: Mapping[str, np.ndarray]) -> None:
        pass


def draw_runs(
    ring: Ring,
    rng: np.random.Generator,
    batch_size: int,
    *,
    span: int = 1,
    replacement: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw runs of ``span`` rows uniformly: (streams, serials) of their first rows, each [B]."""
    available = ring.count_drawable(span)
    if available < (1 if replacement else batch_size):
        raise NotEnoughTransitions(
            batch_size, available, "transitions" if span == 1 else f"sequences of length {span}"
        )
    return ring.locate(draw_ordinals(rng, available, batch_size, replacement), span)


def draw_ordinals(
    rng: np.random.Generator, available: int, count: int, replacement: bool
) -> np.ndarray:
    """Draw ``count`` numbers uniformly from 0 to ``available`` (not included): [count] int64."""
    found = None if replacement else _distinct(rng, available, count)
    if found is None:
        found = rng.choice(available, count, replace=replacement, shuffle=False)
    return found


def draw_accepted(
    ring: Ring,
    rng: np.random.Generator,
    batch_size: int,
    accept: Accept,
    *,
    span: int = 1,
    replacement: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw runs that ``accept`` takes, uniformly: (streams, serials) of their first rows, each [B].

    Runs are drawn and those that are not accepted are dropped, which leaves the others equally likely.
    If that finds too few, all runs are looked at.

    Raises:
        NotEnoughTransitions: fewer runs are accepted.
    """
    available = ring.count_drawable(span)
    found = np.zeros(0, np.int64)
    for _ in range(ROUNDS if available else 0):
        ordinals = rng.integers(available, size=2 * batch_size)
        taken = ordinals[accept(*ring.locate(ordinals, span))]
        found = np.concatenate([found, taken])
        if not replacement:
            found = found[np.sort(np.unique(found, return_index=True)[1])]
        if len(found) >= batch_size:
            return ring.locate(found[:batch_size], span)
    every = np.arange(available)
    accepted = every[accept(*ring.locate(every, span))] if available else every
    if len(accepted) < (1 if replacement else batch_size):
        what = "valid transitions" if span == 1 else f"sequences of length {span} within an episode"
        raise NotEnoughTransitions(batch_size, len(accepted), what)
    return ring.locate(rng.choice(accepted, batch_size, replace=replacement), span)


def _distinct(rng: np.random.Generator, below: int, count: int) -> np.ndarray | None:
    """Return ``count`` different numbers drawn uniformly; None where there are few, or far too many.

    Numbers are drawn one after another, and those that came before are dropped: so every subset is
    equally likely. Where some are probably repeated, some more than ``count`` are drawn at once. Taking
    words of 64 bits modulo ``below`` makes the first numbers likelier by a part of ``below / 2**64``.
    """
    if not 4 * count <= below < MOST_NUMBERS:
        return None
    rarely_repeats = below >= 4 * count * count
    size = count if rarely_repeats else count + count * count // below + 8
    words = rng.bit_generator.random_raw(size)
    compiled = kernels()
    if compiled is not None:
        found = np.empty(count, np.int64)
        if compiled.first_ones(words, below, found) == count:
            return found
    words %= np.uint64(below)
    numbers = words.view(np.int64)
    if rarely_repeats:
        words = words.copy()
        words.sort()
        if not np.count_nonzero(words[1:] == words[:-1]):
            return numbers
    found = _first_ones(numbers, below, count)
    while len(found) < count:
        words = rng.bit_generator.random_raw(size) % np.uint64(below)
        found = _first_ones(np.concatenate([found, words.view(np.int64)]), below, count)
    return found


def _first_ones(numbers: np.ndarray, below: int, count: int) -> np.ndarray:
    """Return the first ``count`` of ``numbers`` [N], all below ``below``, without those repeated."""
    size = len(numbers)
    if below <= SMALL_TABLE and size < SMALL_TABLE:
        places = np.arange(size, dtype=np.int16)
        first = np.empty(below, np.int16)  # the first place of each number
        first[numbers[::-1]] = places[::-1]  # of equal ones the last one is written
        return numbers[first.take(numbers) == places][:count]
    bits = size.bit_length()
    keys = (numbers << bits) | np.arange(size)
    keys.sort()
    ordered = keys >> bits
    repeated = ordered[1:] == ordered[:-1]
    is_first = np.ones(size, bool)
    is_first[keys[1:][repeated] & ((1 << bits) - 1)] = False
    return numbers[is_first][:count]
