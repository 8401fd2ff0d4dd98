"""Checkpoints: the state from which a run resumes; a new one replaces the old one atomically."""

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trifolium import files
from trifolium.errors import CheckpointError
from trifolium.models import BaseModel
from trifolium.replay import Buffer

__all__ = ["Checkpoint", "file_names", "most_parameters", "read", "restore_models", "write"]

FORMAT = 1
MANIFEST = "manifest.json"
FEW_PARAMETERS = 1 << 20
"""Parameters that a model may have in any case: a file that is cut short has its own error."""

LONGEST_NAME = 100
"""Characters of a model's name that its file's name has at most."""

_OURS = re.compile(
    r"\d+-(memory|final)-\d+-[^/]*\.safetensors"  # models of another checkpoint
    r"|\.(\d+-(memory|final)-[^/]*\.safetensors|manifest\.json)\.\d+-\d+"  # of a write that was killed
)


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint, without the models.

    Attributes:
        counters: of the experiment.
        runner: state of the runner.
        logs: what each log saved: bytes of each CSV file by its name, and what other logs returned.
        models: file of each model, by its name.
    """

    counters: Mapping[str, Any]
    runner: Mapping[str, Any]
    logs: Mapping[str, Any]
    models: Mapping[str, str]

    @property
    def step(self) -> int:
        """Environment steps taken."""
        return int(self.counters["step"])

    def __post_init__(self) -> None:
        for name in ("counters", "runner", "logs", "models"):
            if not isinstance(getattr(self, name), dict):
                raise TypeError(f"{name} is a {type(getattr(self, name)).__name__}; expected an object")
        if type(self.counters["step"]) is not int or self.counters["step"] < 0:
            raise ValueError(f"step is {self.counters['step']!r:.80}; expected an integer, at least 0")
        for file in self.models.values():
            if not isinstance(file, str) or not file.isprintable() or len(file.encode()) > 255:
                raise TypeError("the values of models are not file names")


def write(
    folder: Path,
    models: Mapping[str, BaseModel],
    *,
    counters: Mapping[str, Any],
    runner: Mapping[str, Any],
    logs: Mapping[str, Any],
    memory: bool,
) -> Checkpoint:
    """Write a checkpoint in place of the one in ``folder``, which stays whole until this one is.

    The manifest is written last, and at once, and names the files of the models. Those of other
    checkpoints are then removed; files that no checkpoint made are left alone.

    Args:
        folder: it is made if it is missing.
        models: the models by name.
        counters: of the experiment; their "step" tells this checkpoint's files from others'.
        runner: state of the runner.
        logs: what each log saved.
        memory: whether the replay memories are saved too; without them a run resumes with empty ones.

    Raises:
        OSError: a file can't be written; it is named, and the checkpoint from before is still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = "memory" if memory else "final"
    names = {
        name: f"{counters['step']}-{kept}-{index}-{file}.safetensors"
        for index, (name, file) in enumerate(file_names(models).items())
    }
    written = Checkpoint(dict(counters), dict(runner), dict(logs), names)
    before = {path.name for path in folder.iterdir()}
    path = folder / MANIFEST
    try:
        for name, model in models.items():
            path = folder / names[name]
            model.save(path, memory=memory and isinstance(model.memory, Buffer))
        for index, model in enumerate(models.values()):
            _save_memory(folder / f"rows-{index}", model.memory, memory)
        path = folder / MANIFEST
        files.write_text(path, json.dumps({"format": FORMAT} | vars(written)))
    except OSError as error:
        _remove(folder, set(names.values()) - before)  # they can fill the disk
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    others = {path.name for path in folder.iterdir() if _OURS.fullmatch(path.name)}
    _remove(folder, others - set(names.values()))
    return written


def read(folder: Path) -> Checkpoint | None:
    """Return the checkpoint in ``folder``, or None if none was written yet.

    Raises:
        CheckpointError: it is damaged, or of a newer version.
        OSError: it can't be read.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    found = files.read_json(path, "manifest of a checkpoint")
    try:
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']!r}; this trifolium reads {FORMAT}")
        return Checkpoint(*(found[name] for name in ("counters", "runner", "logs", "models")))
    except (ValueError, TypeError, LookupError) as error:
        raise CheckpointError(f"{path} is no manifest of a checkpoint: {error!r:.500}") from error


def restore_models(
    folder: Path,
    checkpoint: Checkpoint,
    models: Mapping[str, BaseModel],
    *,
    allow_nan: bool = False,
) -> None:
    """Load each model from its file.

    Args:
        folder: of the checkpoint.
        checkpoint: what was read there.
        models: the models by name.
        allow_nan: whether NaN in a model's file is no error.

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
        model.load(path, **({"allow_nan": True} if allow_nan else {}))
    for index, model in enumerate(models.values()):
        rows: Any = folder / f"rows-{index}"
        memory: Any = model.memory
        if not isinstance(memory, Buffer) and rows.is_dir():
            memory.restore(rows)


def _save_memory(folder: Path, memory: Any, wanted: bool) -> None:
    """Save a memory that has files of its own, or remove what an earlier checkpoint saved of it."""
    if isinstance(memory, Buffer):
        return
    if wanted:
        memory.save(folder)
    elif folder.is_dir():
        shutil.rmtree(folder)


def most_parameters(folder: Path, checkpoint: Checkpoint) -> int:
    """Return how many parameters a model of a checkpoint can have, by the sizes of its files."""
    paths = [folder / Path(name).name for name in checkpoint.models.values()]
    return FEW_PARAMETERS + sum(path.stat().st_size // 4 for path in paths if path.is_file())


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return a part of a file's name for each of ``names``, all different, also if case is ignored.

    >>> file_names(["wolf", "a/b", "a_b", "Wolf"])
    {'wolf': 'wolf', 'a/b': 'a_b', 'a_b': 'a_b-2', 'Wolf': 'Wolf-2'}
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:LONGEST_NAME]
        chosen, number = plain, 1
        while chosen.casefold() in taken:
            number += 1
            chosen = f"{plain}-{number}"
        taken.add(chosen.casefold())
        found[name] = chosen
    return found


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        with suppress(OSError):
            (folder / name).unlink()
