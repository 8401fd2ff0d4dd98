"""Saved memories draw on as they would have, bit for bit, on every backend."""

import os
from pathlib import Path

import numpy as np
import pytest

import trifolium as tri
from tests.distributed.twins import sharded, steps
from trifolium import files
from trifolium.distributed import ShardedBuffer

SAMPLERS = {
    "uniform": tri.Uniform(),
    "again": tri.Uniform(replacement=True),
    "prioritized": tri.Prioritized(0.7, tri.Linear(0.4, 1.0, steps=9)),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_saved_memory_goes_on(backend: tri.Backend, tmp_path: Path, name: str) -> None:
    memory = sharded(backend, sampler=SAMPLERS[name])
    rng = np.random.default_rng(0)
    memory.extend(**steps(rng, 25, 4))
    if name == "prioritized":
        memory.update_priorities(memory.sample(8).indices, np.arange(8.0))
    memory.save(tmp_path)
    memory.save(tmp_path)
    assert len(os.listdir(tmp_path)) == 1 + memory.shards
    other = ShardedBuffer.load(tmp_path, address=None)
    assert other.backend is tri.get_backend(backend.name)  # on its default device
    more = steps(rng, 3, 4)
    for each in (memory, other):
        each.extend(**more)
    for _ in range(5):
        one, two = memory.sample(16), other.sample(16)
        assert one.indices.tolist() == two.indices.tolist()
        for field in ("states", "weights"):
            found = [backend.to_numpy(getattr(batch, field)) for batch in (one, two)]
            np.testing.assert_array_equal(*found)
        if name == "prioritized":
            for each in (memory, other):
                each.update_priorities(one.indices, np.arange(16.0))


def test_an_interrupted_save_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = sharded()
    memory.extend(**steps(np.random.default_rng(0), 25, 4))
    memory.save(tmp_path)
    rows = len(memory)
    memory.extend(**steps(np.random.default_rng(0), 4, 4))
    memory._refresh()

    def dies(span: int = 1) -> None:
        memory.transport.kill(1)  # type: ignore[attr-defined]

    with monkeypatch.context() as patched:
        patched.setattr(memory._group, "refresh", dies)  # it dies again after that
        with (
            pytest.warns(RuntimeWarning, match="shard 1 died"),
            pytest.raises(ConnectionError, match="an earlier save there still holds"),
        ):
            memory.save(tmp_path)
    assert len(ShardedBuffer.load(tmp_path, address=None)) == rows
    for _ in range(3):
        memory._refresh()  # hear from the one in its place
    kill_now = memory.transport.kill  # type: ignore[attr-defined]
    monkeypatch.setattr(memory, "_refresh", lambda: kill_now(1))  # once, and it is saved after all
    with pytest.warns(RuntimeWarning, match="shard 1 died"):
        memory.save(tmp_path)
    assert 0 < len(ShardedBuffer.load(tmp_path, address=None)) < rows + 16


@pytest.mark.parametrize("damage", ["no manifest", "no shard", "cut shard", "counts", "kind"])
def test_damage(tmp_path: Path, damage: str) -> None:
    memory = sharded()
    memory.extend(**steps(np.random.default_rng(0), 5, 4))
    memory.save(tmp_path)
    manifest, shard = tmp_path / "memory.safetensors", tmp_path / "shard-1-1.safetensors"
    error: type[Exception] = tri.CheckpointError
    if damage == "no manifest":
        manifest.unlink()
        error = FileNotFoundError
    elif damage == "no shard":
        shard.unlink()
    elif damage == "cut shard":
        shard.write_bytes(shard.read_bytes()[:-10])
    elif damage == "kind":
        os.replace(shard, manifest)
    else:
        document, arrays = files.read(manifest, "sharded memory")
        document["files"] = document["files"][:2]
        files.write(manifest, "sharded memory", document, arrays)
    with pytest.raises(error):
        ShardedBuffer.load(tmp_path, address=None)
