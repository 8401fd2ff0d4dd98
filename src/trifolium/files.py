"""Named arrays and a manifest in one safetensors file: written at once, read and written in pieces.

The manifest is JSON in the file's metadata. Nothing is pickled, so loading runs no code. Arrays are
read from the file when they are asked for, and checked against its size before memory is allocated.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import numpy as np

from trifolium import _json
from trifolium._atomic import replacing, write_bytes, write_text
from trifolium._json import brief
from trifolium.errors import CheckpointError

__all__ = [
    "PIECE_BYTES",
    "PiecewiseArray",
    "StoredArray",
    "opened",
    "read",
    "read_json",
    "write",
    "write_bytes",
    "write_text",
]

FORMAT = 2
"""Version 2 has successors of the newest steps, which readers of version 1 would drop."""

PIECE_BYTES = 1 << 20
"""Approximate size of the pieces in which large arrays are read and written."""

HEADER_BYTES = 1 << 22
"""Bytes that the header of any file may have, besides an eighth of the file."""

_KEY = "trifolium"
_DTYPES = {  # in the order of their alignment, in which safetensors stores them
    **{"U64": "uint64", "I64": "int64", "F64": "float64", "C64": "complex64", "F32": "float32"},
    **{"U32": "uint32", "I32": "int32", "F16": "float16", "U16": "uint16", "I16": "int16"},
    **{"I8": "int8", "U8": "uint8", "BOOL": "bool"},
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_ORDER = list(_CODES)


@dataclass(frozen=True)
class PiecewiseArray:
    """An array that is written piece by piece, without a copy of the whole.

    Attributes:
        shape: of the array.
        dtype: of the array.
        pieces: returns the rows, some at a time, in order.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: Callable[[], Iterable[np.ndarray]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = np.empty(self.shape, self.dtype)
        start = 0
        for piece in self.pieces():
            whole[start : start + len(piece)] = piece
            start += len(piece)
        return whole if dtype is None else whole.astype(dtype)


class StoredArray:
    """An array in an open file; ``array[start:stop]`` reads rows, ``numpy.asarray(array)`` all of it.

    Attributes:
        shape: of the array.
        dtype: of the array.
    """

    def __init__(
        self, file: BufferedReader, name: str, dtype: np.dtype, shape: tuple[int, ...], start: int
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._file = file
        self._name = name
        self._start = start

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return a copy of consecutive rows.

        Raises:
            CheckpointError: the file has become shorter, or holds something else than truth values.
        """
        start, stop, _ = rows.indices(self.shape[0])
        shape = (max(stop - start, 0), *self.shape[1:])
        return self._read(shape, start * math.prod(self.shape[1:]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self._read(self.shape, 0)
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def _read(self, shape: tuple[int, ...], skipped: int) -> np.ndarray:
        try:
            found = np.empty(shape, self.dtype)
        except ValueError as error:  # it has no bytes, but an axis that no array has
            raise CheckpointError(f"{self._file.name}: {self._name} is no array: {error}") from error
        memory = found.reshape(-1).view(np.uint8)
        if memory.size:
            self._file.seek(self._start + skipped * self.dtype.itemsize)
            if self._file.readinto(memory.data) != memory.size:
                raise CheckpointError(f"{self._file.name} is damaged: {self._name} is cut short")
            if self.dtype == np.bool and memory.max() > 1:
                raise CheckpointError(
                    f"{self._file.name} is damaged: {self._name} has other bytes than 0 and 1"
                )
        return found


def write(
    path: str | os.PathLike[str],
    kind: str,
    manifest: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray | PiecewiseArray],
) -> None:
    """Write ``arrays`` and ``manifest`` to ``path``, atomically.

    Args:
        path: the file; its folder is created if it is missing.
        kind: what the file holds ("model", "buffer"), checked when it is read.
        manifest: any value that JSON can represent.
        arrays: name to host array.
    """
    import json  # imported here: most programs never write a file, and the import takes time

    document = json.dumps({"format": FORMAT, "kind": kind, **manifest})
    for name, array in arrays.items():
        if array.dtype.name not in _CODES:
            raise TypeError(f"{name} has dtype {array.dtype}, which a safetensors file can't hold")
    names = sorted(arrays, key=lambda name: (_ORDER.index(arrays[name].dtype.name), name))
    header: dict[str, Any] = {"__metadata__": {_KEY: document}}
    end = 0
    for name in names:
        dtype, shape = arrays[name].dtype, arrays[name].shape
        start, end = end, end + dtype.itemsize * math.prod(shape)
        header[name] = {
            "dtype": _CODES[dtype.name],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            for piece in _pieces(arrays[name]):
                file.write(np.ascontiguousarray(piece, piece.dtype.newbyteorder("<")).data)
        if file.tell() != 8 + len(text) + end:
            raise RuntimeError(f"{os.fspath(path)}: an array changed while it was written")


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what :func:`write` wrote: (manifest, arrays). Errors are those of :func:`opened`."""
    with opened(path, kind) as (manifest, arrays):
        return manifest, {name: np.asarray(array) for name, array in arrays.items()}


@contextmanager
def opened(
    path: str | os.PathLike[str], kind: str
) -> Iterator[tuple[dict[str, Any], dict[str, StoredArray]]]:
    """Open what :func:`write` wrote: (manifest, arrays that can be read in the block).

    Raises:
        CheckpointError: the file is damaged, of another kind, foreign, or of a newer version.
        FileNotFoundError: there is no such file.
        OSError: it can't be read: a folder, or a file without permission.
    """
    path = os.fspath(path)
    with _opened(path) as file:
        manifest, arrays = _described(path, file)
        found, version = manifest["kind"], manifest["format"]
        if found != kind:
            raise CheckpointError(f"{path} holds a {found!s:.80}; expected a {kind}")
        if type(version) is not int or not 1 <= version <= FORMAT:
            raise CheckpointError(
                f"{path} has format {brief(version)}; this trifolium reads 1 to {FORMAT}: "
                "if the file is newer, upgrade trifolium"
            )
        yield manifest, arrays


def read_json(path: str | os.PathLike[str], what: str, allowance: int = _json.ALLOWANCE) -> Any:
    """Return the value in a JSON file.

    Args:
        path: the file.
        what: its content, for the message.
        allowance: bytes of memory that the value may take, besides twice the file's.

    Raises:
        CheckpointError: it is no JSON, or unreasonable.
        FileNotFoundError: there is no such file.
        OSError: it can't be read.
    """
    path = os.fspath(path)
    with _opened(path) as file:
        content = file.read()
    try:
        text = content.decode()
        del content
        return _json.parse(text, allowance)
    except ValueError as error:
        raise CheckpointError(f"{path} holds no {what}: {error}") from error


def _opened(path: str) -> BufferedReader:
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; expected a file")
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {path!r}") from None


def _described(path: str, file: BufferedReader) -> tuple[dict[str, Any], dict[str, StoredArray]]:
    try:
        header, start = _header(path, file)
        metadata = header.pop("__metadata__", {})
        arrays = _arrays(file, header, start)
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}") from error
    try:
        manifest = _json.parse(metadata[_KEY])
        manifest["kind"], manifest["format"]
    except KeyError as error:
        raise CheckpointError(
            f"{path} is a safetensors file, but was not written by trifolium"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: its manifest is none: {error}") from error
    return manifest, arrays


def _header(path: str, file: BufferedReader) -> tuple[dict[str, Any], int]:
    """Return the header, once the library has found the file sound, and where its arrays start."""
    from safetensors import SafetensorError, safe_open

    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= size - 8:
        raise ValueError(f"its header has {length} bytes, the file {size}")
    if length > HEADER_BYTES + size // 8:
        raise ValueError(f"its header has {length} bytes; expected at most {HEADER_BYTES + size // 8}")
    text = file.read(length).decode()
    header = _json.parse(text)
    try:
        with safe_open(path, framework="numpy"):
            pass
    except FileNotFoundError:
        pass  # it was removed; the open one is whole
    except (SafetensorError, OSError) as error:
        raise ValueError(str(error)) from error
    return header, 8 + length


def _arrays(file: BufferedReader, header: dict[str, Any], start: int) -> dict[str, StoredArray]:
    """Return the arrays that a header describes, which take all bytes from ``start`` on."""
    arrays = {}
    places = []
    for name, each in header.items():
        dtype, shape = np.dtype(_DTYPES[each["dtype"]]), tuple(each["shape"])
        begin, end = each["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
            raise ValueError(f"{name} has the shape {brief(shape)} at {begin!r:.20} to {end!r:.20}")
        if end - begin != dtype.itemsize * math.prod(shape):
            raise ValueError(f"{name} has {end - begin} bytes, which its shape {brief(shape)} has not")
        places.append((begin, end))
        arrays[name] = StoredArray(file, name, dtype, shape, start + begin)
    size = os.fstat(file.fileno()).st_size - start
    ends = [0, *(end for _, end in sorted(places))]
    if [begin for begin, _ in sorted(places)] != ends[:-1] or ends[-1] != size:
        raise ValueError("its arrays overlap, or leave some of its bytes out")
    return arrays


def _pieces(array: np.ndarray | PiecewiseArray) -> Iterable[np.ndarray]:
    if isinstance(array, PiecewiseArray):
        return array.pieces()
    if not array.nbytes or array.flags.c_contiguous or not array.shape:
        return (array,) if array.nbytes else ()
    count = max(1, PIECE_BYTES * len(array) // array.nbytes)
    return (array[start : start + count] for start in range(0, len(array), count))
