"""The windows code on its own: traced by any framework, it says what the reference says."""

from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay.rules.windows import Windows, WindowShape, windows
from trifolium.testing import Twin
from trifolium.testing.history import HISTORIES, wander
from trifolium.testing.twin import GAMMA


@pytest.mark.parametrize("options", HISTORIES, ids=repr)
def test_windows_are_those_of_the_reference(backend: tri.Backend, options: Any) -> None:
    run = backend.compile(lambda *arrays: windows(backend.xp, *arrays, shape))
    twin = Twin(tri.get_backend("numpy"), options)
    shape = twin.buffer.spec.window
    compared = 0

    def check(twin: Twin) -> None:
        nonlocal compared
        arrays = drawable(twin)
        if arrays is None:
            return
        # one shape for all, so that a framework that compiles does so once
        padded = [np.resize(array, 24).astype(backend.default_int) for array in arrays]
        found = run(twin.buffer._store.ring.marks.copy(), *padded)
        compare(twin, on_host(backend, found))
        compared += 1

    wander(twin, 5, 60, check)
    assert compared > 20


def test_windows_are_by_default_of_single_frames_and_steps() -> None:
    assert WindowShape(8) == WindowShape(8, n_frames=1, n_step=1, pad=False)


def drawable(twin: Twin) -> list[np.ndarray] | None:
    """Return (rows, older, newer) of every row that the reference says can be drawn."""
    indices = np.array(list(twin.reference.transitions()), np.int64)
    if not len(indices):
        return None
    ring = twin.buffer._store.ring
    rows, stored = ring.current_rows(indices)
    assert stored.all()
    streams, serials = ring.identify(rows)
    newer = ring.written[streams] - 1 - serials
    return [rows, ring.sizes[streams] - 1 - newer, newer]


def compare(twin: Twin, found: Windows) -> None:
    observations = twin.buffer.states
    rewards = twin.buffer.rewards
    for at, row in enumerate(twin.reference.transitions().values()):
        tail = found.tail.rows[at][found.tail.summed[at]]
        assert bool(found.valid[at]) == row.valid
        if row.row.kind == "step":
            assert GAMMA ** int(found.tail.count[at]) == row.discount
            assert bool(found.tail.terminated[at]) == row.done
            assert sum(GAMMA**k * rewards[step] for k, step in enumerate(tail)) == row.reward
        if row.valid:
            assert frames(observations, found.states, at) == row.states
            if not row.done:
                assert found.next_states.whole[at]
                assert frames(observations, found.next_states, at) == row.next_states


def frames(observations: np.ndarray, stack: Any, at: int) -> list[tuple[float, ...]]:
    kept = [True] * stack.rows.shape[1] if stack.kept is None else stack.kept[at]
    rows = observations[stack.rows[at]] * np.array(kept)[:, None]
    return [tuple(row) for row in (rows + 0.0).tolist()]


def on_host(backend: tri.Backend, value: Any) -> Any:
    if isinstance(value, tuple):
        return type(value)(*(on_host(backend, item) for item in value))  # type: ignore[call-arg]
    return None if value is None else backend.to_numpy(value)
