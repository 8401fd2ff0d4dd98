"""Learners with an optimizer of the user's own."""

from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.models import nested

OPTIONS: dict[str, Any] = {"hidden": (8,), "batch_size": 16, "n_step": 1, "seed": 0}


def momentum_init(params):
    return {"momentum": {name: 0.0 * value for name, value in params.items()}, "rate": (0.05,)}


def momentum_update(grads, state, params):
    momentum = {name: 0.9 * state["momentum"][name] + grads[name] for name in params}
    rate = state["rate"][0]
    updates = {name: -rate * value for name, value in momentum.items()}
    return updates, {"momentum": momentum, "rate": (rate * 0.99,)}


MOMENTUM = (momentum_init, momentum_update)


def filled(backend: tri.Backend, kind: Any = tri.DDQN, **options: Any) -> Any:
    model = kind(3, 2, 100, backend=backend, **OPTIONS | options)
    rng = np.random.default_rng(0)
    for step in range(60):
        model.memory.add(rng.normal(size=3).astype(np.float32), step % 2, 1.0, step % 10 == 9)
    return model


def losses(model: Any, count: int) -> list[float]:
    return [float(model.train_step()) for _ in range(count)]


@pytest.mark.parametrize("kind", [tri.DDQN, tri.IQN])
def test_a_pair_is_used_the_same_way_on_every_backend(learner: tri.Backend, kind: Any) -> None:
    ours, theirs = (
        filled(backend, kind, optimizer=MOMENTUM) for backend in (learner, tri.get_backend("numpy"))
    )
    plain = filled(learner, kind)
    expected = losses(theirs, 20)
    assert losses(ours, 20) == pytest.approx(expected, rel=1e-3)
    assert losses(plain, 20) != pytest.approx(expected, rel=1e-3)
    assert float(ours.state()["optimizer.rate.0"]) == pytest.approx(0.05 * 0.99**20, rel=1e-5)


def test_its_state_is_saved_and_loaded(learner: tri.Backend, tmp_path: Any) -> None:
    model = filled(learner, optimizer=MOMENTUM)
    losses(model, 5)
    model.save(tmp_path / "model", memory=True)
    again = tri.DDQN(3, 2, 100, backend=learner, optimizer=MOMENTUM, **OPTIONS)
    again.load(tmp_path / "model")
    assert losses(again, 5) == losses(model, 5)
    from_file = tri.DDQN.from_file(tmp_path / "model", backend=learner, optimizer=MOMENTUM)
    assert losses(from_file, 10)[5:] == losses(again, 5)


def test_a_file_says_that_the_optimizer_is_missing(learner: tri.Backend, tmp_path: Any) -> None:
    filled(learner, optimizer=MOMENTUM).save(tmp_path / "model")
    with pytest.raises(ValueError, match="give optimizer= again"):
        tri.DDQN.from_file(tmp_path / "model")
    with pytest.raises(tri.CheckpointError, match=r"optimizer\."):
        tri.DDQN(3, 2, 100, backend=learner, **OPTIONS).load(tmp_path / "model")


@pytest.mark.parametrize("option", [{"learning_rate": 0.1}, {"adam_epsilon": 0.1}])
def test_options_without_effect_are_refused(learner: tri.Backend, option: dict[str, Any]) -> None:
    name = next(iter(option))
    with pytest.raises(ValueError, match=f"{name}=0.1 has no effect with optimizer="):
        filled(learner, optimizer=MOMENTUM, **option)


@pytest.mark.parametrize("wrong", ["adam", 0.1, (momentum_init,)])
def test_other_things_are_refused(learner: tri.Backend, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"optimizer=.*\(init, update\)"):
        filled(learner, optimizer=wrong)


def test_names_of_nested_leaves() -> None:
    value = {"a": (1, [2, None]), "b.c": {}, "d": None}
    assert dict(nested.leaves(value, "x")) == {"x.a.0": 1, "x.a.1.0": 2}
    assert nested.mapped(lambda _, leaf: leaf, value) == value
