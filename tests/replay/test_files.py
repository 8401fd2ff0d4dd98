"""Buffers in files: what is damaged, foreign or hostile is a CheckpointError, and nothing worse."""

import copy
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import trifolium as tri
from trifolium.testing.cases import fill, made

KEY = "trifolium"
JUNK = [None, -1, 10**30, 1.5, float("nan"), "junk", "\0", [], [1], {}, {"a": 1}, True, [[]] * 3]
OPTIONS = {
    "n_frames": 2,
    "boundary": "pad",
    "n_streams": 2,
    "extras": {"tag": "int32"},
    "sampler": tri.Prioritized,
}


@pytest.fixture
def saved(backend: tri.Backend, tmp_path: Path) -> Path:
    buffer = made(backend, OPTIONS)
    fill(buffer, 40, seed=0)
    batch = buffer.sample(6)
    buffer.update_priorities(batch.indices, np.arange(6.0))
    buffer.save(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_save_leaves_one_file(saved: Path) -> None:
    first = saved.read_bytes()
    tri.Buffer.load(saved).save(saved)
    assert saved.read_bytes() == first
    assert [path.name for path in saved.parent.iterdir()] == ["saved"]


def test_an_empty_buffer_is_kept(backend: tri.Backend, tmp_path: Path) -> None:
    made(backend, OPTIONS).save(tmp_path / "empty")
    loaded = tri.Buffer.load(tmp_path / "empty", backend=backend)
    assert len(loaded) == 0
    fill(loaded, 10, seed=0)
    loaded.sample(2)


@pytest.mark.interop
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_a_file_is_for_every_backend(backend: tri.Backend, saved: Path, name: str) -> None:
    if name != backend.name:
        pytest.importorskip(name)
    there = tri.Buffer.load(saved, backend=name)
    here = tri.Buffer.load(saved, backend=backend)
    assert there.backend.name == name
    for part in range(3):
        ours, theirs = here.sample(8), there.sample(8)
        assert ours.indices.tolist() == theirs.indices.tolist()
        for mine, other in zip(ours, theirs, strict=True):
            assert backend.to_numpy(mine).tolist() == there.backend.to_numpy(other).tolist()
        for buffer in (here, there):
            fill(buffer, 10, seed=part)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        tri.Buffer.load(tmp_path / "nowhere")


def test_a_file_cut_short(saved: Path) -> None:
    content = saved.read_bytes()
    for length in [*range(0, len(content), 61), len(content) - 1]:
        saved.write_bytes(content[:length])
        with pytest.raises(tri.CheckpointError, match="saved"):
            tri.Buffer.load(saved)


def test_a_file_with_a_damaged_header(saved: Path) -> None:
    content = saved.read_bytes()
    for at in range(0, int.from_bytes(content[:8], "little") + 8, 7):
        saved.write_bytes(content[:at] + bytes([content[at] ^ 0x5A]) + content[at + 1 :])
        loads_or_is_refused(saved)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {KEY: ""},
        {KEY: "{"},
        {KEY: "[]"},
        {KEY: "7"},
        {KEY: "[" * 100_000},
        {KEY: '{"kind": "buffer"}'},
        {KEY: '{"kind": "model", "format": 1}'},
        {KEY: '{"kind": "buffer", "format": 1}'},
        {KEY: '{"kind": "buffer", "format": 99}'},
        {KEY: '{"kind": "buffer", "format": "1"}'},
    ],
    ids=lambda metadata: str(metadata)[:40],
)
def test_a_foreign_file(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weights": np.zeros(3, np.float32)}, tmp_path / "foreign", metadata=metadata)
    with pytest.raises(tri.CheckpointError, match="foreign"):
        tri.Buffer.load(tmp_path / "foreign")


def test_a_hostile_manifest(saved: Path) -> None:
    """Each value of the manifest is taken away, and replaced by each kind of junk."""
    manifest, arrays = parts(saved)
    for path in list(paths(manifest)):
        for junk in [KeyError, *JUNK]:
            changed = copy.deepcopy(manifest)
            *upper, last = path
            at = changed
            for key in upper:
                at = at[key]
            if junk is KeyError:
                del at[last]
            else:
                at[last] = junk
            rewrite(saved, changed, arrays)
            loads_or_is_refused(saved)


@pytest.mark.parametrize("capacity", [10**14, 10**18, 10**30])
def test_a_capacity_that_no_machine_has(backend: tri.Backend, saved: Path, capacity: int) -> None:
    manifest, arrays = parts(saved)
    manifest["spec"]["capacity"] = capacity
    rewrite(saved, manifest, arrays)
    with pytest.raises(tri.CheckpointError, match="saved"):
        tri.Buffer.load(saved, backend=backend)


def test_hostile_arrays(saved: Path) -> None:
    """Each array is taken away, and replaced by others."""
    manifest, arrays = parts(saved)
    for name, array in arrays.items():
        flat = array.reshape(-1)
        others = [array[:-1], np.concatenate([array, array]), array[None], flat[:0], array * 0]
        others += [array.astype(dtype) for dtype in ("uint8", "int8", "float64")]
        others += [np.full_like(array, value) for value in limits(array.dtype)]
        for other in [None, *others]:
            changed = {key: value for key, value in arrays.items() if key != name or other is not None}
            if other is not None:
                changed[name] = np.ascontiguousarray(other)
            rewrite(saved, manifest, changed)
            loads_or_is_refused(saved)


def test_arrays_that_do_not_fit(saved: Path) -> None:
    manifest, arrays = parts(saved)
    for name, array in arrays.items():
        others = [{name: array[:-1]}, {name: array.astype("complex64")}]
        if name not in ("sampler.leaves", "sampler.draws"):  # there are none before the first draw
            others.append({})
        for other in others:
            kept = {key: value for key, value in arrays.items() if key != name}
            rewrite(saved, manifest, kept | other)
            with pytest.raises(tri.CheckpointError, match="saved"):
                tri.Buffer.load(saved)


@pytest.mark.parametrize("name", ["leaves", "known_from", "known_to", "largest"])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, 1e39])
def test_priorities_that_can_not_be(saved: Path, name: str, value: float) -> None:
    manifest, arrays = parts(saved)
    array = arrays[f"sampler.{name}"]
    if array.dtype.kind == "i" and value != -1.0:
        return
    array[-1] = value
    rewrite(saved, manifest, arrays)
    with pytest.raises(tri.CheckpointError, match=name):
        tri.Buffer.load(saved)


CURSORS = [2**62, 2**63 - 1, 2**61, -1, 2**60 + 1]


@pytest.mark.parametrize("cursor", CURSORS)
def test_cursors_that_would_overflow(saved: Path, cursor: int) -> None:
    manifest, arrays = parts(saved)
    for name in ("rows.written", "sampler.known_from", "sampler.known_to", "sampler.draws"):
        changed = arrays[name].copy()
        changed[-1] = cursor
        rewrite(saved, manifest, arrays | {name: changed})
        with pytest.raises(tri.CheckpointError, match="saved"):
            tri.Buffer.load(saved)


def test_large_cursors_go_on(backend: tri.Backend, saved: Path) -> None:
    """A cursor as large as a file may have is one that can be added to, and drawn from."""
    manifest, arrays = parts(saved)
    ring_length = manifest["spec"]["capacity"] // 2
    distance = (2**59 - 10**6) // ring_length * ring_length
    for name in ("rows.written", "sampler.known_from", "sampler.known_to"):
        arrays[name] = arrays[name] + distance
    rewrite(saved, manifest, arrays)
    buffer = tri.Buffer.load(saved, backend=backend)
    for part in range(3):
        fill(buffer, 10, seed=part)
        batch = buffer.sample(4)
        assert (batch.indices > 2**58).all()
        buffer.update_priorities(batch.indices, np.ones(4))
        assert (
            backend.to_numpy(buffer.fetch(batch.indices).rewards) == backend.to_numpy(batch.rewards)
        ).all()


def test_priorities_of_rows_that_are_not_stored(backend: tri.Backend, tmp_path: Path) -> None:
    buffer = made(backend, {"sampler": tri.Prioritized})
    fill(buffer, 6, seed=0)
    buffer.sample(2)
    buffer.save(tmp_path / "saved")
    manifest, arrays = parts(tmp_path / "saved")
    free = int(np.flatnonzero(arrays["sampler.leaves"] == 0)[-1])
    leaves = arrays["sampler.leaves"].copy()
    leaves[free] = 1.0
    rewrite(tmp_path / "saved", manifest, arrays | {"sampler.leaves": leaves})
    with pytest.raises(tri.CheckpointError, match="rows that are not stored"):
        tri.Buffer.load(tmp_path / "saved")
    later = {name: arrays[name] + 1 for name in ("sampler.known_to",)}
    rewrite(tmp_path / "saved", manifest, arrays | later)
    with pytest.raises(tri.CheckpointError, match="known_to"):
        tri.Buffer.load(tmp_path / "saved")


def test_priorities_of_rows_that_were_overwritten_are_dropped(
    backend: tri.Backend, tmp_path: Path
) -> None:
    """A buffer that was saved between an ``add`` and a draw draws what the saved one does."""
    buffer = made(backend, {"sampler": tri.Prioritized})
    for part in range(8):
        fill(buffer, 5, seed=part)
        buffer.save(tmp_path / "saved")
        loaded = tri.Buffer.load(tmp_path / "saved", backend=backend)
        ours, theirs = (each.sample(4) for each in (buffer, loaded))
        assert ours.indices.tolist() == theirs.indices.tolist()
        assert backend.to_numpy(ours.weights).tolist() == backend.to_numpy(theirs.weights).tolist()
        buffer.update_priorities(ours.indices, np.arange(4.0))


@pytest.mark.parametrize("mark", [128, 255, 16 + 32, 16 + 2, 32 + 4, 16 + 8])
def test_marks_of_no_row(saved: Path, mark: int) -> None:
    manifest, arrays = parts(saved)
    arrays["rows.marks"][3] = mark
    rewrite(saved, manifest, arrays)
    with pytest.raises(tri.CheckpointError, match=f"marks holds {mark}"):
        tri.Buffer.load(saved)


def test_successors_that_do_not_fit(backend: tri.Backend, tmp_path: Path) -> None:
    path = tmp_path / "saved"
    buffer = made(backend, {"n_streams": 2})
    for step in range(3):
        buffer.add([[step, 0]] * 2, [0, 0], [0.0, 0.0], [False, step == 2], next_obs=[[9, step]] * 2)
    buffer.save(path)
    manifest, arrays = parts(path)
    assert arrays["rows.has_successor"].tolist() == [True, False]
    obs = arrays["rows.successor.obs"]
    for change in (
        {"rows.has_successor": np.array([True, True])},  # the second has terminated
        {"rows.has_successor": np.array([True])},
        {"rows.has_successor": np.array([1, 0], np.uint8)},
        {"rows.has_successor": None},
        {"rows.successor.obs": obs[:1]},
        {"rows.successor.obs": obs.astype("float64")},
        {"rows.successor.obs": None},
        {"rows.successor.other": obs},
    ):
        changed = {name: each for name, each in (arrays | change).items() if each is not None}
        rewrite(path, manifest, changed)
        with pytest.raises(tri.CheckpointError, match="succes"):
            tri.Buffer.load(path)


@pytest.mark.parametrize(
    "options",
    [
        {"n_step": 10**8},
        {"n_frames": 10**8, "capacity": 10**9},
        {"n_streams": 10**8, "capacity": 10**9},
        {"capacity": 10**12},
        {"obs_shape": [10**5, 10**5]},
        {"action_shape": [10**9]},
        {"extras": {"tag": [[10**9], "int32"]}},
        {"obs_shape": [[3]] * 3},
        {"obs_dtype": "int8"},
    ],
    ids=str,
)
def test_options_are_compared_with_the_arrays_first(saved: Path, options: dict[str, Any]) -> None:
    manifest, arrays = parts(saved)
    rewrite(saved, manifest | {"spec": manifest["spec"] | options}, arrays)
    tracemalloc.start()
    with pytest.raises(tri.CheckpointError, match="saved"):
        tri.Buffer.load(saved, backend="numpy")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_backend_that_nobody_has(saved: Path) -> None:
    manifest, arrays = parts(saved)
    rewrite(saved, manifest | {"backend": "abacus"}, arrays)
    with pytest.raises(tri.CheckpointError, match=r"saved.*abacus.*not registered"):
        tri.Buffer.load(saved)
    assert len(tri.Buffer.load(saved, backend="numpy")) > 0


# Memory

MEASURE = """
import gc, sys
import numpy as np
import trifolium as tri

path, backend, rows, prioritized = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "True"

def memory(field):
    line = next(line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1]) << 10

def begin():
    gc.collect()
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    return memory("VmRSS")

sampler = tri.Prioritized() if prioritized else None
buffer = tri.Buffer(rows, (24,), backend=backend, seed=0, sampler=sampler)
warm = tri.Buffer(64, (24,), backend=backend, seed=0)
for each, count in ((warm, 64), (buffer, rows + 999)):
    for start in range(0, count, 1000):
        obs = np.full((1000, 24), start, np.float32)
        each.extend(obs, np.zeros(1000, int), np.ones(1000), np.arange(1000) == 999)
if prioritized:
    buffer.sample(8)
warm.save(path)
tri.Buffer.load(path).sample(8)
before = begin()
buffer.save(path)
saving = memory("VmHWM") - before
del buffer, each
before = begin()
tri.Buffer.load(path)
print(saving, memory("VmHWM") - before)
"""


def measured(path: Path, backend: tri.Backend, rows: int, *, prioritized: bool) -> tuple[float, float]:
    """Return the memory that saving and loading add at their peak, in sizes of the file."""
    if backend.name == "strict":
        pytest.skip("its writes copy a column, also those of the steps that wait for a save")
    arguments = [str(path), backend.name, str(rows), str(prioritized)]
    command = [sys.executable, "-c", MEASURE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    saving, loading = map(int, done.stdout.split())
    return saving / path.stat().st_size, loading / path.stat().st_size


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.slow_on("torch", "jax")
def test_saving_and_loading_take_little_more_than_the_buffer(
    backend: tri.Backend, tmp_path: Path
) -> None:
    saving, loading = measured(tmp_path / "rows", backend, 400_000, prioritized=False)
    assert saving < 0.15  # of 44 MB
    assert loading < 1.15


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("prioritized", [False, True])
def test_saving_and_loading_200_megabytes(
    backend: tri.Backend, tmp_path: Path, prioritized: bool
) -> None:
    saving, loading = measured(tmp_path / "rows", backend, 2_000_000, prioritized=prioritized)
    assert saving < 0.1
    assert loading < 1.1


def test_a_generator_can_not_read_past_its_memory(saved: Path) -> None:
    manifest, arrays = parts(saved)
    for position in (-1, -(10**6), 5, 10**6):
        manifest["generator"]["buffer_pos"] = position
        rewrite(saved, manifest, arrays)
        with pytest.raises(tri.CheckpointError, match="buffer_pos"):
            tri.Buffer.load(saved)


def test_a_sampler_of_ones_own_is_given_again(backend: tri.Backend, tmp_path: Path) -> None:
    class Mine(tri.Uniform):
        pass

    buffer = made(backend, {"sampler": Mine})
    fill(buffer, 10, seed=0)
    buffer.save(tmp_path / "mine")
    with pytest.raises(tri.CheckpointError, match="Mine"):
        tri.Buffer.load(tmp_path / "mine")
    loaded = tri.Buffer.load(tmp_path / "mine", sampler=Mine())
    assert loaded.sample(4).indices.tolist() == buffer.sample(4).indices.tolist()


def loads_or_is_refused(path: Path) -> None:
    """Assert that a file is refused as it must be, or holds a buffer that can be used."""
    try:
        buffer = tri.Buffer.load(path, backend="numpy")
    except (tri.CheckpointError, tri.BackendError):
        return
    if buffer.drawable and buffer.capacity < 1000:
        try:
            buffer.sample(1)
        except tri.NotEnoughTransitions:
            return


def parts(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()[KEY]), arrays


def rewrite(path: Path, manifest: Any, arrays: dict[str, np.ndarray]) -> None:
    save_file(arrays, path, metadata={KEY: json.dumps(manifest)})


def paths(value: Any) -> Iterator[tuple[Any, ...]]:
    """Return the way to every value in nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (key,)
        if isinstance(item, dict | list):
            yield from ((key, *rest) for rest in paths(item))


def limits(dtype: np.dtype) -> list[Any]:
    if dtype.kind == "f":
        return [np.nan, np.inf, -1.0, np.finfo(dtype).max]
    return [np.iinfo(dtype).min, np.iinfo(dtype).max]
