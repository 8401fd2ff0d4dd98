"""Batches that are copied to a GPU ahead. Run it where there is one, with ``--device cuda``."""

from pathlib import Path

import numpy as np
import pytest
import torch

import trifolium as tri
from trifolium.backend import as_numpy
from trifolium_torch.copier import Copier


@pytest.fixture
def on_gpu(backend: tri.Backend) -> tri.Backend:
    if backend.device.type != "cuda":
        pytest.skip("the run is not for a GPU; see --device cuda")
    return backend


def filled(backend: tri.Backend, path: Path) -> tri.Buffer:
    """Return a buffer whose rows are on the host, as they are in files."""
    shape = {"camera": ((8, 8, 3), "uint8"), "body": (4,)}
    buffer = tri.Buffer(200, shape, {"camera": 2}, backend=backend, seed=0, path=path)
    for step in range(150):
        camera = np.full((8, 8, 3), step, np.uint8)
        buffer.add({"camera": camera, "body": np.full(4, step)}, step % 3, 1.0, step % 20 == 19)
    return buffer


def test_copied_batches_are_those_of_sample(on_gpu: tri.Backend, tmp_path: Path) -> None:
    """Also where the learner keeps the GPU busy, and drops each batch at once."""
    ahead, plain = filled(on_gpu, tmp_path / "ahead"), filled(on_gpu, tmp_path / "plain")
    busy = torch.ones(1000, 1000, device=on_gpu.device)
    for batch in ahead.as_dataset(64, 50, prefetch=3):
        assert batch.rewards.device == on_gpu.device
        for _ in range(5):
            busy = busy @ busy / 1000
        expected = plain.sample(64)
        assert np.array_equal(*(as_numpy(each.indices) for each in (batch, expected)))
        for name in ("camera", "body"):
            assert torch.equal(batch.states[name], expected.states[name])
            assert torch.equal(batch.next_states[name], expected.next_states[name])
        assert torch.equal(batch.actions, expected.actions)
        del batch, expected


def test_a_learner_on_a_stream_of_its_own(on_gpu: tri.Backend, tmp_path: Path) -> None:
    """What it does with a batch waits for the copy."""
    ahead, plain = filled(on_gpu, tmp_path / "ahead"), filled(on_gpu, tmp_path / "plain")
    stream = torch.cuda.Stream(on_gpu.device)
    with torch.cuda.stream(stream):
        sums = [batch.states["body"].sum() for batch in ahead.as_dataset(64, 50, prefetch=3)]
    stream.synchronize()
    expected = [plain.sample(64).states["body"].sum().item() for _ in range(50)]
    assert [each.item() for each in sums] == expected


def test_memory_is_page_locked(on_gpu: tri.Backend) -> None:
    copier = Copier(on_gpu.device)
    moved = copier._moved(np.arange(6.0).reshape(2, 3)[:, ::2])
    torch.cuda.synchronize(on_gpu.device)
    assert moved.cpu().tolist() == [[0.0, 2.0], [3.0, 5.0]]
    assert moved.device == on_gpu.device


def test_the_host_needs_no_copies(backend: tri.Backend) -> None:
    assert (backend.copier() is None) == (backend.device.type != "cuda")  # type: ignore[attr-defined]
