"""Every error that trifolium raises on purpose.

::

    TrifoliumError
    ├── BackendError              a backend can't do what was asked (a device, a dtype)
    │   ├── UnknownBackend        no plug-in has that name
    │   └── BackendNotInstalled   the plug-in is there, its framework is not
    ├── NotEnoughTransitions      more rows asked for than can be drawn
    ├── LossTypeError             train_step returned something that is no loss
    ├── CheckpointError           a file is damaged, foreign or from a newer version
    ├── WorldError                an environment that trifolium can't drive
    ├── NanError                  a number of a run became NaN, and the run stops
    ├── SaveError                 a run can't write its files: a full disk, say
    ├── FolderInUse               another process trains in the folder
    └── HumanQuit                 the person who is asked for actions stops playing

Each also derives from the built-in exception that a caller would expect (``ValueError``,
``ImportError``, ``TypeError``, ``OSError``), so code that knows nothing of trifolium can catch it.
Plain ``TypeError`` and ``ValueError`` are raised for bad arguments; they name the argument, what came
and what was expected.

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
    """A backend can't do what was asked of it."""


class UnknownBackend(BackendError, LookupError):
    """No backend is registered under the name that was asked for."""


class BackendNotInstalled(BackendError, ImportError):
    """A registered backend whose framework can't be imported."""


class NotEnoughTransitions(TrifoliumError, ValueError):
    """More rows were asked for than can be drawn.

    Attributes:
        requested: rows (or sequences) asked for.
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
    """A run can't write its files; the last checkpoint is whole."""


class FolderInUse(TrifoliumError, BlockingIOError):
    """Another process trains in the folder."""


class HumanQuit(TrifoliumError, EOFError):
    """The person at the keys of a HumanModel quit, or its input has ended; a loop that plays ends."""
