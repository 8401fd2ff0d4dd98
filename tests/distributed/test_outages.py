"""Steps that are lost on their way, and shards that are out of reach for a while."""

import numpy as np
import pytest

import trifolium as tri
from tests.distributed.twins import sharded, steps
from trifolium.distributed.messages import Piece, Source
from trifolium.distributed.shard import Shard
from trifolium.distributed.transport import InProcess, ProcessLost
from trifolium.distributed.writer import Writer


class Recorded:
    """An outlet that keeps what it is sent, and may not be free."""

    def __init__(self, *, is_free: bool = True) -> None:
        self.sent: list[list[Piece]] = []
        self.free = is_free

    def send(self, shard: int, pieces: list[Piece]) -> None:
        self.sent.append(list(pieces))

    def is_free(self) -> bool:
        return self.free

    def flush(self) -> None:
        pass


def calls(count: int, first: int = 0) -> list[list[Piece]]:
    """Return the calls of a writer to a shard with two streams: a step of each stream in each call."""
    memory = sharded(n_streams=2, shards=1)
    outlet = Recorded()
    routes = memory.writer(streams=2)._routes
    writer = Writer(memory.spec, routes, outlet, chunk=1)  # type: ignore[arg-type]
    for number in range(first, first + count):
        same = np.full(2, number)
        writer.add(np.repeat(same[:, None], 2, 1), same, same, same < 0)
    return outlet.sent


def shard_of_two() -> Shard:
    options = {"capacity": 200, "obs_shape": (2,), "n_streams": 2, "seed": 0}
    return Shard(options | {"sampler": tri.Uniform()})


def successors(shard: Shard) -> set[tuple[int, int]]:
    """Return the numbers of all valid rows, each with that of its successor."""
    batch = shard.buffer.sample(shard.buffer.drawable)
    pairs = zip(batch.states[:, 0].tolist(), batch.next_states[:, 0].tolist(), strict=True)
    valid = batch.valid[:, 0] == 1
    return {(int(a), int(b)) for (a, b), is_valid in zip(pairs, valid, strict=True) if is_valid}


@pytest.mark.parametrize("lost", [0, 3, 4])
def test_no_step_is_joined_to_one_after_a_gap(lost: int) -> None:
    shard = shard_of_two()
    for number, pieces in enumerate(calls(8)):
        if number != lost:
            shard.write(pieces, Source("one", number))
    assert successors(shard) == {(each, each + 1) for each in range(7) if lost not in (each, each + 1)}


def test_no_step_is_joined_to_one_of_another_writer() -> None:
    shard = shard_of_two()
    old, new = calls(6), calls(6, first=10)
    for number in range(3):
        shard.write(old[number], Source("old", number))
    shard.write(new[0], Source("new", 0))
    shard.write(old[3], Source("old", 3))  # it was on its way when its writer died
    for number in range(1, 6):
        shard.write(new[number], Source("new", number))
    found = successors(shard)
    assert {(11, 12), (14, 15)} < found
    assert all(b == a + 1 for a, b in found)


def test_rows_of_a_save_are_not_joined_to_later_ones(tmp_path: object) -> None:
    shard = shard_of_two()
    sent = calls(9)
    for number in range(4):
        shard.write(sent[number], Source("one", number))
    shard.save(f"{tmp_path}/shard")
    other = shard_of_two()
    other.adopt(1, 1.0, f"{tmp_path}/shard")
    for number in range(6, 9):
        other.write(sent[number], Source("one", number))
    assert successors(other) == {(0, 1), (1, 2), (2, 3), (6, 7), (7, 8)}


def test_steps_are_collected_while_others_are_on_their_way() -> None:
    memory = sharded(n_streams=2, shards=1)
    outlet = Recorded(is_free=False)
    routes = memory.writer(streams=2)._routes
    writer = Writer(memory.spec, routes, outlet, chunk=4)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for _ in range(10):
        writer.add(**steps(rng, 2))
    assert not outlet.sent
    outlet.free = True
    writer.add(**steps(rng, 2))
    (pieces,) = outlet.sent
    (piece,) = pieces
    assert piece.chunk is not None
    assert piece.chunk.terminated.shape == (11, 2)
    outlet.free = False
    row = 2 * 4  # bytes of an observation
    for _ in range((1 << 20) // row // 1000 // 2 + 1):
        writer.extend(**steps(rng, 1000, 2))
    assert len(outlet.sent) == 2  # a MiB is sent anyway


class Unreachable(InProcess):
    """Shards of which one may be out of reach: calls fail, and it lives on."""

    away = -1

    def begin(self, number: int, method: str, *args: object) -> object:
        if number == self.away:
            return self._unreachable
        return super().begin(number, method, *args)

    def _unreachable(self) -> None:
        raise ProcessLost


def test_a_shard_that_was_out_of_reach_keeps_its_rows() -> None:
    memory = sharded(transport=Unreachable)
    memory.extend(**steps(np.random.default_rng(0), 25, 4))
    rows, stored = len(memory), memory.steps
    assert isinstance(memory.transport, Unreachable)
    memory.transport.away = 1
    with pytest.warns(RuntimeWarning, match="shard 1 died"):
        memory.sample(16)
    for _ in range(3):  # without another warning
        memory.sample(16)
        assert memory.steps == stored
        assert len(memory) < rows
    memory.transport.away = -1
    for _ in range(3):
        memory.sample(16)  # which asks whether it is back
    assert (len(memory), memory.steps) == (rows, stored)


def test_a_writer_whose_arrays_are_read_only_writes() -> None:
    """As those of Ray are in the process that gets the writer."""
    memory = sharded(n_streams=2, shards=1)
    outlet = Recorded()
    writer = Writer(memory.spec, memory.writer(streams=2)._routes, outlet, chunk=1)  # type: ignore[arg-type]
    for value in (*vars(writer).values(), *writer._places):
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    writer.end_episode()
    writer.add(**steps(np.random.default_rng(0), 2))
    assert outlet.sent
