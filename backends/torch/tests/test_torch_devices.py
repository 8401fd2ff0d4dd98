"""Devices of torch: a default that is set later, and its "meta" device."""

import copy
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import trifolium as tri


@pytest.fixture
def meta() -> Iterator[torch.device]:
    torch.set_default_device("meta")
    yield torch.device("meta")
    torch.set_default_device(None)


def test_a_default_that_is_set_later_counts() -> None:
    before = tri.get_backend("torch")
    with torch.device("meta"):
        inside = tri.get_backend("torch")
    assert (before.device.type, inside.device.type) == ("cpu", "meta")
    assert tri.get_backend("torch") is before
    assert tri.get_backend("torch", device="meta") is inside


def test_copies_are_the_registered_one() -> None:
    backend = tri.get_backend("torch", device="meta")
    assert pickle.loads(pickle.dumps(backend)) is copy.deepcopy(backend) is backend


def test_another_default_does_not_move_arrays(meta: torch.device) -> None:
    model = tri.DDQN(2, 2, 100, backend="torch", device="cpu", batch_size=8, seed=0, n_frames=2)
    for step in range(40):
        model.memory.add(np.full(2, step, np.float32), step % 2, 1.0, step % 9 == 8)
    loss = model.train_step()
    assert loss.device.type == "cpu"
    assert float(loss) > 0
    batch = model.memory.sample(4)
    assert {value.device.type for value in (batch.states, batch.rewards)} == {"cpu"}
    assert {each.device.type for each in model.progress.learned.params.values()} == {"cpu"}


def test_storage_on_a_device_of_its_own(meta: torch.device) -> None:
    buffer = tri.Buffer(64, (2,), 3, backend="torch", seed=0)
    for step in range(40):
        buffer.add(np.full(2, step, np.float32), step % 2, 1.0, step % 9 == 8)
    batch = buffer.sample(4)
    assert batch.states.device == meta
    assert batch.states.shape == (4, 6)
