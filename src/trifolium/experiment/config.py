"""Options in a TOML file."""

import tomllib
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trifolium.experiment.options import TrainOptions

__all__ = ["nearest", "read_config"]


def read_config(path: Path) -> dict[str, Any]:
    """Return the options in a TOML file, and ``out`` if it is there.

    Keys are those of :class:`TrainOptions`, with hyphens or underscores; "none" stands for None.

    Raises:
        ValueError: it is no TOML, or has a key that is none of these.
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


def nearest(name: str, known: list[str]) -> str:
    """Return a question whether one of the ``known`` names was meant, or nothing.

    >>> nearest("stepz", ["steps", "seed"])
    "; did you mean 'steps'?"
    """
    found = get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
