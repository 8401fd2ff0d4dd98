"""Threads that add to a buffer and draw from it at once; every field of a row says the same number.

python -m tests.replay.hammer --backend torch --seconds 60 --adders 8 --samplers 4
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import trifolium as tri
from trifolium.backend import as_numpy

STREAMS = 5
BATCH, LENGTH = 16, 3
LIMIT = 1 << 22  # numbers that float32 holds, with room for the number of the thread


@contextmanager
def switch_interval(seconds: float | None) -> Iterator[None]:
    """Let threads take turns as often as that; None for Python's default."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before if seconds is None else seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Hammer:
    """Threads around one buffer.

    The first half of the adders share stream 0 and give no successors. Each of the others has a stream
    of its own, gives successors and truncates episodes.

    Args:
        backend: of the buffer.
        adders: threads that add, at most 8.
        samplers: threads that draw.
        capacity: rows of the buffer.
        **options: of the buffer.
    """

    def __init__(
        self,
        backend: tri.Backend,
        adders: int = 4,
        samplers: int = 4,
        capacity: int = 400,
        **options: Any,
    ) -> None:
        self.backend = backend
        self.buffer = tri.Buffer(
            capacity,
            (3,),
            backend=backend,
            seed=0,
            n_streams=STREAMS,
            action_dtype="int32",
            extras={"tag": "int32"},
            **options,
        )
        self._assemble = backend.compile(self.buffer.assembler())
        self.adders, self.samplers = adders, samplers
        self.steps = [0] * adders  # that each thread has added
        self.rows = [0] * adders  # that these must take
        self.drawn = [0] * samplers
        self.errors: list[BaseException] = []
        self.stop = threading.Event()

    def run(self, seconds: float) -> None:
        """Run all threads for some seconds; raise the first error of one of them."""
        calls: list[tuple[Callable[[int], None], int]] = [(self._add, n) for n in range(self.adders)]
        calls += [(self._draw, n) for n in range(self.samplers)]
        threads = [threading.Thread(target=self._guarded, args=call) for call in calls]
        for thread in threads:
            thread.start()
        self.stop.wait(seconds)
        self.stop.set()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]
        self.check_counts()

    def check_counts(self) -> None:
        """Every step that was added took a row, and every row that is stored is whole."""
        ring = self.buffer._store.ring
        assert ring.written.sum() == sum(self.rows), (ring.written.tolist(), self.rows)
        assert len(self.buffer) == np.minimum(ring.written, ring.length).sum()
        obs, actions, rewards, _ = self.buffer[:]
        self.check_rows(as_numpy(obs), as_numpy(actions), as_numpy(rewards))
        is_step = as_numpy(rewards) > 0
        assert len(set(as_numpy(rewards)[is_step].tolist())) == is_step.sum()

    @staticmethod
    def check_rows(states: np.ndarray, actions: np.ndarray, rewards: np.ndarray) -> None:
        """All fields say one number, but in rows that are no step."""
        numbers = rewards.reshape(-1, 1)
        states = states.reshape(len(numbers), -1)
        is_step = numbers[:, 0] > 0
        assert np.all(states == states[:, :1]), states
        assert np.all((states == numbers)[is_step]), (states, numbers)
        assert np.all((actions.reshape(-1, 1) == numbers)[is_step]), (actions, numbers)

    # Threads

    def _guarded(self, call: Callable[[int], None], number: int) -> None:
        try:
            call(number)
        except BaseException as error:  # noqa: BLE001 (another thread raises it)
            self.errors.append(error)
            self.stop.set()

    def _add(self, thread: int) -> None:
        alone = thread >= self.adders // 2
        stream = thread - self.adders // 2 + 1 if alone else 0
        while not self.stop.is_set() and self.steps[thread] < LIMIT // self.adders:
            if self.steps[thread] % 7 == 3:
                self._extend(thread, stream)
                continue
            n = self._number(thread)
            end = n % 5 == 0
            following = [n + self.adders * (0.5 if end else 1.0)] * 3
            self.buffer.add(
                [n] * 3, n, n, False, truncated=alone and end, next_obs=following if alone else None,
                stream=stream, tag=n,
            )  # fmt: skip
            self.rows[thread] += 1 + (alone and end)

    def _extend(self, thread: int, stream: int) -> None:
        count = 1 + self.steps[thread] % 4
        numbers = np.array([self._number(thread) for _ in range(count)])
        obs = np.repeat(numbers[:, None], 3, axis=1)
        self.buffer.extend(obs, numbers, numbers, numbers < 0, stream=stream, tag=numbers)
        self.rows[thread] += count

    def _number(self, thread: int) -> int:
        self.steps[thread] += 1
        return self.steps[thread] * self.adders + thread

    def _draw(self, thread: int) -> None:
        kept: Any = None
        while not self.stop.is_set():
            way = self.drawn[thread] % 8
            try:
                if way < 5:
                    batch = self.buffer.sample(BATCH)
                elif way == 5:
                    batch = self.buffer.sample_sequences(BATCH, LENGTH)
                elif way == 6:
                    batch = self.buffer.fetch(self.buffer.sample(BATCH).indices)
                else:
                    batch = self._assembled()
            except tri.NotEnoughTransitions:
                continue
            except IndexError:
                self.drawn[thread] += 1
                continue  # fetched rows were overwritten
            self._check(batch)
            if isinstance(self.buffer.sampler, tri.Prioritized) and way < 4:
                self.buffer.update_priorities(batch.indices, np.ones(BATCH) * way)
            found = [as_numpy(array).copy() for array in (batch.states, batch.rewards)]
            if kept is None or self.drawn[thread] % 64 == 0:
                kept = batch, found
            before, values = kept
            for array, value in zip((before.states, before.rewards), values, strict=True):
                assert np.array_equal(as_numpy(array), value)  # what came out does not change
            self.drawn[thread] += 1

    def _assembled(self) -> tri.Batch:
        """Draw as a compiled update does."""
        with self.buffer.drawing():
            columns, plan, _ = self.buffer.draw(BATCH)
            batch: tri.Batch = self._assemble(columns, plan)
            return batch

    def _check(self, batch: tri.Batch) -> None:
        states, actions, rewards, following, dones, valid = map(as_numpy, batch)
        tags = as_numpy(batch.extras["tag"])
        self.check_rows(states, actions, rewards)
        self.check_rows(states, tags, rewards)
        following = following.reshape(-1, 3)
        assert np.all(following == following[:, :1])
        assert not dones.any()
        assert np.all(valid.reshape(-1)[rewards.reshape(-1) > 0])  # every step has a successor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--adders", type=int, default=8)
    parser.add_argument("--samplers", type=int, default=4)
    options = parser.parse_args()
    for interval in (1e-4, None):
        with switch_interval(interval):
            hammer = Hammer(tri.get_backend(options.backend), options.adders, options.samplers)
            start = time.perf_counter()
            hammer.run(options.seconds)
            seconds = time.perf_counter() - start
        print(
            f"{options.backend}, switch interval {interval or sys.getswitchinterval()} s: "
            f"{sum(hammer.steps):,} steps added, {sum(hammer.drawn):,} batches drawn in "
            f"{seconds:.0f} s, no row mixed, counts exact"
        )


if __name__ == "__main__":
    main()
