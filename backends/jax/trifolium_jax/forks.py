"""Refuse to use JAX in forked processes, which lack its threads and may wait for them for ever."""

import os

from trifolium.errors import BackendError

__all__ = ["check", "start"]

_has_started = False
_is_forked = False


def start() -> None:
    """Note that JAX is in use: children of this process must not use it; raise an error in a child."""
    global _has_started  # noqa: PLW0603 (it is a fact about the process)
    check()
    _has_started = True


def check() -> None:
    """Raise an error in a child of a process that had used JAX."""
    if _is_forked:
        raise BackendError(
            "this process was forked from one that had used JAX, whose threads it lacks: what it "
            "computes may never end. Start processes with multiprocessing.get_context('spawn') or "
            "'forkserver', and pass the buffer or the model to them; or use backend='numpy' there"
        )


def _after_fork() -> None:
    global _is_forked  # noqa: PLW0603 (it is a fact about the process)
    _is_forked = _has_started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
