"""ReplayMemory: the protocol of a model's memory, and checks of a memory that is passed to a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

import numpy as np

from trifolium import _checks as checks
from trifolium.backend import Backend
from trifolium.replay import Batch, Sampler
from trifolium.replay.schema import BufferSpec, leaves_of

__all__ = ["ReplayMemory", "check_fills", "checked_memory", "drawing"]

_NOTHING = nullcontext()


@runtime_checkable
class ReplayMemory(Protocol):
    """The protocol of a model's memory, which :class:`~trifolium.Buffer` implements.

    ``DDQN(..., memory=)`` takes any object with these members, such as one that stores its rows in
    other processes.

    Attributes:
        backend: the backend of the batches.
        spec: the options of the memory.
        sampler: how rows are drawn. The errors of an update are given to :meth:`update_priorities`
            unless it is :class:`~trifolium.Uniform` or :class:`~trifolium.Hindsight`.
    """

    backend: Backend
    spec: BufferSpec
    sampler: Sampler

    @property
    def drawable(self) -> int:
        """Rows that can be drawn now."""
        ...

    @property
    def n_streams(self) -> int:
        """Streams of the memory."""
        ...

    def __len__(self) -> int:
        """Rows stored."""
        ...

    def add(self, obs: Any, action: Any, reward: Any, done: Any) -> None:
        """Store a step, as :meth:`trifolium.Buffer.add`."""
        ...

    def sample(self, batch_size: int) -> Batch:
        """Draw a minibatch, as :meth:`trifolium.Buffer.sample`."""
        ...

    def draw(self, batch_size: int) -> tuple[Any, Any, np.ndarray]:
        """Draw the rows of a minibatch, as :meth:`trifolium.Buffer.draw`."""
        ...

    def assembler(self) -> Callable[[Any, Any], Batch]:
        """Return a function from drawn rows to a batch, as :meth:`trifolium.Buffer.assembler`."""
        ...

    def update_priorities(self, indices: Any, td: Any) -> None:
        """Set the priorities of rows, as :meth:`trifolium.Buffer.update_priorities`."""
        ...

    def end_episode(self) -> None:
        """End the episodes that are open, as :meth:`trifolium.Buffer.end_episode`."""
        ...


def checked_memory(
    memory: Any,
    backend: Backend,
    capacity: int,
    input_size: Any,
    options: Mapping[str, Any],
) -> Any:
    """Return ``memory``, or raise an error that names what does not fit the model.

    Args:
        memory: the memory that was passed to the model.
        backend: the model's.
        capacity: the model's ``memory_size``.
        input_size: the model's, a shape or a mapping.
        options: of the memory, as far as the model was given some; they must be the memory's.
    """
    missing = [name for name in _members() if not hasattr(memory, name)]
    if missing:
        raise TypeError(
            f"memory={memory!r:.80} is a {type(memory).__name__} without {', '.join(missing)}; "
            "expected a Buffer, or an object with the members of trifolium.ReplayMemory"
        )
    if memory.backend is not backend:
        raise ValueError(
            f"memory is on {_text(memory.backend)}; the model is on {_text(backend)}; expected the "
            "same backend and device, which are the memory's where none is given"
        )
    spec = memory.spec
    wanted = {"memory_size": capacity, "input_size": input_size, **options}
    found = {"memory_size": spec.capacity, "input_size": spec.obs_shape}
    if _has_structure(spec, input_size):
        del wanted["input_size"]
    for name, value in wanted.items():
        theirs = found[name] if name in found else _option(memory, name)
        if _plain(name, value, theirs) != theirs:
            raise ValueError(
                f"{name}={value!r}, but memory has {theirs!r}; expected the memory's"
                + ("" if name in found else ", or memory= without this option")
            )
    return memory


def drawing(memory: ReplayMemory) -> AbstractContextManager[Any]:
    """Return the context of :meth:`trifolium.Buffer.drawing`; a memory of another class may lack it."""
    found = getattr(memory, "drawing", None)
    return _NOTHING if found is None else found()


def check_fills(spec: BufferSpec, batch_size: int) -> None:
    """Raise ValueError if a full memory has too few rows to draw ``batch_size`` of them.

    What counts is how many can be drawn in the middle of an episode: the newest row of each stream
    waits for its successor, and the oldest ones have no whole stack of frames where
    ``boundary="mask"``.
    """
    idle = 1 + (0 if spec.boundary == "pad" else spec.n_frames - 1)
    most = spec.capacity - spec.n_streams * idle
    if batch_size > most:
        least = -(-batch_size // spec.n_streams) * spec.n_streams + spec.n_streams * idle
        raise ValueError(
            f"batch_size={batch_size} can't be drawn from memory_size={spec.capacity}: with "
            f"n_frames={spec.n_frames} and n_streams={spec.n_streams} a full memory has {max(most, 0)} "
            f"rows to draw, so nothing would be learned; expected memory_size of at least {least}, or "
            "a smaller batch_size"
        )


def _has_structure(spec: BufferSpec, input_size: Any) -> bool:
    """Return whether ``input_size`` is the structure of observations; dtypes may be left out of it."""
    if not (spec.is_structured and isinstance(input_size, Mapping)):
        return False
    given = [leaves_of(input_size, leaf.dtype, 1, "input_size") for leaf in spec.leaves]
    return len(given[0]) == len(spec.leaves) and all(
        every[place] == leaf._replace(n_frames=1)
        for place, (every, leaf) in enumerate(zip(given, spec.leaves, strict=True))
    )


def _members() -> list[str]:
    return [name for name in (*ReplayMemory.__annotations__, *vars(ReplayMemory)) if name[0] != "_"]


def _text(backend: Backend) -> str:
    return f"backend={backend.name!r}, device={str(backend.device)!r}"


def _option(memory: ReplayMemory, name: str) -> Any:
    if name == "sampler":
        return memory.sampler
    found = getattr(memory.spec, name)
    if name == "n_frames" and memory.spec.is_structured:
        return memory.spec.frames
    if name == "extras":
        return {each: (shape, dtype) for each, shape, dtype in found}
    return found


def _plain(name: str, value: Any, theirs: Any) -> Any:
    """Return an option in the type of ``theirs``, the memory's."""
    if name == "n_frames" and isinstance(theirs, dict):
        numbers = value if isinstance(value, Mapping) else dict.fromkeys(theirs, value)
        return dict.fromkeys(theirs, 1) | dict(numbers)
    if name.endswith("_dtype"):
        return checks.dtype_name(name, value)
    if name.endswith("_shape"):
        return checks.shape(name, value)
    if name == "extras":
        kinds = {n: v if isinstance(v, tuple) and len(v) == 2 else ((), v) for n, v in value.items()}
        return {
            n: (checks.shape(n, shape), checks.dtype_name(n, dtype))
            for n, (shape, dtype) in kinds.items()
        }
    return value
