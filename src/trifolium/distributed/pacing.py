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


class PacedDraws:
    """Draws that first send what is new here, and wait for steps where there is a limit.

    Args:
        draws: of all shards.
        group: the shards.
        limiter: the ratio of rows drawn to steps stored; None for no limit.
        send: sends the steps that were added in this process.
        row_bytes: bytes of a row in a minibatch.

    Attributes:
        drawn: rows drawn so far.
        limiter: as given; None again once this process adds all steps itself.
    """

    def __init__(
        self,
        draws: ShardedDraws,
        group: ShardGroup,
        limiter: SamplesPerInsert | None,
        send: Callable[[], None],
        row_bytes: int,
    ) -> None:
        self._draws, self._group, self._send = draws, group, send
        self._row_bytes = max(1, row_bytes)
        self.limiter = limiter
        self.drawn = 0
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
        limiter = self.limiter
        return limiter is None or limiter.may_draw(self.drawn, self._group.steps, rows)

    def one(self, batch_size: int, span: int = 1, rule: Rule = "") -> HostBatch:
        """Draw a minibatch of single rows, or of runs of ``span`` rows that follow the rule."""
        self._prepare(batch_size * span, span)
        found = self._draws.one(batch_size, span, rule)
        self.drawn += batch_size * span
        return found

    def ahead(self, batch_size: int, n_batches: int | None, prefetch: int) -> Iterator[HostBatch]:
        """Yield minibatches, of which up to ``prefetch`` are drawn before they are asked for."""
        sampler, left = self._draws.sampler, n_batches
        if not prefetch or (isinstance(sampler, Uniform) and sampler.valid_only):
            while left is None or left > 0:
                yield self.one(batch_size)
                left = None if left is None else left - 1
            return
        each = max(1, min(prefetch // 2, CALL_BYTES // (batch_size * self._row_bytes)))
        begun: deque[PendingDraw] = deque()
        ahead = 0
        while left is None or left > 0 or begun:
            while (left is None or left > 0) and (not begun or ahead + each <= prefetch):
                count = each if left is None else min(each, left)
                if begun and not self.may_draw(count * batch_size):
                    break  # first come those that are on their way
                begun.append(self._begun(batch_size, count, is_first=not begun))
                ahead += count
                left = None if left is None else left - count
            for found in self._draws.finish(begun.popleft()):
                ahead -= 1
                yield self._draws.one(batch_size) if found is None else found

    def _begun(self, batch_size: int, count: int, *, is_first: bool) -> PendingDraw:
        """Begin to draw minibatches: by the last answers of the shards, if some are on their way."""
        if is_first:
            self._prepare(count * batch_size)
        else:
            self._send()
            self._await_steps(count * batch_size)
        found = self._draws.begin(batch_size, count)
        self.drawn += count * batch_size
        return found

    def _prepare(self, rows: int, span: int = 1) -> None:
        if self._known_span != span:
            self.refresh(span)
        self._known_span = 0
        self._await_steps(rows, span)

    def _await_steps(self, rows: int, span: int = 1) -> None:
        """Wait until ``rows`` may be drawn, and tell the shards how many steps they may take."""
        limiter = self.limiter
        if limiter is None:
            return
        end = time.monotonic() + limiter.timeout
        while not limiter.may_draw(self.drawn, self._group.steps, rows):
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{self.drawn} rows were drawn and {self._group.steps} steps stored, and writers "
                    f"stored too few for {rows} more in {limiter.timeout} s: {limiter}"
                )
            time.sleep(PAUSE)
            self._group.limit(limiter.steps_left(self.drawn, self._group.steps))
            self._group.refresh(span)
        self._group.limit(limiter.steps_left(self.drawn + rows, self._group.steps))
