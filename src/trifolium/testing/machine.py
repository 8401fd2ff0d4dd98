"""The state machine: hypothesis generates operations on a Buffer and its reference."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from trifolium.backend import Backend, get_backend
from trifolium.testing.twin import Options, Twin

__all__ = ["SOAK", "BufferMachine", "run_machine"]

SOAK = "TRIFOLIUM_SOAK"  # how many rules to run at random, instead of the same few as ever
RULES = 2_000
RULES_PER_EXAMPLE = 50

streams = st.integers(0, 3)
up_to_5 = st.sampled_from([1, 1, 2, 3, 4, 5])  # single frames and steps have a path of their own
ends = st.sampled_from(["", "", "done", "truncated", "unknown"])


def _counted(method: Callable[..., None]) -> Callable[..., None]:
    @wraps(method)
    def run(self: "BufferMachine", **values: Any) -> None:
        type(self).rules_run += 1
        method(self, **values)

    return run


class BufferMachine(RuleBasedStateMachine):
    """Anything that can be done to a Buffer, in any order.

    Attributes:
        backend: what the buffers are made on.
        twin_of: makes the twins from a backend, options and a seed.
        rules_run: how many rules all machines of the class have run.
    """

    backend: Backend
    twin_of: Callable[..., Twin] = Twin
    rules_run = 0

    @initialize(
        n_frames=up_to_5,
        spare=st.sampled_from([1, 2, 6]),
        n_streams=st.integers(1, 4),
        n_step=up_to_5,
        boundary=st.sampled_from(["mask", "pad"]),
        drawn=st.sampled_from(["uniform", "valid", "priorities", "priorities"]),
        is_structured=st.sampled_from([False, False, True]),
        seed=st.integers(0, 99),
    )
    def make(
        self, spare: int, seed: int, n_frames: int, n_streams: int, drawn: str, **options: Any
    ) -> None:
        """Make an empty buffer whose rings are a few rows longer than a stack."""
        capacity = (n_frames + spare) * n_streams
        options |= {"prioritized": drawn == "priorities", "valid_only": drawn == "valid"}
        made = Options(capacity, n_frames=n_frames, n_streams=n_streams, **options)
        self.twin = type(self).twin_of(self.backend, made, seed)
        self.drawn: list[int] = []

    @property
    def n_streams(self) -> int:
        """Streams of the buffer."""
        return self.twin.options.n_streams

    @rule(stream=streams, steps=st.integers(1, 8), end=ends)
    @_counted
    def add(self, stream: int, steps: int, end: str) -> None:
        """Add some steps of an episode, the last with any end."""
        self.twin.add(*[""] * (steps - 1), end, stream=stream % self.n_streams)

    @rule(stream=streams, all_ends=st.lists(ends, min_size=1, max_size=12))
    @_counted
    def extend(self, stream: int, all_ends: list[str]) -> None:
        """Add some steps of a stream with any ends, in one call."""
        self.twin.extend(all_ends, stream % self.n_streams)

    @rule(all_ends=st.lists(st.lists(ends, min_size=4, max_size=4), min_size=1, max_size=6))
    @_counted
    def extend_each(self, all_ends: list[list[str]]) -> None:
        """Add some steps of every stream with any ends, in one call."""
        self.twin.extend_each([each[: self.n_streams] for each in all_ends])

    @precondition(lambda self: self.n_streams > 1)
    @rule(taken=st.lists(st.sampled_from(["", "done", None]), min_size=4, max_size=4))
    @_counted
    def add_some(self, taken: list[str | None]) -> None:
        """Add one step to some of the streams."""
        self.twin.add_each(taken[: self.n_streams])

    @precondition(lambda self: self.n_streams > 1)
    @rule(steps=st.integers(1, 5), closing=st.lists(ends, min_size=4, max_size=4), known=st.booleans())
    @_counted
    def add_each(self, steps: int, closing: list[str], known: bool) -> None:
        """Add some steps to all streams at once, the last with any ends."""
        cut = {"truncated": "truncated", "unknown": "truncated"} if known else {"truncated": "unknown"}
        for _ in range(steps - 1):
            self.twin.add_each([""] * self.n_streams)
        self.twin.add_each([cut.get(end, end) for end in closing[: self.n_streams]])

    @rule(stream=st.none() | streams)
    @_counted
    def end_episode(self, stream: int | None) -> None:
        """End episodes by hand."""
        self.twin.end_episode(None if stream is None else stream % self.n_streams)

    @rule(stream=st.none() | streams)
    @_counted
    def add_empty(self, stream: int | None) -> None:
        """End episodes by hand, and leave blank rows."""
        self.twin.add_empty(None if stream is None else stream % self.n_streams)

    @rule()
    @_counted
    def clear(self) -> None:
        """Forget all rows."""
        self.twin.clear()

    @rule(
        on_numpy=st.booleans(),
        n_frames=st.integers(1, 3),
        n_streams=st.integers(1, 2),
        steps=st.integers(0, 9),
        end=ends,
        blanks=st.booleans(),
    )
    @_counted
    def merge(
        self, on_numpy: bool, n_frames: int, n_streams: int, steps: int, end: str, blanks: bool
    ) -> None:
        """Append another buffer, with other options and perhaps on another backend."""
        n_streams = n_streams if self.n_streams == 1 else self.n_streams
        backend = get_backend("numpy") if on_numpy else self.backend
        structure = self.twin.options.is_structured
        options = Options(
            6 * n_streams, n_frames=n_frames, n_streams=n_streams, is_structured=structure
        )
        other = Twin(backend, options)
        for stream in range(n_streams):
            other.add(*[""] * steps, end, *[""] * stream, stream=stream)
        if blanks:
            other.add_empty(0)
        self.twin.add_from(other)

    @rule(size=st.sampled_from([None, None, 1, 3]), flatten=st.booleans())
    @_counted
    def sample(self, size: int | None, flatten: bool) -> None:
        """Draw a batch, or everything."""
        self.drawn += self.twin.check_sample(size, flatten=flatten)

    @rule(size=st.sampled_from([1, 2]), length=st.integers(1, 4), within_episode=st.booleans())
    @_counted
    def sample_sequences(self, size: int, length: int, within_episode: bool) -> None:
        """Draw runs."""
        self.drawn += self.twin.check_sequences(size, length, within_episode=within_episode)

    @rule()
    @_counted
    def fetch(self) -> None:
        """Read rows by index."""
        self.twin.check_fetch()

    @precondition(lambda self: self.twin.options.prioritized and self.drawn)
    @rule(size=st.integers(1, 8), error=st.integers(-9, 9))
    @_counted
    def update_priorities(self, size: int, error: int) -> None:
        """Report errors of rows drawn a while ago."""
        indices = self.drawn[-3 * size :: 3]
        self.twin.update_priorities(indices, [error / 4 + n for n in range(len(indices))])

    @rule(stream=streams, offset=st.integers(0, 4))
    @_counted
    def read(self, stream: int, offset: int) -> None:
        """Read without drawing."""
        self.twin.check_reads(stream % self.n_streams, offset)

    @rule()
    @_counted
    def reload(self) -> None:
        """Save and load."""
        self.twin.reload()

    @invariant()
    def cursors_agree(self) -> None:
        """Compare the cursors after every rule."""
        self.twin.check_cursors()

    def teardown(self) -> None:
        """Leave no machine without a full comparison."""
        if hasattr(self, "twin"):
            self.twin.check_all()


def run_machine(backend: Backend, twin_of: Callable[..., Twin] = Twin) -> int:
    """Run the machine on a backend and return how many rules ran.

    They are the same ones each time, at least 2,000; or, at random, as many as the environment
    variable TRIFOLIUM_SOAK says.

    Args:
        backend: what the buffers are made on.
        twin_of: what is compared with the reference.

    Raises:
        AssertionError: the buffer differs from the reference; hypothesis tells the shortest way there.
    """
    soak = int(os.environ.get(SOAK, "0"))
    wanted = soak or RULES
    made = {"backend": backend, "twin_of": staticmethod(twin_of), "rules_run": 0}
    machine: Any = type("Machine", (BufferMachine,), made)
    while machine.rules_run < wanted:
        _run(machine, -(-(wanted - machine.rules_run) // RULES_PER_EXAMPLE), derandomize=not soak)
    return int(machine.rules_run)


def _run(machine: Any, examples: int, *, derandomize: bool) -> None:
    chosen = settings(
        max_examples=max(examples, 10),
        stateful_step_count=RULES_PER_EXAMPLE,
        derandomize=derandomize,
        database=None,
        report_multiple_bugs=False,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)
