"""Minibatches that are drawn ahead: the same as without, and nothing is left of the thread."""

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay.host.ahead import Ahead, Draining
from trifolium.testing.cases import on_host

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stacks": {"n_frames": 3, "n_step": 2, "n_streams": 2},
    "prioritized": {"sampler": lambda: tri.Prioritized(beta=tri.Linear(0.4, 1.0, steps=50))},
    "valid rows": {"sampler": lambda: tri.Uniform(valid_only=True)},
}
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "trifolium-prefetch":
            thread.join(20.0)
            assert not thread.is_alive()


def filled(backend: tri.Backend, options: dict[str, Any] | None = None, steps: int = 50) -> tri.Buffer:
    made: dict[str, Any] = dict(options or {})
    if "sampler" in made:
        made["sampler"] = made["sampler"]()
    buffer = tri.Buffer(64, (2,), backend=backend, seed=0, extras={"tag": "int32"}, **made)
    for step in range(steps):
        add(buffer, step)
    if isinstance(buffer.sampler, tri.Prioritized):  # so that weights tell beta
        buffer.update_priorities(buffer.sample(16).indices, np.arange(16.0))
    return buffer


def add(buffer: tri.Buffer, step: int) -> None:
    for stream in range(buffer.n_streams):
        done = step % 10 == 9
        buffer.add([step, -step], step % 3, 1.0, done, stream=stream, tag=step)


def same(backend: tri.Backend, ours: tri.Batch, theirs: tri.Batch) -> bool:
    pairs = zip(on_host(backend, ours), on_host(backend, theirs), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


@each_option
@pytest.mark.parametrize("prefetch", [1, 3])
def test_the_same_is_drawn_as_without(
    backend: tri.Backend, options: dict[str, Any], prefetch: int
) -> None:
    buffer, plain = filled(backend, options), filled(backend, options)
    for n_batches in (1, 2, 7):
        batches = list(buffer.as_dataset(6, n_batches, prefetch=prefetch))
        assert len(batches) == n_batches
        for batch in batches:
            assert same(backend, batch, plain.sample(6))
    assert same(backend, buffer.sample(6), plain.sample(6))  # nothing was drawn that was not used


@each_option
def test_what_is_not_used_is_taken_back(backend: tri.Backend, options: dict[str, Any]) -> None:
    buffer, plain = filled(backend, options), filled(backend, options)
    for used in (1, 2, 4):
        batches = buffer.as_dataset(6, prefetch=3)
        for batch in islice(batches, used):
            assert same(backend, batch, plain.sample(6))
    assert same(backend, buffer.sample(6), plain.sample(6))
    assert not isinstance(buffer._store.lock, Draining)


def test_batches_are_drawn_when_others_are_asked_for(backend: tri.Backend) -> None:
    """Whatever is added and reported between two batches counts as many batches later as are ahead."""
    ahead = 2
    for _ in range(3):  # the thread is never where it was
        options = OPTIONS["prioritized"]
        buffer, plain = filled(backend, options), filled(backend, options)
        batches, expected = iter(buffer.as_dataset(6, prefetch=ahead)), []
        for step in range(12):
            batch = next(batches)
            expected += [plain.sample(6) for _ in range(1 if step else ahead + 1)]
            assert same(backend, batch, expected[step])
            for each in (buffer, plain):
                each.update_priorities(batch.indices, np.arange(6.0) * step)
                add(each, 100 + step)
        del batches
        expected.clear()


def test_calls_see_what_is_due_first(backend: tri.Backend) -> None:
    """Rows that are drawn ahead are drawn before what the program does next, even to clear all."""
    for change in (tri.Buffer.clear, lambda buffer: add(buffer, 99), lambda buffer: buffer.sample(6)):
        buffer, plain = filled(backend), filled(backend)
        batches = iter(buffer.as_dataset(6, 3, prefetch=2))
        first = next(batches)
        change(buffer)
        expected = [plain.sample(6) for _ in range(3)]
        for one, other in zip([first, *batches], expected, strict=True):
            assert same(backend, one, other)


def test_two_datasets_of_one_buffer(backend: tri.Backend) -> None:
    buffer, plain = filled(backend), filled(backend)
    one, other = (iter(buffer.as_dataset(6, 3, prefetch=1)) for _ in range(2))
    order = [next(one), next(other), next(one), next(other), next(one), next(other)]
    drawn = [plain.sample(6) for _ in range(6)]
    for batch, number in zip(order, (0, 2, 1, 3, 4, 5), strict=True):
        assert same(backend, batch, drawn[number])
    assert next(one, None) is next(other, None) is None
    assert not isinstance(buffer._store.lock, Draining)


def test_errors_come_where_the_batch_was_asked_for(backend: tri.Backend) -> None:
    buffer = filled(backend, steps=3)
    batches = iter(buffer.as_dataset(6, prefetch=2))
    with pytest.raises(tri.NotEnoughTransitions):
        next(batches)
    assert next(batches, None) is None
    for step in range(20):
        add(buffer, step)
    assert next(iter(buffer.as_dataset(6, prefetch=2))).batch_size == 6


def test_errors_of_a_sampler(backend: tri.Backend) -> None:
    class Failing(tri.Uniform):
        draws = 0

        def draw(self, source: Any, rng: np.random.Generator, batch_size: int) -> Any:
            self.draws += 1
            if self.draws == 3:
                raise ZeroDivisionError("the third")
            return super().draw(source, rng, batch_size)

    batches = iter(filled(backend, {"sampler": Failing}).as_dataset(6, prefetch=4))
    assert [next(batches).batch_size for _ in range(2)] == [6, 6]
    with pytest.raises(ZeroDivisionError, match="the third"):
        next(batches)
    assert list(batches) == []


ENDS: dict[str, Callable[[Any], object]] = {
    "closed": lambda batches: batches.close(),
    "closed twice": lambda batches: (batches.close(), batches.close()),
    "forgotten": lambda batches: None,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_thread_ends_with_its_iterator(backend: tri.Backend, end: Callable[[Any], object]) -> None:
    batches: Any = iter(filled(backend).as_dataset(6, prefetch=2))
    next(batches)
    thread = batches._work.thread
    assert thread.is_alive()
    end(batches)
    del batches
    thread.join(20.0)
    assert not thread.is_alive()


def test_the_interpreter_exits(backend: tri.Backend) -> None:
    """With an iterator that is still there, and batches under way."""
    lines = [
        "import trifolium as tri",
        f"buffer = tri.Buffer(64, (2,), backend={backend.name!r})",
        "for step in range(50):",
        "    buffer.add([step, step], 0, 1.0, False)",
        "batches = iter(buffer.as_dataset(32, prefetch=8))",
        "print(next(batches).batch_size)",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert (run.stdout, run.stderr) == ("32\n", "")


def test_others_add_meanwhile(backend: tri.Backend) -> None:
    """Nothing waits for ever, and rows are whole."""
    buffer, stop = filled(backend), threading.Event()

    def adding() -> None:
        step = 0
        while not stop.is_set():
            add(buffer, step := step + 1)

    threads = [threading.Thread(target=adding) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for batch in buffer.as_dataset(6, 50, prefetch=3):
            states = tri.backend.as_numpy(batch.states)
            tags = tri.backend.as_numpy(batch.extras["tag"])
            assert np.array_equal(states, np.stack([tags, -tags], axis=1))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class HostCopier:
    """Copies on the host; ``start`` and ``finish`` must be called by different threads."""

    def __init__(self, fails_at: int = -1) -> None:
        self.started, self.fails_at = 0, fails_at

    def start(self, batch: tri.Batch) -> Any:
        self.started += 1
        if self.started == self.fails_at:
            raise MemoryError("no memory on the device")
        return threading.get_ident(), batch.each(np.copy)

    def finish(self, started: Any) -> tri.Batch:
        thread, batch = started
        assert thread != threading.get_ident()
        found: tri.Batch = batch
        return found


def test_batches_are_copied_by_the_thread() -> None:
    numpy = tri.get_backend("numpy")
    buffer, plain = filled(numpy), filled(numpy)
    parts = (buffer._store, buffer.sampler, buffer.rng)
    for fails_at in (-1, 3):
        copier = HostCopier(fails_at)
        batches = Ahead(lambda: buffer.sample(6), *parts, count=4, ahead=1, copier=copier)
        for batch in islice(batches, 2):
            assert same(numpy, batch, plain.sample(6))
        if fails_at == 3:
            with pytest.raises(MemoryError):
                next(batches)
        else:
            assert [same(numpy, batch, plain.sample(6)) for batch in batches] == [True, True]
            assert copier.started == 4
        assert list(batches) == []


@pytest.mark.parametrize("wrong", [-1, 1.5, True])
def test_bad_numbers_are_refused(backend: tri.Backend, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="prefetch="):
        filled(backend).as_dataset(4, prefetch=wrong)
