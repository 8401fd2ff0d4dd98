"""Buffers in a folder: `Buffer(..., path=...)`, `flush` and `Buffer.open`, without kills.

``test_mapped_kills.py`` has what is found after a kill.
"""

import copy
import gc
import pickle
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import trifolium as tri
from trifolium.testing.cases import OPTIONS, fill, made, on_host

COMMIT = "buffer.safetensors"
OPTIONAL = ("sampler.leaves", "sampler.draws")  # arrays that a sound commit may lack
ALL = {**OPTIONS["all"], "extras": {"place": ((2,), "float32"), "tag": "int32"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "rows"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def drawn(buffer: tri.Buffer, count: int = 3) -> list[Any]:
    found = []
    for _ in range(count):
        batch = buffer.sample(6)
        found.append([each.tolist() for each in on_host(buffer.backend, batch)])
        if isinstance(buffer.sampler, tri.Prioritized):
            buffer.update_priorities(batch.indices, np.arange(6.0))
    return found


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("steps", [9, 60])
def test_a_mapped_buffer_draws_what_one_in_memory_draws(
    backend: tri.Backend, folder: Path, name: str, steps: int
) -> None:
    mapped, memory = made(backend, {**OPTIONS[name], "path": folder}), made(backend, OPTIONS[name])
    for part in range(3):
        for buffer in (mapped, memory):
            fill(buffer, steps, seed=part)
        assert drawn(mapped) == drawn(memory)
        mapped.flush()
        del mapped
        mapped = tri.Buffer.open(folder, backend=backend)
        assert len(mapped) == len(memory)
        assert drawn(mapped) == drawn(memory)


def test_extend_and_a_given_successor_are_kept(backend: tri.Backend, folder: Path) -> None:
    options: dict[str, Any] = {"backend": backend, "seed": 0, "n_streams": 2}
    mapped, memory = tri.Buffer(40, (2,), path=folder, **options), tri.Buffer(40, (2,), **options)
    rng = np.random.default_rng(0)
    for part in range(6):
        obs, after = rng.normal(size=(2, 9, 2, 2)).astype("float32")
        truncated = rng.random((9, 2)) < 0.3
        for buffer in (mapped, memory):
            zeros = np.zeros((9, 2))
            buffer.extend(obs, zeros.astype(int), zeros, zeros, truncated=truncated, next_obs=after)
        if part == 4:
            mapped.flush()
            del mapped
            mapped = tri.Buffer.open(folder, backend=backend)
        assert drawn(mapped) == drawn(memory)


def test_structured_observations(backend: tri.Backend, folder: Path) -> None:
    parts = {
        "camera": ((2, 2), "uint8"),
        "body": {"joints": ((3,), "float32"), "marks": ((1,), "bool")},
    }
    buffer = tri.Buffer(6, parts, {"camera": 2}, backend=backend, seed=0, path=folder)
    for step in range(9):
        body = {"joints": np.full(3, step), "marks": [True]}
        buffer.add({"camera": np.full((2, 2), step), "body": body}, step, step, done=step % 4 == 3)
    buffer.flush()
    first = buffer.sample(3)
    del buffer
    again = tri.Buffer.open(folder, backend=backend)
    second = again.sample(3)
    assert again.spec.leaves[0].shape == (2, 2)
    for read in (lambda s: s["camera"], lambda s: s["body"]["joints"], lambda s: s["body"]["marks"]):
        for states in ("states", "next_states"):
            mine, other = (backend.to_numpy(read(getattr(b, states))) for b in (first, second))
            assert mine.dtype == other.dtype
            assert mine.tolist() == other.tolist()


def both(backend: tri.Backend, folder: Path, options: dict[str, Any]) -> Iterator[list[tri.Buffer]]:
    """Yield a mapped buffer and one in memory, with the same steps: filled, wrapped, opened again."""
    mapped, memory = made(backend, {**options, "path": folder}), made(backend, options)
    for part in range(3):
        for buffer in (mapped, memory):
            fill(buffer, 30, seed=part)
        yield [mapped, memory]
        mapped.flush()
        del mapped
        gc.collect()  # it is locked while something holds it
        mapped = tri.Buffer.open(folder, backend=backend)
        yield [mapped, memory]


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("name", ["padded", "image", "extras", "prioritized", "all"])
def test_sequences_and_fetch(backend: tri.Backend, folder: Path, name: str) -> None:
    for buffers in both(backend, folder, OPTIONS[name]):
        found = []
        for buffer in buffers:
            runs = [buffer.sample_sequences(4, 2), buffer.sample_sequences(2, 2, within_episode=True)]
            batches = [*runs, buffer.fetch(runs[0].indices), buffer.fetch(runs[1].indices)]
            found.append([[each.tolist() for each in on_host(backend, batch)] for batch in batches])
        buffers.clear()
        del buffer
        assert found[0] == found[1]


@pytest.mark.slow_on("torch", "jax")
def test_hindsight(backend: tri.Backend, folder: Path) -> None:
    goal = ((2,), "float32")
    shape = {"observation": ((3,), "uint8"), "achieved_goal": goal, "desired_goal": goal}

    def sampler() -> tri.Hindsight:
        return tri.Hindsight(lambda reached, wanted, info: (reached == wanted).all(axis=1) - 1.0)

    def extend(buffer: tri.Buffer, part: int) -> None:
        rng = np.random.default_rng(part)
        kinds = {"observation": 3, "achieved_goal": 2, "desired_goal": 2}
        obs, after = ({name: rng.integers(9, size=(30, n)) for name, n in kinds.items()} for _ in "01")
        ends = rng.random((2, 30)) < 0.1
        buffer.extend(obs, ends[0] * 0, ends[0] * 1.0, ends[0], truncated=ends[1], next_obs=after)

    options: dict[str, Any] = {"backend": backend, "seed": 0}
    mapped = tri.Buffer(50, shape, sampler=sampler(), path=folder, **options)
    memory = tri.Buffer(50, shape, sampler=sampler(), **options)

    def goals(buffer: tri.Buffer) -> list[Any]:
        batch = buffer.sample(8)
        parts = [batch.states["desired_goal"], batch.next_states["desired_goal"], batch.rewards]
        return [backend.to_numpy(part).tolist() for part in parts]

    for part in range(4):
        for buffer in (mapped, memory):
            extend(buffer, part)
        assert goals(mapped) == goals(memory)
        mapped.flush()
        del mapped, buffer
        gc.collect()
        with pytest.raises(tri.CheckpointError, match="sampler="):
            tri.Buffer.open(folder, backend=backend)
        mapped = tri.Buffer.open(folder, backend=backend, sampler=sampler())
        assert goals(mapped) == goals(memory)


def test_a_flushed_end_of_a_row_is_found_as_it_was(backend: tri.Backend, folder: Path) -> None:
    """What later steps write into the newest flushed row is not part of the flush."""
    buffer = tri.Buffer(20, (1,), backend=backend, path=folder)
    buffer.add([1.0], 1, 1.0, False, next_obs=[2.0])
    buffer.flush()
    buffer.add([7.0], 7, 7.0, False)  # not 2: the first step counts as cut off
    del buffer
    again = tri.Buffer.open(folder, backend=backend)
    again.add([2.0], 2, 2.0, False)
    batch = again.sample(1)
    assert backend.to_numpy(batch.next_states).tolist() == [[2.0]]
    assert (len(again), backend.to_numpy(batch.valid).tolist()) == (2, [[1.0]])


def test_what_was_not_flushed_is_gone(backend: tri.Backend, folder: Path) -> None:
    tri.Buffer(20, (1,), backend=backend, path=folder).add([1.0], 1, 1.0, False)
    assert len(tri.Buffer.open(folder, backend=backend)) == 0


def test_clear_other_buffers_files_and_states(backend: tri.Backend, folder: Path) -> None:
    buffer = made(backend, {"path": folder})
    fill(buffer, 50, seed=0)
    other = made(backend, {})
    other.add_from_buffer(buffer)
    buffer.clear()
    assert len(buffer) == 0
    buffer.add_from_buffer(other)
    buffer.flush()
    buffer.save(folder.parent / "copy")
    for copied in (tri.Buffer.load(folder.parent / "copy"), tri.Buffer.from_state(buffer.state())):
        copied.rng.bit_generator.state = buffer.rng.bit_generator.state
        states, mine = copied.sample(6).states, other.backend.to_numpy
        original = tri.Buffer.load(folder.parent / "copy")
        assert mine(states).tolist() == mine(original.sample(6).states).tolist()
    rows = [backend.to_numpy(each).tolist() for each in buffer[:]]
    del buffer
    again = tri.Buffer.open(folder, backend=backend)
    assert [backend.to_numpy(each).tolist() for each in again[:]] == rows
    again.clear()
    again.flush()
    del again
    assert len(tri.Buffer.open(folder, backend=backend)) == 0


def test_the_actions_of_a_backend_without_64_bits(backend: tri.Backend, folder: Path) -> None:
    buffer = tri.Buffer(8, (1,), action_dtype="int64", path=folder)
    for step in range(20):
        buffer.add([step], step, step, False)
    buffer.flush()
    del buffer
    for _ in range(2):
        again = tri.Buffer.open(folder, backend=backend)
        batch = again.sample(6)
        actions = backend.to_numpy(batch.actions)
        assert actions.tolist() == backend.to_numpy(batch.states).tolist()
        assert len(list(folder.glob("actions.*.npy"))) == 1
        again.flush()
        del again, batch
    assert tri.Buffer.open(folder).backend.name == backend.name


def test_actions_that_another_backend_can_not_hold(backend: tri.Backend, folder: Path) -> None:
    buffer = tri.Buffer(8, (1,), action_dtype="int64", path=folder)
    buffer.add([1.0], 2**40, 1.0, False)
    buffer.flush()
    del buffer
    before = contents(folder)
    try:
        backend.dtype("int64")
    except tri.BackendError:
        with pytest.raises(tri.CheckpointError, match="action"):
            tri.Buffer.open(folder, backend=backend)
        assert contents(folder) == before
    assert tri.Buffer.open(folder).actions[0] == 2**40


# Refusals


def test_a_folder_with_other_files_is_left_alone(backend: tri.Backend, folder: Path) -> None:
    folder.mkdir()
    (folder / "rewards.npy").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"other files \(rewards.npy\).*empty"):
        tri.Buffer(8, (1,), backend=backend, path=folder)
    with pytest.raises(tri.CheckpointError, match="holds no buffer"):
        tri.Buffer.open(folder, backend=backend)
    assert contents(folder) == {"rewards.npy": b"mine"}
    with pytest.raises(FileExistsError, match="is a file"):
        tri.Buffer(8, (1,), backend=backend, path=folder / "rewards.npy")
    with pytest.raises(tri.CheckpointError, match=r"is a file.*Buffer\.load"):
        tri.Buffer.open(folder / "rewards.npy", backend=backend)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        tri.Buffer.open(folder / "nowhere", backend=backend)
    assert contents(folder) == {"rewards.npy": b"mine"}


def test_a_folder_with_a_buffer_is_not_overwritten(backend: tri.Backend, folder: Path) -> None:
    buffer = made(backend, {"path": folder})
    fill(buffer, 9, seed=0)
    buffer.flush()
    before = contents(folder)
    for attempt in (lambda: tri.Buffer.open(folder), lambda: made(backend, {"path": folder})):
        with pytest.raises(tri.FolderInUse, match="uses the rows"):
            attempt()
    code = f"import trifolium as tri; tri.Buffer.open({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "FolderInUse" in done.stderr
    del buffer
    gc.collect()
    with pytest.raises(FileExistsError, match=r"holds a buffer already; Buffer\.open"):
        made(backend, {"path": folder})
    assert contents(folder) == before


def test_bad_options_make_no_folder(backend: tri.Backend, folder: Path) -> None:
    with pytest.raises(ValueError, match="gamma"):
        made(backend, {"path": folder, "gamma": 2.0})
    assert not folder.exists()


def test_a_creation_that_was_killed_is_begun_again(backend: tri.Backend, folder: Path) -> None:
    folder.mkdir()
    (folder / ".trifolium-unfinished").write_bytes(b"")
    (folder / "column-7.float32.npy").write_bytes(b"half")
    with pytest.raises(tri.CheckpointError, match="holds no buffer"):
        tri.Buffer.open(folder, backend=backend)
    buffer = made(backend, {"path": folder})
    fill(buffer, 9, seed=0)
    assert not {".trifolium-unfinished", "column-7.float32.npy"} & contents(folder).keys()


def test_a_full_disk_is_an_error_of_the_constructor(backend: tri.Backend, folder: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match=r"no room for .* smaller capacity.*larger"):
            tri.Buffer(100_000, (8,), backend=backend, path=folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(OSError, match="no room for"):
        tri.Buffer(10**30, (8,), backend=backend, path=folder)
    assert contents(folder) == {}


def test_a_flush_that_fails_leaves_the_last_one(backend: tri.Backend, folder: Path) -> None:
    buffer = made(backend, {"path": folder, "sampler": tri.Prioritized, "capacity": 4000})
    fill(buffer, 9, seed=0)
    buffer.flush()
    rows = len(buffer)
    fill(buffer, 9, seed=1)
    buffer.sample(2)  # the priorities, which a commit holds, are there from now on
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            buffer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    del buffer
    gc.collect()
    assert len(tri.Buffer.open(folder, backend=backend)) == rows


def test_flush_needs_a_path(backend: tri.Backend) -> None:
    with pytest.raises(ValueError, match=r"no path=.*save\(path\)"):
        made(backend, {}).flush()


def test_a_mapped_buffer_is_not_copied_or_pickled(backend: tri.Backend, folder: Path) -> None:
    buffer = made(backend, {"path": folder})
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"path=.*save\(path\)"):
            copied(buffer._store)
        with pytest.raises(TypeError):  # some backends can't be pickled themselves
            copied(buffer)


# Damage


@pytest.fixture
def saved(backend: tri.Backend, folder: Path) -> Path:
    buffer = made(backend, {**ALL, "path": folder})
    fill(buffer, 40, seed=0)
    buffer.sample(6)
    buffer.flush()
    return folder


def refused(folder: Path, backend: tri.Backend) -> None:
    before = contents(folder)
    with pytest.raises(tri.CheckpointError, match=folder.name):
        tri.Buffer.open(folder, backend=backend)
    assert contents(folder) == before


def test_files_that_are_missing_or_damaged(backend: tri.Backend, saved: Path) -> None:
    for name, content in contents(saved).items():
        file = saved / name
        flipped = bytes([content[1] ^ 1]) + content[1:]
        others = [b"", content[:-1], content[:40], flipped]
        if name != COMMIT:
            others += [content + b"0", content.replace(b"<f4", b"<i4").replace(b"|u1", b"|i1")]
        for other in others:
            if other != content:
                file.write_bytes(other)
                refused(saved, backend)
        file.unlink()
        refused(saved, backend)
        file.write_bytes(content)
    assert len(tri.Buffer.open(saved, backend=backend)) > 0


def commit_of(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    import json

    with safe_open(folder / COMMIT, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["trifolium"]), arrays


def rewrite(folder: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    import json

    save_file(arrays, folder / COMMIT, metadata={"trifolium": json.dumps(manifest)})


def test_a_newer_or_foreign_commit(backend: tri.Backend, saved: Path) -> None:
    manifest, arrays = commit_of(saved)
    for change in ({"format": 99}, {"kind": "buffer"}, {"sampler": "Nobody's"}, {"generator": 7}):
        rewrite(saved, manifest | change, arrays)
        refused(saved, backend)
    for capacity in (36, 10**9, 10**30, -4, "many", None):
        rewrite(saved, {**manifest, "spec": {**manifest["spec"], "capacity": capacity}}, arrays)
        refused(saved, backend)


def test_arrays_of_the_commit_that_do_not_fit(backend: tri.Backend, saved: Path) -> None:
    manifest, arrays = commit_of(saved)
    for name, array in arrays.items():
        kept = {key: value for key, value in arrays.items() if key != name}
        others = [array[:-1], np.concatenate([array, array]), array.astype("complex64"), None]
        for other in others[: 3 if name in OPTIONAL else 4]:
            rewrite(saved, manifest, kept if other is None else kept | {name: other})
            refused(saved, backend)


def test_cursors_that_can_not_be(backend: tri.Backend, saved: Path) -> None:
    manifest, arrays = commit_of(saved)
    for sizes in (-1, 9, 2**62):
        rewrite(saved, manifest, arrays | {"rows.sizes": np.full(4, sizes)})
        refused(saved, backend)
