"""Options in a TOML file."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from trifolium.experiment.options import TrainOptions
from trifolium.experiment.suggestions import nearest

__all__ = ["read_config"]


def read_config(path: Path) -> dict[str, Any]:
    """Return the options in a TOML file, and ``out`` if it is there.

    Keys are those of :class:`TrainOptions`, with hyphens or underscores; "none" means None.

    Raises:
        ValueError: it is not TOML, or has an unknown key.
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"config={str(path)!r} is no file")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no TOML: {error}") from error
    known = [*(field.name for field in fields(TrainOptions)), "out"]
    options = {
        key.replace("-", "_"): None if value == "none" else value for key, value in found.items()
    }
    for key in options:
        if key not in known:
            raise ValueError(f"{path} has the unknown key {key!r}{nearest(key, known)}")
    return options
