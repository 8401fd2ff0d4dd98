"""JAX in forked processes: refused, with what to do, and nothing hangs."""

import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

import trifolium as tri
from trifolium import replay

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning"),
    pytest.mark.skipif(sys.platform != "linux", reason="the system does not fork with threads"),
]

USES: dict[str, Callable[[tri.DDQN], Any]] = {
    "a draw": lambda model: model.memory.sample(8),
    "an update": lambda model: model.train_step(),
    "a new buffer": lambda model: tri.Buffer(8, (2,), backend="jax"),
    "a new state": lambda model: replay.init(8, (2,), backend=model.backend),
    "what was added": lambda model: model.memory.states,
}


def use_all(model: tri.DDQN, connection: Connection) -> None:
    """Send what each use of JAX raises, and how many rows there are after one more."""
    found = {}
    for name, use in USES.items():
        try:
            use(model)
        except tri.BackendError as error:
            found[name] = str(error)
    model.memory.add([1.0, 2.0], 0, 1.0, False)
    connection.send((found, len(model.memory), model.take_action([0.0, 1.0])))


def test_jax_is_refused_in_a_child() -> None:
    model = tri.DDQN(2, 3, 100, backend="jax", seed=0, batch_size=8, hidden=(8,), epsilon=0.0)
    for step in range(20):
        model.memory.add([step, -step], step % 3, 1.0, False)
    model.train_step()
    action = model.take_action([0.0, 1.0])
    context: Any = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=use_all, args=(model, theirs))
    child.start()
    theirs.close()
    assert ours.poll(120.0)
    found, rows, theirs_action = ours.recv()
    child.join()
    assert found.keys() == USES.keys()
    assert all("get_context('spawn')" in message for message in found.values())
    assert (rows, theirs_action) == (21, action)
    model.train_step()  # the parent goes on
