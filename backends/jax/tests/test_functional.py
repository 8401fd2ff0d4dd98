"""The functional form under jit, scan and vmap: what it computes, what it compiles, what it copies."""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trifolium as tri
from trifolium import replay
from trifolium.testing import Functions, Options, StateTwin
from trifolium.testing.functional_suite import check_twin
from trifolium.testing.history import HISTORIES, wander
from trifolium.testing.statetwin import plain

MEMORIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "stacked": {"n_frames": 3, "n_step": 3},
    "prioritized": {"sampler": tri.Prioritized()},
    "streams": {"n_streams": 8},
}


@pytest.mark.slow
def test_does_what_the_reference_does_eagerly(backend: tri.Backend) -> None:
    """With all options at once, for each operation is compiled for each shape."""
    wander(StateTwin(backend, HISTORIES[8], 0, Functions(plain)), 8, 5, check_twin)


class Lane(Functions):
    """The functions of one of several memories that a mapped function works on together.

    What is added is kept, until all have something; what is drawn is drawn from all.
    """

    def __init__(self, memories: "Memories", number: int) -> None:
        super().__init__(plain)
        self.memories, self.number = memories, number
        self.current_state = self.mapped(replay.current_state)
        self.drawable = self.mapped(replay.drawable)
        self.update_priorities = self.mapped(replay.update_priorities)

    def add(self, state: replay.State, **steps: Any) -> replay.State:
        self.memories.waiting[self.number] = steps
        return state

    def sample(self, state: replay.State, bits: Any, **how: Any) -> tri.Batch:
        return self.mapped(replay.sample, **how)(state, bits)

    def sample_sequences(self, state: replay.State, bits: Any, **how: Any) -> tri.Batch:
        return self.mapped(replay.sample_sequences, **how)(state, bits)

    def mapped(self, function: Any, **how: Any) -> Any:
        """Return ``function`` that is mapped over all memories, with the outcome of this one."""

        def of_this(_: replay.State, *args: Any) -> Any:
            found = self.memories.compiled(function, **how)(self.memories.states, *args)
            return jax.tree.map(lambda array: array[self.number], found)

        return of_this


class Memories:
    """Twins whose states lie in the same arrays."""

    def __init__(self, backend: tri.Backend, options: Options, count: int) -> None:
        self.waiting: dict[int, Any] = {}
        self.made: dict[Any, Any] = {}
        self.twins = [StateTwin(backend, options, n, Lane(self, n)) for n in range(count)]
        for twin in self.twins:  # what is None must be so for all
            twin.omits_successors = False
        states = [twin.buffer.state for twin in self.twins]
        self.states = jax.tree.map(lambda *arrays: jnp.stack(arrays), *states)
        self.add_all = jax.jit(jax.vmap(lambda state, steps: replay.add(state, **steps)))

    def compiled(self, function: Any, **how: Any) -> Any:
        key = (function, *sorted(how.items()))
        if key not in self.made:
            draws = function in (replay.sample, replay.sample_sequences)
            axes = (0, None) if draws else (0,)
            self.made[key] = jax.jit(jax.vmap(partial(function, **how), in_axes=axes))
        return self.made[key]

    def add(self, ends: list[list[str]]) -> None:
        """Add one step to every stream of each twin."""
        for twin, each in zip(self.twins, ends, strict=True):
            if len(each) > 1:
                twin.add_each(each)
            else:
                twin.add(each[0])
        steps = [self.waiting.pop(number) for number in range(len(self.twins))]
        together = jax.tree.map(lambda *arrays: jnp.stack(arrays), *steps)
        self.states = self.add_all(self.states, together)
        for number, twin in enumerate(self.twins):
            twin.buffer.state = jax.tree.map(lambda array, n=number: array[n], self.states)


@pytest.mark.slow
@pytest.mark.parametrize("history", [5, 8])
def test_does_what_the_reference_does_under_vmap(backend: tri.Backend, history: int) -> None:
    """Three memories at once, each with a history of its own."""
    options, rng = HISTORIES[history], np.random.default_rng(history)
    memories = Memories(backend, options, 3)
    for step in range(30):
        ends = rng.choice(["", "", "done", "truncated"], size=(3, options.n_streams))
        if step % 5 == 4:  # no next_obs, to none of them: what is None must be so for all
            ends[ends == "truncated"] = "unknown"
            ends[:, 0] = "unknown"
        memories.add(ends.tolist())
        if step % 3 == 2:
            for twin in memories.twins:
                check_twin(twin)
                twin.check_sequences(3, 2, within_episode=True)


def step_of(state: replay.State, key: Any, batch_size: int = 32) -> tuple[replay.State, Any]:
    """Add a made-up step of each stream, sample, and update the priorities if there are some."""
    spec = state.spec
    axes = (spec.n_streams,) if spec.n_streams > 1 else ()
    keys = jax.random.split(key, 4)
    obs = jax.random.normal(keys[0], (*axes, *spec.obs_shape))
    state = replay.add(
        state,
        obs,
        jnp.zeros(axes, jnp.int32),
        obs[..., 0],
        jax.random.bernoulli(keys[1], 0.1, axes),
        truncated=jax.random.bernoulli(keys[2], 0.1, axes),
        next_obs=obs + 1,
    )
    batch = replay.sample(state, jax.random.bits(keys[3], (batch_size, 2)))
    if state.priorities is not None:
        state = replay.update_priorities(state, batch.indices, batch.rewards)
    return state, sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(batch))


@pytest.mark.parametrize(
    ("options", "capacity", "steps"),
    [
        (MEMORIES["prioritized"], 256, 600),
        pytest.param(MEMORIES["plain"], 4096, 10_000, marks=pytest.mark.slow),
        pytest.param(MEMORIES["prioritized"], 4096, 10_000, marks=pytest.mark.slow),
    ],
    ids=["prioritized", "plain for long", "prioritized for long"],
)
def test_steps_compile_once_and_stay_where_they_are(
    options: dict[str, Any], capacity: int, steps: int
) -> None:
    traced = []

    def counted(state: replay.State, key: Any) -> Any:
        traced.append(key)
        return step_of(state, key)

    compiled = jax.jit(counted, donate_argnums=0)
    state = replay.init(capacity, (3,), backend="jax", **options)
    addresses = None
    for key in jax.random.split(jax.random.key(0), steps):
        state, _ = compiled(state, key)
        here = [leaf.unsafe_buffer_pointer() for leaf in storage(state)]
        assert here == (addresses or here)
        addresses = here
    assert len(traced) == 1
    assert int(state.sizes.sum()) == capacity


@pytest.mark.parametrize(
    "options",
    [
        MEMORIES["prioritized"],
        *(
            pytest.param(MEMORIES[name], marks=pytest.mark.slow)
            for name in ("plain", "stacked", "streams")
        ),
    ],
    ids=["prioritized", "plain", "stacked", "streams"],
)
def test_a_scan_copies_no_storage(options: dict[str, Any]) -> None:
    """What a compiled scan needs besides its arguments does not grow by a tenth of a byte a row."""

    def run(state: replay.State, keys: Any) -> Any:
        return jax.lax.scan(step_of, state, keys)

    temporary = []
    for capacity in (5000, 50_000):
        state = replay.init(capacity, (3,), backend="jax", **options)
        keys = jax.random.split(jax.random.key(0), 64)
        compiled = jax.jit(run, donate_argnums=0).lower(state, keys).compile()
        temporary.append(compiled.memory_analysis().temp_size_in_bytes)
        sizes = "|".join({str(len(leaf)) for leaf in storage(state)})
        assert re.search(rf"\[({sizes})[,\]]", compiled.as_text())
        assert not re.search(rf"\[({sizes})[,\]]\S* copy\(", compiled.as_text())
    assert temporary[1] - temporary[0] < 4500


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="XLA copies nothing here on a GPU")
def test_a_copy_would_be_seen() -> None:
    """The test before this one notices what it is about: here a row is read to be written back."""

    def run(state: replay.State, keys: Any) -> Any:
        def step(rewards: Any, key: Any) -> Any:
            row = jax.random.randint(key, (), 0, len(rewards))
            return rewards.at[row].set(1.0), (rewards * 2)[:3]

        return jax.lax.scan(step, state.rewards, keys)

    keys = jax.random.split(jax.random.key(0), 64)
    temporary = [
        jax.jit(run, donate_argnums=0)
        .lower(replay.init(capacity, (3,), backend="jax"), keys)
        .compile()
        .memory_analysis()
        .temp_size_in_bytes
        for capacity in (5000, 50_000)
    ]
    assert temporary[1] - temporary[0] > 4500 * 4


@pytest.mark.slow
@pytest.mark.parametrize("draw", ["subset", "priority", "stratified", "independent"])
def test_draws_in_a_scan_are_uniform(draw: str) -> None:
    """Chi-square over all that can be drawn; rows of a batch are distinct where they are to be."""
    by_priority = draw == "priority"
    sampler = tri.Prioritized(alpha=1.0) if by_priority else None
    state = replay.init(64, (1,), backend="jax", n_frames=2, sampler=sampler)
    for step in range(100):
        state = replay.add(state, jnp.ones(1) * step, 0, 0.0, False)
    reachable = 64 - 2

    @jax.jit
    def drawn(key: Any) -> Any:
        def one(_: None, key: Any) -> Any:
            bits = jax.random.bits(key, (16, 2))
            return None, replay.sample(state, bits, draw="subset" if by_priority else draw).indices

        return jax.lax.scan(one, None, jax.random.split(key, 1000))[1]

    indices = np.asarray(drawn(jax.random.key(1)))
    unique = [len(set(batch)) for batch in indices.tolist()]
    values, counts = np.unique(indices, return_counts=True)
    assert values.tolist() == list(range(100 - 64 + 1, 99))
    if draw in ("stratified", "subset"):
        assert set(unique) == {16}
        spread = 1 - 15 / (reachable - 1)
    else:
        assert min(unique) < 16
        spread = 1.0
    mean = counts.mean()
    chi_square = ((counts - mean) ** 2 / mean).sum() / spread
    excess = (chi_square - (reachable - 1)) / (2 * (reachable - 1)) ** 0.5
    assert excess < 4
    assert by_priority or excess > -4  # segments leave less to chance


def test_states_and_batches_are_pytrees(backend: tri.Backend) -> None:
    state = replay.init(8, (2,), backend=backend, extras={"tag": "int32"}, sampler=tri.Prioritized())
    for step in range(5):
        state = replay.add(state, [step, step], 0, 1.0, False, tag=step)
    again = jax.tree.map(lambda leaf: leaf, state)
    assert (again.spec, again.backend) == (state.spec, state.backend)
    assert len(jax.tree.leaves(state)) == 2 + 5 + 2 + 2
    for batch in (replay.sample(state, jax.random.bits(jax.random.key(0), (3, 2))), sampled()):
        doubled = jax.tree.map(lambda leaf: leaf * 2, batch)
        assert isinstance(doubled, tri.Batch)
        assert np.array_equal(doubled.states, batch.states * 2)
        loss = jax.jit(jax.grad(lambda weight, batch: jnp.mean(batch.states @ weight)))
        assert np.allclose(loss(jnp.ones(2), batch), np.mean(batch.states, axis=0))


def sampled() -> tri.Batch:
    """Return a batch of a Buffer, whose indices are on the host."""
    buffer = tri.Buffer(8, (2,), backend="jax", seed=0)
    for step in range(5):
        buffer.add([step, step], 0, 1.0, False)
    return buffer.sample(3)


def test_seeds_are_mapped_and_taken_apart(backend: tri.Backend) -> None:
    """Many memories in one state are no buffer; one of them is."""

    def run(key: Any) -> replay.State:
        state = replay.init(32, (3,), backend=backend)
        return jax.lax.scan(partial(step_of, batch_size=4), state, jax.random.split(key, 20))[0]

    states = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 3))
    with pytest.raises(ValueError, match="take one of them first"):
        tri.Buffer.from_state(states)
    one = tri.Buffer.from_state(jax.tree.map(lambda leaf: leaf[1], states))
    assert len(one) == int(states.sizes[1, 0])


def storage(state: replay.State) -> list[Any]:
    """Return the arrays that are as long as the memory."""
    tree = [] if state.priorities is None else [state.priorities.tree]
    return [*state.columns.values(), state.actions, state.rewards, state.marks, *tree]
