"""Methods inside jax.jit, states moved to the host or between settings of JAX, and JAX's own checks."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trifolium as tri
from trifolium import replay


def filled(**options: Any) -> tri.Buffer:
    buffer = tri.Buffer(32, (2,), backend="jax", seed=0, **options)
    for number in range(10):
        buffer.add([number, 0.0], number % 2, 1.0, number == 9)
    return buffer


METHODS: dict[str, Callable[[tri.Buffer], Any]] = {
    "sample": lambda buffer: buffer.sample(4),
    "sample_sequences": lambda buffer: buffer.sample_sequences(2, 2),
    "state": lambda buffer: buffer.state(),
    "current_state": lambda buffer: buffer.current_state(),
    "an item": lambda buffer: buffer[0][0],
    "rewards": lambda buffer: buffer.rewards,
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_methods_in_compiled_code_raise_an_error(method: Callable[[tri.Buffer], Any]) -> None:
    buffer = filled()
    method(buffer)  # so that what they compile themselves is compiled already
    before = buffer.state()
    with pytest.raises(tri.BackendError, match=r"trifolium\.replay"):
        jax.jit(lambda: method(buffer))()
    with pytest.raises(tri.BackendError, match=r"trifolium\.replay"):
        jax.lax.scan(lambda carry, _: (carry, method(buffer)), 0, length=2)
    for ours, theirs in zip(*map(jax.tree.leaves, (buffer.state(), before)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", [tri.Buffer, partial(tri.Buffer, backend="jax")])
def test_traced_values_given_to_methods_raise_an_error(kind: Any) -> None:
    buffer = kind(32, (2,), sampler=tri.Prioritized())
    with pytest.raises(ValueError, match=r"obs .* trifolium\.replay"):
        jax.jit(lambda obs: buffer.add(obs, 0, 1.0, False))(np.ones(2))
    with pytest.raises(ValueError, match=r"td .* trifolium\.replay"):
        jax.jit(lambda td: buffer.update_priorities([0, 1], td))(np.ones(2))
    assert len(buffer) == 0


def test_a_compiled_train_step_raises_an_error_and_breaks_nothing() -> None:
    model = tri.DDQN(2, 2, 64, backend="jax", seed=0, batch_size=4)
    for number in range(20):
        model.memory.add([number, 0.0], number % 2, 1.0, number == 9)
    for _ in range(2):
        with pytest.raises(tri.BackendError, match=r"trifolium\.replay.*CompiledTraining"):
            jax.jit(model.train_step)()
        assert np.isfinite(float(model.train_step()))


def test_gradients_and_maps_draw_once_a_call() -> None:
    """They record nothing: each call of the function draws anew."""
    buffer = filled()
    loss = jax.grad(lambda weights: (buffer.sample(4).states @ weights).sum())
    assert len({float(loss(jnp.ones(2))[0]) for _ in range(8)}) > 1
    assert jax.vmap(lambda row: buffer.sample(4).states @ row)(jnp.ones((3, 2))).shape == (3, 4)


def grown(state: replay.State, first: int, last: int) -> replay.State:
    """Return a state with steps one by one, without a compilation for each setting of JAX."""
    for number in range(first, last):
        state = replay.add(state, [float(number), 0.0], number % 2, 1.0, number == 9)
    return state


def held(state: replay.State) -> dict[str, Any]:
    return {"obs": state.columns["obs"].tolist(), "marks": state.marks.tolist(), **cursors(state)}


def cursors(state: replay.State) -> dict[str, Any]:
    return {"written": state.written.tolist(), "sizes": state.sizes.tolist()}


@pytest.mark.slow
def test_a_state_made_without_x64_goes_on_with_it() -> None:
    state = replay.init(8, (2,), backend="jax")
    expected = held(grown(state, 0, 11))
    with jax.enable_x64(True):
        assert held(grown(state, 0, 11)) == expected
        bits = np.random.default_rng(0).integers(2**30, size=(4, 2))
        batch = replay.sample(grown(state, 0, 11), bits)
    assert set(batch.states[:, 0].tolist()) <= {3.0 + row for row in range(8)}
    assert batch.valid.all()


def test_a_state_made_with_x64_asks_for_it() -> None:
    with jax.enable_x64(True):
        state = replay.init(8, (2,), backend="jax", action_dtype="int32")
    bits = np.ones((4, 2), np.int32)
    for use in (partial(grown, first=0, last=1), partial(replay.sample, bits=bits), replay.drawable):
        with pytest.raises(tri.BackendError, match="jax_enable_x64"):
            use(state)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [None, tri.Prioritized()])
def test_a_state_on_the_host_goes_on(sampler: Any) -> None:
    state = replay.init(8, (2,), backend="jax", sampler=sampler)
    state = grown(state, 0, 3)
    host = jax.device_get(state)
    assert isinstance(host.written, np.ndarray)
    again, expected = grown(host, 3, 5), grown(state, 3, 5)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(again))
    for ours, theirs in zip(*map(jax.tree.leaves, (again, expected)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    bits = np.random.default_rng(0).integers(2**30, size=(4, 2), dtype=np.int32)
    batch = replay.sample(host, bits)
    assert batch.indices.tolist() == replay.sample(state, bits).indices.tolist()
    if sampler is not None:
        updated = replay.update_priorities(host, np.asarray(batch.indices), np.ones(4))
        assert isinstance(updated.priorities.tree, jax.Array)
    assert int(replay.drawable(host)) == int(replay.drawable(state)) == 2
    assert int(jax.jit(lambda: replay.drawable(host))()) == 2  # a constant of compiled code


CHECKS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "disable_jit": jax.disable_jit,
    "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "debug_nans": lambda: jax.debug_nans(True),
}
EVERYTHING: dict[str, Any] = {
    "n_frames": 2, "n_step": 2, "n_streams": 2, "boundary": "pad", "extras": {"tag": "float32"}
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_the_functions_run_under_checks_of_jax(
    check: Callable[[], AbstractContextManager[Any]],
) -> None:
    steps = {
        "obs": np.ones((3, 2, 2)), "action": np.zeros((3, 2), int), "reward": np.ones((3, 2)),
        "done": np.zeros((3, 2), bool), "truncated": np.eye(3, 2) > 0, "next_obs": np.ones((3, 2, 2)),
        "tag": np.ones((3, 2)),
    }  # fmt: skip
    bits = np.random.default_rng(0).integers(2**30, size=(4, 2), dtype=np.int32)
    with check():
        state = replay.init(16, (2,), backend="jax", sampler=tri.Prioritized(), **EVERYTHING)
        empty = replay.sample(state, bits)
        assert not empty.valid.any()
        state = replay.add(state, **steps)
        batch = replay.sample(state, bits)
        state = replay.update_priorities(state, batch.indices, batch.rewards)
        frames = replay.current_state(state)
    assert batch.valid.any()
    assert bool(jnp.isfinite(batch.weights).all())
    assert frames.shape == (2, 1, 2)
    assert int(state.priorities.largest[0]) >= 1


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_a_buffer_runs_under_checks_of_jax(check: Callable[[], AbstractContextManager[Any]]) -> None:
    with check():
        buffer = tri.Buffer(16, (2,), backend="jax", seed=0, sampler=tri.Prioritized(), **EVERYTHING)
        for number in range(5):
            ends = np.array([number == 3, False])
            buffer.add(np.full((2, 2), number), [0, 1], [1.0, 2.0], ends, tag=[0.0, 1.0])
        batch = buffer.sample(3)
        buffer.update_priorities(batch.indices, batch.rewards)
        assert buffer.sample_sequences(2, 2).rewards.shape == (2, 2, 1)
        assert buffer.current_state(1).shape == (1, 2)
        again = tri.Buffer.from_state(buffer.state())
    assert len(again) == len(buffer) == 10


STRUCTURED = {"camera": ((4, 4, 1), "uint8"), "body": {"pos": (3,)}}


def structured_steps(count: int) -> dict[str, Any]:
    number = jnp.arange(count)
    camera = jnp.zeros((count, 4, 4, 1), jnp.uint8) + number[:, None, None, None].astype(jnp.uint8)
    return {
        "obs": {"camera": camera, "body": {"pos": number[:, None] + jnp.zeros(3)}},
        "action": number % 2,
        "reward": number + 0.5,
        "done": number == 7,
    }


@pytest.mark.slow
def test_structured_states_are_scanned_and_mapped() -> None:
    state = replay.init(16, STRUCTURED, {"camera": 3}, backend="jax")
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    steps = structured_steps(12)
    expected = jax.jit(lambda state, steps: replay.add(state, **steps))(state, steps)

    def one(state: replay.State, step: dict[str, Any]) -> tuple[replay.State, None]:
        return replay.add(state, **step), None

    scanned, _ = jax.jit(lambda state, steps: jax.lax.scan(one, state, steps))(state, steps)
    for ours, theirs in zip(*map(jax.tree.leaves, (scanned, expected)), strict=True):
        np.testing.assert_array_equal(ours, theirs)

    pair = jax.tree.map(lambda array: jnp.stack([array, array]), expected)
    bits = np.random.default_rng(0).integers(2**30, size=(2, 6, 2), dtype=np.int32)
    batches = jax.jit(jax.vmap(partial(replay.sample, flatten=False)))(pair, bits)
    assert batches.states["camera"].shape == (2, 6, 3, 4, 4, 1)
    for lane in range(2):
        alone = jax.jit(partial(replay.sample, flatten=False))(expected, bits[lane])
        mapped = jax.tree.map(lambda array, lane=lane: array[lane], batches)
        for ours, theirs in zip(*map(jax.tree.leaves, (mapped, alone)), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_batches_of_a_buffer_are_mapped() -> None:
    batch = filled().sample(3)
    doubled = jax.tree.map(lambda array: array * 2, batch)
    assert isinstance(doubled, tri.Batch)
    assert doubled.indices.tolist() == [2 * index for index in batch.indices.tolist()]
    assert jax.jit(lambda batch: batch.states.sum())(batch) == batch.states.sum()
