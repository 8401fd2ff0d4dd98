"""Locks of folders, which end with the process that holds them."""

import errno
import os
import warnings

from trifolium.errors import FolderInUse

__all__ = ["lock_folder"]

_IN_USE = (errno.EWOULDBLOCK, errno.EACCES)


def lock_folder(path: str | os.PathLike[str], use: str, remedy: str) -> int | None:
    """Lock an existing folder until the returned file descriptor is closed, or the process ends.

    The lock leaves no file. Where folders can't be locked the result is None (Windows), or there is a
    RuntimeWarning (a file system without locks).

    Args:
        path: the folder.
        use: what another process does there, for messages: "trains in".
        remedy: what to do about it.

    Raises:
        FolderInUse: the folder is locked already.
    """
    if os.name != "posix":  # Windows locks no folders
        return None
    import fcntl  # which Windows lacks

    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        try:
            _report(os.fspath(path), error, use, remedy)
        except BaseException:
            os.close(folder)
            raise
    return folder


def _report(path: str, error: OSError, use: str, remedy: str) -> None:
    if error.errno in _IN_USE:
        raise FolderInUse(f"another process {use} {path!r}; {remedy}") from None
    warnings.warn(
        f"the file system of {path!r} has no locks ({error.strerror}): make sure that no other "
        f"process {use} it",
        RuntimeWarning,
        stacklevel=4,
    )
