"""RunFolder: the files of a run, and the lock against a second process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trifolium._locks import lock_folder

__all__ = ["RunFolder"]

NAMES = (
    "config.json",
    "versions.json",
    "metrics.csv",
    "evaluations.csv",
    "tensorboard",
    "checkpoint",
    "learning_curve.png",
)
MODELS = ("model.safetensors", "model-*.safetensors")


class RunFolder:
    """The folder of a run. A run writes only files that it made.

    Args:
        path: the folder, which need not exist.

    Attributes:
        path: the folder.
        config: the file of the options.
        versions: the file of the versions of packages.
        checkpoints: the folder of the checkpoint.
        curve: the picture of the learning curve.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.versions = self.path / "versions.json"
        self.checkpoints = self.path / "checkpoint"
        self.curve = self.path / "learning_curve.png"

    def check_free(self) -> None:
        """Raise FileExistsError unless a new run can be written there, with no file in its way."""
        out = str(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"out={out!r} is a file; expected a folder, or none yet")
        if self.config.exists() and self.checkpoints.exists():
            raise FileExistsError(
                f"out={out!r} holds a run already; give another folder, or resume that one"
            )
        found = [name for name in NAMES if (self.path / name).exists()]
        found += [path.name for pattern in MODELS for path in sorted(self.path.glob(pattern))]
        if found:
            raise FileExistsError(
                f"out={out!r} holds {', '.join(found)}, which a run would overwrite; give another "
                "folder, or resume the run if these are its files"
            )

    def check_has_run(self) -> None:
        """Raise FileNotFoundError unless there is a run."""
        if not self.config.is_file():
            raise FileNotFoundError(f"{str(self.path)!r} holds no run: there is no {self.config.name}")

    def make(self) -> None:
        """Make the folder, if it is missing."""
        self.path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in the folder.

        The lock belongs to the process and leaves no file: it ends with the process, however that ends.

        Raises:
            FolderInUse: another process trains there.
        """
        folder = lock_folder(str(self.path), "trains in", "wait for it, or give another folder")
        try:
            yield
        finally:
            if folder is not None:
                os.close(folder)
