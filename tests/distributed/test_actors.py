"""Workers that act by published policies, in this process."""

from typing import Any

import numpy as np
import pytest

import trifolium as tri
from tests.distributed.twins import sharded
from trifolium.distributed import Actors, SamplesPerInsert, ShardedBuffer
from trifolium.distributed.policy import Policy
from trifolium.distributed.rollouts import ActingMemory
from trifolium.distributed.transport import InProcess
from trifolium.experiment.runners.vector import VectorRunner
from trifolium.worlds.gym import make_vector


def make_runner(memory: ActingMemory, seed: int) -> VectorRunner:
    """Return a runner of CartPole with a small DDQN."""
    return VectorRunner(make_vector("CartPole-v1", memory.n_streams), model_of(memory, seed), seed=seed)


def model_of(memory: Any, seed: int, **options: Any) -> tri.DDQN:
    options = {"epsilon": 0.1, "batch_size": 16, "hidden": (8,), "learning_rate": 0.01} | options
    return tri.DDQN(4, 2, memory.spec.capacity, memory=memory, seed=seed, **options)


def memory_of(backend: Any = "numpy", **options: Any) -> ShardedBuffer:
    return sharded(backend, obs_shape=(4,), capacity=800, **options)


def test_workers_act_by_the_newest_policy(learner: tri.Backend) -> None:
    memory = memory_of(learner)
    model = model_of(memory, 0, epsilon=0.0)
    with Actors(memory, make_runner, actors=2, steps=20, seed=5) as actors:
        actors.publish(model)
        ends = actors.collect(wait=True)
        assert (actors.steps, actors.oldest, memory.steps) == (40, 0, 40)
        assert all(end.length > 0 for end in ends)
        drawn = memory.fetch(memory.sample(memory.drawable).indices)
        states = learner.to_numpy(drawn.states)
        np.testing.assert_array_equal(learner.to_numpy(drawn.actions)[:, 0], model.take_actions(states))
        for _ in range(20):
            model.train_step()
        actors.publish(model)
        actors.collect(wait=True)
        assert actors.oldest == 1


def test_lockstep_repeats_itself(learner: tri.Backend) -> None:
    found = []
    for _ in range(2):
        memory = memory_of(learner)
        model = model_of(memory, 0)
        with Actors(memory, make_runner, actors=2, steps=4, seed=5) as actors:
            lengths: list[int] = []
            for _ in range(30):
                actors.publish(model)
                lengths += [end.length for end in actors.collect(wait=True)]
                model.train_step()
        found.append((lengths, {name: array.tolist() for name, array in model.state().items()}))
    assert found[0][0]
    assert found[0] == found[1]


def test_rows_hold_the_version_of_the_policy_if_asked() -> None:
    memory = memory_of(extras={"policy_version": "int32"})
    model = model_of(memory, 0)
    with Actors(memory, make_runner, actors=2, steps=20) as actors:
        for _ in range(3):
            actors.publish(model)
            actors.collect(wait=True)
            model.train_step()
    versions = memory.sample(memory.drawable).extras["policy_version"]
    assert set(versions.tolist()) == {0, 1, 2}


def test_a_policy_has_the_parameters_alone(learner: tri.Backend) -> None:
    memory = memory_of(learner)
    model, other = model_of(memory, 0), model_of(memory, 1, epsilon=0.7)
    states = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    policy = Policy.of(model, 3, actions=12)
    assert len(policy.arrays) == len(model.progress.learned.params)
    policy.give_to(other)
    assert other.epsilon == 0.1
    assert other.progress.actions == 12
    with model.greedy(), other.greedy():
        assert model.take_actions(states).tolist() == other.take_actions(states).tolist()


def test_a_schedule_of_epsilon_goes_by_the_steps_of_all() -> None:
    memory = memory_of()
    schedule = tri.Linear(1.0, 0.0, steps=100)
    model, other = model_of(memory, 0, epsilon=schedule), model_of(memory, 1, epsilon=schedule)
    Policy.of(model, 0, actions=75).give_to(other)
    other.take_actions(np.zeros((1, 4), np.float32))
    assert other.epsilon == pytest.approx(0.25, abs=0.02)


def test_a_worker_that_died_is_replaced() -> None:
    memory = memory_of()
    model = tri.RandomModel(4, 2, 800, memory=memory)

    def random_runner(memory: ActingMemory, seed: int) -> VectorRunner:
        seeds.append(seed)
        model = tri.RandomModel(4, 2, memory.spec.capacity, memory=memory, seed=seed)
        return VectorRunner(make_vector("CartPole-v1", memory.n_streams), model, seed=seed)

    seeds: list[int] = []
    with Actors(memory, random_runner, actors=2, steps=6) as actors:
        actors.publish(model)
        actors.collect(wait=True)
        assert isinstance(actors.transport, InProcess)
        actors.transport.kill(1)
        with pytest.warns(RuntimeWarning, match="actor 1 died; another takes its place"):
            actors.collect(wait=True)
        actors.collect(wait=True)
        assert actors.steps == 30
    assert len(set(seeds)) == 3
    rows = memory.sample(memory.drawable)
    ends = rows.valid[:, 0] == 0  # of the episodes that it left open, where the next ones begin
    assert ends.sum() >= 2


def test_memory_of_a_model_that_acts_can_not_be_drawn_from() -> None:
    memory = ActingMemory.of(memory_of().writer(streams=2))
    assert isinstance(memory, tri.ReplayMemory)
    model = model_of(memory, 0)
    assert float(model.train_step()) == 0.0
    for call in (memory.sample, memory.draw, memory.assembler()):
        with pytest.raises(TypeError, match="acts in a worker and can't learn"):
            call(4)


def test_actors_share_the_streams_equally() -> None:
    with pytest.raises(ValueError, match="actors=3 with n_streams=4; expected a divisor"):
        Actors(memory_of(), make_runner, actors=3)


def test_ratio_of_samples_to_steps() -> None:
    memory = memory_of(samples_per_insert=SamplesPerInsert(4, slack=64, start=40))
    with Actors(memory, make_runner, actors=1, steps=16) as actors:
        while memory.steps < 400:
            actors.collect()
            while memory.may_draw(16):
                memory.sample(16)
    assert memory.drawn / (memory.steps - 40) == pytest.approx(4, rel=0.2)
