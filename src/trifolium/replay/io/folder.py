"""BufferFolder: the files of a memory-mapped buffer, and the lock that keeps a second process out.

::

    buffer.safetensors      what the last flush found: options, cursors, generator, sampler. It is
                            replaced as a whole
    column-0.float32.npy    one file for each array with a row for each row of the buffer
    written.int64.npy       rows ever claimed in each stream, live
    reserved.int64.npy      see trifolium.replay.io.mapped
"""

import errno
import math
import mmap
import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Self

import numpy as np

from trifolium import files
from trifolium._atomic import remove_leftovers
from trifolium._locks import lock_folder
from trifolium.errors import CheckpointError

__all__ = ["BufferFolder"]

COMMIT = "buffer.safetensors"
UNFINISHED = ".trifolium-unfinished"
"""Made first and removed after the first flush: who finds it knows that a creation was interrupted."""

KIND = "buffer folder"
_NO_RESERVATION = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


class BufferFolder:
    """The files of one mapped buffer. It holds the folder's lock as long as it exists.

    Args:
        path: an existing folder.

    Attributes:
        path: the absolute path.
        new: (name, dtype) of the arrays that are made when they are asked for; None for all of them.

    Raises:
        FolderInUse: another buffer has the folder.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.new: set[tuple[str, str]] | None = set()
        self._maps: dict[str, mmap.mmap] = {}
        self._made: list[str] = []  # files and the folder, by this object
        remedy = "wait until it ends, or give another folder"
        lock = lock_folder(path, "(or another Buffer of this one) uses the rows in", remedy)
        self._unlock = None if lock is None else weakref.finalize(self, os.close, lock)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """Return a folder for a new buffer: one that was missing, empty, or never finished.

        Raises:
            FileExistsError: there is a buffer, a file, or a folder with other files.
            FolderInUse: another buffer has the folder.
        """
        path = os.fspath(path)
        if os.path.exists(path) and not os.path.isdir(path):
            raise FileExistsError(f"path={path!r} is a file; expected a folder, or none yet")
        is_missing = not os.path.isdir(path)
        os.makedirs(path, exist_ok=True)
        folder = cls(path)
        folder._made += [folder.path] * is_missing
        with folder.abandoned_on_error():
            folder._check_free(path)
            folder._made.append(folder._file(UNFINISHED))
            files.write_bytes(folder._file(UNFINISHED), b"")
        folder.new = None
        return folder

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> tuple[Self, dict[str, Any], dict[str, np.ndarray]]:
        """Return an existing buffer's folder, and the (manifest, arrays) of its last flush.

        Raises:
            FileNotFoundError: there is no such folder.
            CheckpointError: it holds no buffer, a damaged one, or one of a newer version.
            FolderInUse: another buffer has the folder.
        """
        path = os.fspath(path)
        if os.path.isfile(path):
            raise CheckpointError(f"{path} is a file; expected a folder. Buffer.load reads files")
        if not os.path.isdir(path):
            raise FileNotFoundError(f"no folder {path!r}")
        folder = cls(path)
        with folder.abandoned_on_error():
            if not os.path.isfile(folder._file(COMMIT)):
                raise CheckpointError(
                    f"{path} holds no buffer: there is no {COMMIT}. Buffer(..., path=...) makes one"
                )
            return folder, *files.read(folder._file(COMMIT), KIND)

    def array(self, name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Return the array of a file, mapped into memory: what is written to it reaches the file.

        Raises:
            CheckpointError: the file is missing or damaged, or holds something else.
            OSError: it is to be made, and the disk has no room for it.
        """
        file = self._file_of(name, dtype)
        if self.new is None or (name, dtype) in self.new:
            self._made.append(file)
            _make(file, shape, np.dtype(dtype))
        self._maps[file], found = _mapped(file, shape, np.dtype(dtype))
        return found

    def sync(self, name: str, dtype: str) -> None:
        """Make what was written to an array durable."""
        self._maps[self._file_of(name, dtype)].flush()

    def commit(self, manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Make all that was written durable, and replace what :meth:`open` returns.

        Raises:
            OSError: the disk is full, for example; what was committed before still holds.
        """
        for memory in self._maps.values():
            memory.flush()
        files.write(self._file(COMMIT), KIND, manifest, arrays)
        _sync_folder(self.path)

    def tidy(self) -> None:
        """Remove files that no array was asked from, which killed processes left."""
        self.new, self._made = set(), []
        for name in os.listdir(self.path):
            file = self._file(name)
            is_left = name == UNFINISHED or name.startswith((f".{COMMIT}.", f".{UNFINISHED}."))
            if is_left or (name.endswith(".npy") and file not in self._maps):
                os.unlink(file)

    def drop(self, name: str, dtype: str) -> None:
        """Forget an array: :meth:`tidy` removes its file."""
        del self._maps[self._file_of(name, dtype)]

    @contextmanager
    def abandoned_on_error(self) -> Iterator[None]:
        """Where the block raises, remove what was made since :meth:`tidy`, and give the lock up."""
        try:
            yield
        except BaseException:
            for path in reversed(self._made):
                with suppress(OSError):
                    (os.rmdir if path == self.path else os.unlink)(path)
            if self._unlock is not None:
                self._unlock()
            raise

    def __reduce__(self) -> Any:
        raise TypeError(
            f"the rows of this buffer are in the folder {self.path!r} (path=), which one buffer alone "
            "can use; it can't be copied or pickled. save(path) and Buffer.load make a copy in memory"
        )

    def _check_free(self, path: str) -> None:
        remove_leftovers(self.path, UNFINISHED)
        found = set(os.listdir(self.path))
        if COMMIT in found:
            raise FileExistsError(
                f"path={path!r} holds a buffer already; Buffer.open({path!r}) opens it, or give "
                "another folder"
            )
        if found and UNFINISHED not in found:
            some = ", ".join(sorted(found)[:3]) + ", ..." * (len(found) > 3)
            raise FileExistsError(
                f"path={path!r} holds other files ({some}); expected a folder that is empty or "
                "does not exist yet"
            )

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _file_of(self, name: str, dtype: str) -> str:
        return self._file(f"{name}.{dtype}.npy")


def _make(file: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Write a .npy file of zeros, whose room on the disk is reserved.

    A mapped file without that ends the process, where the disk fills up later.
    """
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    with open(file, "w+b") as opened:
        np.lib.format.write_array_header_1_0(opened, header)
        opened.flush()
        size = opened.tell() + math.prod(shape) * dtype.itemsize
        try:
            _reserve(opened.fileno(), size)
        except (OSError, OverflowError) as error:
            number = error.errno if isinstance(error, OSError) else errno.EFBIG
            raise OSError(
                number,
                f"no room for {size:,} bytes of rows ({error}); give a smaller capacity, or a path on "
                "a larger disk",
                file,
            ) from error


def _reserve(descriptor: int, size: int) -> None:
    os.truncate(descriptor, size)
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in _NO_RESERVATION:
            raise


def _mapped(file: str, shape: tuple[int, ...], dtype: np.dtype) -> tuple[mmap.mmap, np.ndarray]:
    """Map a .npy file that holds exactly such an array: (the map, the array in it)."""
    count = math.prod(shape)
    try:
        with open(file, "r+b") as opened:
            if np.lib.format.read_magic(opened) != (1, 0):
                raise ValueError("it is no .npy file of version 1.0")
            found = _header(opened)
            if found != (shape, False, dtype):
                raise ValueError(f"it holds shape, order and dtype {found}; expected {shape}, {dtype}")
            start = opened.tell()
            size = os.fstat(opened.fileno()).st_size
            if size != start + count * dtype.itemsize:
                raise ValueError(f"it has {size} bytes; expected {start + count * dtype.itemsize}")
            memory = mmap.mmap(opened.fileno(), size)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} can't be mapped as rows of a buffer: {error}") from error
    return memory, np.frombuffer(memory, dtype, count, start).reshape(shape)


def _header(opened: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return (shape, whether in Fortran's order, dtype) of a .npy file."""
    try:
        found: tuple[tuple[int, ...], bool, np.dtype] = np.lib.format.read_array_header_1_0(opened)
    except Exception as error:  # also of the tokenizer, whose errors have no other base
        raise ValueError(f"its header can't be read: {error}") from error
    return found


def _sync_folder(path: str) -> None:
    """Make the names in a folder durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
