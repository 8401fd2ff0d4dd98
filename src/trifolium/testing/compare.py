"""Compare a batch with the transitions that the reference expects."""

from collections.abc import Sequence

import pytest

from trifolium.backend import AnyArray, Backend
from trifolium.replay import Batch
from trifolium.testing.reference import Obs, Transition

__all__ = ["check_batch", "check_weights", "importance", "tuples"]

FIELDS = ("states", "actions", "rewards", "next_states", "dones", "valid", "discounts")


def check_batch(
    backend: Backend,
    batch: Batch,
    expected: Sequence[Transition],
    axes: tuple[int, ...],
    *,
    flatten: bool = True,
) -> None:
    """Assert that a batch with these leading ``axes`` holds ``expected``, one after another.

    What has no meaning is not compared: the states of invalid rows, the next states of done ones, and
    the outcome of rows that are no step.
    """
    frames = expected[0].states
    stacked = (len(frames), len(frames[0]))
    if flatten:
        stacked = (len(frames) * len(frames[0]),)  # type: ignore[assignment]
    shapes = {"states": stacked, "next_states": stacked}
    found = []
    for name in FIELDS:
        array = getattr(batch, name)
        assert tuple(array.shape) == (*axes, *shapes.get(name, (1,))), name
        found.append(_listed(backend, array, len(expected)))
    tags = _listed(backend, batch.extras["tag"], len(expected))
    for row, tag, *values in zip(expected, tags, *found, strict=True):
        _check_row(row, tag, *values)


def check_weights(backend: Backend, batch: Batch, expected: Sequence[float]) -> None:
    """Assert that the weights of a batch are as expected, but for rounding."""
    weights = _listed(backend, batch.weights, len(expected))
    assert weights == [[pytest.approx(weight)] for weight in expected]


def importance(
    drawn: Sequence[float], stored: Sequence[float], alpha: float, beta: float
) -> list[float]:
    """Return the weights of rows with the priorities ``drawn``, of those that are ``stored``."""
    total = sum(priority**alpha for priority in stored)
    weights = [(len(stored) * priority**alpha / total) ** -beta for priority in drawn]
    return [weight / max(weights) for weight in weights]


def tuples(backend: Backend, observations: AnyArray) -> list[Obs]:
    """Return flat observations as the reference has them."""
    return [tuple(row) for row in backend.to_numpy(observations).tolist()]


def _check_row(
    row: Transition,
    tag: list[float],
    states: list[float],
    actions: list[float],
    rewards: list[float],
    next_states: list[float],
    dones: list[float],
    valid: list[float],
    discounts: list[float],
) -> None:
    assert valid == [row.valid], row
    assert (tag, actions) == ([row.row.tag], [row.row.action]), row
    if row.row.kind == "step":
        assert (rewards, dones, discounts) == ([row.reward], [row.done], [row.discount]), row
    if row.valid:
        assert states == _flat(row.states), row
        if not row.done:
            assert next_states == _flat(row.next_states), row


def _flat(frames: Sequence[Obs]) -> list[float]:
    return [value for frame in frames for value in frame]


def _listed(backend: Backend, array: AnyArray, count: int) -> list[list[float]]:
    listed: list[list[float]] = backend.to_numpy(array).reshape(count, -1).tolist()
    return listed
