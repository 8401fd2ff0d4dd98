"""Training in a graph: what it stores, what it learns, and that it is one call."""

import re
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trifolium as tri
from trifolium_jax import CompiledTraining
from trifolium_jax.graph import Graph

from .corridor import Corridor, OldCorridor

OPTIONS: dict[str, Any] = {
    "hidden": (16, 16),
    "batch_size": 32,
    "learning_rate": 1e-2,
    "boundary": "pad",
    "n_step": 1,
    "backend": "jax",
}
CLIPPED: dict[str, Any] = {
    "n_step": 3,
    "max_grad_norm": 0.5,
    "learning_rate": tri.Linear(1e-2, 0.0, 1500),
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "noisy": {"noisy": True, "dueling": True, "n_frames": 3, **CLIPPED},
    "prioritized": {"sampler": tri.Prioritized, "n_streams": 4, "polyak": 0.1},
}


def ddqn(
    seed: int = 0, memory_size: int = 400, epsilon: Any = 0.3, sampler: Any = None, **options: Any
) -> tri.DDQN:
    if sampler is not None:
        options["sampler"] = sampler()  # each memory needs one of its own
    options = OPTIONS | {"huber_delta": None} | options
    return tri.DDQN(2, 2, memory_size, epsilon, seed=seed, **options)


def iqn(seed: int = 0, **options: Any) -> tri.IQN:
    return tri.IQN(2, 2, 400, 0.3, seed=seed, action_quantiles=8, cosines=16, **(OPTIONS | options))


def params_of(model: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(model.progress.learned)]


def same(ours: Any, theirs: Any) -> None:
    for our, their in zip(params_of(ours), params_of(theirs), strict=True):
        np.testing.assert_array_equal(our, their)


def close(ours: Any, theirs: Any) -> None:
    for our, their in zip(params_of(ours), params_of(theirs), strict=True):
        np.testing.assert_allclose(our, their, rtol=2e-4, atol=2e-5)


# What is stored


def test_stores_what_the_environment_does() -> None:
    """Every row follows from the one before by the rules of the corridor, ends of episodes included."""
    model = ddqn(epsilon=0.8)
    metrics = CompiledTraining(model, Corridor(), seed=3, learning_starts=10**6).run(300)
    memory = model.memory
    batch = memory.sample(memory.drawable)
    states, actions, rewards, next_states, dones, valid = map(np.asarray, batch)
    place, steps = states[:, 0], states[:, 1]
    kept = valid[:, 0] == 1
    assert kept.sum() >= 290  # all but the newest, which waits for its successor
    moved = np.maximum(place + 2 * actions[:, 0] - 1, 0)
    np.testing.assert_array_equal(dones[kept, 0], (moved == 4)[kept])
    followed = kept & (dones[:, 0] == 0)
    expected = np.stack([moved, steps + 1], axis=1)
    np.testing.assert_array_equal(next_states[followed], expected[followed])
    np.testing.assert_array_equal(rewards[kept, 0], np.where(moved == 4, 1.0, -0.125)[kept])
    cut = kept & (steps == 11) & (moved != 4)
    assert cut.any(), "no episode was cut off"
    assert (next_states[cut, 1] == 12).all(), "a truncated step is followed by another episode"
    assert np.isfinite(metrics.returns).sum() == (metrics.lengths > 0).sum() > 20


@pytest.mark.slow
def test_metrics_are_those_of_the_episodes() -> None:
    model = ddqn(epsilon=1.0)
    metrics = CompiledTraining(model, Corridor(), {"limit": 6}, seed=1).run(200)
    ends = np.flatnonzero(metrics.lengths)
    np.testing.assert_array_equal(np.diff(ends), metrics.lengths[ends][1:])
    assert metrics.lengths.max() == 6
    won = metrics.lengths[ends] * -0.125 + 1.125
    lost = metrics.lengths[ends] * -0.125
    returns = metrics.returns[ends]
    assert np.all((returns == won) | ((returns == lost) & (metrics.lengths[ends] == 6)))
    assert metrics.last_return(2) == pytest.approx(returns[-2:].mean())
    assert np.isnan(metrics._replace(returns=np.full(5, np.nan)).last_return())


@pytest.mark.slow
def test_epsilon_is_the_part_of_random_actions() -> None:
    """Of a model that goes left by itself, half of the random actions go right."""
    model = ddqn(memory_size=8000, epsilon=tri.Linear(0.8, 0.0, 4000))
    head = dict(model.progress.learned.params)
    bias = next(name for name in head if head[name].shape == (2,))
    head[bias] = jnp.array([1e3, 0.0])
    model.progress = model.progress._replace(learned=model.progress.learned._replace(params=head))
    CompiledTraining(model, Corridor(), learning_starts=10**6).run(3900)
    rights = np.asarray(model.memory.actions).reshape(-1)
    assert rights[:600].mean() == pytest.approx(0.34, abs=0.08)  # ends of episodes are rows too
    assert rights[3000:3600].mean() == pytest.approx(0.09, abs=0.05)
    assert model.epsilon == pytest.approx(0.8 * 101 / 4000, abs=1e-3)


# What is learned


def stand_still(self: Graph, params: Any, memory: Any, play: Any, epsilon: Any, draws: Any) -> Any:
    """Take the place of acting, so that the memory stays as it is."""
    return memory, play, (jnp.full(1, jnp.nan), jnp.zeros(1, jnp.int32))


@pytest.mark.parametrize(
    "chosen",
    [{}, pytest.param({**CLIPPED, "huber_delta": 0.1}, marks=pytest.mark.slow)],
    ids=["plain", "clipped"],
)
def test_an_update_is_that_of_train_step(
    chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minibatches of all rows there are: then nothing depends on how rows are drawn but their order."""
    options = {"target_update": 2, "memory_size": 65, "batch_size": 64, **chosen}
    model, twin = ddqn(**options), ddqn(**options)
    filler = CompiledTraining(model, Corridor(), seed=5, learning_starts=10**6)
    filler.run(80)
    model.memory.end_episode()  # as another training would
    twin.memory = tri.Buffer.from_state(model.memory.state(), seed=0)
    rows = model.memory.drawable
    model.batch_size = twin.batch_size = rows
    training = CompiledTraining(
        model, Corridor(), seed=5, train_every=1, updates_per_train=5, draw="subset"
    )
    monkeypatch.setattr(Graph, "_act", stand_still)
    losses = training.run(1).losses
    expected = [float(twin.train_step()) for _ in range(5)]
    assert losses[0] == pytest.approx(np.mean(expected), rel=1e-3)
    close(model, twin)
    assert model.progress.updates == twin.progress.updates == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (ddqn, "plain"),
        (ddqn, "noisy"),
        (ddqn, "prioritized"),
        (iqn, "plain"),
    ],
)
def test_learns_the_way_out(kind: str, make: Any) -> None:
    model = make(**KINDS[kind])
    CompiledTraining(model, Corridor(), seed=3, train_every=2, learning_starts=64).run(2400)
    with model.greedy():
        for place in range(4):
            frames = [np.zeros(2)] * (model.memory.n_frames - 1) + [np.array([place, 0.0])]
            assert model.take_action(np.concatenate(frames)) == 1, f"it goes left from {place}"


@pytest.mark.slow
def test_models_side_by_side_are_as_if_alone() -> None:
    together = [ddqn(seed) for seed in (0, 1, 2)]
    both = CompiledTraining(together, Corridor(), seed=4, train_every=4, learning_starts=40).run(240)
    alone = ddqn(0)
    metrics = CompiledTraining(alone, Corridor(), seed=4, train_every=4, learning_starts=40).run(240)
    np.testing.assert_allclose(both.returns[0], metrics.returns, rtol=1e-5)
    np.testing.assert_allclose(both.losses[0], metrics.losses, rtol=1e-3)
    close(together[0], alone)
    assert both.returns.shape == (3, 240)
    assert both.losses.shape == (3, 60)
    assert len({float(np.nansum(row)) for row in both.losses}) == 3


@pytest.mark.slow
def test_learning_starts_when_it_is_told_to() -> None:
    model = ddqn()
    metrics = CompiledTraining(
        model, Corridor(), train_every=10, updates_per_train=3, learning_starts=100
    ).run(200)
    assert np.isnan(metrics.losses[:10]).all()
    assert np.isfinite(metrics.losses[10:]).all()
    assert model.progress[1:] == (200, 30)


# One call


def test_a_second_run_compiles_nothing_and_goes_on() -> None:
    training = CompiledTraining(ddqn(), Corridor(), train_every=4, learning_starts=20)
    for _ in range(3):
        training.run(40)
    assert len(training._programs) == 1


def test_the_memory_is_not_copied_in_the_loop() -> None:
    """A copy of a column in the loop would make a step as slow as the memory is large."""
    rows = 4001
    training = CompiledTraining(ddqn(memory_size=rows), Corridor(), train_every=4)
    training.compile(400)
    (program,) = training._programs.values()
    text = program.as_text()
    loops = text[: text.index("\nENTRY")]
    assert f"[{rows}" in loops
    assert re.findall(rf"= \w+\[{rows}[,\]][^\n]* copy\(", loops) == []


@pytest.mark.slow
def test_progress_is_told_a_hundred_times() -> None:
    told: list[tuple[int, float]] = []
    training = CompiledTraining(ddqn(), Corridor(), train_every=2, learning_starts=10**6)
    metrics = training.run(1000, on_progress=lambda step, mean: told.append((step, mean)))
    assert len(told) == 100
    assert all(before[0] < after[0] for before, after in pairwise(told))
    assert told[-1][0] == 1000
    ended = metrics.returns[990:]
    assert told[-1][1] == pytest.approx(np.nanmean(ended), nan_ok=True)


@pytest.mark.slow
def test_goes_on_to_the_bit_from_a_file(tmp_path: Path) -> None:
    def begin() -> tuple[tri.DDQN, CompiledTraining]:
        options = KINDS["prioritized"]
        model = ddqn(epsilon=tri.Linear(1.0, 0.1, 200), memory_size=120, **options)
        return model, CompiledTraining(model, Corridor(), seed=7, train_every=4, learning_starts=40)

    whole, training = begin()
    training.run(160)
    expected = training.run(160)
    first, training = begin()
    training.run(160, memories=False)
    training.store_memories()
    first.save(tmp_path / "model", memory=True)
    kept = training.state()
    second, training = begin()
    second.load(tmp_path / "model")
    training.restore(kept)
    found = training.run(160)
    np.testing.assert_array_equal(found.returns, expected.returns)
    np.testing.assert_array_equal(found.losses, expected.losses)
    same(second, whole)


@pytest.mark.slow
def test_the_result_is_a_model_like_any_other(tmp_path: Path) -> None:
    model = ddqn()
    CompiledTraining(model, Corridor(), train_every=4, learning_starts=40).run(400)
    model.save(tmp_path / "model")
    loaded = tri.DDQN.from_file(tmp_path / "model", backend="numpy")
    for place in range(4):
        state = np.array([place, 0.0])
        np.testing.assert_allclose(
            loaded.action_values(state), model.action_values(state), rtol=1e-4, atol=1e-5
        )
    before = params_of(model)[0]
    model.train_step()
    assert not np.array_equal(before, params_of(model)[0])


@pytest.mark.slow
def test_a_run_of_a_memory_with_rows_adds_to_them() -> None:
    model = ddqn(memory_size=1000)
    model.memory.add([9.0, 9.0], 0, 0.0, True)
    CompiledTraining(model, Corridor(), learning_starts=10**6).run(10)
    assert len(model.memory) > 10
    np.testing.assert_array_equal(np.asarray(model.memory.states)[0].reshape(-1), [9.0, 9.0])


@pytest.mark.slow
def test_a_run_that_broke_off_leaves_the_model_as_it_was() -> None:
    model = ddqn()
    before = params_of(model)

    def fail(step: int, mean: float) -> None:
        raise RuntimeError("enough")

    training = CompiledTraining(model, Corridor(), train_every=4, learning_starts=8)
    with pytest.raises(Exception, match="enough"):
        training.run(80, on_progress=fail)
    for was, now in zip(before, params_of(model), strict=True):
        np.testing.assert_array_equal(was, now)
    assert len(model.memory) == 0
    with pytest.raises(RuntimeError, match="a run broke off"):
        training.run(80)


# Mistakes


class Own:
    """A sampler of a user's own; it is never asked."""

    draw = update = clear = state = restore = None
    options: ClassVar = {}


class WideCorridor(Corridor):
    def seen(self, state: Any) -> jax.Array:
        return jnp.zeros(3)


class LongCorridor(Corridor):
    def action_space(self, params: Any) -> Any:
        return SimpleNamespace(n=3)


class EndlessCorridor(Corridor):
    def action_space(self, params: Any) -> Any:
        return SimpleNamespace(shape=(1,))


def stubborn(count: int) -> float:
    return 0.5 if count < 10 else 0.1


MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    "no models": (lambda: CompiledTraining([], Corridor()), ValueError, "models are none"),
    "another kind": (
        lambda: CompiledTraining(tri.RandomModel(2, 2, 10, backend="jax"), Corridor()),  # type: ignore[arg-type]
        TypeError,
        "RandomModel",
    ),
    "a kind among others": (
        lambda: CompiledTraining([ddqn(), iqn()], Corridor()),
        ValueError,
        "differ in more than their seeds",
    ),
    "another sampler": (
        lambda: CompiledTraining(ddqn(sampler=Own), Corridor()),
        TypeError,
        "the sampler Own, which can't be compiled",
    ),
    "another backend": (
        lambda: CompiledTraining(ddqn(backend="numpy"), Corridor()),
        ValueError,
        "backend='numpy'; expected 'jax'",
    ),
    "observations": (
        lambda: CompiledTraining(ddqn(), WideCorridor()),
        ValueError,
        r"observations of shape \(3,\); the model takes \(2,\)",
    ),
    "actions": (lambda: CompiledTraining(ddqn(), LongCorridor()), ValueError, "3 actions.* has 2"),
    "no actions": (
        lambda: CompiledTraining(ddqn(), EndlessCorridor()),
        ValueError,
        "no discrete actions",
    ),
    "an old step": (
        lambda: CompiledTraining(ddqn(), OldCorridor()),
        ValueError,
        "env.step returns 5 values; expected .*terminated, truncated, info",
    ),
    "a schedule": (
        lambda: CompiledTraining(ddqn(epsilon=stubborn), Corridor()),
        TypeError,
        "epsilon=.*stubborn.*can't be part of a graph; expected",
    ),
    "a draw": (
        lambda: CompiledTraining(ddqn(), Corridor(), draw="all"),
        ValueError,
        "draw='all'; expected one of stratified",
    ),
    "train_every": (
        lambda: CompiledTraining(ddqn(n_streams=4), Corridor(), train_every=6),
        ValueError,
        "train_every=6 and the 4 environments",
    ),
    "steps": (
        lambda: CompiledTraining(ddqn(), Corridor(), train_every=8).run(20),
        ValueError,
        "steps=20; expected a multiple of 8, .* such as 16 or 24",
    ),
    "a foreign state": (
        lambda: CompiledTraining(ddqn(), Corridor()).restore({"steps": 3}),
        LookupError,
        "play.0",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told(name: str) -> None:
    make, kind, message = MISTAKES[name]
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.slow
def test_a_second_training_begins_episodes_in_the_memory() -> None:
    """Its environments are reset, so the step that the first one left open has no known successor."""
    model = tri.DDQN(2, 2, 400, 1.0, n_streams=2, n_step=1, backend="jax", seed=0)
    for seed in (0, 1):
        training = CompiledTraining(
            model, Corridor(), {"limit": 1_000}, seed=seed, train_every=2, learning_starts=10_000
        )
        training.run(30)
    batch = model.memory.sample(model.memory.drawable)
    columns = (batch.states, batch.next_states, batch.dones, batch.valid)
    states, following, dones, valid = map(np.asarray, columns)
    counted = (valid[:, 0] == 1) & (dones[:, 0] == 0)
    assert counted.sum() > 20
    np.testing.assert_array_equal(following[counted, 1], states[counted, 1] + 1)


class Broken(Corridor):
    """Its observations are NaN at the third place."""

    def seen(self, state: Any) -> jax.Array:
        return jnp.where(state.at == 2, jnp.nan, super().seen(state))


@pytest.mark.slow
def test_nan_is_not_hidden_in_the_graph() -> None:
    model = ddqn()
    CompiledTraining(model, Broken(), seed=2, train_every=2, learning_starts=64).run(128)
    params = model.progress.learned.params
    assert all(np.isnan(np.asarray(value)).any() for value in params.values())
