"""PacedDraws: when minibatches are drawn: some ahead, and at the asked ratio to the steps stored."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

from trifolium.distributed.draws import HostBatch, PendingDraw, ShardedDraws
from trifolium.distributed.group import ShardGroup
from trifolium.distributed.limiter import SamplesPerInsert
from trifolium.distributed.messages import Rule
from trifolium.replay import Uniform

__all__ = ["PacedDraws"]

PAUSE = 0.005  # seconds between two questions whether there are enough steps
CALL_BYTES = 1 << 20  # of minibatches that are drawn in one call
CALLS = 4  # that are on their way at once, or waiting for the learner


class PacedDraws:
    """Draws that first send what is new here, and wait for steps where there is a limit.

    Args:
        draws: of all shards.
        group: the shards.
        limiter: the ratio of rows drawn to steps stored; None for no limit.
        send: sends the steps that were added in this process.
        row_bytes: bytes of a row in a minibatch.
        prefetch: minibatches of single rows that :meth:`one` has drawn in advance.

    Attributes:
        drawn: rows drawn so far, without those that were not asked for yet.
        limiter: as given; None again once this process adds all steps itself.
    """

    def __init__(
        self,
        draws: ShardedDraws,
        group: ShardGroup,
        limiter: SamplesPerInsert | None,
        send: Callable[[], None],
        row_bytes: int,
        prefetch: int = 0,
    ) -> None:
        self._draws, self._group, self._send = draws, group, send
        self._row_bytes = max(1, row_bytes)
        self.limiter = limiter
        self.drawn = 0
        self._coming = 0  # rows that are drawn, or being drawn, and that nobody has asked for
        self._prefetch = prefetch
        self._stream: tuple[int, Iterator[HostBatch]] | None = None
        self._known_span = 0  # of the statuses, if they were asked for just now; else 0

    def refresh(self, span: int = 1) -> None:
        """Make the statuses those of now; a draw that follows does not ask again."""
        self._send()
        self._group.refresh(span)
        self._known_span = span

    def forget(self) -> None:
        """Make the next draw ask for the statuses: something was added or updated."""
        self._known_span = 0

    def may_draw(self, rows: int) -> bool:
        """Return whether the limit allows that ``rows`` more are drawn now."""
        return self.has_coming or self._may_begin(rows, 1)

    @property
    def has_coming(self) -> bool:
        """Whether minibatches are on their way to :meth:`one`, so that it asks for nothing."""
        return self._stream is not None and self._coming > 0

    def restart(self) -> None:
        """Forget the minibatches that :meth:`one` has drawn in advance, and the statuses."""
        self._stream = None
        self._known_span = 0

    def one(self, batch_size: int, span: int = 1, rule: Rule = "") -> HostBatch:
        """Draw a minibatch of single rows, or of runs of ``span`` rows that follow the rule."""
        if self._prefetch and span == 1 and not rule:
            return self._next(batch_size)
        return self._drawn_now(batch_size, span, rule)

    def _next(self, batch_size: int) -> HostBatch:
        """Return the next minibatch of those that are drawn in advance."""
        if self._stream is None or self._stream[0] != batch_size:
            self._stream = batch_size, self.ahead(batch_size, None, self._prefetch)
        try:
            return next(self._stream[1])
        except BaseException:
            self._stream = None  # an iterator that raised an error has ended
            raise

    def _drawn_now(self, batch_size: int, span: int = 1, rule: Rule = "") -> HostBatch:
        self._prepare(batch_size * span, span)
        found = self._draws.one(batch_size, span, rule)
        self.drawn += batch_size * span
        return found

    def ahead(self, batch_size: int, n_batches: int | None, prefetch: int) -> Iterator[HostBatch]:
        """Yield minibatches, of which up to ``prefetch`` are drawn before they are asked for."""
        sampler, left = self._draws.sampler, n_batches
        if not prefetch or (isinstance(sampler, Uniform) and sampler.valid_only):
            while left is None or left > 0:
                yield self._drawn_now(batch_size)
                left = None if left is None else left - 1
            return
        fitting = CALL_BYTES // (batch_size * self._row_bytes)
        prefetch = min(prefetch, CALLS * max(1, fitting))
        each = max(1, min(prefetch // 2, fitting))
        begun: deque[PendingDraw] = deque()
        ahead = 0
        try:
            while left is None or left > 0 or begun:
                while (left is None or left > 0) and (not begun or ahead + each <= prefetch):
                    count = each if left is None else min(each, left)
                    while count > 1 and not self._may_begin(batch_size, count):
                        count //= 2
                    if begun and not self._may_begin(batch_size, count):
                        break  # first come those that are on their way
                    begun.append(self._begun(batch_size, count, is_first=not begun))
                    ahead += count
                    self._coming += count * batch_size
                    left = None if left is None else left - count
                for found in self._draws.finish(begun.popleft()):
                    ahead -= 1
                    self._coming -= batch_size
                    self.drawn += batch_size
                    yield self._draws.one(batch_size) if found is None else found
        finally:
            self._coming -= ahead * batch_size

    def _may_begin(self, rows: int, count: int) -> bool:
        """Return whether the limit allows ``count`` more draws of ``rows`` rows each."""
        if self.limiter is None:
            return True
        before = self.drawn + self._coming + (count - 1) * rows
        return self.limiter.may_draw(before, self._group.steps, rows)

    def _begun(self, batch_size: int, count: int, *, is_first: bool) -> PendingDraw:
        """Begin to draw minibatches: by the last answers of the shards, if some are on their way."""
        if is_first:
            self._prepare(batch_size, count=count)
        else:
            self._send()
            self._await_steps(batch_size, count)
        return self._draws.begin(batch_size, count)

    def _prepare(self, rows: int, span: int = 1, count: int = 1) -> None:
        if self._known_span != span:
            self.refresh(span)
        self._known_span = 0
        self._await_steps(rows, count, span)

    def _await_steps(self, rows: int, count: int, span: int = 1) -> None:
        """Wait until ``rows`` may be drawn ``count`` times; tell the shards what they may store."""
        limiter = self.limiter
        if limiter is None:
            return
        end = time.monotonic() + limiter.timeout
        drawn = self.drawn + self._coming
        while not self._may_begin(rows, count):
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{drawn} rows were drawn and {self._group.steps} steps stored, and writers "
                    f"stored too few for {rows * count} more in {limiter.timeout} s: {limiter}"
                )
            time.sleep(PAUSE)
            self._group.limit(limiter.steps_left(drawn, self._group.steps))
            self._group.refresh(span)
        self._group.limit(limiter.steps_left(drawn + rows * count, self._group.steps))
