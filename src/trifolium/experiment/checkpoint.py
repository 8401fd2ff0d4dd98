"""Checkpoints: all that a run needs to go on; one replaces the other at once."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trifolium import files
from trifolium.errors import CheckpointError
from trifolium.models import BaseModel

__all__ = ["Checkpoint", "file_name", "read", "restore_models", "write"]

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds beside the models.

    Attributes:
        counters: of the experiment.
        runner: state of the runner.
        logs: bytes of each CSV file, by its name; rows after that are of a time that is to come again.
        models: file of each model, by its name.
    """

    counters: Mapping[str, Any]
    runner: Mapping[str, Any]
    logs: Mapping[str, int]
    models: Mapping[str, str]


def write(
    folder: Path,
    models: Mapping[str, BaseModel],
    *,
    counters: Mapping[str, Any],
    runner: Mapping[str, Any],
    logs: Mapping[str, int],
    memory: bool,
) -> Checkpoint:
    """Write a checkpoint in place of the one in ``folder``, which stays whole until this one is.

    The manifest is written last, and at once, and names the files of the models; those of other
    checkpoints are then removed.

    Args:
        folder: it is made if it is missing.
        models: the models by name.
        counters: of the experiment; their "step" tells this checkpoint's files from others'.
        runner: state of the runner.
        logs: bytes of each CSV file, by its name.
        memory: whether the replay memories are saved too; without them no learning can go on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = "memory" if memory else "final"
    names = {
        name: f"{counters['step']}-{kept}-{index}-{file_name(name)}.safetensors"
        for index, name in enumerate(models)
    }
    for name, model in models.items():
        model.save(folder / names[name], memory=memory)
    written = Checkpoint(counters, runner, logs, names)
    files.write_text(folder / MANIFEST, json.dumps({"format": FORMAT} | vars(written)))
    for path in folder.iterdir():
        if path.name != MANIFEST and path.name not in names.values():
            path.unlink()
    return written


def read(folder: Path) -> Checkpoint | None:
    """Return the checkpoint in ``folder``, or None if none was written yet.

    Raises:
        CheckpointError: it is damaged, or of a newer version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']!r}; this trifolium reads {FORMAT}")
        return Checkpoint(
            *(dict(found[name]) for name in ("counters", "runner", "logs", "models")),
        )
    except (ValueError, TypeError, LookupError) as error:
        raise CheckpointError(f"{path} is no manifest of a checkpoint: {error!r}") from error


def restore_models(folder: Path, checkpoint: Checkpoint, models: Mapping[str, BaseModel]) -> None:
    """Let each model take up its file.

    Raises:
        CheckpointError: there are other models, or a file is damaged or missing.
    """
    if checkpoint.models.keys() != models.keys():
        raise CheckpointError(
            f"{folder} holds the models {', '.join(checkpoint.models)}; expected {', '.join(models)}"
        )
    for name, model in models.items():
        path = folder / Path(checkpoint.models[name]).name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing, which {folder / MANIFEST} names")
        model.load(path)


def file_name(name: str) -> str:
    """Return ``name`` as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)
