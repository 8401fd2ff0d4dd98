"""Draws from bits: exact in integers, distinct where they say so, and uniform."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay.rules import ordinals as draws

DRAWN = 1000


def on(backend: tri.Backend, function: Callable[..., Any]) -> Callable[..., list[np.ndarray]]:
    """Return ``function(xp, *arrays)`` of host integers, run on the backend."""
    compiled = backend.compile(partial(function, backend.xp))

    def run(*arrays: Any) -> list[np.ndarray]:
        native = [backend.from_numpy(np.array(each, backend.default_int)) for each in arrays]
        found = compiled(*native)
        return [backend.to_numpy(each) for each in (found if isinstance(found, tuple) else (found,))]

    return run


def test_below_is_exact(backend: tri.Backend) -> None:
    """Every product is that of Python's integers, also of the largest."""
    rng = np.random.default_rng(0)
    bits = rng.integers(2**30, size=(4000, 2))
    bounds = rng.integers(1, 2**30, size=4000)
    bits[:2], bounds[:2] = 2**30 - 1, (2**30 - 1, 1)
    bits[2:4], bounds[2:4] = 0, (2**30 - 1, 1)
    [found] = on(backend, draws.below)(bits, bounds)
    pairs = zip(bits.tolist(), bounds.tolist(), strict=True)
    assert found.tolist() == [bound * (high << 30 | low) >> 60 for (high, low), bound in pairs]


def test_higher_bits_do_not_matter(backend: tri.Backend) -> None:
    """So the words of any generator will do, whatever their sign."""
    low = np.random.default_rng(0).integers(2**30, size=(50, 2))
    bounds, below = np.full(50, 10**6), on(backend, draws.below)
    assert np.array_equal(below(low, bounds), below(low - 2**30, bounds))


@pytest.mark.parametrize("draw", [draws.stratified, draws.subset])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_ordinals_are_distinct_and_as_many_as_there_are(
    backend: tri.Backend, draw: draws.Ordinals, batch_size: int
) -> None:
    rng, run = np.random.default_rng(batch_size), on(backend, draw)
    for count in [*range(12), 10**6, 2**29]:
        for _ in range(10):
            ordinals, drawn = run(rng.integers(2**30, size=(batch_size, 2)), count)
            assert drawn.sum() == min(count, batch_size)
            assert len(set(ordinals[drawn].tolist())) == drawn.sum()
            assert np.all((ordinals >= 0) & (ordinals < max(count, 1)))


@pytest.mark.slow_on("strict")
@pytest.mark.parametrize("draw", draws.DRAWS.values(), ids=draws.DRAWS)
@pytest.mark.parametrize(("batch_size", "count"), [(1, 7), (3, 7), (5, 7), (8, 50)])
def test_each_ordinal_is_equally_likely(
    backend: tri.Backend, draw: draws.Ordinals, batch_size: int, count: int
) -> None:
    """Also where the batch does not divide what there is."""
    drawn = many(backend, draw, batch_size, count)
    counts = np.bincount(np.concatenate(drawn), minlength=count)
    distinct = draw is not draws.independent
    check_uniform(counts, spread=1 - distinct * (batch_size - 1) / (count - 1))


@pytest.mark.slow_on("strict")
def test_each_subset_is_equally_likely(backend: tri.Backend) -> None:
    """Chains of "drawn before" included, which are many where nearly all is drawn."""
    for batch_size, count in ((2, 6), (4, 6), (5, 7)):
        found = Counter(tuple(sorted(each)) for each in many(backend, draws.subset, batch_size, count))
        subsets = list(combinations(range(count), batch_size))
        assert found.keys() <= set(subsets)
        check_uniform(np.array([found[subset] for subset in subsets]))


def test_independent_ordinals_are_independent(backend: tri.Backend) -> None:
    pairs = Counter(tuple(each) for each in many(backend, draws.independent, 2, 5))
    check_uniform(np.array([pairs[first, second] for first in range(5) for second in range(5)]))


@pytest.mark.slow_on("strict")
def test_strata_are_spread_out(backend: tri.Backend) -> None:
    """No part of the memory is left out of a batch: between neighbours there is less than two parts."""
    for ordinals in many(backend, draws.stratified, 8, 800)[:200]:
        ascending = np.sort(ordinals)
        gaps = np.diff(ascending, append=ascending[0] + 800)
        assert gaps.max() < 200


def test_too_many_strata_are_refused(backend: tri.Backend) -> None:
    with pytest.raises(ValueError, match="at most 32768"):
        on(backend, draws.stratified)(np.zeros((2**15 + 1, 2), np.int64), 9)


def test_running_sums_are_those_of_numpy(backend: tri.Backend) -> None:
    values = np.random.default_rng(0).integers(9, size=(3, 13))
    [found] = on(backend, draws.running_sum)(values)
    assert np.array_equal(found, values.cumsum(axis=1))


def many(backend: tri.Backend, draw: draws.Ordinals, batch_size: int, count: int) -> list[Any]:
    """Return the ordinals of many draws."""
    rng, run = np.random.default_rng(1), on(backend, draw)
    every = [run(bits, count) for bits in rng.integers(2**30, size=(DRAWN, batch_size, 2))]
    assert all(drawn.all() for _, drawn in every)
    return [ordinals for ordinals, _ in every]


def check_uniform(counts: np.ndarray, spread: float = 1.0) -> None:
    """Assert that counts fit; ``spread`` is their variance over that of independent draws."""
    mean = counts.mean()
    chi_square, freedom = ((counts - mean) ** 2 / mean).sum() / spread, len(counts) - 1
    assert abs(chi_square - freedom) < 4 * (2 * freedom) ** 0.5
