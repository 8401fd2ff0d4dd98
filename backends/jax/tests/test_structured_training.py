"""Training in a graph where observations are mappings, with and without a mask of legal actions."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trifolium as tri
from trifolium_jax import CompiledTraining

from .corridor import Corridor

SIZE = {"place": 1, "more": {"clock": ((2,), "int8"), "legal": ((3,), "bool")}}
OPTIONS: dict[str, Any] = {
    "hidden": (16,),
    "batch_size": 32,
    "learning_rate": 1e-2,
    "n_step": 1,
    "backend": "jax",
    "seed": 0,
    "action_mask": "more/legal",
}


class MaskedCorridor(Corridor):
    """The corridor as a mapping. A third action is never legal, nor is 0 at the wall.

    In the last observation of an episode no action is legal.
    """

    def action_space(self, params: Any) -> Any:
        return SimpleNamespace(n=3)

    def seen(self, state: Any) -> Any:
        goes_on = state.at != self.size - 1
        legal = jnp.stack([goes_on & (state.at > 0), goes_on, False])
        clock = jnp.stack([state.steps, -state.steps]).astype(jnp.int8)
        place = state.at.astype(jnp.float32)[None]
        return {"place": place, "more": {"clock": clock, "legal": legal}}

    def step(self, key: jax.Array, state: Any, action: jax.Array, params: Any) -> Any:
        moved = type(state)(jnp.maximum(state.at + 2 * action - 1, 0), state.steps + 1)
        terminated, truncated = moved.at == self.size - 1, moved.steps >= params["limit"]
        over = terminated | truncated
        reset_obs, reset = self.reset(key, params)

        def pick(first: Any, second: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(over, a, b), first, second)

        reward = jnp.where(terminated, 1.0, -0.125)
        info = {"final_observation": self.seen(moved)}
        obs = pick(reset_obs, self.seen(moved))
        return obs, pick(reset, moved), reward, terminated, truncated, info


@pytest.mark.parametrize("streams", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_it_stores_mappings_and_takes_legal_actions(streams: int) -> None:
    model = tri.DDQN(SIZE, 3, 400, 0.8, n_streams=streams, **OPTIONS)
    CompiledTraining(model, MaskedCorridor(), seed=3, learning_starts=10**6).run(300 - 300 % streams)
    batch = model.memory.sample(model.memory.drawable)
    states, actions, _, next_states, dones, valid = batch
    kept = np.asarray(valid)[:, 0] == 1
    place = np.asarray(states["place"])[kept, 0]
    legal = np.asarray(states["more"]["legal"])[kept]
    taken = np.asarray(actions)[kept, 0]
    assert len(taken) > 250
    assert legal[np.arange(len(taken)), taken].all()
    assert set(taken.tolist()) == {0, 1}
    goes_on = np.asarray(dones)[kept, 0] == 0
    moved = np.asarray(next_states["place"])[kept, 0]
    np.testing.assert_array_equal(moved[goes_on], (place + 2 * taken - 1)[goes_on])
    clock = np.asarray(states["more"]["clock"])[kept]
    np.testing.assert_array_equal(clock[:, 0], -clock[:, 1])
    middle = (place > 0) & (place < 4)
    assert 0.3 < taken[middle].mean() < 0.95  # it explores both ways


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (tri.DDQN, {"n_frames": {"place": 2}}),
        pytest.param(tri.IQN, {"action_quantiles": 8}, marks=pytest.mark.slow),
        pytest.param(tri.DDQN, {"n_streams": 4, "noisy": True}, marks=pytest.mark.slow),
    ],
)
def test_it_learns_the_way_out(kind: Any, options: dict[str, Any]) -> None:
    model = kind(SIZE, 3, 400, 0.3, **OPTIONS | options)
    metrics = CompiledTraining(model, MaskedCorridor(), seed=2, train_every=4, learning_starts=64).run(
        2400
    )
    losses = metrics.losses[~np.isnan(metrics.losses)]
    assert len(losses) > 500
    assert np.isfinite(losses).all()
    with model.greedy():
        for at in range(1, 4):
            legal, clock = np.array([True, True, False]), np.zeros(2)
            frames = next(leaf for leaf in model.memory.spec.leaves if leaf.path == ("place",)).n_frames
            state = {"place": [[at]] * frames, "more": {"clock": clock, "legal": legal}}
            assert model.take_action(state) == 1, f"it goes left from {at}"


def test_models_that_do_not_fit_are_told() -> None:
    with pytest.raises(ValueError, match=r"env has observations of shape \{'more'.*the model takes"):
        CompiledTraining(tri.DDQN(4, 3, 400, backend="jax"), MaskedCorridor())
    other = {**SIZE, "place": 2}
    with pytest.raises(ValueError, match="env has observations of shape"):
        CompiledTraining(tri.DDQN(other, 3, 400, backend="jax"), MaskedCorridor())
