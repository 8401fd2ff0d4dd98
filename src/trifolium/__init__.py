"""One replay memory and one set of reinforcement-learning models, native on NumPy, PyTorch and JAX."""

from typing import TYPE_CHECKING

from trifolium.array import Array
from trifolium.backend import (
    Backend,
    BackendInfo,
    Capabilities,
    Differentiable,
    Optimizer,
    backends,
    get_backend,
)
from trifolium.errors import (
    BackendError,
    BackendNotInstalled,
    CheckpointError,
    FolderInUse,
    HumanQuit,
    LossTypeError,
    NanError,
    NotEnoughTransitions,
    SaveError,
    TrifoliumError,
    UnknownBackend,
    WorldError,
)
from trifolium.replay import Batch, Buffer, Hindsight, Prioritized, Sampler, Uniform
from trifolium.schedules import Linear
from trifolium.version import __version__

if TYPE_CHECKING:
    from trifolium.models import (
        DDQN,
        IQN,
        Algorithm,
        BaseModel,
        HumanModel,
        Learner,
        RandomModel,
        ReplayMemory,
    )

__all__ = [
    "DDQN",
    "IQN",
    "Algorithm",
    "Array",
    "Backend",
    "BackendError",
    "BackendInfo",
    "BackendNotInstalled",
    "BaseModel",
    "Batch",
    "Buffer",
    "Capabilities",
    "CheckpointError",
    "Differentiable",
    "FolderInUse",
    "Hindsight",
    "HumanModel",
    "HumanQuit",
    "Learner",
    "Linear",
    "LossTypeError",
    "NanError",
    "NotEnoughTransitions",
    "Optimizer",
    "Prioritized",
    "RandomModel",
    "ReplayMemory",
    "Sampler",
    "SaveError",
    "TrifoliumError",
    "Uniform",
    "UnknownBackend",
    "WorldError",
    "__version__",
    "backends",
    "get_backend",
]

if not TYPE_CHECKING:  # type checkers would take any name for one of the package

    def __getattr__(name):
        """Import the models when one of them is asked for: a replay memory needs none."""
        if name != "models" and name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        models = import_module("trifolium.models")
        return models if name == "models" else getattr(models, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "models"})
