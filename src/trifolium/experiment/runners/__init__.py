"""Runners: one for each kind of world, driven by an experiment."""

from trifolium.experiment.runners.gym import GymRunner
from trifolium.experiment.runners.runner import (
    AGENT,
    LONGEST_REPLAY,
    MODEL,
    BlockRunner,
    EpisodeEnd,
    Runner,
    checked_count,
    episode_seed,
    fingerprint,
)
from trifolium.experiment.runners.traffic import HasTraffic, Traffic
from trifolium.experiment.runners.vector import VectorRunner
from trifolium.experiment.runners.world import WorldRunner

__all__ = [
    "AGENT",
    "LONGEST_REPLAY",
    "MODEL",
    "BlockRunner",
    "EpisodeEnd",
    "GymRunner",
    "HasTraffic",
    "Runner",
    "Traffic",
    "VectorRunner",
    "WorldRunner",
    "checked_count",
    "episode_seed",
    "fingerprint",
]
