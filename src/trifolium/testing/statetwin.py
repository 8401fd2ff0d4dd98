"""Compare the functional form, compiled or not, with the reference of Buffer."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trifolium import replay
from trifolium.backend import AnyArray, Backend
from trifolium.errors import NotEnoughTransitions
from trifolium.replay import Batch, Buffer, State
from trifolium.replay.batch import map_tree
from trifolium.testing.cases import FIELDS
from trifolium.testing.twin import ALPHA, Options, Twin

__all__ = ["Functions", "StateBuffer", "StateTwin", "plain", "random_bits"]

FEW, MANY, CHUNK = 3, 32, 4


class Compile(Protocol):
    """What compiles: :meth:`trifolium.Backend.compile` is one."""

    def __call__(self, function: Callable[..., Any], *, donate: Sequence[int] = ()) -> Any:
        """Return ``function`` compiled; it may reuse the memory of the arguments at ``donate``."""
        ...


def plain(function: Callable[..., Any], *, donate: Sequence[int] = ()) -> Callable[..., Any]:
    """Return ``function`` as it is."""
    del donate
    return function


class Functions:
    """The functions of :mod:`trifolium.replay`, compiled.

    Args:
        compile: what compiles them.
    """

    def __init__(self, compile: Compile) -> None:
        self._add = compile(lambda state, steps: replay.add(state, **steps), donate=(0,))
        self.update_priorities = compile(replay.update_priorities, donate=(0,))
        self.current_state = compile(replay.current_state)
        self.drawable = compile(replay.drawable)
        self._sample = cache(lambda **how: compile(partial(replay.sample, **how)))
        self._sequences = cache(lambda **how: compile(partial(replay.sample_sequences, **how)))
        self._extend = cache(
            lambda most: compile(
                lambda state, steps: replay.extend(state, boundary_rows=most, **steps), donate=(0,)
            )
        )

    def add(self, state: State, **steps: Any) -> State:
        """Store steps; the state given must not be used again."""
        return self._add(state, steps)

    def extend(self, state: State, boundary_rows: int, **steps: Any) -> State:
        """Store a chunk of steps; the state given must not be used again."""
        return self._extend(boundary_rows)(state, steps)

    def sample(self, state: State, bits: AnyArray, **how: Any) -> Batch:
        """Draw a minibatch."""
        return self._sample(**how)(state, bits)

    def sample_sequences(self, state: State, bits: AnyArray, **how: Any) -> Batch:
        """Draw a minibatch of runs."""
        return self._sequences(**how)(state, bits)


class StateBuffer:
    """A state behind the methods of a Buffer; those that the functional form lacks go through one.

    Args:
        state: what it begins with.
        functions: what is used of it.
        seed: of the bits that rows are drawn from.
    """

    def __init__(self, state: State, functions: Functions, seed: int) -> None:
        self.state = state
        self.functions = functions
        self.rng = np.random.default_rng(seed)

    # Through the functional form

    def extend(self, **steps: Any) -> None:
        """Add several steps of a stream, or of each, in chunks of few lengths: each is compiled."""
        stream = steps.pop("stream", None)
        count = len(steps["action"])
        sizes = [CHUNK] * (count // CHUNK) + [1] * (count % CHUNK)
        for size, end in zip(sizes, np.cumsum(sizes).tolist(), strict=True):
            now: slice | int = slice(end - size, end) if size > 1 else end - 1
            part = {
                name: None if each is None else map_tree(itemgetter(now), each)
                for name, each in steps.items()
            }
            self.add(**part, stream=stream)

    def add(self, *, stream: int | None = None, next_obs: Any, **step: Any) -> None:
        """Add one step of a stream, or of each."""
        dtypes = {"obs": "float32", "reward": "float32", "done": "bool", "truncated": "bool"}
        dtypes |= {"action": self.state.spec.action_dtype, "tag": "int32", "where": "bool"}
        given = {name: self._native(value, dtypes[name]) for name, value in step.items()}
        given["next_obs"] = None if next_obs is None else self._native(next_obs, "float32")
        if stream is not None and self.state.spec.n_streams > 1:
            given["stream"] = self._native(stream, self.state.backend.default_int)
        self.state = self.functions.add(self.state, **given)

    def update_priorities(self, indices: Sequence[int], errors: Sequence[float]) -> None:
        """Report errors of rows."""
        padding = [-1] * (-len(indices) % MANY)  # stands for no row
        native = self._native([*indices, *padding], self.state.backend.default_int)
        errors = self._native([*errors, *padding], "float32")
        self.state = self.functions.update_priorities(self.state, native, errors)

    def sample(self, batch_size: int, *, flatten: bool = True) -> Batch:
        """Draw a batch; where rows are missing, see that they came out as such, and raise.

        Few sizes are drawn, as each is compiled: large batches are cut out of larger ones.
        """
        draw = str(self.rng.choice(["subset", "stratified"]))
        size = FEW if batch_size <= FEW else -(-batch_size // MANY) * MANY
        bits = random_bits(self.state.backend, self.rng, size)
        found = self.functions.sample(self.state, bits, draw=draw, flatten=flatten)
        indices = self.state.backend.to_numpy(found.indices)
        drawn = np.flatnonzero(indices >= 0)
        missing = np.flatnonzero(indices < 0)
        assert not self.state.backend.to_numpy(found.valid)[missing].any()
        if self.state.priorities is None:
            available = int(self.state.backend.to_numpy(self.functions.drawable(self.state)))
            assert len(set(indices[drawn].tolist())) == len(drawn) == min(size, available)
        if len(drawn) < batch_size:
            raise NotEnoughTransitions(batch_size, len(drawn))
        return self._part(found, drawn[:batch_size])

    def sample_sequences(self, batch_size: int, length: int, *, within_episode: bool) -> Batch:
        """Draw runs: as many as tests ever ask for, of which some are returned."""
        assert batch_size <= FEW
        bits = random_bits(self.state.backend, self.rng, FEW)
        draw = "subset" if within_episode else "stratified"
        how = {"length": length, "within_episode": within_episode, "draw": draw}
        found = self.functions.sample_sequences(self.state, bits, **how)
        indices = self.state.backend.to_numpy(found.indices)
        drawn = np.flatnonzero(indices >= 0)
        assert not self.state.backend.to_numpy(found.valid)[indices < 0].any()
        if len(drawn) < batch_size:
            raise NotEnoughTransitions(batch_size, len(drawn))
        return self._part(found, drawn[:batch_size])

    def current_state(self, stream: int) -> AnyArray:
        """Return the frames before the newest observation."""
        found = self.functions.current_state(self.state)
        if self.state.spec.n_streams == 1:
            return found
        return map_tree(lambda array: array[stream, ...], found)

    # Through a Buffer

    def __getattr__(self, name: str) -> Any:
        """Return what is only read."""
        return getattr(Buffer.from_state(self.state, seed=int(self.rng.integers(2**31))), name)

    def __getitem__(self, index: Any) -> Any:
        return Buffer.from_state(self.state)[index]

    def __len__(self) -> int:
        return int(self.state.backend.to_numpy(self.state.sizes).sum())

    def end_episode(self, stream: int | None) -> None:
        """End episodes."""
        self._change(lambda buffer: buffer.end_episode(stream))

    def add_empty(self, stream: int | None) -> None:
        """End episodes, and leave blank rows."""
        self._change(lambda buffer: buffer.add_empty(stream))

    def add_from_buffer(self, other: "Buffer | StateBuffer") -> None:
        """Append another buffer."""
        source = other if isinstance(other, Buffer) else Buffer.from_state(other.state)
        self._change(lambda buffer: buffer.add_from_buffer(source))

    def clear(self) -> None:
        """Forget all rows."""
        self._change(lambda buffer: buffer.clear())

    def reload(self) -> None:
        """Go on with a copy that was in a file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "buffer"
            Buffer.from_state(self.state).save(path)
            self.state = Buffer.load(path, backend=self.state.backend).state()

    def _change(self, change: Callable[[Buffer], object]) -> None:
        buffer = Buffer.from_state(self.state)
        change(buffer)
        self.state = buffer.state()

    def _part(self, batch: Batch, places: np.ndarray) -> Batch:
        """Return some rows of a batch, with weights of which the largest is 1."""
        backend = self.state.backend

        def part(array: AnyArray) -> AnyArray:
            return backend.from_numpy(backend.to_numpy(array)[places])

        weights = backend.to_numpy(batch.weights)[places]
        return Batch(
            **{name: map_tree(part, getattr(batch, name)) for name in FIELDS if name != "weights"},
            weights=backend.from_numpy(weights / weights.max()),
            indices=backend.to_numpy(batch.indices)[places],
            extras={name: part(extra) for name, extra in batch.extras.items()},
        )

    def _native(self, value: Any, dtype: str) -> AnyArray:
        return map_tree(lambda array: self.state.backend.from_numpy(np.array(array, dtype)), value)


class StateTwin(Twin):
    """A :class:`Twin` of the functional form.

    Args:
        backend: of the state.
        options: of state and reference; all rows are drawn, valid or not.
        seed: of the draws.
        functions: what is compared; None for the functions as they are.
    """

    def __init__(
        self, backend: Backend, options: Options, seed: int = 0, functions: Functions | None = None
    ) -> None:
        super().__init__(backend, replace(options, valid_only=False), seed)
        buffer = StateBuffer(self.buffer.state(), functions or Functions(plain), seed)
        self.buffer = self.wrapped(buffer)

    def check_all(self) -> None:
        """Compare also the masses of all rows, of which a draw tells but a few."""
        super().check_all()
        if not self.options.prioritized:
            return
        state = self.buffer.state
        masses = self.backend.to_numpy(state.priorities.tree)[: state.capacity]
        expected = [raw**ALPHA for raw in self.priorities.at_draw().values()]
        np.testing.assert_allclose(np.sort(masses[masses > 0]), np.sort(expected), rtol=1e-5)

    def reload(self) -> None:
        """Go on with a copy that was in a file."""
        self.buffer.reload()


def random_bits(backend: Backend, rng: np.random.Generator, batch_size: int) -> AnyArray:
    """Return the bits that ``sample`` takes."""
    bits = rng.integers(2**30, size=(batch_size, 2))
    return backend.from_numpy(bits.astype(backend.default_int))
