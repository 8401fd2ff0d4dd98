"""The replay memory."""

from trifolium.replay.batch import Batch
from trifolium.replay.buffer import Buffer
from trifolium.replay.functional import (
    add,
    current_state,
    drawable,
    extend,
    init,
    sample,
    sample_sequences,
    update_priorities,
)
from trifolium.replay.graph.state import State
from trifolium.replay.host.hindsight import Hindsight
from trifolium.replay.host.kernels import use_kernels
from trifolium.replay.host.prioritized import Prioritized
from trifolium.replay.host.samplers import Sampler, Uniform

__all__ = [
    "Batch",
    "Buffer",
    "Hindsight",
    "Prioritized",
    "Sampler",
    "State",
    "Uniform",
    "add",
    "current_state",
    "drawable",
    "extend",
    "init",
    "sample",
    "sample_sequences",
    "update_priorities",
    "use_kernels",
]
