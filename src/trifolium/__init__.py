"""One replay memory and one set of reinforcement-learning models, native on NumPy, PyTorch and JAX."""

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
from trifolium.models import DDQN, IQN, BaseModel, HumanModel, RandomModel
from trifolium.replay import Batch, Buffer, Prioritized, Sampler, Uniform
from trifolium.schedules import Linear
from trifolium.version import __version__

__all__ = [
    "DDQN",
    "IQN",
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
    "HumanModel",
    "HumanQuit",
    "Linear",
    "LossTypeError",
    "NanError",
    "NotEnoughTransitions",
    "Optimizer",
    "Prioritized",
    "RandomModel",
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
