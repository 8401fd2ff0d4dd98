"""The ring: where rows are written, what each row is, and which rows can be drawn.

A buffer of ``capacity`` rows is cut into ``n_streams`` rings of equal length; stream s owns the rows
``s * length`` to ``(s + 1) * length - 1``. Every row ever written to a stream has a serial number,
counted from 0; it lies at ``serial % length`` of its ring until a row one length younger takes its
place. Order of age is order of serial number.
"""

from typing import Any

import numpy as np

from trifolium.backend import Array

__all__ = [
    "BLANK",
    "BOUNDARY",
    "ENDED",
    "FIRST",
    "LOST",
    "NO_TRANSITION",
    "TERMINATED",
    "TRUNCATED",
    "UNKNOWN",
    "Ring",
    "locate",
]

# What a row is: one byte a row.
FIRST = 1  # the first row of an episode
TERMINATED = 2  # its step ended the episode: nothing to bootstrap from
TRUNCATED = 4  # its step was cut off: the episode would have gone on
UNKNOWN = 8  # cut off, and the observation that followed was not given
BOUNDARY = 16  # no step: the last observation of a truncated episode
BLANK = 32  # no step: zeros that add_empty leaves before an episode
LOST = 64  # the rows before it in its episode are not in this buffer

ENDED = TERMINATED | TRUNCATED | BOUNDARY
NO_TRANSITION = BOUNDARY | BLANK

# what the row after one of any mark begins with: FIRST, where that one ended its episode
_AFTER = np.where(np.arange(256) & ENDED, FIRST, 0).astype(np.uint8)


def locate(xp: Any, ordinals: Array, counts: Array, ends: Array) -> tuple[Array, Array]:
    """Return (streams, places), each [N], of what is numbered stream by stream, from 0.

    Args:
        xp: array namespace.
        ordinals: [N] int, below the sum of ``counts``.
        counts: [n_streams] int, how many there are in each stream.
        ends: [n_streams] int, the sums of ``counts`` up to and with each.
    """
    streams = xp.astype(xp.searchsorted(ends, ordinals, side="right"), ordinals.dtype)
    streams = xp.where(streams < counts.shape[0], streams, 0)  # where there is nothing in any stream
    return streams, ordinals - xp.take(ends - counts, streams, axis=0)


class Ring:
    """Cursors and row marks of a buffer, all on the host.

    Args:
        capacity: rows in all; a multiple of ``n_streams``.
        n_streams: rings that the rows are cut into.
        n_frames: frames in a stack.
        pad: whether a stack may begin before the first row of an episode.

    Attributes:
        length: rows in each ring.
        oldest_drawable: how many of a stream's oldest rows can't be drawn, because their stack would
            begin before them.
        oldest_breakable: how many of a stream's oldest rows are drawn although their stack may have
            lost its first frames since.
        marks: [capacity] uint8, what each row is: a sum of the constants of this module.
        written: [n_streams] int64, rows ever written to each stream: the next serial number.
        sizes: [n_streams] int64, rows held by each stream.

    >>> ring = Ring(4)
    >>> [ring.append(0, 0) for _ in range(5)]
    [0, 1, 2, 3, 0]
    >>> ring.drawable().tolist()  # the newest row waits for its successor
    [3]
    """

    def __init__(
        self, capacity: int, n_streams: int = 1, n_frames: int = 1, *, pad: bool = False
    ) -> None:
        self.capacity = capacity
        self.n_streams = n_streams
        self.length = capacity // n_streams
        self.oldest_drawable = 0 if pad else n_frames - 1
        self.oldest_breakable = n_frames - 1 if pad else 0
        self.marks = np.zeros(capacity, np.uint8)
        self.written = np.zeros(n_streams, np.int64)
        self.sizes = np.zeros(n_streams, np.int64)
        self._starts = np.arange(n_streams) * self.length
        self._newest = np.full(n_streams, ENDED, np.uint8)  # marks; ENDED where nothing is stored
        self._is_full = False  # if it is True there is no size to count up

    def append(self, stream: int, mark: int) -> int:
        """Claim the next row of ``stream``, mark it, and return its number."""
        written, size = self.written.item(stream), self.sizes.item(stream)
        row = stream * self.length + written % self.length
        if self._newest.item(stream) & ENDED and not mark & BOUNDARY:  # which ends the one it follows
            mark |= FIRST
        self.marks[row] = self._newest[stream] = mark
        self.written[stream] = written + 1
        if size < self.length:
            self.sizes[stream] = size + 1
        return row

    def append_each(self, marks: np.ndarray) -> np.ndarray:
        """Claim the next row of every stream, with these ``marks`` [n_streams], and return them."""
        rows = self.written % self.length
        rows += self._starts
        self.marks[rows] = self._newest = marks | _AFTER.take(self._newest)
        self.written += 1
        if not self._is_full:
            np.minimum(self.sizes + 1, self.length, out=self.sizes)
            self._is_full = bool((self.sizes == self.length).all())
        return rows

    def append_run(self, stream: int, marks: np.ndarray) -> np.ndarray:
        """Claim rows for ``marks`` [N <= length] as they are, and return their numbers [N]."""
        written = int(self.written[stream])
        rows = self.rows(stream, np.arange(written, written + len(marks)))
        self.marks[rows] = marks
        self._newest[stream] = marks[-1]
        self.written[stream] += len(marks)
        self.sizes[stream] = min(int(self.sizes[stream]) + len(marks), self.length)
        return rows

    def end_episode(self, stream: int) -> None:
        """Make the next row of ``stream`` the first of an episode.

        A newest step that was not known to be its episode's last becomes one without successor. Blank
        rows go on waiting for their episode.
        """
        if self.sizes[stream]:
            newest = self.newest_row(stream)
            if not self.marks[newest] & (ENDED | BLANK):
                self.marks[newest] |= TRUNCATED | UNKNOWN
                self._newest[stream] = self.marks[newest]

    def clear(self) -> None:
        """Forget every row. Serial numbers go on, so that none is ever given twice."""
        self.sizes[:] = 0
        self._is_full = False
        self._newest[:] = ENDED
        self.written[:] = -(-self.written // self.length) * self.length

    def restore(self, written: np.ndarray, sizes: np.ndarray) -> None:
        """Take up saved cursors, or raise ValueError where they are not those of such a ring."""
        for name, found in (("written", written), ("sizes", sizes)):
            if found.shape != (self.n_streams,) or found.dtype != np.int64:
                raise ValueError(f"{name} has shape {found.shape} and dtype {found.dtype}")
        if np.any(sizes < 0) or np.any(sizes > np.minimum(written, self.length)):
            raise ValueError(f"sizes={sizes.tolist()} with written={written.tolist()}")
        self.written[:], self.sizes[:] = written, sizes
        self._is_full = False

    def mark_all(self, marks: np.ndarray) -> None:
        """Give all stored rows these ``marks``, in the order of :meth:`all_rows`."""
        self.marks[self.all_rows()] = marks
        newest = self._starts + (self.written - 1) % self.length
        self._newest = np.where(self.sizes > 0, self.marks[newest], np.uint8(ENDED))

    def newest_row(self, stream: int, offset: int = 0) -> int:
        """Return the row written ``offset`` rows before the newest of ``stream``."""
        return stream * self.length + (int(self.written[stream]) - 1 - offset) % self.length

    def rows(self, streams: np.ndarray | int, serials: np.ndarray) -> np.ndarray:
        """Return the rows [N] at which ``serials`` [N] of ``streams`` ([N] or one) lie."""
        if self.n_streams == 1:
            return np.remainder(serials, self.length)
        return np.asarray(streams) * self.length + serials % self.length

    def stored_rows(self, stream: int) -> np.ndarray:
        """Return the rows that ``stream`` holds, oldest first."""
        newest = int(self.written[stream])
        return self.rows(stream, np.arange(newest - int(self.sizes[stream]), newest))

    def all_rows(self) -> np.ndarray:
        """Return the rows that all streams hold, stream after stream, oldest first."""
        return np.concatenate([self.stored_rows(stream) for stream in range(self.n_streams)])

    def open_episode_rows(self, stream: int, count: int) -> np.ndarray:
        """Return the newest rows of ``stream`` that the next one goes on from, oldest first.

        They are ``count``, or as many as their episode has.
        """
        rows: list[int] = []
        for offset in range(min(count, int(self.sizes[stream]))):
            row = self.newest_row(stream, offset)
            if not rows and self.marks[row] & ENDED:
                break
            rows.insert(0, row)
            if self.marks[row] & (FIRST | LOST):
                break
        return np.array(rows, np.int64)

    def step_row(self, stream: int, offset: int) -> int | None:
        """Return the row of the step ``offset`` steps before the newest, None if it is not stored."""
        for age in range(int(self.sizes[stream])):
            row = self.newest_row(stream, age)
            if not self.marks[row] & NO_TRANSITION:
                if offset == 0:
                    return row
                offset -= 1
        return None

    def drawable(self, span: int = 1) -> np.ndarray:
        """Return how many runs of ``span`` rows can be drawn from each stream: [n_streams].

        The rows that can be drawn lie side by side in order of age, from the first whose stack is
        stored to the last whose successor is stored.
        """
        return np.maximum(self.sizes - span - self.oldest_drawable, 0)

    def count_drawable(self, span: int = 1) -> int:
        """Return how many runs of ``span`` rows can be drawn from all streams together."""
        if self.n_streams == 1:
            return max(self.sizes.item(0) - span - self.oldest_drawable, 0)
        return int(self.drawable(span).sum())

    def locate(self, ordinals: np.ndarray, span: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return (streams, serials), each [N], of the drawable runs numbered ``ordinals`` [N].

        They are numbered stream by stream, from the oldest.
        """
        if self.n_streams == 1:
            first = self.written.item(0) - self.sizes.item(0) + self.oldest_drawable
            return np.zeros(len(ordinals), np.int64), ordinals + first
        oldest = self.written - self.sizes + self.oldest_drawable
        counts = self.drawable(span)
        streams, places = locate(np, ordinals, counts, np.cumsum(counts))
        return streams, places + oldest[streams]

    def identify(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (streams, serials), each [N], of what ``rows`` [N] hold now."""
        streams = rows // self.length
        newest = self.written[streams] - 1
        return streams, newest - (newest - rows) % self.length

    def indices(self, streams: np.ndarray, serials: np.ndarray) -> np.ndarray:
        """Return one number [N] for each row, unlike that of any row before or after it."""
        return serials if self.n_streams == 1 else serials * self.n_streams + streams

    def current_rows(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (rows [N], still_stored [N] bool) for what :meth:`indices` gave."""
        streams, serials = indices % self.n_streams, indices // self.n_streams
        newest = self.written[streams]
        stored = (serials < newest) & (serials >= newest - self.sizes[streams])
        return self.rows(streams, serials), stored
