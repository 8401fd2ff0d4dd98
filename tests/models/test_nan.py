"""NaN in an observation reaches the loss and the weights, and the same ones on every backend."""

from typing import Any

import numpy as np
import pytest

import trifolium as tri

CASES = {
    "plain": (tri.DDQN, {}),
    "huber": (tri.DDQN, {"huber_delta": 1.0}),
    "dueling": (tri.DDQN, {"dueling": True}),
    "clipped": (tri.DDQN, {"max_grad_norm": 1.0}),
    "noisy": (tri.DDQN, {"noisy": True}),
    "images": (tri.DDQN, {"input_size": (6, 6), "convolutions": [(3, 3, 1)]}),
    "iqn": (tri.IQN, {"quantiles": 4, "target_quantiles": 4, "action_quantiles": 4}),
}
QUICK = ("plain", "images", "iqn")


@pytest.mark.parametrize(
    "case",
    [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow_on("jax")) for case in CASES],
)
@pytest.mark.parametrize("where", ["state", "next state"])
def test_nan_is_not_hidden(learner: tri.Backend, case: str, where: str) -> None:
    kind, options = CASES[case]
    ours, theirs = (
        after_nan(kind, options, backend, where) for backend in (learner, tri.get_backend("numpy"))
    )
    assert np.isnan(theirs["loss"])
    assert any(np.isnan(value).any() for name, value in theirs.items() if "params" in name)
    for name, value in theirs.items():
        np.testing.assert_array_equal(np.isnan(ours[name]), np.isnan(value), err_msg=name)


def after_nan(kind: Any, options: dict[str, Any], backend: tri.Backend, where: str) -> dict[str, Any]:
    """Return the state of a model, and its loss, after an update with one number that is NaN."""
    shape = options.get("input_size", (4,))
    model = kind(
        **{"input_size": shape, "hidden": (8, 6), "batch_size": 16, "seed": 0} | options,
        action_space=3,
        memory_size=64,
        backend=backend,
    )
    rng = np.random.default_rng(0)
    for step in range(17):  # every row but the newest is in each minibatch
        obs = rng.normal(size=shape).astype(np.float32)
        if step == (5 if where == "state" else 16):
            obs.reshape(-1)[0] = np.nan
        model.memory.add(obs, step % 3, 1.0, False)
    loss = model.train_step()
    return model.state() | {"loss": model.backend.to_numpy(loss)}
