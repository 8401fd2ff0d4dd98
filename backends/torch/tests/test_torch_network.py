"""A module of one's own as the network, and updates through torch.compile."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import trifolium as tri


class Quantiles(nn.Module):
    """States [B, 4] and fractions [B, N] to [B, N, 3]."""

    def __init__(self):
        super().__init__()
        self.states, self.fractions, self.head = nn.Linear(4, 16), nn.Linear(1, 16), nn.Linear(16, 3)

    def forward(self, states, fractions):
        joined = self.states(states)[:, None] * torch.cos(self.fractions(fractions[..., None]))
        return self.head(joined.relu())


def remember(model, steps=300):
    rng = np.random.default_rng(0)
    for step in range(steps):
        obs = rng.normal(size=model.memory.obs_shape)
        action = int(rng.integers(3))
        model.memory.add(obs, action, obs.reshape(-1)[action], step % 29 == 28)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))


CASES = {
    "module": (tri.DDQN, 4, mlp),
    "images": (
        tri.DDQN,
        (6, 5),
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 6, 5)), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)
        ),
    ),
    "normalised": (
        tri.DDQN,
        4,
        lambda: nn.Sequential(nn.BatchNorm1d(4).eval(), nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3)),
    ),
    "quantiles": (tri.IQN, 4, Quantiles),
}


@pytest.mark.parametrize(("kind", "size", "make"), CASES.values(), ids=CASES)
def test_it_learns_in_the_place_of_the_default_one(kind, size, make):
    module = make()
    options = {"learning_rate": 0.01, "gamma": 0.0, "seed": 0, "batch_size": 32}
    model = kind(size, 3, 300, 0.0, backend="torch", network=module, **options)
    remember(model)
    losses = [float(model.train_step()) for _ in range(300)]
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert model.network is module  # the module, with what it has learned
    assert any(not torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_trained_module_acts_as_the_model():
    model = tri.DDQN(4, 3, 300, 0.0, backend="torch", network=mlp(), batch_size=32, seed=0)
    remember(model)
    for _ in range(10):
        model.train_step()
    states = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    with torch.no_grad():
        expected = model.network(torch.from_numpy(states)).argmax(1)
    assert np.array_equal(model.take_actions(states), expected.numpy())
    assert model.take_action(states[0]) == int(expected[0])


def test_saved_and_loaded(tmp_path):
    model = tri.DDQN(4, 3, 300, backend="torch", network=mlp().double().float(), seed=0)
    remember(model)
    model.train_step()
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="network="):
        tri.DDQN.from_file(tmp_path / "model")
    other = tri.DDQN.from_file(tmp_path / "model", network=mlp())
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name])


@pytest.mark.parametrize(("network", "message"), [(len, "nn.Module"), (nn.ReLU(), "no parameters")])
def test_what_is_no_network_is_refused(network, message):
    with pytest.raises(TypeError, match=message):
        tri.DDQN(4, 3, 300, backend="torch", network=network)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (tri.DDQN, {"noisy": True, "n_frames": 2, "max_grad_norm": 0.5, "polyak": 0.05}),
        (tri.IQN, {"learning_rate": tri.Linear(1e-3, 1e-4, 50)}),
    ],
    ids=["ddqn", "iqn"],
)
def test_compiled_updates_are_the_same_and_compile_once(kind, options):
    def model(compile):
        made = kind(4, 3, 300, backend="torch", seed=0, batch_size=32, compile=compile, **options)
        remember(made)
        return made

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain, compiled = model(compile=False), model(compile=True)
    expected = [float(plain.train_step()) for _ in range(30)]
    found = [float(compiled.train_step()) for _ in range(30)]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]


def normalised():
    """Return a network with all that tells training from evaluation, and keeps statistics."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3)
    )


def statistics(module):
    return {name: value.clone() for name, value in module.named_buffers()}


class TestTrainingAndEvaluation:
    @staticmethod
    def model(network, **options):
        options = {"learning_rate": 0.01, "gamma": 0.0, "seed": 0, "batch_size": 32} | options
        model = tri.DDQN(4, 3, 300, 0.0, backend="torch", network=network, **options)
        remember(model)
        return model

    def test_acting_is_in_eval_mode(self):
        model = self.model(normalised())
        for _ in range(20):
            model.train_step()
        states = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
        with model.greedy():
            values = [model.action_values(state) for state in states]
            assert all(np.array_equal(model.action_values(states[0]), values[0]) for _ in range(10))
            actions = [
                model.take_action(state) for state in states
            ]  # one row, in training mode an error
        exported = model.network.eval()
        with torch.no_grad():
            expected = exported(torch.from_numpy(states)).numpy()
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
        assert actions == expected.argmax(1).tolist()

    def test_updates_are_in_train_mode(self):
        model = self.model(normalised(), learning_rate=1e-12)
        model.memory.rng = np.random.Generator(np.random.Philox(0))
        losses = {float(model.train_step()) for _ in range(5)}
        still = self.model(normalised().eval(), learning_rate=1e-12)
        before, after = statistics(normalised()), statistics(model.network)
        assert after["1.num_batches_tracked"] == 5
        assert not torch.equal(before["1.running_mean"], after["1.running_mean"])
        for _ in range(5):
            still.train_step()
        assert all(torch.equal(before[n], v) for n, v in statistics(still.network).items())
        assert len(losses) == 5

    def test_running_statistics_are_those_of_a_plain_loop(self):
        model = self.model(normalised(), learning_rate=1e-12)
        model.memory.rng = np.random.Generator(np.random.Philox(7))
        plain = normalised()
        twin = self.model(normalised())
        twin.memory.rng = np.random.Generator(np.random.Philox(7))
        for _ in range(10):
            model.train_step()
            plain(twin.memory.sample(32).states)
        for name, value in statistics(model.network).items():
            torch.testing.assert_close(value, dict(plain.named_buffers())[name], rtol=1e-4, atol=1e-5)

    def test_modes_of_the_module_are_left_alone(self):
        module = normalised()
        module[1].eval()
        model = self.model(module)
        model.network.eval()  # by a user who evaluates it
        model.train_step()
        assert model.network[1].num_batches_tracked == 0
        model.take_action(np.zeros(4))
        assert not model.network.training

    def test_saved_loaded_and_copied(self, tmp_path):
        model = self.model(normalised())
        for _ in range(10):
            model.train_step()
        model.save(tmp_path / "model")
        loaded = tri.DDQN.from_file(tmp_path / "model", network=normalised())
        copies = [loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        states = np.random.default_rng(1).normal(size=(20, 4))
        for other in copies:
            for name, value in model.network.state_dict().items():
                assert torch.equal(value, other.network.state_dict()[name]), name
            assert np.array_equal(other.take_actions(states), model.take_actions(states))
        before = statistics(copies[1].network)
        model.train_step()
        assert all(torch.equal(before[n], v) for n, v in statistics(copies[1].network).items())

    def test_a_file_without_statistics_still_loads(self, tmp_path, monkeypatch):
        model = self.model(normalised())
        model.train_step()
        state = model.state()
        old = {name: value for name, value in state.items() if not name.startswith("statistics.")}
        assert len(old) < len(state)
        monkeypatch.setattr(model, "state", lambda: old)
        model.save(tmp_path / "model")
        again = tri.DDQN.from_file(tmp_path / "model", network=normalised())
        assert np.array_equal(again.state()["params.4.bias"], state["params.4.bias"])

    def test_compiled_updates_keep_no_statistics(self):
        with pytest.raises(ValueError, match=r"compile=True.*1\.running_mean.*eval mode"):
            self.model(normalised(), compile=True)


class Joined(nn.Module):
    """A picture and a vector, each a flat array of the mapping, to [B, 3]."""

    def __init__(self):
        super().__init__()
        self.eye, self.body = nn.Linear(2 * 12, 16), nn.Linear(3, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, states):
        seen = self.eye(states["eye"] / 255) + self.body(states["more"]["body"])
        return self.head(seen.relu())


@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_module_gets_a_mapping(compile):
    size = {"eye": ((4, 3), "uint8"), "more": {"body": 3, "legal": ((3,), "bool")}}
    torch.manual_seed(0)
    model = tri.DDQN(
        size,
        3,
        200,
        network=Joined(),
        n_frames={"eye": 2},
        action_mask="more/legal",
        backend="torch",
        batch_size=16,
        seed=0,
        compile=compile,
    )
    rng = np.random.default_rng(0)
    for step in range(60):
        legal = np.arange(3) == step % 3
        eye = rng.integers(256, size=(4, 3)).astype("uint8")
        obs = {"eye": eye, "more": {"body": rng.normal(size=3), "legal": legal}}
        stacked = {**obs, "eye": np.stack([eye, eye])}
        assert model.take_action(stacked) == step % 3
        model.memory.add(obs, step % 3, 1.0, step % 10 == 9)
    assert all(np.isfinite(float(model.train_step())) for _ in range(5))
    flat = {
        "eye": torch.tensor(stacked["eye"].reshape(1, -1)).float(),
        "more": {"body": torch.tensor(obs["more"]["body"])[None].float()},
    }
    expected = model.network(flat).detach().numpy()[0]
    values = model.action_values(stacked)
    np.testing.assert_allclose(values[legal], expected[legal], rtol=1e-5)
