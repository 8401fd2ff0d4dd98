"""The functional form under torch.compile, in one graph, and what torch's own tools see of it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.utils import _pytree
from torch.utils.data import DataLoader, IterableDataset

import trifolium as tri
from trifolium import replay
from trifolium.models import Randomness
from trifolium.models.update import Learned
from trifolium.testing import Functions, StateTwin
from trifolium.testing.functional_suite import check_twin
from trifolium.testing.history import HISTORIES, wander

MEMORIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "stacked": {"n_frames": 3, "n_step": 3, "boundary": "pad"},
    "streams": {"n_streams": 4},
    "prioritized": {"sampler": tri.Prioritized()},
}


@pytest.fixture(autouse=True)
def forget_what_was_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Callable[..., Any], *, donate: Sequence[int] = ()) -> Any:
    del donate  # writes are in place
    return torch.compile(function, fullgraph=True, backend="eager", dynamic=False)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("history", "steps"), [(8, 6), *(pytest.param(history, 20, marks=SLOW) for history in (3, 5, 8))]
)
def test_does_what_the_reference_does_compiled(backend: tri.Backend, history: int, steps: int) -> None:
    twin = StateTwin(backend, HISTORIES[history], history, Functions(compiled))
    wander(twin, history, steps, check_twin)


def step(state: replay.State, obs: torch.Tensor, bits: torch.Tensor) -> tuple[replay.State, tri.Batch]:
    """Add a step of each stream, sample, and update the priorities if there are some."""
    ends = obs[..., 0] > 1
    state = replay.add(
        state, obs, torch.zeros_like(ends, dtype=torch.int64), obs[..., 1], ends & (obs[..., 1] > 0),
        truncated=ends, next_obs=obs + 1,
    )  # fmt: skip
    batch = replay.sample(state, bits)
    if state.priorities is not None:
        state = replay.update_priorities(state, batch.indices, batch.rewards)
    return state, batch


def draw_runs(state: replay.State, bits: torch.Tensor) -> tri.Batch:
    """Draw runs within an episode."""
    return replay.sample_sequences(state, bits, 3, within_episode=True)


def arguments(options: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    axes = (options["n_streams"],) if "n_streams" in options else ()
    return torch.randn(*axes, 3), torch.randint(2**30, (16, 2))


@pytest.mark.parametrize("options", MEMORIES.values(), ids=MEMORIES)
def test_dynamo_finds_no_graph_break(options: dict[str, Any]) -> None:
    state = replay.init(64, (3,), backend="torch", **options)
    obs, bits = arguments(options)
    for function, given in ((step, (obs, bits)), (draw_runs, (bits,))):
        found = torch._dynamo.explain(function)(state, *given)
        assert (found.graph_count, found.graph_break_count) == (1, 0)


@pytest.mark.parametrize(
    ("options", "capacity", "steps"),
    [
        (MEMORIES["plain"], 128, 400),
        (MEMORIES["prioritized"], 128, 400),
        pytest.param(MEMORIES["plain"], 1024, 10_000, marks=SLOW),
        pytest.param(MEMORIES["prioritized"], 1024, 1_500, marks=SLOW),
    ],
    ids=["plain", "prioritized", "plain for long", "prioritized for long"],
)
def test_steps_compile_once_and_stay_where_they_are(
    options: dict[str, Any], capacity: int, steps: int
) -> None:
    """Whatever the fill level; the storage is written where it lies."""
    counter = CompileCounter()
    run = torch.compile(step, fullgraph=True, backend=counter)
    state = replay.init(capacity, (3,), backend="torch", **options)
    addresses = [leaf.data_ptr() for leaf in storage(state)]
    for _ in range(steps):
        state, _ = run(state, *arguments(options))
        assert [leaf.data_ptr() for leaf in storage(state)] == addresses
    assert counter.frame_count == 1
    assert int(state.sizes.sum()) == capacity


@pytest.mark.slow
def test_inductor_does_the_same_in_place() -> None:
    """Compiled to machine code, with the storage of both begun alike."""
    options = MEMORIES["stacked"] | MEMORIES["prioritized"]
    run = torch.compile(step, fullgraph=True)
    ours, theirs = (replay.init(64, (3,), backend="torch", **options) for _ in range(2))
    addresses = [leaf.data_ptr() for leaf in storage(ours)]
    torch.manual_seed(0)
    for _ in range(100):
        given = arguments(options)
        ours, batch = run(ours, *given)
        theirs, expected = step(theirs, *given)
        for leaf, other in zip(*map(_pytree.tree_leaves, (batch, expected)), strict=True):
            torch.testing.assert_close(leaf, other)
    assert [leaf.data_ptr() for leaf in storage(ours)] == addresses
    for leaf, other in zip(*map(storage, (ours, theirs)), strict=True):
        torch.testing.assert_close(leaf, other)


def test_an_update_with_a_network_is_one_graph() -> None:
    """Sampling, the loss and its gradients, as a project of its own would compile them."""
    network = torch.nn.Linear(3, 2)
    state = replay.init(64, (3,), backend="torch")
    for _ in range(20):
        state, _ = step(state, *arguments({}))

    @torch.compile(fullgraph=True, backend="aot_eager")
    def loss_of(state: replay.State, bits: torch.Tensor) -> torch.Tensor:
        states, actions, rewards, next_states, dones, valid = batch = replay.sample(state, bits)
        with torch.no_grad():
            values = network(next_states).amax(dim=1, keepdim=True)
        targets = rewards + batch.discounts * (1 - dones) * values
        return (valid * (network(states).gather(1, actions) - targets) ** 2).mean()

    loss_of(state, arguments({})[1]).backward()
    assert network.weight.grad is not None
    assert network.weight.grad.abs().sum() > 0


def test_an_update_of_trifoliums_models_is_one_graph() -> None:
    """Sampling, targets, loss, gradients, Adam: the same as eagerly."""
    model = tri.DDQN(3, 2, 65, backend="torch", seed=0, hidden=(8,), max_grad_norm=1.0)
    state = replay.init(64, (3,), backend="torch")
    for _ in range(20):
        state, _ = step(state, *arguments({}))

    def update(learned: Learned, bits: torch.Tensor, rate: torch.Tensor) -> tuple[Learned, Any, Any]:
        return model.update(learned, replay.sample(state, bits), Randomness(), rate)

    compiled = torch.compile(update, fullgraph=True, backend="aot_eager")
    ours, theirs = (_pytree.tree_map(torch.clone, model.progress.learned) for _ in range(2))
    for rate in (1e-2, 1e-3):
        given = (arguments({})[1], torch.tensor(rate))
        ours, loss, errors = compiled(ours, *given)
        theirs, expected_loss, expected_errors = update(theirs, *given)
        torch.testing.assert_close((loss, errors), (expected_loss, expected_errors))
        torch.testing.assert_close(ours._asdict(), theirs._asdict())


def test_states_and_batches_are_pytrees() -> None:
    state = replay.init(8, (2,), backend="torch", extras={"tag": "int32"}, sampler=tri.Prioritized())
    for number in range(5):
        state = replay.add(state, [number, number], 0, 1.0, False, tag=number)
    again = _pytree.tree_map(lambda leaf: leaf, state)
    assert (again.spec, again.backend) == (state.spec, state.backend)
    assert len(_pytree.tree_leaves(state)) == 2 + 5 + 2 + 2
    batch = replay.sample(state, torch.randint(2**30, (3, 2)))
    doubled = _pytree.tree_map(lambda leaf: leaf * 2, batch)
    assert isinstance(doubled, tri.Batch)
    assert torch.equal(doubled.states, batch.states * 2)
    assert torch.equal(doubled.extras["tag"], batch.extras["tag"] * 2)
    [(path, _), *_] = _pytree.tree_leaves_with_path(batch)
    assert _pytree.keystr(path) == ".states"


def filled() -> tri.Buffer:
    buffer = tri.Buffer(64, (2,), backend="torch", seed=0)
    for number in range(50):
        buffer.add([number, -number], 0, 1.0, False)
    return buffer


def test_a_loader_hands_on_batches_as_they_are() -> None:
    dataset, buffer = filled().as_dataset(8, n_batches=3), filled()
    assert isinstance(dataset, IterableDataset)
    for _ in range(2):
        batches = list(DataLoader(dataset, batch_size=None))
        assert len(batches) == 3
        for batch in batches:
            assert isinstance(batch, tri.Batch)
            assert torch.equal(batch.states, buffer.sample(8).states)


each_method = pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=SLOW)])


@each_method
def test_workers_are_refused(method: str) -> None:
    dataset = filled().as_dataset(8, n_batches=3, prefetch=1)
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context=method)
    with pytest.raises(RuntimeError, match=r"worker process .* expected num_workers=0"):
        next(iter(loader))


@each_method
def test_workers_load_single_steps(method: str) -> None:
    """A buffer is a data set of its steps, of which each worker has a copy."""
    options: Any = {"batch_size": 8, "num_workers": 2, "shuffle": True}
    loader: Any = DataLoader(filled(), multiprocessing_context=method, **options)  # type: ignore[arg-type]
    found = [obs for obs, actions, rewards, dones in loader]
    assert all(obs.dtype == torch.float32 for obs in found)
    assert sorted(torch.cat(found)[:, 0].tolist()) == list(range(50))


def test_bits_of_any_generator_will_do() -> None:
    """Rows drawn do not depend on the width of the words."""
    state = filled().state()
    bits = np.random.default_rng(0).integers(2**30, size=(8, 2))
    wide, narrow = (
        replay.sample(state, torch.tensor(bits, dtype=d)) for d in (torch.int64, torch.int32)
    )
    assert torch.equal(wide.indices, narrow.indices)
    with pytest.raises(TypeError, match="32 or 64 bits"):
        replay.sample(state, torch.rand(8, 2))


def storage(state: replay.State) -> list[torch.Tensor]:
    """Return the tensors that are as long as the memory, and the cursors."""
    tree = [] if state.priorities is None else [state.priorities.tree]
    cursors = [state.written, state.sizes]
    return [*state.columns.values(), state.actions, state.rewards, state.marks, *cursors, *tree]


def test_a_state_keeps_no_graph_alive() -> None:
    """Whatever was given to it: observations, rewards, extras, errors or beta."""

    def given(*shape: int) -> torch.Tensor:
        return torch.ones(shape, requires_grad=True) * 2

    state = replay.init(16, (2,), backend="torch", sampler=tri.Prioritized(), extras={"tag": "float32"})
    for lead in ((), (), (3,)):
        flags = torch.zeros(lead, dtype=torch.bool)
        state = replay.add(
            state, given(*lead, 2), flags.long(), given(*lead), flags,
            next_obs=given(*lead, 2) + 1, tag=given(*lead),
        )  # fmt: skip
    bits = torch.randint(2**30, (3, 2))
    batch = replay.sample(state, bits)
    state = replay.update_priorities(state, batch.indices, given(3))
    batch = replay.sample(state, bits, beta=given())
    assert not any(leaf.requires_grad for leaf in _pytree.tree_leaves((state, batch)))


def test_lists_and_numpy_arrays_are_added_in_one_graph() -> None:
    state = replay.init(8, (2,), backend="torch")
    run = compiled(lambda state, obs: replay.add(state, obs, 0, 1.0, False))
    state = run(state, np.array([1.0, 2.0]))
    state = run(state, [3.0, 4.0])
    assert state.columns["obs"][:2].tolist() == [[1.0, 2.0], [3.0, 4.0]]


STRUCTURED = {"camera": ((4, 4, 1), "uint8"), "body": {"pos": (3,)}}


def test_structured_states_compile_to_one_graph() -> None:
    def step(state: replay.State, number: torch.Tensor, bits: torch.Tensor) -> Any:
        camera = (torch.zeros(4, 4, 1) + number).to(torch.uint8)
        obs = {"camera": camera, "body": {"pos": torch.zeros(3) + number}}
        state = replay.add(state, obs, 0, number, number == 7)
        return state, replay.sample(state, bits, flatten=False)

    run = compiled(step)
    ours, theirs = (replay.init(16, STRUCTURED, {"camera": 3}, backend="torch") for _ in range(2))
    leaves = [leaf for leaf in _pytree.tree_leaves(ours) if leaf is not None]
    assert all(isinstance(leaf, torch.Tensor) for leaf in leaves)
    for number in range(20):
        bits = torch.randint(2**30, (6, 2))
        ours, batch = run(ours, torch.tensor(float(number)), bits)
        theirs, expected = step(theirs, torch.tensor(float(number)), bits)
        for leaf, other in zip(*map(_pytree.tree_leaves, (batch, expected)), strict=True):
            torch.testing.assert_close(leaf, other)
    assert batch.states["camera"].shape == (6, 3, 4, 4, 1)


def test_batches_of_a_buffer_are_mapped() -> None:
    """All leaves are tensors, the indices too, and update_priorities takes them."""
    buffer = tri.Buffer(16, (2,), backend="torch", seed=0, sampler=tri.Prioritized())
    for number in range(8):
        buffer.add([number, 0.0], 0, 1.0, False)
    batch = buffer.sample(3)
    moved = _pytree.tree_map(lambda tensor: tensor.to("cpu", copy=True), batch)
    assert moved.indices.tolist() == batch.indices.tolist()
    buffer.update_priorities(moved.indices, torch.ones(3))
