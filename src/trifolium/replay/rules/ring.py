"""The arithmetic of rings: rows, ages, and which rows of a stream can be drawn."""

from typing import Any

from trifolium.backend import AnyArray
from trifolium.replay.rules.marks import ENDED, FIRST, LOST, TERMINATED

__all__ = ["continues", "drawable_counts", "locate", "rows_of", "skipped_rows"]


def rows_of(streams: Any, serials: Any, length: int) -> Any:
    """Return the rows of ``serials`` of ``streams``, in rings of ``length`` rows."""
    return streams * length + serials % length


def skipped_rows(n_frames: int, *, pad: bool) -> int:
    """Return how many of the oldest rows of a stream can't be drawn: their stacks begin before them."""
    return 0 if pad else n_frames - 1


def drawable_counts(
    xp: Any, sizes: AnyArray, newest: AnyArray, skipped: int, span: int = 1
) -> AnyArray:
    """Return how many runs of ``span`` rows can be drawn from each stream: [n_streams].

    The rows that can be drawn are consecutive: from the first row whose stack is stored to the last row
    whose successor is stored. A newest row that terminated its episode needs no successor.

    Args:
        xp: array namespace.
        sizes: [n_streams] int, rows stored.
        newest: [n_streams] uint8, the mark of the newest row; of any value where nothing is stored.
        skipped: what :func:`skipped_rows` returned.
        span: rows in a run.
    """
    ended = xp.astype((newest & TERMINATED) != 0, sizes.dtype)
    counts = sizes + ended - span - skipped
    return xp.where(counts > 0, counts, 0)


def locate(xp: Any, ordinals: AnyArray, counts: AnyArray, ends: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return (streams, places), each [N], of items that are numbered stream by stream, from 0.

    Args:
        xp: array namespace.
        ordinals: [N] int, below the sum of ``counts``.
        counts: [n_streams] int, how many items each stream has.
        ends: [n_streams] int, the running sum of ``counts``.
    """
    streams = xp.astype(xp.searchsorted(ends, ordinals, side="right"), ordinals.dtype)
    streams = xp.where(streams < counts.shape[0], streams, 0)  # where no stream has an item
    return streams, ordinals - xp.take(ends - counts, streams, axis=0)


def continues(xp: Any, marks: AnyArray, stored: AnyArray) -> AnyArray:
    """Return which of the newest rows belong to the episode that the next row continues.

    Args:
        xp: array namespace.
        marks: [S, N] uint8, of the newest row of each stream, the one before it, and so on.
        stored: [S, N] bool, whether a stream has so many rows.

    Returns:
        [S, N] bool: True from the newest row back to the first of its episode.
    """
    kept = [((marks[:, :1] & ENDED) == 0) & stored[:, :1]]
    for age in range(1, marks.shape[1]):
        begins = (marks[:, age - 1 : age] & (FIRST | LOST)) != 0
        kept.append(kept[-1] & ~begins & stored[:, age : age + 1])
    return xp.concat(kept, axis=1)
