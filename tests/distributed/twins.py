"""A ShardedBuffer in this process beside a Buffer with the same steps, which says what its rows are."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import trifolium as tri
from trifolium.distributed import ShardedBuffer
from trifolium.distributed.indices import unpacked
from trifolium.testing.cases import FIELDS, on_host

LOCAL: dict[str, Any] = {"address": None}


def sharded(backend: Any = "numpy", **options: Any) -> ShardedBuffer:
    chosen = {"capacity": 120, "obs_shape": (2,), "seed": 0, "n_streams": 4, "shards": 3, **options}
    if isinstance(chosen.get("sampler"), type):
        chosen["sampler"] = chosen["sampler"]()
    return ShardedBuffer(**chosen, backend=backend, **LOCAL)


def alone(memory: ShardedBuffer) -> tri.Buffer:
    """Return a Buffer with the options of ``memory``."""
    sampler = memory.sampler
    if isinstance(sampler, tri.Prioritized):
        sampler = tri.Prioritized(sampler.alpha, sampler.beta)
    return tri.Buffer(**memory.spec.options(), sampler=sampler, backend=memory.backend, seed=1)


def flat(memory: ShardedBuffer, indices: np.ndarray) -> np.ndarray:
    """Return the indices that a Buffer with the same steps has for these rows."""
    shards, _, rows = unpacked(np.asarray(indices))
    counts = np.array(memory._layout.counts)
    firsts = np.cumsum(counts) - counts
    serials, streams = np.divmod(rows, counts[shards])
    found: np.ndarray = serials * memory.n_streams + streams + firsts[shards]
    return found


def check_rows(memory: ShardedBuffer, buffer: tri.Buffer, batch: tri.Batch) -> None:
    """Assert that a batch holds the rows that ``buffer`` has, but for their weights."""
    expected = on_host(memory.backend, buffer.fetch(flat(memory, batch.indices)))[1:]
    found = on_host(memory.backend, batch)[1:]
    for name, one, other in zip([*FIELDS, *sorted(batch.extras)], found, expected, strict=True):
        if name != "weights":
            np.testing.assert_array_equal(one, other, err_msg=name)


class Filled(NamedTuple):
    """A memory for ``trifolium.testing.cases.fill``, which also adds blank rows to a Buffer."""

    memory: Any

    @property
    def spec(self) -> Any:
        return self.memory.spec

    def add(self, *args: Any, **options: Any) -> None:
        self.memory.add(*args, **options)

    def add_empty(self) -> None:
        self.memory.end_episode()


def steps(rng: np.random.Generator, *lead: int) -> dict[str, Any]:
    """Return made-up arguments of ``extend`` or ``add`` with these leading axes."""
    return {
        "obs": rng.normal(size=(*lead, 2)),
        "action": rng.integers(0, 2, lead),
        "reward": rng.normal(size=lead),
        "done": rng.random(lead) < 0.1,
    }


def masses(memory: ShardedBuffer) -> Mapping[int, float]:
    """Return the mass of every row that has one, by the index of a Buffer with the same steps."""
    found = {}
    for shard in range(memory.shards):
        answer = memory._group.ask(shard, "every", "", 1)
        indices = memory._group.global_indices(shard, answer.indices)
        found |= zip(flat(memory, indices).tolist(), answer.masses.tolist(), strict=True)
    return found
