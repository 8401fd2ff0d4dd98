"""The cursors of a buffer on the host: where rows are written, and which rows can be drawn.

A buffer of ``capacity`` rows is cut into ``n_streams`` rings of equal length: stream s owns the rows
``s * length`` to ``(s + 1) * length - 1``. Every row ever written to a stream has a serial number,
counted from 0. The row lies at ``serial % length`` of its ring until a row one length newer overwrites
it. Serial numbers order the rows of a stream by age.

A row is claimed, by raising ``written``, before anything of it is written: where both are in mapped
files, whoever opens them after a kill knows which rows may be half written.
"""

from collections.abc import Iterator

import numpy as np

from trifolium.replay.host.memory import Memory, zeros
from trifolium.replay.rules.marks import (
    BLANK,
    BOUNDARY,
    ENDED,
    FIRST_AFTER,
    NO_TRANSITION,
    TERMINATED,
    TRUNCATED,
    UNKNOWN,
    ends_episode,
)
from trifolium.replay.rules.ring import continues, drawable_counts, locate, rows_of, skipped_rows

__all__ = ["Ring"]

_FIRST_AFTER: list[int] = FIRST_AFTER.tolist()
LARGEST_INDEX = 1 << 60
"""Rows that saved cursors may count in all streams: adding goes on for ages before 64 bits overflow."""


class Ring:
    """Cursors and row marks of a buffer, all on the host.

    Args:
        capacity: rows in all; a multiple of ``n_streams``.
        n_streams: rings that the rows are cut into.
        n_frames: frames in a stack.
        pad: whether a stack may begin before the first row of an episode.
        memory: makes the arrays that a mapped buffer keeps in files.

    Attributes:
        length: rows in each ring.
        skipped: how many of a stream's oldest rows can't be drawn, because their stacks begin before
            them.
        breakable: how many of a stream's oldest rows can be drawn although their stacks may have lost
            their first frames since.
        marks: [capacity] uint8, what each row is: a sum of the constants of
            :mod:`trifolium.replay.rules.marks`.
        written: [n_streams] int64, rows ever written to each stream: the next serial number.
        sizes: [n_streams] int64, rows held by each stream.

    >>> ring = Ring(4)
    >>> [ring.append(0, 0) for _ in range(5)]
    [0, 1, 2, 3, 0]
    >>> ring.drawable().tolist()  # the newest row waits for its successor
    [3]
    """

    def __init__(
        self,
        capacity: int,
        n_streams: int = 1,
        n_frames: int = 1,
        *,
        pad: bool = False,
        memory: Memory = zeros,
    ) -> None:
        self.capacity = capacity
        self.n_streams = n_streams
        self.length = capacity // n_streams
        self.skipped = skipped_rows(n_frames, pad=pad)
        self.breakable = n_frames - 1 - self.skipped
        self.marks = memory("marks", (capacity,), "uint8")
        self.written = memory("written", (n_streams,), "int64")
        self.sizes = np.zeros(n_streams, np.int64)
        self._starts = np.arange(n_streams) * self.length
        self._newest = np.full(n_streams, ENDED, np.uint8)  # marks; ENDED where nothing is stored
        self._is_full = False  # True: no size can grow
        self._may_open = True  # False: no newest row ended its episode

    def append(self, stream: int, mark: int) -> int:
        """Claim the next row of ``stream``, mark it, and return its number."""
        written, length = self.written.item(stream), self.length
        row = stream * length + written % length
        if mark != BOUNDARY:
            mark |= _FIRST_AFTER[self._newest.item(stream)]
        self.written[stream] = written + 1
        self.marks[row] = self._newest[stream] = mark
        self._may_open = True
        if not self._is_full:
            size = self.sizes.item(stream)
            if size < length:
                self.sizes[stream] = size + 1
            else:
                self._is_full = self.n_streams == 1
        return row

    def append_each(self, marks: np.ndarray) -> np.ndarray:
        """Claim the next row of every stream, with these ``marks`` [n_streams], and return them."""
        rows = self.written % self.length
        rows += self._starts
        self.written += 1
        if self._may_open:
            marks = marks | FIRST_AFTER.take(self._newest)
        self._may_open = bool(np.count_nonzero(marks))
        self.marks[rows] = marks
        self._newest[:] = marks
        if not self._is_full:
            np.minimum(self.sizes + 1, self.length, out=self.sizes)
            self._is_full = bool((self.sizes == self.length).all())
        return rows

    def append_some(self, streams: np.ndarray, marks: np.ndarray) -> np.ndarray:
        """Claim the next row of ``streams`` [N], all different, and return the rows [N]."""
        rows = self._starts[streams] + self.written[streams] % self.length
        first = np.where(marks == BOUNDARY, 0, FIRST_AFTER.take(self._newest[streams]))
        self.written[streams] += 1
        self.marks[rows] = self._newest[streams] = marks | first
        self._may_open = True
        self.sizes[streams] = np.minimum(self.sizes[streams] + 1, self.length)
        return rows

    def opens(self, streams: np.ndarray) -> np.ndarray:
        """Return [N] bool: whether the next row of ``streams`` [N] is the first of an episode."""
        found: np.ndarray = ends_episode(self._newest[streams])
        return found

    @property
    def newest_marks(self) -> np.ndarray:
        """[n_streams] uint8, the marks of the newest rows; ENDED where nothing is stored."""
        return self._newest

    def advance(self, streams: np.ndarray, counts: np.ndarray) -> None:
        """Claim the next ``counts`` [N] rows of ``streams`` [N], all different, without marks."""
        self.written[streams] += counts
        self.sizes[streams] = np.minimum(self.sizes[streams] + counts, self.length)

    def cut(self, streams: np.ndarray) -> None:
        """Mark the newest steps of ``streams`` [N] as cut off; boundary rows must follow."""
        self.marks[self._newest_rows()[streams]] |= TRUNCATED

    def append_run(self, stream: int, marks: np.ndarray) -> np.ndarray:
        """Claim rows with exactly these ``marks`` [N <= length], and return their numbers [N]."""
        written = int(self.written[stream])
        rows = self.rows(stream, np.arange(written, written + len(marks)))
        self.written[stream] += len(marks)
        self.marks[rows] = marks
        self._newest[stream] = marks[-1]
        self._may_open = True
        self.sizes[stream] = min(int(self.sizes[stream]) + len(marks), self.length)
        return rows

    def end_episode(self, stream: int) -> None:
        """Make the next row of ``stream`` the first of an episode.

        If the newest step did not end its episode, it is marked as cut off, without a known successor.
        Blank rows belong to the episode that comes next, and stay as they are.
        """
        if self.sizes[stream]:
            newest = self.newest_row(stream)
            if not self.marks[newest] & (ENDED | BLANK):
                self.marks[newest] |= TRUNCATED | UNKNOWN
                self._newest[stream] = self.marks[newest]
                self._may_open = True

    def clear(self) -> None:
        """Remove every row. Serial numbers continue, so that no number is used twice."""
        self.sizes[:] = 0
        self._is_full = False
        self._newest[:] = ENDED
        self._may_open = True
        self.written[:] = -(-self.written // self.length) * self.length

    def restore(self, written: np.ndarray, sizes: np.ndarray) -> None:
        """Set saved cursors; raise ValueError where a ring of this shape can't have them."""
        for name, found in (("written", written), ("sizes", sizes)):
            if found.shape != (self.n_streams,) or found.dtype != np.int64:
                raise ValueError(f"{name} has shape {found.shape} and dtype {found.dtype}")
        if np.any(sizes < 0) or np.any(sizes > np.minimum(written, self.length)):
            raise ValueError(f"sizes={sizes.tolist()!s:.200} with written={written.tolist()!s:.200}")
        if np.any(written > LARGEST_INDEX // self.n_streams):
            raise ValueError(f"written={int(written.max())}, more rows than any process adds")
        self.written[:], self.sizes[:] = written, sizes
        self._is_full = False

    def find_newest(self) -> None:
        """Read the marks of the newest rows again, after marks were written."""
        newest = self._newest_rows()
        self._newest = np.where(self.sizes > 0, self.marks[newest], np.uint8(ENDED))
        self._may_open = True

    def _newest_rows(self) -> np.ndarray:
        """Return the newest row of every stream."""
        found: np.ndarray = self._starts + (self.written - 1) % self.length
        return found

    def newest_row(self, stream: int, offset: int = 0) -> int:
        """Return the row written ``offset`` rows before the newest of ``stream``."""
        return stream * self.length + (int(self.written[stream]) - 1 - offset) % self.length

    def rows(self, streams: np.ndarray | int, serials: np.ndarray) -> np.ndarray:
        """Return the rows [N] at which ``serials`` [N] of ``streams`` ([N] or one) lie."""
        if self.n_streams == 1:
            return np.remainder(serials, self.length)
        found: np.ndarray = rows_of(np.asarray(streams), serials, self.length)
        return found

    def stored_rows(self, stream: int) -> np.ndarray:
        """Return the rows that ``stream`` holds, oldest first."""
        newest = int(self.written[stream])
        return self.rows(stream, np.arange(newest - int(self.sizes[stream]), newest))

    def all_rows(self) -> np.ndarray:
        """Return the rows that all streams hold, stream after stream, oldest first."""
        return np.concatenate([np.zeros(0, np.int64), *self.rows_by_age(self.capacity)])

    def rows_by_age(self, count: int) -> Iterator[np.ndarray]:
        """Yield the rows that all streams hold, ``count`` at a time; see :meth:`all_rows`."""
        ends = np.cumsum(self.sizes)
        first = self.written - ends  # the serial of the row that would be number 0
        for start in range(0, int(ends[-1]), count):
            numbers = np.arange(start, min(start + count, int(ends[-1])))
            streams = np.searchsorted(ends, numbers, side="right")
            yield self.rows(streams, numbers + first[streams])

    def open_episode_rows(self, stream: int, count: int) -> np.ndarray:
        """Return the newest rows of ``stream`` that the next row continues, oldest first.

        They are ``count`` rows, or as many as their episode has.
        """
        ages = np.arange(count)
        rows = self.rows(stream, self.written[stream] - 1 - ages)
        kept = continues(np, self.marks[rows][None, :], ages[None, :] < self.sizes[stream])
        return rows[kept[0]][::-1]

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
        """Return how many runs of ``span`` rows can be drawn from each stream: [n_streams]."""
        counts: np.ndarray = drawable_counts(np, self.sizes, self._newest, self.skipped, span)
        return counts

    def count_drawable(self, span: int = 1) -> int:
        """Return how many runs of ``span`` rows can be drawn from all streams together."""
        if self.n_streams == 1:
            ended = (self._newest.item(0) & TERMINATED) != 0
            return max(self.sizes.item(0) + ended - span - self.skipped, 0)
        return int(self.drawable(span).sum())

    def is_drawable(self, streams: np.ndarray, serials: np.ndarray) -> np.ndarray:
        """Return [N] bool: which of the stored rows with these ``serials`` [N] can be drawn now."""
        oldest = self.written[streams] - self.sizes[streams] + self.skipped
        found: np.ndarray = (serials >= oldest) & (serials < oldest + self.drawable()[streams])
        return found

    def locate(self, ordinals: np.ndarray, span: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return (streams, serials), each [N], of the drawable runs numbered ``ordinals`` [N].

        They are numbered stream by stream, from the oldest.
        """
        if self.n_streams == 1:
            first = self.written.item(0) - self.sizes.item(0) + self.skipped
            return np.zeros(len(ordinals), np.int64), ordinals + first
        oldest = self.written - self.sizes + self.skipped
        counts = self.drawable(span)
        streams, places = locate(np, ordinals, counts, np.cumsum(counts))
        return streams, places + oldest[streams]

    def identify(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (streams, serials), each [N], of what ``rows`` [N] hold now."""
        if self.n_streams == 1:
            newest = self.written.item(0) - 1
            place = newest % self.length
            serials = rows + (newest - place)
            serials -= (rows > place) * self.length
            return np.zeros(len(rows), np.int64), serials
        streams = rows // self.length
        newest = self.written[streams] - 1
        return streams, newest - (newest - rows) % self.length

    def indices(self, streams: np.ndarray, serials: np.ndarray) -> np.ndarray:
        """Return a number [N] for each row that no other row has, before or after it."""
        return serials if self.n_streams == 1 else serials * self.n_streams + streams

    def current_rows(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (rows [N], still_stored [N] bool) for what :meth:`indices` gave."""
        if self.n_streams == 1:
            written = self.written.item(0)
            stored = (indices < written) & (indices >= written - self.sizes.item(0))
            return np.remainder(indices, self.length), stored
        streams, serials = indices % self.n_streams, indices // self.n_streams
        newest = self.written[streams]
        stored = (serials < newest) & (serials >= newest - self.sizes[streams])
        return self.rows(streams, serials), stored
