"""Memory shards and actors in other processes, on Ray: the extra `ray`."""

from trifolium.distributed.actors import Actors
from trifolium.distributed.limiter import SamplesPerInsert
from trifolium.distributed.sharded import ShardedBuffer
from trifolium.distributed.writer import Writer

__all__ = ["Actors", "SamplesPerInsert", "ShardedBuffer", "Writer"]
