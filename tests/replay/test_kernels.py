"""Compiled kernels give the same minibatches as NumPy's operations, bit for bit."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from tests.test_golden import GOLDEN, first_minibatches
from trifolium.replay.host import kernels
from trifolium.replay.host.samplers import draw_ordinals
from trifolium.replay.host.sumtree import SumTree
from trifolium.testing import BufferSuite
from trifolium.testing.cases import OPTIONS, fill, made, on_host

pytest.importorskip("numba")
MORE: dict[str, dict[str, Any]] = {
    "one stream": {"capacity": 40},
    "streams": {"capacity": 60, "n_streams": 3},
    "frames": {"capacity": 40, "n_frames": 4},
    "padded frames of streams": {"capacity": 60, "n_frames": 3, "n_streams": 2, "boundary": "pad"},
    "padded": {"capacity": 40, "n_frames": 3, "boundary": "pad", "sampler": tri.Prioritized},
}


@pytest.fixture
def compiled() -> Iterator[None]:
    assert kernels.use_kernels()
    yield
    assert not kernels.use_kernels(False)


@pytest.mark.slow_on("strict", "torch", "jax")
class TestBuffer(BufferSuite):
    @pytest.fixture(autouse=True)
    def _compiled(self, compiled: None) -> None:
        pass


@pytest.mark.parametrize("name", OPTIONS)
def test_minibatches_are_the_pinned_ones(backend: tri.Backend, compiled: None, name: str) -> None:
    assert first_minibatches(backend, OPTIONS[name]) == json.loads(GOLDEN.read_text())[name]


@pytest.mark.parametrize("name", MORE)
def test_every_array_has_the_same_bits(backend: tri.Backend, name: str) -> None:
    found = []
    for use in (False, True):
        assert kernels.use_kernels(use) is use
        try:
            found.append(arrays_of(backend, MORE[name]))
        finally:
            kernels.use_kernels(False)
    for plain, fast in zip(*found, strict=True):
        assert (plain.dtype, plain.shape) == (fast.dtype, fast.shape)
        assert plain.tobytes() == fast.tobytes()


def arrays_of(backend: tri.Backend, options: dict[str, Any]) -> list[np.ndarray]:
    """Return the arrays of batches from a buffer that fills, wraps, and has all kinds of rows."""
    buffer = made(backend, options)
    found: list[np.ndarray] = []
    for part in range(8):
        fill(buffer, 15, seed=part)
        if part % 3 == 1:
            buffer.add_empty()
        batch = buffer.sample(9)
        for each in (batch, buffer.sample_sequences(4, 3), buffer.fetch(batch.indices[:5])):
            found += [np.asarray(array) for array in on_host(backend, each)]
        if isinstance(buffer.sampler, tri.Prioritized):
            buffer.update_priorities(batch.indices, np.arange(9.0))
    return found


@pytest.mark.parametrize(
    ("below", "count"), [(1024, 256), (3000, 256), (40_000, 300), (10**9, 9), (36, 9), (10**6, 256)]
)
def test_the_same_rows_are_drawn(below: int, count: int) -> None:
    def drawn() -> list[list[int]]:
        rng = np.random.Generator(np.random.Philox(0))
        return [draw_ordinals(rng, below, count, False).tolist() for _ in range(200)]

    plain = drawn()
    assert kernels.use_kernels()
    try:
        assert drawn() == plain
    finally:
        kernels.use_kernels(False)
    assert all(len(set(each)) == count for each in plain)


@pytest.mark.parametrize("capacity", [1, 100, 5000, 70_000, 1_200_000])
def test_trees_are_the_same(capacity: int) -> None:
    rng = np.random.default_rng(0)
    trees = [SumTree(capacity) for _ in range(2)]
    for _ in range(20):
        leaves = rng.integers(0, capacity, 64)
        masses = np.where(rng.random(64) < 0.2, 0.0, rng.random(64) * 10.0 ** rng.integers(-9, 9))
        targets = rng.random(64)
        targets[:3] = 0.0, 1.0, 2.0
        found = []
        for tree, use in zip(trees, (False, True), strict=True):
            assert kernels.use_kernels(use) is use
            tree.assign(leaves, masses)
            found.append(tree.find(targets * tree.total))
        kernels.use_kernels(False)
        assert trees[0]._nodes.tobytes() == trees[1]._nodes.tobytes()
        assert trees[0].total == trees[1].total
        assert np.array_equal(*found)
    leaves = np.arange(min(capacity, 300))
    found = []
    for tree, use in zip((SumTree(capacity), SumTree(capacity)), (False, True), strict=True):
        assert kernels.use_kernels(use) is use
        tree.assign(leaves, np.ones(len(leaves)))  # so that every leaf of the first nodes is found
        found.append(tree.find(leaves + 0.5))
    kernels.use_kernels(False)
    assert np.array_equal(*found)


def test_nothing_changes_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not kernels.use_kernels()
    assert kernels.kernels() is None


def test_the_environment_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_is_asked", False)
    tri.Buffer(4, (1,))
    assert kernels.kernels() is None
    monkeypatch.setenv("TRIFOLIUM_FAST", "1")
    try:
        tri.Buffer(4, (1,))
        assert kernels.kernels() is not None
    finally:
        kernels.use_kernels(False)
