"""The versions of the packages that a run used."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trifolium import files
from trifolium.backend import Backend
from trifolium.errors import CheckpointError
from trifolium.version import __version__

__all__ = ["read_versions", "write_versions"]


def write_versions(path: Path, backend: Backend) -> None:
    """Write the versions of trifolium, Python and the packages that a run uses, and its device."""
    found = {
        "trifolium": __version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
    }
    packages = ("numpy", "gymnasium", "pettingzoo")
    found |= {name: number for name in packages if (number := _installed(name))}
    found |= {backend.name: backend.version, "device": str(backend.device)}
    files.write_text(path, json.dumps(found, indent=2) + "\n")


def read_versions(path: Path) -> dict[str, str]:
    """Return the versions that :func:`write_versions` wrote; {} if there is no such file.

    Raises:
        CheckpointError: it is damaged.
    """
    if not path.is_file():
        return {}
    found: Any = files.read_json(path, "versions")
    try:
        return {str(name): str(value) for name, value in found.items()}
    except AttributeError as error:
        raise CheckpointError(f"{path} holds no versions: {error}") from error


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
