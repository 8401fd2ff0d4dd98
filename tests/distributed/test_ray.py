"""Shards and writers in processes of Ray. One Ray for all tests, on two cores, without a dashboard."""

import contextlib
import itertools
import os
import signal
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from tests.distributed.twins import steps
from trifolium.distributed import Actors, SamplesPerInsert, ShardedBuffer, Writer
from trifolium.distributed.cluster import RayTransport
from trifolium.distributed.indices import unpacked
from trifolium.distributed.transport import InProcess
from trifolium.experiment.runners import VectorRunner
from trifolium.worlds.gym import make_vector

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore:os.fork:RuntimeWarning",  # Ray starts its processes where JAX is loaded
)
LONGEST = 60.0  # seconds that a test waits for another process; nothing takes that long


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    import ray

    options = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "log_to_driver": False}
    ray.init(address="local", num_cpus=2, object_store_memory=200_000_000, **options)
    yield ray
    ray.shutdown()


def made(address: str | None, backend: Any = "numpy", **options: Any) -> ShardedBuffer:
    chosen = {"capacity": 4000, "obs_shape": (2,), "n_streams": 4, "shards": 2, "seed": 0, **options}
    return ShardedBuffer(**chosen, backend=backend, address=address)


def processes(memory: ShardedBuffer, ray: Any) -> list[int]:
    """Return the processes of all shards."""
    assert isinstance(memory.transport, RayTransport)
    asked = [actor.__ray_call__.remote(lambda _: os.getpid()) for actor in memory.transport.actors]
    found: list[int] = ray.get(asked, timeout=LONGEST)
    return found


def eventually(what: Any) -> None:
    """Wait until ``what()`` is true."""
    end = time.monotonic() + LONGEST
    while not what():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.02)


@pytest.mark.parametrize("prioritized", [False, True])
def test_lockstep_is_what_happens_in_process(ray: Any, learner: tri.Backend, prioritized: bool) -> None:
    weights = []
    for address in ("local", None):
        sampler = tri.Prioritized(beta=tri.Linear(0.4, 1.0, steps=500)) if prioritized else None
        with made(address, learner, sampler=sampler) as memory:
            assert isinstance(memory.transport, RayTransport if address else InProcess)
            model = tri.DDQN(2, 2, 4000, memory=memory, batch_size=16, hidden=(8,), seed=0)
            rng = np.random.default_rng(0)
            for _ in range(500):  # of four streams: 2,000 steps
                memory.add(**steps(rng, 4))
                model.train_step()
            weights.append(model.state())
    assert weights[0].keys() == weights[1].keys()
    for name, array in weights[0].items():
        np.testing.assert_array_equal(array, weights[1][name], err_msg=name)


def test_minibatches_ahead_are_those_in_process(ray: Any) -> None:
    with made("local") as memory, made(None) as other:
        given = steps(np.random.default_rng(0), 200, 4)
        for each in (memory, other):
            each.extend(**given)
        both = (each.as_dataset(32, 40, prefetch=8) for each in (memory, other))
        for one, two in zip(*both, strict=True):
            assert one.indices.tolist() == two.indices.tolist()
            np.testing.assert_array_equal(one.states, two.states)


def write(writer: Writer, first: int, count: int) -> None:
    """Add steps whose every field holds the same number."""
    for number in range(first, first + count):
        same = np.full(writer.n_streams, number)
        obs = np.repeat(same[:, None], 2, 1)
        writer.add(obs, same, same, same < 0, next_obs=obs + 1)
    writer.flush()


def check_whole(batch: tri.Batch) -> None:
    """Assert that the fields of every valid row are of one step."""
    number, valid = batch.rewards, batch.valid == 1
    assert np.all((batch.states == number) | ~valid)
    assert np.all((batch.next_states == number + 1) | ~valid)
    assert np.all((batch.actions == number) | ~valid)


def test_writers_in_other_processes(ray: Any) -> None:
    remote = ray.remote(num_cpus=0.5)(write)
    with made("local") as memory:
        writers = [memory.writer(streams=2, chunk=64), memory.writer(streams=2, chunk=50)]
        tasks = [remote.remote(writer, 0, 400) for writer in writers]
        while len(ray.wait(tasks, num_returns=2, timeout=0)[0]) < 2:
            if memory.drawable >= 32:
                check_whole(memory.sample(32))
        ray.get(tasks, timeout=LONGEST)
        assert len(memory) == 4 * 400
        drawn = memory.sample(memory.drawable)
        check_whole(drawn)
        assert len(set(drawn.indices.tolist())) == 4 * 399


def test_bad_steps_are_refused_where_they_are_added(ray: Any) -> None:
    def add(writer: Writer) -> None:
        writer.add([[0.0]], [0], [0.0], [False])

    with made("local") as memory:
        task = ray.remote(num_cpus=0.5)(add).remote(memory.writer(streams=1))
        with pytest.raises(ValueError, match="obs has shape"):
            ray.get(task, timeout=LONGEST)


@pytest.mark.parametrize("sampler", [tri.Uniform, tri.Prioritized])
def test_a_shard_is_killed(ray: Any, sampler: type[tri.Sampler]) -> None:
    with made("local", sampler=sampler()) as memory:
        rng = np.random.default_rng(0)
        for number in range(3):
            write(memory._writer_of_all(), 1000 * number, 200)
            victim = number % 2
            coming = iter(memory.as_dataset(16, 60, prefetch=8))
            for _ in range(int(rng.integers(20))):
                check_whole(next(coming))
            os.kill(processes(memory, ray)[victim], signal.SIGKILL)
            with pytest.warns(RuntimeWarning, match=f"shard {victim} died") as caught:
                rest = until_all_live(memory, coming)
            assert len(caught) == 1
            for batch in rest:
                check_whole(batch)
                assert len(batch.indices) == 16
            assert victim not in unpacked(memory.sample(16).indices)[0]


def test_steps_go_on_after_a_shard_was_killed(ray: Any) -> None:
    with made("local") as memory:
        writer = memory.writer(streams=4, chunk=40)
        write(writer, 0, 100)
        os.kill(processes(memory, ray)[1], signal.SIGKILL)
        write(writer, 100, 300)
        numbers = itertools.count(400, 20)  # steps on their way to the dead one are lost

        def has_rows_again() -> bool:
            write(writer, next(numbers), 20)
            return 1 in unpacked(memory.sample(64).indices)[0]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # whether a draw meets the dead one
            eventually(has_rows_again)
        check_whole(memory.sample(64))


def test_a_saved_memory_is_loaded(ray: Any, tmp_path: Any) -> None:
    with made("local", sampler=tri.Prioritized()) as memory:
        memory.extend(**steps(np.random.default_rng(0), 50, 4))
        memory.update_priorities(memory.sample(8).indices, np.arange(8.0))
        memory.save(tmp_path)
        with (
            ShardedBuffer.load(tmp_path, address="local") as other,
            ShardedBuffer.load(tmp_path, address=None) as third,
        ):
            drawn = [each.sample(32).indices.tolist() for each in (memory, other, third)]
            assert drawn[0] == drawn[1] == drawn[2]


def until_all_live(memory: ShardedBuffer, coming: Iterator[tri.Batch]) -> list[tri.Batch]:
    """Return the minibatches that come, and wait until every shard answers again."""
    found = list(coming)
    eventually(lambda: memory.drawable and None not in memory._group.statuses)
    return found


def cartpole(memory: Any, seed: int) -> VectorRunner:
    """Return a runner of CartPole with a small DDQN."""
    options = {"epsilon": 0.1, "batch_size": 16, "hidden": (8,), "seed": seed}
    model = tri.DDQN(4, 2, memory.spec.capacity, memory=memory, **options)
    return VectorRunner(make_vector("CartPole-v1", memory.n_streams), model, seed=seed)


def test_actors_in_lockstep_are_those_in_process(ray: Any) -> None:
    found = []
    for address in ("local", None):
        with made(address, obs_shape=(4,)) as memory:
            model = tri.DDQN(4, 2, 4000, memory=memory, batch_size=16, hidden=(8,), seed=0)
            with Actors(memory, cartpole, actors=2, steps=8, seed=3, cores=0) as actors:
                lengths = []
                for _ in range(30):
                    actors.publish(model)
                    lengths += [end.length for end in actors.collect(wait=True)]
                    model.train_step()
            state = {name: array.tolist() for name, array in model.state().items()}
        found.append((lengths, state))
    assert found[0] == found[1]


def test_an_actor_is_killed(ray: Any) -> None:
    with made("local", obs_shape=(4,)) as memory:
        model = tri.DDQN(4, 2, 4000, memory=memory, batch_size=16, hidden=(8,), seed=0)
        with Actors(memory, cartpole, actors=2, steps=16, cores=0) as actors:
            actors.publish(model)
            eventually(lambda: actors.collect() is None or actors.steps > 200)
            asked = actors.transport.actors[0].__ray_call__.remote(lambda _: os.getpid())  # type: ignore[attr-defined]
            os.kill(ray.get(asked, timeout=LONGEST), signal.SIGKILL)
            with pytest.warns(RuntimeWarning, match="actor 0 died") as caught:
                eventually(lambda: actors.collect() is None or actors._deaths[0])
            before = actors.steps
            done = [0, 0]

            def both_act() -> bool:
                for number, rollout in actors.rollouts():
                    done[number] += rollout.steps
                return min(done) > 100

            eventually(both_act)
            assert actors.steps > before
        assert len(caught) == 1


def test_samples_per_insert_on_ray(ray: Any) -> None:
    limit = SamplesPerInsert(8, slack=800, start=200, timeout=LONGEST)
    with made("local", obs_shape=(4,), samples_per_insert=limit) as memory:
        model = tri.DDQN(4, 2, 4000, memory=memory, batch_size=16, hidden=(8,), seed=0)
        with Actors(memory, cartpole, actors=2, steps=16, cores=0) as actors:
            actors.publish(model)
            while memory.drawn < 40_000:
                actors.collect()
                while memory.may_draw(64):
                    memory.sample(64)
            ratio = memory.drawn / (memory.steps - 200)
            assert abs(ratio / 8 - 1) < 0.05
            time.sleep(1.0)  # the learner sleeps: what actors store is bounded
            for _ in range(20):
                actors.collect()
            most = 200 + memory.drawn / 8 + 100 + 2 * 2 * 4 * 64
            assert memory.steps <= most
            time.sleep(1.0)
            assert memory.steps <= most
            while memory.steps < most + 500:  # it wakes up, and so do they
                actors.collect()
                while memory.may_draw(64):
                    memory.sample(64)


def test_a_run_in_lockstep_is_the_one_in_process(ray: Any, tmp_path: Any) -> None:
    from trifolium.experiment import Experiment, TrainOptions

    states = []
    for address in ("local", "process"):
        options = TrainOptions(
            **{"env": "CartPole-v1", "steps": 300, "actors": 2, "shards": 2, "n_envs": 2},
            **{"hidden": (8,), "batch_size": 16, "memory_size": 2000, "learning_starts": 64},
            **{"lockstep": True, "address": address, "prioritized": True},
        )
        run = Experiment(options, tmp_path / address)
        run.train()
        states.append({name: array.tolist() for name, array in run.models["model"].state().items()})
        run.runner.close()  # type: ignore[union-attr]
    assert states[0] == states[1]


def one_of(transport: RayTransport, ray: Any) -> int:
    """Return the process of an actor that answers."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        for actor in transport.actors:
            with contextlib.suppress(ray.exceptions.RayActorError):
                found: int = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()), timeout=LONGEST)
                return found
        time.sleep(0.05)
    raise AssertionError("no actor answers")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:shard . died", "ignore:actor . died")
def test_shards_and_actors_are_killed_ten_times_each(ray: Any) -> None:
    """At random moments of a run: it goes on, every row is whole, and nothing waits for ever."""

    def counting(memory: Any, seed: int) -> Counting:
        return Counting(memory)

    rng = np.random.default_rng(0)
    with (
        made("local", sampler=tri.Prioritized()) as memory,
        Actors(memory, counting, actors=2, steps=32, cores=0) as actors,
    ):
        transports = {"shard": memory.transport, "actor": actors.transport}
        for victim in [*["shard"] * 10, *["actor"] * 10]:
            wanted = memory.drawn + int(rng.integers(200, 3000))
            end = time.monotonic() + LONGEST
            while memory.drawn < wanted:
                assert time.monotonic() < end
                actors.collect()
                if memory.may_draw(32):
                    batch = memory.sample(32)
                    check_whole(batch)
                    memory.update_priorities(batch.indices, rng.normal(size=32))
            transport: Any = transports[victim]
            os.kill(one_of(transport, ray), signal.SIGKILL)
        assert sum(actors._deaths) >= 8  # the last ones may not be noticed yet
        assert sum(memory._group.incarnations) >= 8


class Counting:
    """A runner whose steps hold one number in every field."""

    def __init__(self, memory: Any) -> None:
        self.models = {"model": tri.RandomModel(2, 2, memory.spec.capacity, memory=memory)}
        self.width = memory.n_streams
        self._memory, self._number = memory, 0

    def step(self) -> list[Any]:
        same = np.full(self.width, self._number)
        obs = np.repeat(same[:, None], 2, 1)
        self._memory.add(obs, same, same, same < 0, next_obs=obs + 1)
        self._number += 1
        return []
