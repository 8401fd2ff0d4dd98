"""Minibatches that a thread draws ahead of the learner, at moments that do not depend on the thread.

Batch i is drawn at the moment when batch i - k is asked for, k being the number drawn ahead. The thread
draws it soon after; whoever uses the buffer first draws what is due and then goes on. So a program with
one seed and one thread of its own gets the same batches every time, whatever it does in between.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self, runtime_checkable
from weakref import WeakSet, finalize

import numpy as np

from trifolium.replay.batch import Batch
from trifolium.replay.host.prioritized import Prioritized
from trifolium.replay.host.samplers import Sampler
from trifolium.replay.host.store import Store

__all__ = ["Ahead", "BatchCopier", "CopiesBatches"]


class BatchCopier(Protocol):
    """Copies batches to a device while something else is computed there."""

    def start(self, batch: Batch) -> Any:
        """Begin to copy a batch of NumPy arrays; called by the thread that draws."""
        ...

    def finish(self, started: Any) -> Batch:
        """Return the batch that :meth:`start` began to copy; called by the learner's thread."""
        ...


@runtime_checkable
class CopiesBatches(Protocol):
    """A backend that has such copies; others do without."""

    def copier(self) -> BatchCopier | None:
        """Return a new copier to the device; None if it needs none."""
        ...


class Draining:
    """The lock of a buffer of which batches are drawn ahead: what is due is drawn first.

    Args:
        lock: the lock of the buffer.
    """

    def __init__(self, lock: Any) -> None:
        self.plain = lock
        self.due: deque[_Due] = deque()
        self.users = 0
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, as ``threading.RLock`` does, and draw what is due."""
        if not self.plain.acquire(blocking, timeout):
            return False
        self._depth += 1
        if self._depth == 1:  # else the thread is inside of the buffer already
            while self.due:
                self.due.popleft().draw()
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._depth -= 1
        self.plain.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def draw_next(self) -> None:
        """Draw the batch that is due first."""
        with self.plain:
            self._depth += 1
            try:
                if self.due:
                    self.due.popleft().draw()
            finally:
                self._depth -= 1


class _Due:
    """One batch that is to be drawn, or was drawn.

    Attributes:
        before, after: where the draw found and left the generator and the sampler.
        batch: what was drawn.
        error: what was raised instead.
        is_drawn: whether it was tried.
    """

    def __init__(self, draw: Callable[[], Batch], place: Callable[[], Any]) -> None:
        self._draw, self._place = draw, place
        self.before: Any = None
        self.after: Any = None
        self.batch: Any = None
        self.error: BaseException | None = None
        self.is_drawn = False

    def draw(self) -> None:
        self.before = self._place()
        try:
            self.batch = self._draw()
        except BaseException as error:  # noqa: BLE001 (raised where the batch is asked for)
            self.error = error
        self.after = self._place()
        self.is_drawn = True


class _Work:
    """What the thread and the iterator share. It does not hold the iterator, which ends it."""

    def __init__(self, store: Store, sampler: Sampler, rng: np.random.Generator, copier: Any) -> None:
        self.store, self.sampler, self.rng, self.copier = store, sampler, rng, copier
        self.process = os.getpid()
        from queue import SimpleQueue  # slow to import

        self.orders: SimpleQueue[_Due | None] = SimpleQueue()
        self.results: SimpleQueue[_Due] = SimpleQueue()
        self.unused: deque[_Due] = deque()  # ordered, and not returned by the iterator yet
        self.is_closed = False
        with store.lock:
            if not isinstance(store.lock, Draining):
                store.lock = Draining(store.lock)
            store.lock.users += 1
            self.lock: Draining = store.lock
        self.thread = threading.Thread(target=self.run, name="trifolium-prefetch", daemon=True)
        self.thread.start()
        _EVERY.add(self)

    def run(self) -> None:
        """Draw what is ordered, until None is."""
        while (due := self.orders.get()) is not None:
            while not due.is_drawn and not self.is_closed:
                self.lock.draw_next()
            if self.copier is not None and due.batch is not None:
                try:
                    due.batch = self.copier.start(due.batch)
                except BaseException as error:  # noqa: BLE001 (raised where the batch is asked for)
                    due.error = error
            self.results.put(due)

    def place(self) -> tuple[Any, int]:
        """Return where the generator and the sampler's schedule are."""
        draws = self.sampler.draws if isinstance(self.sampler, Prioritized) else 0
        return self.rng.bit_generator.state, draws

    def order(self, draw: Callable[[], Batch]) -> None:
        """Have one more batch drawn, after what was ordered before."""
        due = _Due(draw, self.place)
        self.unused.append(due)
        self.lock.due.append(due)
        self.orders.put(due)

    def next(self) -> _Due:
        """Return the oldest batch that was ordered, once it is drawn."""
        found = self.results.get()
        self.unused.popleft()
        return found

    def stop(self) -> None:
        """Take back what is not used, and let the thread end. It does not wait for the thread."""
        if os.getpid() != self.process:
            return
        with self.lock.plain:
            if self.is_closed:
                return
            self.is_closed = True
            mine = set(map(id, self.unused))
            kept = [due for due in self.lock.due if id(due) not in mine]
            self.lock.due.clear()
            self.lock.due.extend(kept)
            self._rewind([due for due in self.unused if due.is_drawn])
            self.lock.users -= 1
            if not self.lock.users and self.store.lock is self.lock:
                self.store.lock = self.lock.plain
        self.orders.put(None)

    def _rewind(self, drawn: list[_Due]) -> None:
        """Undo draws, if nothing else was drawn since."""
        if drawn and _same(drawn[-1].after, self.place()):
            state, draws = drawn[0].before
            self.rng.bit_generator.state = state
            if isinstance(self.sampler, Prioritized):
                self.sampler.draws = draws


class Ahead(Iterator[Batch]):
    """An iterator over minibatches, some of which are drawn before they are asked for.

    It ends with :meth:`close`, with the last reference to it, after the last batch and after an error.
    The generator is then set back to where the first batch that was not used was drawn, unless
    something else was drawn meanwhile.

    Args:
        draw: draws a minibatch; the lock of the store is held then.
        store: of the buffer.
        sampler: of the buffer.
        rng: of the buffer.
        count: batches in all; None for no end.
        ahead: how many are drawn ahead, at least 1.
        copier: copies what ``draw`` returned to the device; None for no copies.
    """

    def __init__(
        self,
        draw: Callable[[], Batch],
        store: Store,
        sampler: Sampler,
        rng: np.random.Generator,
        count: int | None,
        ahead: int,
        copier: BatchCopier | None,
    ) -> None:
        self._draw, self._ahead, self._left, self._copier = draw, ahead, count, copier
        self._work = _Work(store, sampler, rng, copier)
        self._end = finalize(self, self._work.stop)

    def __iter__(self) -> Self:
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            "an iterator over minibatches has a thread, and can't be copied or pickled; pass the "
            "buffer, and call iter(buffer.as_dataset(...)) there"
        )

    def __next__(self) -> Batch:
        work = self._work
        if os.getpid() != work.process:
            raise RuntimeError(
                "minibatches are drawn ahead by a thread of another process, from which this one was "
                "forked; use the iterator there"
            )
        if work.is_closed:
            raise StopIteration
        while len(work.unused) <= self._ahead and self._left != 0:
            work.order(self._draw)
            self._left = None if self._left is None else self._left - 1
        if not work.unused:
            self.close()
            raise StopIteration
        found = work.next()
        if found.error is not None:
            self.close()
            raise found.error
        batch: Batch = found.batch if self._copier is None else self._copier.finish(found.batch)
        return batch

    def close(self) -> None:
        """End the thread, and wait until it has ended."""
        self._work.stop()
        if threading.current_thread() is not self._work.thread:
            self._work.thread.join()


_EVERY: WeakSet[_Work] = WeakSet()


def _stop_all() -> None:
    """End all threads before the interpreter does."""
    for work in list(_EVERY):
        work.stop()
        work.thread.join(timeout=10.0)


atexit.register(_stop_all)


def _same(one: Any, other: Any) -> bool:
    """Return whether two places are the same."""
    if isinstance(one, dict):
        return all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, tuple):
        return all(map(_same, one, other))
    return bool(np.all(one == other))
