"""Updates that are recorded and repeated: the same as those that run as they are, bit for bit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import trifolium as tri
from trifolium.models.ddqn import QLearning
from trifolium_torch.repeating import CALLS_BEFORE, PROGRAMS

OPTIONS: dict[str, Any] = {"hidden": (8,), "batch_size": 16, "seed": 0}
CASES: dict[str, dict[str, Any]] = {
    "ddqn": {},
    "dqn": {"double": False, "n_step": 1, "huber_delta": None, "target_update": 7},
    "polyak": {"polyak": 0.01},
    "noisy, dueling": {"noisy": True, "dueling": True},
    "clipped": {"max_grad_norm": 0.1},
    "schedule": {"learning_rate": tri.Linear(1e-3, 1e-5, 300)},
    "priorities": {"sampler": tri.Prioritized},
    "iqn": {"kind": tri.IQN, "quantiles": 4, "target_quantiles": 4, "action_quantiles": 4},
    "pair": {"optimizer": (lambda params: {}, lambda grads, state, _: (_scaled(grads), state))},
}


def _scaled(grads: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: -0.01 * grad for name, grad in grads.items()}


def filled(backend: tri.Backend, kind: Any = tri.DDQN, **options: Any) -> tri.Learner:
    if "sampler" in options:
        options["sampler"] = options["sampler"]()
    model: tri.Learner = kind(3, 2, 400, backend=backend, **OPTIONS | options)
    rng = np.random.default_rng(0)
    for step in range(300):
        model.memory.add(rng.normal(size=3).astype(np.float32), step % 2, 1.0, step % 10 == 9)
    return model


def updated(model: tri.Learner, count: int) -> list[float]:
    return [float(model.train_step()) for _ in range(count)]


def same_state(one: tri.Learner, other: tri.Learner) -> bool:
    return all(np.array_equal(array, other.state()[name]) for name, array in one.state().items())


class Counting(tri.DDQN):
    """A DDQN that counts how often Python computes its losses."""

    losses = 0

    def make_algorithm(self, network: Any) -> Any:
        def count() -> None:
            self.losses += 1

        return CountedLosses(network, None, False, None, count)


@dataclass(frozen=True)
class CountedLosses(QLearning):
    """Q-learning that tells when its losses are computed."""

    count: Any = None

    def losses(self, *args: Any) -> Any:
        self.count()
        return super().losses(*args)


def test_python_computes_losses_until_they_are_recorded(backend: tri.Backend) -> None:
    model = filled(backend, Counting)
    updated(model, CALLS_BEFORE + 20)
    assert model.losses == CALLS_BEFORE + 1  # type: ignore[attr-defined]


QUICK = ("dqn", "schedule", "iqn")


@pytest.mark.parametrize(
    "case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_repeated_updates_are_those_that_run_as_they_are(backend: tri.Backend, case: str) -> None:
    repeated, plain = filled(backend, **CASES[case]), filled(backend, **CASES[case])
    count = CALLS_BEFORE + 30
    with torch.autograd.set_detect_anomaly(True, check_nan=False):  # nothing is recorded then
        expected = updated(plain, count)
    assert updated(repeated, count) == expected
    assert same_state(repeated, plain)


def test_each_size_of_minibatch_is_recorded(backend: tri.Backend) -> None:
    model = filled(backend, Counting)
    sizes = [8, 16, 24, 32, 40, 8, 40, 16]
    updated(model, CALLS_BEFORE)
    before = model.losses  # type: ignore[attr-defined]
    for size in sizes:
        model.batch_size = size
        updated(model, 3)
    left_over = 6  # updates on 40 rows
    assert len(set(sizes)) == PROGRAMS + 1
    assert model.losses == before + PROGRAMS + left_over  # type: ignore[attr-defined]


def test_changes_between_updates_count(backend: tri.Backend, tmp_path: Any) -> None:
    """Loaded weights, another learning rate, and updates that run as they are in between."""
    repeated, plain = filled(backend), filled(backend)
    plain.save(tmp_path / "model", memory=True)
    found: list[list[float]] = []
    for model, watches in ((repeated, False), (plain, True)):
        with torch.autograd.set_detect_anomaly(watches, check_nan=False):
            losses = updated(model, CALLS_BEFORE + 5)
            model.learning_rate = 1e-4
            losses += updated(model, 5)
        with torch.autograd.set_detect_anomaly(True, check_nan=False):
            losses += updated(model, 5)
        with torch.autograd.set_detect_anomaly(watches, check_nan=False):
            losses += updated(model, 5)
            model.load(tmp_path / "model")
            losses += updated(model, 5)
        found.append(losses)
    assert found[0] == found[1]
    assert same_state(repeated, plain)


class Module(torch.nn.Module):
    """A network with an effect that no recording sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        self.calls: list[int] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> "Module":
        made = Module()
        made.calls = self.calls
        return made

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(states))
        found: torch.Tensor = self.layer(states)
        return found


def test_a_users_module_runs_with_each_update(backend: tri.Backend) -> None:
    network = Module()
    model = filled(backend, network=network, hidden=(128, 128))
    updated(model, CALLS_BEFORE + 20)
    network.calls.clear()
    updated(model, 10)
    assert len(network.calls) == 30


def test_an_optimizer_of_torch_runs_with_each_update(backend: tri.Backend) -> None:
    model, plain = filled(backend, optimizer=torch.optim.Adam), filled(backend)
    count = CALLS_BEFORE + 20
    np.testing.assert_allclose(updated(model, count), updated(plain, count), rtol=1e-3)


def test_the_users_setting_for_denormal_numbers_is_kept(backend: tri.Backend) -> None:
    model, small, one = filled(backend), 5e-324, 1.0
    updated(model, 1)
    assert small * one > 0.0
    torch.set_flush_denormal(True)
    try:
        updated(model, 1)
        assert small * one == 0.0
    finally:
        torch.set_flush_denormal(False)


def test_moments_of_adam_do_not_become_denormal(backend: tri.Backend) -> None:
    """Means decay by a tenth with each update where a gradient is 0, and end at 0."""
    if not backend.shares_host_memory:
        pytest.skip("only a CPU computes with denormal numbers slowly")
    model = filled(backend, hidden=(64,), learning_rate=0.1)
    updated(model, 1_500)
    for name, array in model.state().items():
        if name.startswith("optimizer.mean"):
            small = np.abs(array[array != 0.0])
            assert (small >= np.finfo(np.float32).tiny).all(), name


@pytest.mark.slow
@pytest.mark.parametrize("case", ["ddqn", "dqn", "noisy, dueling", "schedule", "iqn"])
def test_compiled_updates_are_close(backend: tri.Backend, case: str) -> None:
    """On a GPU they are captured in a CUDA graph."""
    compiled = filled(backend, **CASES[case], compile=True)
    plain = filled(backend, **CASES[case])
    np.testing.assert_allclose(updated(compiled, 60), updated(plain, 60), rtol=1e-3, atol=1e-5)
    compiled.batch_size = plain.batch_size = 24
    np.testing.assert_allclose(updated(compiled, 20), updated(plain, 20), rtol=1e-2, atol=1e-4)
    compiled.batch_size = plain.batch_size = 16
    np.testing.assert_allclose(updated(compiled, 20), updated(plain, 20), rtol=1e-2, atol=1e-4)
