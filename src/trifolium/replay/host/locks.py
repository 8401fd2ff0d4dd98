"""The locks of buffers, which a forked process finds open.

A fork copies the memory of a process but not its threads: a lock that another thread holds would stay
locked in the child for ever, over a row that is written in part. So a fork waits until no other thread
is inside a buffer. If one does not leave within some seconds, the child gets a new lock for its buffer.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["holding", "new_lock"]

LONGEST_WAIT = 5.0  # seconds for which a fork waits for all buffers together

_LOCKS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # by their owners
_REGISTER = threading.RLock()  # held where _LOCKS is read or changed
_HELD: dict[int, Any] = {}  # the locks that a fork holds, by the ids of their owners


def new_lock(owner: Any) -> Any:
    """Return a lock for ``owner``, which must have it as its attribute ``lock``.

    It is reentrant, since a sampler may ask the buffer that it draws for.
    """
    lock = threading.RLock()
    with _REGISTER:
        _LOCKS[owner] = lock
    return lock


@contextmanager
def holding(*owners: Any) -> Iterator[None]:
    """Hold the locks of several owners; all threads take them in one order, so none waits for ever."""
    locks = [owner.lock for owner in sorted(owners, key=id)]
    for lock in locks:
        lock.acquire()
    try:
        yield
    finally:
        for lock in locks:
            lock.release()


def _before_fork() -> None:
    with _REGISTER:
        found = sorted(_LOCKS.items(), key=lambda item: id(item[0]))
    end = time.monotonic() + LONGEST_WAIT
    for owner, lock in found:
        if lock.acquire(timeout=max(end - time.monotonic(), 0.0)):
            _HELD[id(owner)] = lock
    _REGISTER.acquire()


def _after_fork() -> None:
    _REGISTER.release()
    for lock in _HELD.values():
        lock.release()
    _HELD.clear()


def _after_fork_in_child() -> None:
    held = set(_HELD)
    _after_fork()
    for owner, lock in list(_LOCKS.items()):
        if id(owner) not in held:  # a thread that does not exist here holds it, perhaps
            lock = _LOCKS[owner] = threading.RLock()
        owner.lock = lock  # and no one that asks a thread


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
    )
