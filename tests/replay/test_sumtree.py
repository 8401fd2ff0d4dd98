"""The tree of sums of the host against plain sums."""

import numpy as np
import pytest

from trifolium.replay.host.sumtree import FAN_OUT, TOP, SumTree

CAPACITIES = [1, 2, 3, 7, 100, TOP, TOP + 1, 70_000]


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_draws_are_where_the_running_sum_passes(capacity: int) -> None:
    rng = np.random.default_rng(0)
    tree, plain = SumTree(capacity), np.zeros(capacity)
    for _ in range(30):
        leaves = rng.integers(0, capacity, 5)
        leaves[:2] = leaves[0]  # of equal leaves the last counts
        masses = np.where(rng.random(5) < 0.3, 0.0, rng.random(5))
        tree.assign(leaves, masses)
        for leaf, mass in zip(leaves, masses, strict=True):
            plain[leaf] = mass
        check_draws(tree, plain, rng)


def test_draws_from_the_first_nodes_of_the_top() -> None:
    """Before the first of them there is none."""
    rng = np.random.default_rng(0)
    tree, plain = SumTree(70_000), np.zeros(70_000)
    plain[:1000] = rng.random(1000)
    tree.assign_run(0, plain[:1000])
    for _ in range(30):
        check_draws(tree, plain, rng)


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_runs_are_assigned_as_single_leaves_are(capacity: int) -> None:
    rng = np.random.default_rng(0)
    tree, other, plain = SumTree(capacity), SumTree(capacity), np.zeros(capacity)
    for _ in range(10):
        first = int(rng.integers(capacity))
        masses = rng.random(int(rng.integers(1, min(capacity - first, 300) + 1)))
        tree.assign_run(first, masses)
        other.assign(np.arange(first, first + len(masses)), masses)
        plain[first : first + len(masses)] = masses
        for ours, theirs in zip(tree._levels, other._levels, strict=True):
            assert np.array_equal(ours, theirs)
        check_draws(tree, plain, rng)


def check_draws(tree: SumTree, plain: np.ndarray, rng: np.random.Generator) -> None:
    assert tree.leaves.tolist() == plain.tolist()
    assert tree.values(np.arange(tree.capacity)).tolist() == plain.tolist()
    assert tree.total == pytest.approx(plain.sum(), rel=1e-12)
    if not plain.any():
        return
    targets = np.append(rng.random(20), [0.0, 1.0]) * tree.total
    found = tree.find(targets)
    assert (plain[found] > 0).all()
    before = np.concatenate([[0.0], np.cumsum(plain)])
    small = 1e-12 * tree.total
    assert (targets >= before[found] - small).all()
    assert (targets <= before[found + 1] + small).all()


def test_leaves_without_mass_are_never_drawn() -> None:
    """Whatever the rounding: here total and parts differ by more than the smallest mass."""
    rng, masses = np.random.default_rng(0), np.zeros(70_000)
    masses[::7] = 10.0 ** rng.uniform(-300, 300, size=len(masses[::7]))
    tree = SumTree(len(masses))
    tree.assign_run(0, masses)
    for _ in range(20):
        found = tree.find(rng.random(256) * tree.total)
        assert np.all(found % 7 == 0)
    assert tree.find(np.array([0.0, tree.total, np.nextafter(tree.total, np.inf)])).tolist()[0] == 0
    assert np.all(tree.find(np.array([tree.total, 2.0 * tree.total])) % 7 == 0)


def test_each_level_has_the_sums_of_the_one_below() -> None:
    tree, rng = SumTree(70_000), np.random.default_rng(0)
    assert [len(level) for level in tree._levels] == [70_000, 4384, 274]
    tree.assign(rng.integers(0, 70_000, 500), rng.random(500))
    for below, level in zip(tree._below, tree._levels[1:], strict=True):
        assert len(below) * FAN_OUT == below.size
        np.testing.assert_allclose(level[: len(below)], below.sum(axis=1), rtol=1e-12)
        assert not level[len(below) :].any()
