"""Named arrays and a manifest in one safetensors file, which is written atomically.

The manifest is JSON in the file's metadata. Nothing is pickled, so loading runs no code.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from trifolium.errors import CheckpointError

__all__ = ["read", "write", "write_bytes", "write_text"]

FORMAT = 1
_KEY = "trifolium"


def write(
    path: str | os.PathLike[str],
    kind: str,
    manifest: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write ``arrays`` and ``manifest`` to ``path``, atomically.

    Args:
        path: the file; its folder is created if it is missing.
        kind: what the file holds ("model", "buffer"), checked when it is read.
        manifest: any value that JSON can represent.
        arrays: name to host array.
    """
    import json  # imported here: most programs never write a file, and the import takes time

    from safetensors.numpy import save

    document = {"format": FORMAT, "kind": kind, **manifest}
    # safetensors writes the memory of a strided array in its order in memory, without an error
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    contiguous = {name: array.reshape(shapes[name]) for name, array in contiguous.items()}
    _replace(os.fspath(path), save(contiguous, metadata={_KEY: json.dumps(document)}))


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what :func:`write` wrote: (manifest, arrays).

    Raises:
        CheckpointError: the file is damaged, of another kind, foreign, or of a newer version.
        FileNotFoundError: there is no such file.
    """
    import json

    from safetensors import SafetensorError, safe_open

    # AttributeError: a dtype that NumPy lacks; RecursionError: JSON nested too deeply
    unreadable = (SafetensorError, ValueError, TypeError, AttributeError, RecursionError, OSError)
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {path!r}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        manifest = json.loads(metadata[_KEY])
        found, version = manifest["kind"], manifest["format"]
    except KeyError as error:
        raise CheckpointError(
            f"{path} is a safetensors file, but was not written by trifolium"
        ) from error
    except unreadable as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}") from error
    if found != kind:
        raise CheckpointError(f"{path} holds a {found}; expected a {kind}")
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise CheckpointError(
            f"{path} has format {version!r}; this trifolium reads 1 to {FORMAT}: "
            "if the file is newer, upgrade trifolium"
        )
    return manifest, arrays


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to ``path``, atomically."""
    _replace(os.fspath(path), content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path``, atomically."""
    _replace(os.fspath(path), text.encode())


def _replace(path: str, content: bytes) -> None:
    # os, not pathlib, whose import takes a tenth as long as that of NumPy
    folder, name = os.path.split(path)
    os.makedirs(folder or os.curdir, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}-{time.monotonic_ns()}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
