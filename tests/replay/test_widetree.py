"""The tree in the graph against sums and draws that are done the plain way."""

from functools import cache
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay.graph import widetree
from trifolium.replay.rules.ordinals import running_sum

CAPACITIES = [1, 7, 8, 63, 64, 500, 5000]


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_every_node_is_the_sum_of_its_children(backend: tri.Backend, capacity: int) -> None:
    rng = np.random.default_rng(capacity)
    masses = np.zeros(capacity)
    tree = backend.zeros((widetree.size(capacity),), "float32")
    assign = backend.compile(lambda *given: widetree.assign(backend, given[0], capacity, *given[1:]))
    for _ in range(5):
        leaves = rng.integers(capacity, size=6)
        new = rng.integers(5, size=6)[np.unique(leaves, return_inverse=True)[1]]  # one for each leaf
        masses[leaves] = new
        tree = assign(tree, leaves.astype(backend.default_int), new.astype(np.float32))
        assert np.array_equal(backend.to_numpy(tree), grown(masses))
        assert float(backend.to_numpy(widetree.total(backend.xp, tree))) == masses.sum()


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_leaves_are_drawn_in_proportion(backend: tri.Backend, capacity: int) -> None:
    rng = np.random.default_rng(capacity)
    masses = rng.integers(3, size=capacity) + (np.arange(capacity) == 0)
    draws = 20_000
    drawn, found = find(backend, grown(masses), capacity, rng, draws)
    assert np.array_equal(found, masses[drawn])
    counts = np.bincount(drawn, minlength=capacity)
    expected = masses / masses.sum() * draws
    assert np.all(counts[masses == 0] == 0)
    freedom = np.sum(masses > 0) - 1
    chi_square = ((counts - expected)[masses > 0] ** 2 / expected[masses > 0]).sum()
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5 + 1  # segments make it smaller, at will


def test_a_million_leaves_are_told_apart(backend: tri.Backend) -> None:
    """One word of 24 bits would give some leaves one chance in 16 more than others."""
    capacity, rng = 1_000_000, np.random.default_rng(0)
    tree = grown(np.ones(capacity))
    last_digit = np.zeros(8)
    for _ in range(20):
        drawn, _ = find(backend, tree, capacity, rng, 10_000)
        last_digit += np.bincount(drawn % 8, minlength=8)
        assert drawn.min() < 1000
        assert drawn.max() >= capacity - 1000
    mean = last_digit.mean()
    assert ((last_digit - mean) ** 2 / mean).sum() < 7 + 5 * 14**0.5


@pytest.mark.parametrize(
    ("capacity", "nodes"), [(1, 8), (7, 8), (8, 16 + 8), (63, 64 + 8), (64, 72 + 16 + 8)]
)
def test_there_are_as_few_nodes_as_can_be(capacity: int, nodes: int) -> None:
    """With one leaf to spare."""
    assert widetree.size(capacity) == nodes


def test_each_word_leads_halfway(backend: tri.Backend) -> None:
    """Row i of B in the i-th of B segments; bits above the lowest 30 don't matter."""
    capacity, count = 8**4, 16
    fractions = np.random.default_rng(0).integers(64, size=(count, 2))
    expected = (np.arange(count) * 64 + fractions[:, 0]) // count * 64 + fractions[:, 1]
    tree = grown(np.ones(capacity))
    for words in (fractions << 24, (fractions << 24) - 2**30):
        drawn, _ = compiled(backend, capacity)(tree.copy(), words.astype(backend.default_int))
        assert backend.to_numpy(drawn).tolist() == expected.tolist()


def test_a_target_that_rounding_puts_past_the_end_finds_the_last(backend: tri.Backend) -> None:
    """A node's mass is the sum of another order of additions than its children's running sum."""
    words = np.array([[0, 2**30 - 1]], backend.default_int)
    met = 0
    for eight in np.random.default_rng(0).random((100, 8)).astype(np.float32):
        eight[[0, 7]] = 0
        tree = grown(np.concatenate([eight, np.zeros(55)]))
        if tree[64] > running_sum(np, eight)[-1]:
            met += 1
            drawn, _ = compiled(backend, 63)(tree, words)
            assert backend.to_numpy(drawn).tolist() == [6]
    assert met > 10


def test_leaves_without_mass_are_never_drawn(backend: tri.Backend) -> None:
    """Whatever the rounding: here total and parts differ by more than the smallest mass."""
    rng, masses = np.random.default_rng(0), np.zeros(600)
    masses[::7] = 10.0 ** rng.uniform(-30, 30, size=len(masses[::7]))
    for _ in range(20):
        drawn, _ = find(backend, grown(masses), 600, rng, 64)
        assert np.all(drawn % 7 == 0)
    drawn, found = find(backend, grown(masses * 0), 600, rng, 64)
    assert not drawn.any()
    assert not found.any()


@pytest.mark.slow_on("jax")
def test_units_are_located_in_order(backend: tri.Backend) -> None:
    """As where every leaf stands for as many numbers as its mass is."""
    rng = np.random.default_rng(0)
    for capacity in CAPACITIES[:-1]:
        masses = rng.integers(3, size=capacity) + (np.arange(capacity) == 0)
        tree = backend.from_numpy(widetree.grown(np, masses.astype(backend.default_int)))
        ordinals = np.arange(masses.sum(), dtype=backend.default_int)
        found = widetree.locate(backend, tree, capacity, backend.from_numpy(ordinals.copy()))
        assert np.array_equal(backend.to_numpy(found), np.repeat(np.arange(capacity), masses))


def grown(masses: np.ndarray) -> np.ndarray:
    return widetree.grown(np, masses.astype(np.float32))


@cache
def compiled(backend: tri.Backend, capacity: int) -> Any:
    return backend.compile(lambda tree, bits: widetree.find(backend, tree, capacity, bits))


def find(
    backend: tri.Backend, tree: np.ndarray, capacity: int, rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the (leaves, masses) of a draw."""
    bits = rng.integers(2**30, size=(count, 2)).astype(backend.default_int)
    leaves, masses = compiled(backend, capacity)(tree.copy(), bits)
    return backend.to_numpy(leaves), backend.to_numpy(masses)
