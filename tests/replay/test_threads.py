"""Threads that add and draw at once: rows are whole, and counts exact."""

import copy
import os
import threading
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay.host import locks

from .hammer import Hammer, switch_interval

SECONDS = "TRIFOLIUM_THREADS_SECONDS"  # of the long test; 60 for figures
SAMPLERS: dict[str, Any] = {"uniform": {}, "prioritized": {"sampler": tri.Prioritized}}


def hammer(backend: tri.Backend, options: dict[str, Any], adders: int = 4) -> Hammer:
    return Hammer(backend, adders, 4, **{name: make() for name, make in options.items()})


@pytest.mark.parametrize("options", SAMPLERS.values(), ids=SAMPLERS)
def test_rows_are_whole_and_counts_exact(backend: tri.Backend, options: dict[str, Any]) -> None:
    threads = hammer(backend, options)
    with switch_interval(1e-5):
        threads.run(0.5)
    assert min(threads.steps) > 0
    assert sum(threads.drawn) > 0


@pytest.mark.slow
@pytest.mark.parametrize("options", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("interval", [1e-4, None], ids=["often", "default"])
def test_for_long(backend: tri.Backend, options: dict[str, Any], interval: float | None) -> None:
    with switch_interval(interval):
        hammer(backend, options, adders=8).run(float(os.environ.get(SECONDS, "5")))


def test_mixed_rows_are_noticed() -> None:
    """Without the lock the test above fails."""
    threads = Hammer(tri.get_backend("numpy"))
    threads.buffer._store.lock = nullcontext()
    broken = (AssertionError, IndexError, TypeError, ValueError)  # what breaks first is chance
    with switch_interval(1e-6), pytest.raises(broken):
        threads.run(20.0)


def test_buffers_append_each_other(backend: tri.Backend) -> None:
    """Neither waits for the other, nor for itself."""
    one, other = (tri.Buffer(16, (1,), backend=backend) for _ in range(2))
    for buffer in (one, other):
        buffer.add([1.0], 0, 1.0, True)

    def append(ours: tri.Buffer, theirs: tri.Buffer) -> None:
        for _ in range(100):
            ours.add_from_buffer(theirs)
            ours.add_from_buffer(ours)

    with switch_interval(1e-6):
        threads = [
            threading.Thread(target=append, args=pair, daemon=True)
            for pair in ((one, other), (other, one))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
    assert not any(thread.is_alive() for thread in threads)


def test_a_deep_copy_is_whole_while_others_add(backend: tri.Backend) -> None:
    threads = Hammer(backend, adders=2, samplers=0)
    copies: list[tri.Buffer] = []

    def copied(_: int) -> None:
        while len(copies) < 20:
            copies.append(copy.deepcopy(threads.buffer))
        threads.stop.set()

    threads.samplers, threads._draw = 1, copied  # type: ignore[method-assign]
    with switch_interval(1e-5):
        threads.run(60.0)
    for each in copies:
        obs, actions, rewards, _ = (tri.backend.as_numpy(array) for array in each[:])
        threads.check_rows(obs, actions, rewards)
        each.add([1.0] * 3, 0, 1.0, False, stream=0, tag=0)
        assert len(each) > 0
    assert copy.copy(threads.buffer)._store.lock is threads.buffer._store.lock


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning")
def test_a_fork_waits_for_a_whole_row_and_leaves_no_lock() -> None:
    """Rows of the child are whole, and its buffer can be used, whatever other threads did."""
    threads = Hammer(tri.get_backend("numpy"), adders=4, samplers=0)
    statuses = []

    def forked(_: int) -> None:
        for _ in range(10):
            child = os.fork()
            if not child:
                try:
                    threads.rows = [int(threads.buffer._store.ring.written.sum())]
                    threads.check_counts()
                    threads.buffer.add([1.0] * 3, 0, 1.0, False, stream=0, tag=0)
                    threads.buffer.sample(4)
                    os._exit(0)
                except BaseException:  # noqa: BLE001 (the child must not go on as a test)
                    os._exit(1)
            statuses.append(os.waitpid(child, 0)[1])
        threads.stop.set()

    threads.samplers, threads._draw = 1, forked  # type: ignore[method-assign]
    with switch_interval(1e-5):
        threads.run(60.0)
    assert statuses == [0] * 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning")
def test_a_fork_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that stays inside a buffer has no say in the child."""
    monkeypatch.setattr(locks, "LONGEST_WAIT", 0.01)
    buffer = tri.Buffer(8, (1,))
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with buffer._store.lock:
            inside.set()
            leave.wait()

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait()
    child = os.fork()
    if not child:
        buffer.add([1.0], 0, 1.0, False)
        os._exit(len(buffer))
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    buffer.add([1.0], 0, 1.0, False)
    assert len(buffer) == 1


def test_a_sampler_may_ask_the_buffer(backend: tri.Backend) -> None:
    """Inside a draw the buffer is held, and its methods can be called."""

    class Asking(tri.Uniform):
        buffer: tri.Buffer

        def draw(self, source: Any, rng: np.random.Generator, batch_size: int) -> Any:
            assert len(self.buffer) == 3
            return super().draw(source, rng, batch_size)

    sampler = Asking()
    buffer = tri.Buffer(8, (1,), backend=backend, sampler=sampler)
    sampler.buffer = buffer
    for step in range(3):
        buffer.add([step], 0, 1.0, False)
    assert buffer.sample(2).batch_size == 2
