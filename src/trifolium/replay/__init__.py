"""The replay memory."""

from trifolium.replay.batch import Batch
from trifolium.replay.buffer import Buffer
from trifolium.replay.samplers import Prioritized, Sampler, Uniform

__all__ = ["Batch", "Buffer", "Prioritized", "Sampler", "Uniform"]
