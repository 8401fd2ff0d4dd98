"""Buffers in other processes: they work there, or say what to do; none waits for ever."""

import multiprocessing
import pickle
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trifolium as tri

METHODS = ["fork"] * (sys.platform == "linux")
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning"
)
LONGEST = 120.0  # seconds for which a child is waited for


def filled(backend: tri.Backend, **options: Any) -> tri.Buffer:
    buffer = tri.Buffer(64, (2,), backend=backend, seed=0, **options)
    for step in range(40):
        buffer.add([step, -step], step % 3, 1.0, False)
    buffer.sample(8)  # threads of the framework have started
    return buffer


def use(buffer: tri.Buffer, connection: Connection) -> None:
    """Add to the buffer and draw from it; send the rows, or the error."""
    try:
        buffer.add([40, -40], 0, 1.0, False)
        connection.send(("rows", len(buffer), buffer.sample(8).indices.tolist()))
    except (tri.BackendError, RuntimeError) as error:  # the latter is torch's, about CUDA
        connection.send(("error", len(buffer), str(error)))


def go_on(batches: Any, connection: Connection) -> None:
    """Ask an iterator of another process for a batch."""
    try:
        next(batches)
    except RuntimeError as error:
        connection.send(str(error))


def sent(method: str, target: Any, given: Any) -> Any:
    """Return what a child process sends."""
    context: Any = multiprocessing.get_context(method)
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=target, args=(given, theirs))
    child.start()
    theirs.close()
    try:
        assert ours.poll(LONGEST), "the child does not answer"
        return ours.recv()
    finally:
        child.join(LONGEST)
        child.kill()


def check(backend: tri.Backend, method: str) -> None:
    buffer = filled(backend, sampler=tri.Prioritized())
    kind, length, found = sent(method, use, buffer)
    assert length == 41  # a step can be added in any case
    assert len(buffer) == 40
    if kind == "error":
        assert method == "fork"
        assert "'spawn'" in found
        return
    buffer.add([40, -40], 0, 1.0, False)
    assert found == buffer.sample(8).indices.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_a_forked_child_uses_its_copy(backend: tri.Backend, method: str) -> None:
    check(backend, method)


@pytest.mark.slow_on("torch", "jax")
def test_a_spawned_child_is_given_a_copy(backend: tri.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # the child imports this module
    check(backend, "spawn")


@pytest.mark.parametrize("method", METHODS)
def test_a_child_does_not_wait_for_a_thread_of_its_parent(backend: tri.Backend, method: str) -> None:
    """Neither for batches that are drawn ahead there, nor for its own use of the buffer."""
    buffer = filled(backend)
    batches = iter(buffer.as_dataset(8, prefetch=3))
    next(batches)
    assert "forked" in sent(method, go_on, batches)
    assert sent(method, use, buffer)[1] == 41
    assert np.isin(next(batches).indices, np.arange(40)).all()


def test_an_iterator_is_not_pickled(backend: tri.Backend) -> None:
    batches = iter(filled(backend).as_dataset(8, prefetch=1))
    with pytest.raises(TypeError, match="pass the buffer"):
        pickle.dumps(batches)
