"""Every error that trifolium raises on purpose.

::

    TrifoliumError
    ├── BackendError              a backend lacks what was requested (a device, a dtype)
    │   ├── UnknownBackend        no plug-in has that name
    │   └── BackendNotInstalled   the plug-in is there, its framework is not
    ├── NotEnoughTransitions      more rows requested than can be drawn
    ├── LossTypeError             train_step returned an object that is not a loss
    ├── CheckpointError           a file is damaged, foreign or from a newer version
    ├── WorldError                an environment that trifolium can't drive
    ├── NanError                  a number of a run became NaN; the run stops
    ├── SaveError                 a run can't write its files: for example on a full disk
    ├── FolderInUse               another process trains in the folder
    └── HumanQuit                 the player of a HumanModel quit

Each also derives from the built-in exception that a caller would expect (``ValueError``,
``ImportError``, ``TypeError``, ``OSError``), so code that does not import trifolium can catch it.
Plain ``TypeError`` and ``ValueError`` are raised for bad arguments; they name the argument, the value
and the expected values.

>>> issubclass(NotEnoughTransitions, ValueError)
True
"""

__all__ = [
    "BackendError",
    "BackendNotInstalled",
    "CheckpointError",
    "FolderInUse",
    "HumanQuit",
    "LossTypeError",
    "NanError",
    "NotEnoughTransitions",
    "SaveError",
    "TrifoliumError",
    "UnknownBackend",
    "WorldError",
]


class TrifoliumError(Exception):
    """Base class of every error of this package."""


class BackendError(TrifoliumError, ValueError):
    """A backend does not support what was requested, such as a device or a dtype."""


class UnknownBackend(BackendError, LookupError):
    """No backend is registered under the requested name."""


class BackendNotInstalled(BackendError, ImportError):
    """A registered backend whose framework can't be imported."""


class NotEnoughTransitions(TrifoliumError, ValueError):
    """More rows were requested than can be drawn.

    Attributes:
        requested: requested rows (or sequences).
        available: rows (or sequences) that can be drawn now.
    """

    def __init__(self, requested: int, available: int, what: str = "transitions") -> None:
        super().__init__(
            f"batch_size={requested} asks for more {what} than can be drawn now ({available}); "
            + (f"add more, or ask for at most {available}" if available else "add some first")
        )
        self.requested = requested
        self.available = available


class LossTypeError(TrifoliumError, TypeError):
    """A train_step returned something that is not a loss."""


class CheckpointError(TrifoliumError, ValueError):
    """A file is damaged, truncated, foreign, or written by a newer version."""


class WorldError(TrifoliumError, ValueError):
    """An environment that trifolium can't drive."""


class NanError(TrifoliumError, FloatingPointError):
    """An observation, a reward, a loss or a weight of a run is not a number (NaN)."""


class SaveError(TrifoliumError, OSError):
    """A run can't write its files; the last checkpoint is intact."""


class FolderInUse(TrifoliumError, BlockingIOError):
    """Another process trains in the folder."""


class HumanQuit(TrifoliumError, EOFError):
    """The player of a HumanModel quit, or its input ended. Loops that play end."""
