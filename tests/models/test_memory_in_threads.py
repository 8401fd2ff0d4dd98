"""A model that learns in one thread while another one adds to its memory."""

import sys
import threading

import numpy as np
import pytest

import trifolium as tri
from trifolium.backend import as_numpy

from .remember import remember


@pytest.mark.parametrize("prioritized", [False, True])
def test_updates_while_another_thread_adds(learner: tri.Backend, prioritized: bool) -> None:
    """What is learned from are whole rows: here the action of each says what its reward is."""
    sampler = tri.Prioritized() if prioritized else None
    model = tri.DDQN(
        4, 3, 500, backend=learner, seed=0, batch_size=16, hidden=(8,), sampler=sampler, n_step=1
    )
    remember(model, steps=100)
    before = int(model.memory._store.ring.written[0])
    stop, added = threading.Event(), [0]

    def add() -> None:
        rng = np.random.default_rng(1)
        while not stop.is_set():
            action = int(rng.integers(3))
            model.memory.add(np.full(4, action), action, float(action), False)
            added[0] += 1

    actor, interval = threading.Thread(target=add), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        actor.start()
        losses = [model.train_step() for _ in range(40)]
    finally:
        stop.set()
        actor.join()
        sys.setswitchinterval(interval)
    assert all(np.isfinite(as_numpy(loss)) for loss in losses)
    assert int(model.memory._store.ring.written[0]) == before + added[0]
    batch = model.memory.sample(16)
    new = as_numpy(batch.indices) >= before
    states, actions, rewards = (as_numpy(each) for each in batch[:3])
    assert np.all(states[new] == actions[new])
    assert np.all(rewards[new] == actions[new])
