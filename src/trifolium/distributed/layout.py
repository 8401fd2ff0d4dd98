"""ShardLayout: which streams each shard has, and the options of its buffer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from trifolium import _checks as checks
from trifolium.distributed.indices import MOST_SHARDS
from trifolium.replay import Hindsight, Prioritized, Sampler, Uniform
from trifolium.replay.schema import BufferSpec

__all__ = ["ShardLayout"]


class ShardLayout:
    """Streams divided over shards: whole streams, in order, as evenly as they divide.

    Args:
        spec: of the whole memory.
        shards: how many shards; at most one for each stream.
        sampler: of the whole memory.
        seed: of the whole memory; None for a random one.

    Attributes:
        seeds: of the driver, then of each shard.

    >>> from trifolium import Buffer, Uniform
    >>> layout = ShardLayout(Buffer(100, (2,), n_streams=5).spec, 2, Uniform(), seed=0)
    >>> layout.place(np.array([0, 3, 4]))
    (array([0, 1, 1]), array([0, 0, 1]))
    """

    def __init__(self, spec: BufferSpec, shards: int, sampler: Sampler, seed: int | None) -> None:
        self.spec = spec
        self.shards = checks.integer("shards", shards, 1)
        if self.shards > min(spec.n_streams, MOST_SHARDS):
            raise ValueError(
                f"shards={shards} with n_streams={spec.n_streams}; expected at most "
                f"{min(spec.n_streams, MOST_SHARDS)}: each stream lies wholly in one shard"
            )
        if isinstance(sampler, Hindsight):
            raise TypeError(
                "sampler is a Hindsight, which shards can't draw with; expected Uniform() or "
                "Prioritized(). Let whoever writes add each episode once more, with a goal that it "
                "reached and the rewards for that; or keep the rows in one trifolium.Buffer"
            )
        if type(sampler) not in (Uniform, Prioritized):
            raise TypeError(
                f"sampler is a {type(sampler).__name__}; expected Uniform() or Prioritized(), whose "
                "draws can be divided over shards"
            )
        self.sampler = sampler
        few, more = divmod(spec.n_streams, self.shards)
        self.counts = [few + (shard < more) for shard in range(self.shards)]
        self._starts = np.concatenate([[0], np.cumsum(self.counts)])
        entropy = np.random.SeedSequence(checks.seed(seed))
        states = [each.generate_state(1, np.uint64) for each in entropy.spawn(1 + self.shards)]
        self.seeds = [int(state[0]) for state in states]

    def place(self, streams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (shards, their own streams), each [N], of ``streams`` [N]."""
        shards = np.searchsorted(self._starts, streams, side="right") - 1
        return shards, streams - self._starts[shards]

    def part(self, n_streams: int) -> BufferSpec:
        """Return the spec of ``n_streams`` of the streams."""
        return replace(self.spec, n_streams=n_streams, capacity=self.spec.window.length * n_streams)

    def options(self, shard: int) -> dict[str, Any]:
        """Return the arguments of a shard's :class:`trifolium.Buffer`, with its own sampler."""
        return self.part(self.counts[shard]).options() | {
            "sampler": self.own_sampler(),
            "seed": self.seeds[1 + shard],
        }

    def own_sampler(self) -> Sampler:
        """Return a new sampler for one shard. The driver has the schedule of ``beta``."""
        if isinstance(self.sampler, Prioritized):
            return Prioritized(self.sampler.alpha, epsilon=self.sampler.epsilon)
        assert isinstance(self.sampler, Uniform)
        return Uniform(**self.sampler.options)
