"""Tests of Buffer, for every backend."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trifolium.backend import Backend, get_backend
from trifolium.replay import Batch, Buffer, Prioritized
from trifolium.testing.cases import FIELDS, OPTIONS, fill, made, on_host
from trifolium.testing.machine import RULES, SOAK, run_machine

__all__ = ["BufferSuite"]


class BufferSuite:
    """Tests of :class:`trifolium.Buffer` on a backend, taken from a fixture named ``backend``."""

    def test_does_what_the_reference_does(self, backend: Backend, record_property: Any) -> None:
        """Thousands of random operations have the same outcome as in plain Python.

        The environment variable TRIFOLIUM_SOAK sets how many, and makes them new ones.
        """
        run = run_machine(backend)
        record_property("rules run", run)
        assert run >= int(os.environ.get(SOAK, RULES))

    @pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
    def test_batches_have_the_shapes_of_the_table(
        self, backend: Backend, options: dict[str, Any]
    ) -> None:
        """A batch unpacks into six native arrays of the documented shapes and dtypes."""
        buffer = made(backend, options)
        fill(buffer, 60, seed=0)
        for flatten in (True, False):
            batch = buffer.sample(6, flatten=flatten)
            _check_shapes(buffer, batch, (6,), flatten)
            states, actions, rewards, next_states, dones, valid = batch
            six = (states, actions, rewards, next_states, dones, valid)
            assert all(a is getattr(batch, name) for a, name in zip(six, FIELDS[:6], strict=True))
            assert (len(batch), batch.batch_size) == (6, 6)
            assert batch[1] is actions
            assert batch[-2:] == (dones, valid)
            runs = buffer.sample_sequences(5, 3, flatten=flatten)
            _check_shapes(buffer, runs, (5, 3), flatten)
        frames = buffer.current_state()
        assert frames.shape == (buffer.n_frames - 1, *buffer.obs_shape)
        assert frames.dtype == backend.dtype(buffer.spec.obs_dtype)

    @pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
    def test_draws_are_those_of_numpy(self, backend: Backend, options: dict[str, Any]) -> None:
        """One seed gives the same batches on every backend, bit for bit."""
        numpy = get_backend("numpy")
        options = {"action_dtype": "int32"} | options
        ours, theirs = made(backend, options), made(numpy, options)
        for part in range(3):
            for buffer in (ours, theirs):
                fill(buffer, 50, seed=part)
            ours_now, theirs_now = ours.sample(6), theirs.sample(6)
            _same(on_host(backend, ours_now), on_host(numpy, theirs_now))
            if isinstance(ours.sampler, Prioritized):
                for buffer, batch in ((ours, ours_now), (theirs, theirs_now)):
                    buffer.update_priorities(batch.indices, np.arange(6.0))

    @pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
    def test_what_came_out_never_changes(self, backend: Backend, options: dict[str, Any]) -> None:
        """Nothing that a buffer handed out changes when the buffer is written later."""
        buffer = made(backend, options)
        fill(buffer, 60, seed=0)
        handed_out = _everything(buffer)
        before = [backend.to_numpy(array) for array in handed_out]
        fill(buffer, 100, seed=1)
        buffer.clear()
        fill(buffer, 20, seed=2)
        for array, host in zip(handed_out, before, strict=True):
            np.testing.assert_array_equal(backend.to_numpy(array), host)

    @pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
    def test_files_hold_all_of_it(
        self, backend: Backend, options: dict[str, Any], tmp_path: Path
    ) -> None:
        """A buffer loaded on NumPy or on the backend goes on to draw what the saved one draws."""
        numpy = get_backend("numpy")
        buffer = made(backend, {"action_dtype": "int32"} | options)
        fill(buffer, 60, seed=0)
        buffer.sample(6)
        buffer.save(tmp_path / "a")
        Buffer.load(tmp_path / "a", backend=numpy).save(tmp_path / "b")
        loaded = Buffer.load(tmp_path / "b", backend=backend)
        for part in (1, 2):
            _same(on_host(backend, loaded.sample(6)), on_host(backend, buffer.sample(6)))
            for each in (loaded, buffer):
                fill(each, 20, seed=part)


def _check_shapes(buffer: Buffer, batch: Batch, axes: tuple[int, ...], flatten: bool) -> None:
    spec, backend = buffer.spec, buffer.backend
    stacked = (spec.n_frames, *spec.obs_shape)
    state = ((int(np.prod(stacked)),) if flatten else stacked, spec.obs_dtype)
    kinds = {"states": state, "next_states": state}
    kinds["actions"] = (spec.action_shape or (1,), spec.action_dtype)
    for name in FIELDS:
        shape, dtype = kinds.get(name, ((1,), "float32"))
        array = getattr(batch, name)
        assert tuple(array.shape) == (*axes, *shape), name
        assert array.dtype == backend.dtype(dtype), name
        assert type(array) is type(backend.zeros((1,), "float32")), name
    assert batch.extras.keys() == {name for name, _, _ in spec.extras}
    for name, shape, dtype in spec.extras:
        assert tuple(batch.extras[name].shape) == (*axes, *shape)
        assert batch.extras[name].dtype == backend.dtype(dtype)
    assert batch.indices.shape == axes[:1]
    assert batch.indices.dtype == np.int64


def _same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def _everything(buffer: Buffer) -> list[Any]:
    batches = [buffer.sample(6), buffer.sample(6, flatten=False), buffer.sample_sequences(3, 2)]
    arrays = [getattr(batch, name) for batch in batches for name in FIELDS]
    arrays += [array for batch in batches for array in batch.extras.values()]
    arrays += [buffer.states, buffer.actions, buffer.rewards, buffer.dones, buffer.current_state()]
    return [*arrays, *buffer.extra_data.values(), buffer[3][0], *buffer[2:9]]
