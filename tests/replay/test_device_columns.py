"""Columns in the memory of a device, with NumPy in its place: rows are staged, and written together."""

from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay.host import columns
from trifolium.replay.host.columns import DeviceColumns
from trifolium.testing import Twin
from trifolium.testing.history import HISTORIES, wander
from trifolium_numpy import NumpyBackend


@pytest.fixture
def device() -> NumpyBackend:
    """Return a backend whose memory counts as one that the host can't reach."""
    backend = NumpyBackend()
    backend.shares_host_memory = False
    return backend


@pytest.mark.parametrize("stage_rows", [3, pytest.param(columns.STAGE_ROWS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", HISTORIES, ids=str)
def test_it_does_what_the_reference_does(
    device: NumpyBackend, monkeypatch: pytest.MonkeyPatch, options: Any, stage_rows: int
) -> None:
    monkeypatch.setattr(columns, "STAGE_ROWS", stage_rows)
    twin = Twin(device, options, seed=0)
    assert isinstance(twin.buffer._store.columns, DeviceColumns)
    wander(twin, 0, 60, Twin.check_all)


@pytest.mark.parametrize("many", [1, 2, 5, 16, 40])
def test_rows_of_any_count_are_those_on_the_host(device: NumpyBackend, many: int) -> None:
    """Fewer than a stage has, as many, and more; one by one between them."""
    extras = {"logits": ((2,), "float32")}
    there = tri.Buffer(16, (2,), extras=extras, backend=device, seed=0)
    here = tri.Buffer(16, (2,), extras=extras, seed=0)
    rng = np.random.default_rng(0)
    for count in (1, many, 1, 1, many, 2):
        obs, logits = rng.normal(size=(2, count, 2)).astype(np.float32)
        for buffer in (there, here):
            buffer.extend(obs, np.arange(count), obs[:, 0], obs[:, 1] > 1, logits=logits)
            buffer.add(obs[0], 1, 2.0, False, logits=logits[0])
        for found, expected in zip(there[:], here[:], strict=True):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(there.current_state(), here.current_state())
        batch, expected_batch = there.sample(1), here.sample(1)
        np.testing.assert_array_equal(batch.states, expected_batch.states)
        np.testing.assert_array_equal(batch.extras["logits"], expected_batch.extras["logits"])


def test_what_is_staged_is_gone_with_the_rest(device: NumpyBackend) -> None:
    buffer = tri.Buffer(16, (1,), backend=device, seed=0)
    for number in range(5):
        buffer.add([number], 0, 0.0, False)
    buffer.clear()
    for number in (10, 11):
        buffer.add([number], 0, 0.0, False)
    assert np.asarray(buffer[:][0]).ravel().tolist() == [10, 11]
    batch = buffer.fetch(buffer.sample(1).indices)
    assert (batch.states.item(), batch.next_states.item()) == (10, 11)


@pytest.mark.parametrize("count", [2, 8])
def test_columns_that_are_not_given_hold_zeros(
    device: NumpyBackend, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Rows that a stage holds, and rows that are written past it."""
    monkeypatch.setattr(columns, "STAGE_ROWS", 3)
    spec = tri.Buffer(8, (2, 3), extras={"logits": ((2, 5), "float32")}).spec
    found = DeviceColumns(device, spec)
    rows = np.arange(count)
    obs, logits = np.ones((count, 2, 3), np.float32), np.ones((count, 2, 5), np.float32)
    found.put_many(rows, {"obs": obs, "logits": logits})
    found.put_many(rows, {"obs": 2 * obs})
    np.testing.assert_array_equal(found.read("logits", rows), 0 * logits)
    np.testing.assert_array_equal(found.read("obs", rows), 2 * obs)
    np.testing.assert_array_equal(found.copied("obs")[rows], 2 * obs)
