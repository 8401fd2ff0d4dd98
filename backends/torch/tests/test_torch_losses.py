"""Losses that only torch has."""

import pytest
import torch

import trifolium as tri


def train_step_of(loss):
    class Model(tri.BaseModel):
        def take_action(self, state):
            return 0

        def train_step(self):
            return loss

    return Model(4, 2, 100, backend="torch").train_step


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (torch.ones((), requires_grad=True) * 2, 2.0),
        (torch.ones(3, requires_grad=True), [1.0, 1.0, 1.0]),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        ([torch.tensor(0.5, dtype=torch.bfloat16), torch.tensor(0.25)], [0.5, 0.25]),
        ({"q": torch.nn.Parameter(torch.tensor(1.5))}, 1.5),
    ],
)
def test_loss_is_detached(loss, expected):
    found = train_step_of(loss)()
    assert isinstance(found, torch.Tensor)
    assert not found.requires_grad
    assert found.is_floating_point()
    assert found.tolist() == expected


def test_torch_loss_of_a_numpy_model():
    class Model(tri.BaseModel):
        def take_action(self, state):
            return 0

        def train_step(self):
            return torch.tensor(0.5, dtype=torch.bfloat16, requires_grad=True)

    assert Model(4, 2, 100, backend="numpy").train_step().tolist() == 0.5


@pytest.mark.parametrize("kind", [tri.DDQN, tri.IQN])
def test_an_update_never_waits_for_the_device(kind):
    # tensors on "meta" have no values: whatever would read one, and so wait for it, fails
    model = kind(4, 2, 200, 1.0, backend="torch", device="meta", batch_size=16, n_frames=2, noisy=True)
    for step in range(100):
        model.memory.add([step] * 4, 0, 1.0, step % 9 == 8)
    for _ in range(3):
        loss = model.train_step()
    assert loss.shape == ()
    assert loss.device.type == "meta"
    with pytest.raises(RuntimeError):
        loss.item()
