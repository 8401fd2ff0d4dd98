"""Draws from random bits: which of ``count`` items are in a batch. Pure functions, which can be traced.

A draw takes ``bits`` [B, 2], integers of which the lowest 30 bits are random, instead of floats: 24
bits of a float32 can't tell a million rows apart evenly, and 60 bits in integers can. No row is more
likely than another by more than ``count * 2**-60`` of its probability.

Each function returns (ordinals [B], drawn [B]): numbers from 0 to count - 1, and which of them are a
draw. A graph can't raise an error where ``count`` is too small: fewer are drawn then, and the other
ordinals are 0.
"""

from collections.abc import Callable
from typing import Any

from trifolium.backend import AnyArray, device_of

__all__ = ["BITS", "DRAWS", "Ordinals", "below", "independent", "running_sum", "stratified", "subset"]

BITS = 30  # used of each word, so that 32-bit integers can carry every step

_HALF = BITS // 2
_LOW = (1 << _HALF) - 1
_WORD = (1 << BITS) - 1

Ordinals = Callable[[Any, AnyArray, AnyArray], tuple[AnyArray, AnyArray]]


def independent(xp: Any, bits: AnyArray, count: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Draw with replacement: every ordinal is uniform, whatever the others are.

    >>> import numpy as np
    >>> bits = np.random.default_rng(0).integers(2**30, size=(4, 2))
    >>> ordinals, drawn = independent(np, bits, np.asarray(1_000_000))
    >>> ordinals.shape, bool(drawn.all())
    ((4,), True)
    """
    counts = xp.zeros_like(bits[:, 0]) + count
    return below(xp, bits, xp.where(counts > 0, counts, 1)), counts > 0


def subset(xp: Any, bits: AnyArray, count: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Draw without replacement: every subset of B ordinals is equally likely.

    Floyd's algorithm (Bentley and Floyd, 1987): step j draws from the first count - B + j + 1, and
    takes the last of these where what it drew was taken before. All steps are done at once: what was
    drawn twice is found by sorting, and chains of "taken before" by doubling, in O(B log B).

    >>> import numpy as np
    >>> bits = np.random.default_rng(0).integers(2**30, size=(4, 2))
    >>> sorted(subset(np, bits, np.asarray(4))[0].tolist())
    [0, 1, 2, 3]
    """
    batch_size = bits.shape[0]
    step = _numbers(xp, bits, 0, batch_size)
    last = step + (count - batch_size)  # what a step takes instead; negative: it draws nothing
    drawn = last >= 0
    found = below(xp, bits, xp.where(drawn, last + 1, 1))
    found = xp.where(drawn, found, -1 - step)  # like none of the others
    order = xp.astype(xp.argsort(found, stable=True), bits.dtype)
    ascending = xp.take(found, order, axis=0)
    place = xp.astype(xp.searchsorted(ascending, found), bits.dtype)
    taken = xp.take(order, place, axis=0) != step  # an earlier step drew the same
    earlier = found - (count - batch_size)  # the step whose last this is
    chain = xp.where((earlier >= 0) & (earlier < step), earlier, step)
    for _ in range((batch_size - 1).bit_length()):
        taken = taken | xp.take(taken, chain, axis=0)
        chain = xp.take(chain, chain, axis=0)
    ordinals = xp.where(taken, last, found)
    return xp.where(drawn, ordinals, 0), drawn


def stratified(xp: Any, bits: AnyArray, count: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Draw one ordinal from each of B equal parts, in O(B): all different, each equally likely.

    The parts are laid round the circle from an offset drawn first, so every ordinal is in a batch
    with probability B / count exactly. Ordinals close to each other come together less often than in
    :func:`subset`.

    >>> import numpy as np
    >>> bits = np.random.default_rng(0).integers(2**30, size=(4, 2))
    >>> len(set(stratified(np, bits, np.asarray(5))[0].tolist()))
    4
    """
    batch_size = bits.shape[0]
    if batch_size > 1 << _HALF:
        raise ValueError(
            f"bits has {batch_size} rows; expected at most {1 << _HALF} for a stratified draw"
        )
    if batch_size == 1:
        return independent(xp, bits, count)
    edges = _numbers(xp, bits, 0, batch_size + 1)
    edges = edges * (count // batch_size) + edges * (count % batch_size) // batch_size
    sizes = edges[1:] - edges[:-1]
    drawn = sizes > 0
    word = bits[:, :1]  # the offset makes ordinals equally likely: one word is enough to spread them
    within = below(xp, xp.concat([word, xp.zeros_like(word)], axis=1), xp.where(drawn, sizes, 1))
    around = xp.reshape(xp.where(count > 0, count, 1), (1,))
    offset = below(xp, xp.stack([bits[:1, 1], bits[-1:, 1]], axis=1), around)
    ordinals = (edges[:-1] + within + offset) % around
    return xp.where(drawn, ordinals, 0), drawn


DRAWS: dict[str, Ordinals] = {
    "stratified": stratified,
    "subset": subset,
    "independent": independent,
}
"""The draws by their names in ``sample``."""


def below(xp: Any, bits: AnyArray, bounds: AnyArray) -> AnyArray:
    """Return floor(bounds * u) [B] for the 60-bit fractions u of ``bits`` [B, 2].

    Args:
        xp: array namespace.
        bits: [B, 2] integers; the lowest 30 bits of each count, those of the first word most.
        bounds: [B] integers from 1 to 2**30 - 1, of the same dtype.

    >>> import numpy as np
    >>> largest = np.array([[2**30 - 1, 2**30 - 1]])
    >>> below(np, largest, np.array([1_000_000])).tolist()
    [999999]
    """
    del xp  # operators are enough
    carried, _ = _product(bounds, bits[:, 1] & _WORD)
    high, low = _product(bounds, bits[:, 0] & _WORD)
    return high + ((low + carried) >> BITS)


def running_sum(xp: Any, values: AnyArray) -> AnyArray:
    """Return the sums of ``values`` [..., N] up to and with each along the last axis.

    It replaces the standard's ``cumulative_sum``, about whose look-up torch.compile warns, and for
    which XLA takes time in N squared on the host.
    """
    shift = 1
    while shift < values.shape[-1]:
        before = xp.zeros_like(values[..., :shift])
        values = values + xp.concat([before, values[..., :-shift]], axis=-1)
        shift *= 2
    return values


def _product(left: AnyArray, right: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return (high, low), the words of ``left * right``; no step needs more than 31 bits."""
    left_high, left_low = left >> _HALF, left & _LOW
    right_high, right_low = right >> _HALF, right & _LOW
    lowest = left_low * right_low
    middle = left_high * right_low + left_low * right_high + (lowest >> _HALF)
    return left_high * right_high + (middle >> _HALF), ((middle & _LOW) << _HALF) + (lowest & _LOW)


def _numbers(xp: Any, like: AnyArray, start: int, stop: int) -> AnyArray:
    return xp.arange(start, stop, dtype=like.dtype, device=device_of(like))
