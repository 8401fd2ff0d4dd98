"""Structured rows go to other buffers, files and folders, and come out as plain rows do."""

import gc
import tracemalloc
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.backend import as_numpy
from trifolium.replay.batch import map_tree
from trifolium.replay.host.columns import DeviceColumns

from .test_structured import FRAMES, LEAVES, MEMORIES, SHAPE, STEPS, history, leaf_of, same_rows

OPTIONS = pytest.mark.parametrize("options", MEMORIES.values(), ids=MEMORIES)


def made(backend: tri.Backend, leaf: str | None, options: dict[str, Any], **more: Any) -> tri.Buffer:
    """Return a buffer of structured rows, or of those of a leaf, with the steps of a history."""
    kind: dict[str, Any] = {"obs_shape": SHAPE, "n_frames": FRAMES}
    if leaf is not None:
        kind = LEAVES[leaf] | {"n_frames": 3}
    buffer = tri.Buffer(40, backend=backend, seed=3, **(deepcopy(options) | kind | more))
    steps = history(buffer.n_streams)
    buffer.extend(**(steps if leaf is None else leaf_of(steps, leaf)))
    return buffer


def same(backend: tri.Backend, structured: tri.Buffer, options: dict[str, Any], **more: Any) -> None:
    """Fail unless a buffer with the seed and the rows of ``made`` draws what buffers of leaves do."""
    with structured.packed() as (manifest, packed):
        before = manifest, {name: np.array(array) for name, array in packed.items()}
    for leaf in LEAVES:
        again = tri.Buffer.unpack("", *deepcopy(before), backend=backend)
        plain = made(backend, leaf, options, **more)
        same_rows(backend, again.sample(8, flatten=False), plain.sample(8, flatten=False), leaf)


def equal(one: Any, two: Any) -> bool:
    """Return whether two arrays, or mappings of arrays, are equal."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[name], two[name]) for name in one)
    return np.array_equal(as_numpy(one), as_numpy(two))


@OPTIONS
def test_a_file_keeps_the_structure(
    backend: tri.Backend, options: dict[str, Any], tmp_path: Path
) -> None:
    buffer = made(backend, None, options)
    buffer.save(tmp_path / "rows")
    found = tri.Buffer.load(tmp_path / "rows", backend=backend)
    assert found.spec == buffer.spec
    assert found.obs_shape == buffer.obs_shape
    assert equal(found[:][0], buffer[:][0])
    same(backend, found, options)


@OPTIONS
def test_a_mapped_folder_keeps_the_structure(
    backend: tri.Backend, options: dict[str, Any], tmp_path: Path
) -> None:
    buffer = made(backend, None, options, path=tmp_path / "rows")
    same(backend, buffer, options)
    buffer.flush()
    expected = map_tree(as_numpy, buffer[:][0])
    del buffer
    found = tri.Buffer.open(tmp_path / "rows", backend=backend)
    assert equal(found[:][0], expected)
    same(backend, found, options)


@OPTIONS
def test_rows_of_another_buffer_keep_the_structure(
    backend: tri.Backend, options: dict[str, Any]
) -> None:
    other = {name: value for name, value in options.items() if name != "sampler"} | {"n_step": 1}
    for leaf in LEAVES:
        ours, theirs = made(backend, None, options), made(backend, leaf, options)
        ours.add_from_buffer(made(backend, None, other))
        theirs.add_from_buffer(made(backend, leaf, other))
        assert len(ours) == len(theirs) > STEPS
        same_rows(backend, ours.sample(8, flatten=False), theirs.sample(8, flatten=False), leaf)


def test_rows_of_other_structures_are_refused(backend: tri.Backend) -> None:
    buffer = tri.Buffer(10, {"a": 2}, backend=backend)
    for shape in ({"a": 3}, {"b": 2}, {"a": ((2,), "uint8")}, (2,)):
        with pytest.raises(ValueError, match="other has obs_shape="):
            buffer.add_from_buffer(tri.Buffer(10, shape, backend=backend))
    assert len(buffer) == 0


@pytest.mark.parametrize("within", [False, True])
@OPTIONS
def test_sequences_have_the_rows_of_their_leaves(
    backend: tri.Backend, options: dict[str, Any], within: bool
) -> None:
    for leaf in LEAVES:
        ours, theirs = made(backend, None, options), made(backend, leaf, options)
        found, expected = (
            each.sample_sequences(4, 3, within_episode=within, flatten=False) for each in (ours, theirs)
        )
        assert as_numpy(found.indices).tolist() == as_numpy(expected.indices).tolist()
        for name in ("states", "next_states"):
            part = getattr(found, name)
            part = as_numpy(part["camera"] if leaf == "camera" else part["body"]["pos"])
            whole = as_numpy(getattr(expected, name))
            assert part.shape[:2] == (4, 3)
            np.testing.assert_array_equal(part, whole[:, :, -part.shape[2] :], err_msg=name)


@OPTIONS
def test_the_newest_step_is_told(backend: tri.Backend, options: dict[str, Any]) -> None:
    ours, theirs = made(backend, None, options), made(backend, "pos", options)
    for stream in range(ours.n_streams):
        for offset in (0, 3):
            assert ours.last_transition(offset, stream) == theirs.last_transition(offset, stream)
        state = ours.current_state(stream)
        assert state["camera"].shape == (2, 4, 4, 1)
        assert state["body"]["pos"].shape == (0, 3)


def test_streams_that_took_a_step_are_written(backend: tri.Backend) -> None:
    options = {"n_streams": 2, "n_step": 2}
    steps = history(2)
    taken = np.random.default_rng(5).random((STEPS, 2)) < 0.6
    for leaf in LEAVES:
        ours = tri.Buffer(40, SHAPE, FRAMES, backend=backend, seed=1, **options)
        theirs = tri.Buffer(40, n_frames=3, backend=backend, seed=1, **LEAVES[leaf], **options)
        for buffer, given in ((ours, steps), (theirs, leaf_of(steps, leaf))):
            for t in range(STEPS):
                step = map_tree(lambda array, t=t: array[t], given)
                buffer.add(**step, where=taken[t])
        same_rows(backend, ours.sample(8, flatten=False), theirs.sample(8, flatten=False), leaf)


@pytest.mark.slow_on("strict", "torch")
def test_a_row_takes_the_bytes_of_its_parts(backend: tri.Backend) -> None:
    """Measured as memory that NumPy allocates, of more rows against fewer."""
    if isinstance(tri.Buffer(2, (2,), backend=backend)._store.columns, DeviceColumns):
        pytest.skip("the rows are in the memory of a device")
    parts = {"image": ((84, 84, 3), "uint8"), "vector": ((7,), "float32")}
    obs = {"image": np.zeros((100, 84, 84, 3), np.uint8), "vector": np.zeros((100, 7), np.float32)}
    zeros = np.zeros(100, np.float32)

    def filled(rows: int) -> tri.Buffer:
        buffer = tri.Buffer(rows, parts, backend=backend, seed=0)
        for _ in range(rows // 100 + 2):
            buffer.extend(obs, zeros.astype(int), zeros, zeros)
        assert len(buffer) == rows
        return buffer

    def held(rows: int) -> int:
        gc.collect()
        tracemalloc.start()
        try:
            buffer = filled(rows)
            gc.collect()
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        del buffer
        return size

    filled(100)  # imports what is needed
    more, fewer = held(1_200), held(200)
    needed = 84 * 84 * 3 + 7 * 4 + 8 + 4 + 1
    assert 0.95 < (more - fewer) / 1_000 / needed < 1.05
