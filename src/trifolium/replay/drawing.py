"""How a compiled memory draws, and makes a batch of what it drew: pure functions, made to be traced."""

from typing import Any, NamedTuple

from trifolium.backend import Array, device_of
from trifolium.replay import widetree
from trifolium.replay.assemble import Plan, assemble
from trifolium.replay.batch import Batch
from trifolium.replay.draws import Draw, running_sum
from trifolium.replay.places import drawable_counts, of_age, oldest_drawable
from trifolium.replay.ring import locate
from trifolium.replay.state import State
from trifolium.replay.windows import summed_rewards, windows

__all__ = ["Drawn", "batch_of", "checked_bits", "drawn_by_priority", "drawn_uniformly"]


class Drawn(NamedTuple):
    """Rows drawn: their streams, ages and importance weights, and which of them stand for a draw."""

    streams: Array
    ages: Array
    weights: Array
    drawn: Array


def checked_bits(state: State, bits: Array) -> Array:
    """Return ``bits`` [B, 2] in the dtype of the cursors, or raise an error."""
    xp = state.backend.xp
    bits = xp.asarray(bits, device=device_of(state.marks))
    if bits.ndim != 2 or bits.shape[0] < 1 or bits.shape[1] != 2:
        raise ValueError(f"bits has shape {tuple(bits.shape)}; expected [batch_size, 2]")
    if not xp.isdtype(bits.dtype, "integral") or xp.iinfo(bits.dtype).bits < 32:
        raise TypeError(f"bits has dtype {bits.dtype}; expected integers of 32 or 64 bits")
    return xp.astype(bits, state.written.dtype, copy=False)


def drawn_uniformly(state: State, bits: Array, draw: Draw) -> Drawn:
    """Draw of all rows alike, by a function of :mod:`trifolium.replay.draws`."""
    xp = state.backend.xp
    counts = drawable_counts(state)
    ends = running_sum(xp, counts)
    ordinals, drawn = draw(xp, bits, ends[-1])
    streams, places = ordinals * 0, ordinals
    if state.spec.n_streams > 1:
        streams, places = locate(xp, ordinals, counts, ends)
    ages = state.backend.take(state.sizes, streams) - 1 - oldest_drawable(state) - places
    return Drawn(streams, ages, xp.ones_like(ordinals, dtype=state.rewards.dtype), drawn)


def drawn_by_priority(state: State, bits: Array, beta: Any) -> Drawn:
    """Draw in proportion to mass; weights are corrected by ``beta``, None for that of the options."""
    assert state.priorities is not None
    assert state.priority_options is not None
    xp, length = state.backend.xp, state.spec.window.length
    rows, masses = widetree.find(state.backend, state.priorities.tree, state.capacity, bits)
    drawn = masses > 0
    streams = rows // length
    ages = (state.backend.take(state.written, streams) - 1 - rows) % length
    beta = state.priority_options.beta if beta is None else beta
    least = xp.min(xp.where(drawn, masses, xp.max(masses)))
    weights = (least / xp.where(drawn, masses, 1.0)) ** beta
    return Drawn(streams, ages, xp.where(drawn, weights, 0.0), drawn)


def batch_of(state: State, found: Drawn, flatten: bool) -> Batch:
    """Return the batch of the rows drawn, with ``indices`` of -1 where none was."""
    xp, spec = state.backend.xp, state.spec
    rows = of_age(state, found.streams, found.ages)
    older = state.backend.take(state.sizes, found.streams) - 1 - found.ages
    seen = windows(xp, state.marks, rows, older, found.ages, spec.window)
    powers = xp.asarray(
        [spec.gamma**k for k in range(spec.n_step + 1)],
        dtype=state.rewards.dtype,
        device=device_of(state.rewards),
    )
    scalars = (
        summed_rewards(xp, state.rewards, seen.tail, powers[:-1]),
        xp.astype(seen.tail.terminated, powers.dtype),
        xp.astype(seen.valid & found.drawn, powers.dtype),
        xp.take(powers, seen.tail.count, axis=0),
        found.weights,
    )
    actions = state.backend.take(state.actions, rows)
    plan = Plan(
        *seen.frames(xp, spec.window),
        actions if spec.action_shape else actions[:, None],
        xp.stack(scalars)[:, :, None],
    )
    serials = (state.backend.take(state.written, found.streams) - 1 - found.ages) % state.serials
    indices = xp.where(found.drawn, serials * spec.n_streams + found.streams, -1)
    return assemble(state.backend, state.columns, plan, flatten=flatten).batch(indices)
