"""TorchModel: a module and a model at once."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import trifolium as tri
from trifolium_torch import TorchModel


class Linear(TorchModel):
    def __init__(self, *args, dtype=torch.float32, **options):
        super().__init__(*args, **options)
        self.layer = torch.nn.Linear(4, 2, dtype=dtype)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.05)

    def forward(self, states):
        return self.layer(states)

    def take_action(self, state):
        with torch.no_grad():
            return int(self(torch.as_tensor(state, dtype=self.layer.weight.dtype)).argmax())

    def train_step(self):
        states, actions, rewards, _, _, valid = self.memory.sample(16)
        errors = self(states).gather(1, actions) - rewards
        loss = (errors.square() * valid).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"q": loss, "weight": self.layer.weight.norm()}


def filled(**options):
    model = Linear(4, 2, 200, seed=0, **options)
    rng = np.random.default_rng(0)
    for step in range(150):
        obs = rng.normal(size=4)
        model.memory.add(obs, step % 2, obs.sum() * (step % 2), False)
    return model


def test_is_a_module_and_learns():
    model = filled()
    assert [name for name, _ in model.named_parameters()] == ["layer.weight", "layer.bias"]
    losses = [model.train_step() for _ in range(200)]
    assert model.loss_names == ("q", "weight")
    assert all(not loss.requires_grad and loss.shape == (2,) for loss in losses)
    assert losses[-1][0] < 0.2 * losses[0][0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_saves_its_state_dict(tmp_path, dtype):
    model = filled(dtype=dtype)
    model.save(tmp_path / "model")
    other = Linear(4, 2, 200, dtype=dtype)
    other.load(tmp_path / "model")
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
        assert other.state_dict()[name].dtype == dtype


def test_file_of_another_module_changes_nothing(tmp_path):
    class Linear(TorchModel):
        def __init__(self):
            super().__init__(4, 2, 100)
            self.layer = torch.nn.Linear(3, 2)

        def take_action(self, state):
            return 0

    Linear().save(tmp_path / "model")
    model = filled()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(tri.CheckpointError, match=r"layer\.weight"):
        model.load(tmp_path / "model")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_moves_like_a_module():
    model = filled().to(torch.float64)
    assert model.layer.weight.dtype == torch.float64
    assert model.take_action(np.zeros(4)) in (0, 1)
    assert not model.eval().training


def test_must_have_take_action():
    with pytest.raises(TypeError, match="take_action"):
        TorchModel(4, 2, 100)


class Extra(torch.nn.Module):
    def __init__(self, extra):
        super().__init__()
        self.extra = extra

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        self.extra = state


class WithExtra(Linear):
    def __init__(self, *args, extra, **options):
        super().__init__(*args, **options)
        self.part = Extra(extra)


def test_extra_state_is_saved_or_named(tmp_path):
    model = WithExtra(4, 2, 200, extra=torch.tensor([3.0, 4.0]))
    model.save(tmp_path / "model")
    other = WithExtra(4, 2, 200, extra=torch.zeros(2))
    other.load(tmp_path / "model")
    assert other.part.extra.tolist() == [3.0, 4.0]
    with pytest.raises(
        TypeError, match=r"part\._extra_state of WithExtra is a dict; expected a tensor"
    ):
        WithExtra(4, 2, 200, extra={"count": 3}).save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_does_what_the_original_would(copied):
    model = filled()
    model.train_step()
    other = copied(model)
    assert other.backend is model.backend
    expected = [model.train_step().tolist() for _ in range(5)]
    assert [other.train_step().tolist() for _ in range(5)] == expected
    assert torch.equal(other.layer.weight, model.layer.weight)


class Layered(TorchModel):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.layer = torch.nn.Linear(8, 2)

    def take_action(self, state: Any) -> int:
        return int(self.layer(torch.as_tensor(state).reshape(-1)).argmax())


def test_states_of_numpy_in_float64_reach_layers_of_float32() -> None:
    """Sorrel's agents stack the memory's frames and the newest observation with NumPy: float64."""
    model = Layered(4, 2, 100, n_frames=2, seed=0)
    stacked = np.vstack((np.asarray(model.memory.current_state()), np.ones((1, 4), np.float64)))
    assert stacked.dtype == np.float64
    assert model.take_action(stacked) in (0, 1)
    assert model.take_actions(np.ones((3, 8))).shape == (3,)
    double = Layered(4, 2, 100, n_frames=2, obs_dtype="float64").double()
    assert double.take_action(np.ones(8)) in (0, 1)


class Structured(TorchModel):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.place, self.eye = torch.nn.Linear(2, 2), torch.nn.Linear(12, 2)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.05)

    def forward(self, states):
        return self.place(states["place"]) + self.eye(states["more"]["eye"].float() / 255)

    def take_action(self, state):
        batched = {
            "place": torch.as_tensor(state["place"]),
            "more": {"eye": torch.as_tensor(state["more"]["eye"]).reshape(-1)},
        }
        with torch.no_grad():
            values = self(batched)
        values[torch.as_tensor(~self.mask.of_state(state))] = -torch.inf
        return int(values.argmax())

    def train_step(self):
        states, actions, rewards, _, _, valid = self.memory.sample(16)
        errors = self(states).gather(1, actions) - rewards
        loss = (errors.square() * valid).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


def test_observations_may_be_mappings(tmp_path):
    size = {"place": 2, "more": {"eye": ((4, 3), "uint8"), "legal": ((2,), "bool")}}
    model = Structured(size, 2, 200, action_mask="more/legal", seed=0)
    rng = np.random.default_rng(0)
    for step in range(100):
        legal = np.arange(2) == step % 2
        eye = rng.integers(256, size=(4, 3)).astype("uint8")
        obs = {"place": rng.normal(size=2), "more": {"eye": eye, "legal": legal}}  # float64
        assert model.take_action(obs) == step % 2
        model.memory.add(obs, step % 2, obs["place"].sum() * (step % 2), False)
    losses = [float(model.train_step()) for _ in range(100)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    model.save(tmp_path / "model", memory=True)
    other = Structured(size, 2, 200, action_mask="more/legal", seed=1)
    other.load(tmp_path / "model")
    assert float(other.train_step()) == float(model.train_step())
