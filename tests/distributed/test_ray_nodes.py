"""Machines of a cluster that are killed: three nodes of Ray's on this one, without a dashboard."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from tests.distributed.counting import CountingRunner, check_whole
from tests.distributed.processes import descendants, kill
from trifolium.distributed import Actors, ShardedBuffer
from trifolium.distributed.cluster import RayTransport

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning",
        "ignore::FutureWarning",
        "ignore::ResourceWarning",  # of Ray's processes
        "ignore:os.fork:RuntimeWarning",
        "ignore:shard . died",
        "ignore:actor . died",
    ),
]
LONGEST = 120.0  # seconds until a run goes on; Ray needs some to notice that a machine is gone
NODE = {"num_cpus": 2, "object_store_memory": 100_000_000, "include_dashboard": False}


@pytest.fixture
def cluster() -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0})
    for _ in range(2):
        found.add_node(**NODE)
    ray.init(address=found.address, _node_ip_address="127.0.0.1", log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


def kill_node(cluster: Any, node: Any) -> None:
    """Kill every process of a node at once, its workers first."""
    raylet = node.all_processes["raylet"][0].process.pid
    kill([*descendants(raylet), raylet])
    cluster.remove_node(node, allow_graceful=False)


def test_nodes_are_killed_ten_times(cluster: Any) -> None:
    """At random moments of a run: it goes on, every row is whole, and nothing waits for ever."""
    rng = np.random.default_rng(0)
    longest = 0.0
    on_nodes = partial(RayTransport, address="auto", cores=0.5)  # none on the head, which lives
    sizes = {"capacity": 4200, "obs_shape": (2,), "shards": 3, "n_streams": 6}
    with (
        ShardedBuffer(**sizes, seed=0, sampler=tri.Prioritized(), transport=on_nodes) as memory,
        Actors(memory, CountingRunner.of, actors=3, steps=32, cores=0.5) as actors,
    ):
        for number in range(11):
            wanted, steps = memory.drawn + int(rng.integers(400, 2000)), memory.steps
            end = time.monotonic() + LONGEST
            while memory.drawn < wanted or memory.steps < steps + 200:
                assert time.monotonic() < end
                actors.collect()
                before = time.monotonic()
                if memory.may_draw(32):
                    batch = memory.sample(32)
                    check_whole(batch)
                    memory.update_priorities(batch.indices, rng.normal(size=32))
                longest = max(longest, time.monotonic() - before)
            if number < 10:
                victims = sorted(cluster.worker_nodes, key=lambda node: str(node.unique_id))
                kill_node(cluster, victims[int(rng.integers(2))])
                cluster.add_node(**NODE)
        deaths = sum(memory._group.incarnations), sum(actors._deaths)
        assert min(deaths) > 0
        assert sum(deaths) >= 10
        end = time.monotonic() + LONGEST
        while memory.drawable == 0 or None in memory._group.statuses:  # every shard is back
            assert time.monotonic() < end
            actors.collect()
    print(f"shards and actors lost: {deaths}; the longest draw took {longest:.1f} s")
