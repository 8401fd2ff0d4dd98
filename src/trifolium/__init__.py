"""One replay memory and one set of reinforcement-learning models, native on NumPy, PyTorch and JAX."""

from trifolium.backend import Backend, BackendInfo, Capabilities, backends, get_backend
from trifolium.errors import (
    BackendError,
    BackendNotInstalled,
    CheckpointError,
    LossTypeError,
    NotEnoughTransitions,
    TrifoliumError,
    UnknownBackend,
    WorldError,
)
from trifolium.replay import Batch, Buffer, Prioritized, Sampler, Uniform

__all__ = [
    "Backend",
    "BackendError",
    "BackendInfo",
    "BackendNotInstalled",
    "Batch",
    "Buffer",
    "Capabilities",
    "CheckpointError",
    "LossTypeError",
    "NotEnoughTransitions",
    "Prioritized",
    "Sampler",
    "TrifoliumError",
    "Uniform",
    "UnknownBackend",
    "WorldError",
    "backends",
    "get_backend",
]
