"""Draws from a state, and the batch of what was drawn: pure functions that a compiler can trace."""

from typing import Any, NamedTuple

from trifolium.backend import AnyArray, device_of
from trifolium.replay.batch import Batch
from trifolium.replay.graph import widetree
from trifolium.replay.graph.state import State, counts, of_age, older_than, skipped
from trifolium.replay.rules.assemble import Plan, assemble
from trifolium.replay.rules.ordinals import Ordinals, running_sum
from trifolium.replay.rules.priorities import importance_weights
from trifolium.replay.rules.ring import locate
from trifolium.replay.rules.windows import scalars, windows

__all__ = [
    "DrawnRows",
    "batch_of",
    "checked_bits",
    "drawn_by_priority",
    "drawn_uniformly",
    "identified",
]


class DrawnRows(NamedTuple):
    """Rows drawn: their streams, ages and importance weights [B], and which of them are a draw."""

    streams: AnyArray
    ages: AnyArray
    weights: AnyArray
    drawn: AnyArray


def checked_bits(state: State, bits: AnyArray) -> AnyArray:
    """Return ``bits`` [B, 2] in the dtype of the cursors, or raise an error."""
    xp = state.backend.xp
    bits = xp.asarray(bits, device=device_of(state.marks))
    if bits.ndim != 2 or bits.shape[0] < 1 or bits.shape[1] != 2:
        raise ValueError(f"bits has shape {tuple(bits.shape)}; expected [batch_size, 2]")
    if not xp.isdtype(bits.dtype, "integral") or xp.iinfo(bits.dtype).bits < 32:
        raise TypeError(f"bits has dtype {bits.dtype}; expected integers of 32 or 64 bits")
    return xp.astype(bits, state.written.dtype, copy=False)


def drawn_uniformly(state: State, bits: AnyArray, draw: Ordinals, span: int = 1) -> DrawnRows:
    """Draw from all runs of ``span`` rows alike, by a function of ``rules.ordinals``."""
    xp = state.backend.xp
    available = counts(state, span)
    ends = running_sum(xp, available)
    ordinals, drawn = draw(xp, bits, ends[-1])
    streams, places = ordinals * 0, ordinals
    if state.spec.n_streams > 1:
        streams, places = locate(xp, ordinals, available, ends)
    ages = older_than(state, streams, places) - skipped(state)
    return DrawnRows(streams, ages, xp.ones_like(ordinals, dtype=state.rewards.dtype), drawn)


def drawn_by_priority(state: State, tree: AnyArray, bits: AnyArray, beta: Any) -> DrawnRows:
    """Draw in proportion to the masses of ``tree``.

    Weights are corrected by ``beta``, None for that of the options.
    """
    assert state.priority_options is not None
    xp = state.backend.xp
    rows, masses = widetree.find(state.backend, tree, state.capacity, bits)
    drawn = masses > 0
    streams, ages = identified(state, rows)
    beta = state.priority_options.beta if beta is None else beta
    # either all rows have mass or, where no row of the memory has, none: then 0 / 1 is the weight
    weights = importance_weights(xp.min(masses), xp.where(drawn, masses, 1.0), beta)
    return DrawnRows(streams, ages, weights, drawn)


def identified(state: State, rows: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return (streams, ages), each [N], of ``rows`` [N]."""
    length = state.spec.window.length
    streams = rows // length
    return streams, (state.backend.take(state.written, streams) - 1 - rows) % length


def batch_of(state: State, found: DrawnRows, flatten: bool) -> Batch:
    """Return the batch of the rows drawn, with ``indices`` of -1 where none was drawn."""
    xp, spec = state.backend.xp, state.spec
    rows = of_age(state, found.streams, found.ages)
    older = older_than(state, found.streams, found.ages)
    seen = windows(xp, state.marks, rows, older, found.ages, spec.window)
    powers = xp.asarray(
        [spec.gamma**k for k in range(spec.n_step + 1)],
        dtype=state.rewards.dtype,
        device=device_of(state.rewards),
    )
    rewards, dones, valid, discounts = scalars(xp, state.rewards, seen, powers)
    numbers = (
        rewards,
        xp.astype(dones, powers.dtype),
        xp.astype(valid & found.drawn, powers.dtype),
        discounts,
        found.weights,
    )
    actions = state.backend.take(state.actions, rows)
    plan = Plan(
        *seen.frames(xp, spec.window),
        actions if spec.action_shape else actions[:, None],
        xp.stack(numbers)[:, :, None],
    )
    serials = (state.backend.take(state.written, found.streams) - 1 - found.ages) % state.serials
    batch = assemble(state.backend, spec, state.columns, plan, flatten=flatten)
    batch.indices = xp.where(found.drawn, serials * spec.n_streams + found.streams, -1)
    return batch
