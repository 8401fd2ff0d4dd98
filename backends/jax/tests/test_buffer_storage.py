"""On a device with a memory of its own storage stays where it is: no write may copy all of it."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import trifolium as tri
from trifolium.replay.host.columns import DeviceColumns, HostColumns
from trifolium.testing import Twin
from trifolium.testing.cases import OPTIONS, fill, made, on_host
from trifolium.testing.history import HISTORIES, wander
from trifolium_jax import JaxBackend


@pytest.fixture
def device() -> JaxBackend:
    """Return a backend that takes this CPU for a device whose memory the host can't reach."""
    backend = JaxBackend()
    backend.shares_host_memory = False
    return backend


CASES = [  # the last has most of the options at once
    pytest.param(
        options, id=str(options), marks=[pytest.mark.slow] if options in HISTORIES[:-1] else []
    )
    for options in HISTORIES
]


@pytest.mark.parametrize("options", CASES)
def test_a_device_does_what_the_reference_does(device: JaxBackend, options: Any) -> None:
    twin = Twin(device, options, seed=0)
    assert isinstance(twin.buffer._store.columns, DeviceColumns)
    wander(twin, 0, 60, Twin.check_all)


@pytest.mark.parametrize("options", [{}, {"n_frames": 3, "boundary": "pad"}], ids=str)
def test_rows_in_a_folder_come_to_the_device(
    device: JaxBackend, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Mapped rows stay on the host, and batches are the device's arrays, as those of device columns."""
    common = {"capacity": 20, "obs_shape": (2,), "backend": device, "seed": 0, **options}
    mapped, there = tri.Buffer(**common, path=tmp_path / "rows"), tri.Buffer(**common)
    for step in range(40):
        for buffer in (mapped, there):
            buffer.add([step, step], step, step, done=step % 7 == 6)
    assert isinstance(mapped._store.columns, HostColumns)
    for _ in range(3):
        mine, other = mapped.sample(5), there.sample(5)
        for here, expected in zip(mine, other, strict=True):
            assert isinstance(here, jax.Array)
            assert here.devices() == {device.device}
            assert here.tolist() == expected.tolist()


def test_a_device_learns_from_rows_in_a_folder(device: JaxBackend, tmp_path: Path) -> None:
    losses: list[list[float]] = []
    for path in (tmp_path / "rows", None):
        memory = tri.Buffer(200, (4,), backend=device, seed=0, path=path)
        model = tri.DDQN(4, 2, 200, backend=device, batch_size=16, seed=0, memory=memory)
        rng = np.random.default_rng(0)
        for step in range(150):
            memory.add(rng.normal(size=4).astype(np.float32), step % 2, 1.0, step % 20 == 19)
        losses.append([float(model.train_step()) for _ in range(10)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(
    ("algorithm", "n_frames"),
    [
        (tri.DDQN, 1),
        (tri.IQN, 3),
        pytest.param(tri.DDQN, 3, marks=pytest.mark.slow),
        pytest.param(tri.IQN, 1, marks=pytest.mark.slow),
    ],
)
def test_a_device_learns_what_the_host_learns(
    device: JaxBackend, algorithm: type[tri.DDQN], n_frames: int
) -> None:
    losses: list[list[float]] = []
    for backend in (device, tri.get_backend("jax")):
        model = algorithm(4, 2, 200, backend=backend, batch_size=16, seed=0, n_frames=n_frames)
        rng = np.random.default_rng(0)
        for step in range(150):
            model.memory.add(rng.normal(size=4).astype(np.float32), step % 2, 1.0, step % 20 == 19)
        losses.append([float(model.train_step()) for _ in range(20)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("n_streams", [1, 4])
def test_writes_reuse_the_memory_of_the_storage(device: JaxBackend, n_streams: int) -> None:
    buffer = tri.Buffer(
        4096, (8,), backend=device, seed=0, n_streams=n_streams, extras={"tag": "float32"}
    )
    streams = (n_streams,) if n_streams > 1 else ()
    addresses = pointers(buffer)
    for step in range(1000):
        obs = np.full((*streams, 8), step, np.float32)
        zeros = np.zeros(streams, np.float32)
        buffer.add(obs, zeros.astype(np.int32), zeros, zeros, tag=zeros)
        if step % 37 == 36:  # writes of many sizes, between reads of all kinds
            kept = buffer.sample(8)
            buffer.sample_sequences(4, 2)
            buffer.current_state()
            assert pointers(buffer) == addresses
            assert float(kept.states.max()) <= step
    buffer.clear()
    assert pointers(buffer) == addresses


@pytest.mark.parametrize("name", OPTIONS)
def test_draws_are_those_of_numpy(device: JaxBackend, name: str) -> None:
    """Also where the names of columns are sorted in another way than they were given."""
    options = {"action_dtype": "int32"} | OPTIONS[name]
    ours, theirs = made(device, options), made(tri.get_backend("numpy"), options)
    for part in range(2):
        for buffer in (ours, theirs):
            fill(buffer, 50, seed=part)
        found, expected = ours.sample(6), theirs.sample(6)
        for one, other in zip(on_host(device, found), on_host(theirs.backend, expected), strict=True):
            assert np.array_equal(one, other)


def test_writes_of_many_sizes_compile_few_programs(
    device: JaxBackend, caplog: pytest.LogCaptureFixture
) -> None:
    columns = DeviceColumns(device, tri.Buffer(256, (3,), backend=device).spec)
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        for size in range(1, 65):
            columns.put_many(np.arange(size), {"obs": np.full((size, 3), size, np.float32)})
            assert float(columns.arrays["obs"][size - 1, 0]) == size
    compiled = [
        record
        for record in caplog.records
        if "Finished XLA compilation of jit(write)" in record.getMessage()
        or "Finished XLA compilation of jit(on_device)" in record.getMessage()
    ]
    assert 0 < len(compiled) <= 4


def test_exports_are_copies(device: JaxBackend) -> None:
    """A view of the storage that stayed alive would turn each write after it into a copy."""
    buffer = tri.Buffer(1024, (8,), backend=device, seed=0)
    addresses = pointers(buffer)
    kept: list[Any] = []
    for step in range(100):
        buffer.add(np.full(8, step, np.float32), 0, 0.0, False)
        kept += [buffer.states, buffer[0][0], np.asarray(buffer.states), buffer.current_state()]
        assert pointers(buffer) == addresses


def test_batches_stay_as_they_were_drawn() -> None:
    """On the host rows are written in place: no batch may share their memory."""
    buffer = tri.Buffer(64, (100_000,), backend="jax", seed=0, obs_dtype="uint8")
    for step in range(64):
        buffer.add(np.full(100_000, step, np.uint8), 0, 0.0, False)
    batch = buffer.sample(8)
    before = np.asarray(batch.states).copy()
    for _ in range(64):
        buffer.add(np.full(100_000, 255, np.uint8), 0, 0.0, False)
    np.testing.assert_array_equal(np.asarray(batch.states), before)


def pointers(buffer: tri.Buffer) -> list[int]:
    storage = buffer._store.columns
    assert isinstance(storage, DeviceColumns)
    return [array.unsafe_buffer_pointer() for array in storage.arrays.values()]
