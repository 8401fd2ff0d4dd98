"""Files that are written whole or not at all, and the removal of what killed processes left of them."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

__all__ = ["SUFFIX", "remove_leftovers", "replacing", "write_bytes", "write_text"]

SUFFIX = ".trifolium"
"""The end of the names of temporary files, which are ``.NAME.PID-NUMBER.trifolium``."""

_TEMPORARY = re.compile(rf"\..*\.(\d+)-\d+{re.escape(SUFFIX)}", re.DOTALL)
_EARLIER = re.compile(r"(\d+)-\d+")  # before version 0.2 they had no ending
_LONGEST = 40  # characters of a file's name in that of its temporary file
_IS_POSIX = os.name == "posix"

_OPEN: set[str] = set()
"""The temporary files that this process is writing."""


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file, which replaces ``path`` once the block has ended without an error.

    The folder is made if it is missing. The temporary files of dead processes are removed from it.
    """
    # os, not pathlib, whose import takes a tenth as long as that of NumPy
    path = os.fspath(path)
    folder, name = os.path.split(path)
    folder = folder or os.curdir
    os.makedirs(folder, exist_ok=True)
    remove_leftovers(folder, name)
    number = f"{os.getpid()}-{time.monotonic_ns()}"
    temporary = os.path.join(folder, f".{name[:_LONGEST]}.{number}{SUFFIX}")
    _OPEN.add(temporary)
    try:
        with open(temporary, "xb") as file:
            _lock(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
            if _IS_POSIX:
                os.replace(temporary, path)  # while it is locked
        if not _IS_POSIX:  # an open file can't be renamed
            os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    finally:
        _OPEN.discard(temporary)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to ``path``, atomically."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path``, atomically."""
    write_bytes(path, text.encode())


def remove_leftovers(folder: str | os.PathLike[str], name: str = "") -> None:
    """Remove the temporary files of processes that are dead from ``folder``.

    Args:
        folder: an existing folder.
        name: a file, of which those that earlier versions left are removed too.
    """
    folder = os.fspath(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            writer = _writer_of(entry.name, name)
            if writer is not None and not _is_written(entry.path, writer):
                with suppress(OSError):
                    os.unlink(entry.path)


def _writer_of(found: str, name: str) -> int | None:
    """Return the process that made a temporary file; None for another file."""
    match = _TEMPORARY.fullmatch(found)
    if match is None and name and found.startswith(f".{name}."):
        match = _EARLIER.fullmatch(found[len(name) + 2 :])
    return None if match is None else int(match[1])


def _is_written(path: str, writer: int) -> bool:
    """Return whether a temporary file may be one that process ``writer`` is writing.

    Its number may belong to another process by now, or on another machine with the same disk, so a file
    must be unlocked too.
    """
    if writer == os.getpid():
        if path in _OPEN:
            return True
    elif _is_alive(writer):
        return True
    try:
        with open(path, "rb") as file:
            return not _lock(file.fileno())
    except OSError:
        return True


def _is_alive(process: int) -> bool:
    if not _IS_POSIX:  # os.kill would end it; a file that is open can't be removed there
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _lock(descriptor: int) -> bool:
    """Lock a file until it is closed; return False if another process has it locked."""
    if not _IS_POSIX:
        return True
    import fcntl  # which Windows lacks

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
