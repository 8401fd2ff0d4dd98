"""BaseModel: base class of all models, which choose actions and have a replay memory."""

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import MethodType
from typing import Any, Self

import numpy as np

from trifolium import _checks as checks
from trifolium import files
from trifolium.backend import AnyArray, Backend, get_backend
from trifolium.errors import CheckpointError
from trifolium.models.arguments import accepted_options, check_action_space, check_options
from trifolium.models.masks import ActionMask
from trifolium.models.memory import ReplayMemory, checked_memory
from trifolium.models.saved import check_model, checked_state, number
from trifolium.models.spaces import convolutions_of, sizes_of
from trifolium.models.states import each_row, flat_leaf, flat_state, flat_states, state_size
from trifolium.models.train_step import NO_LOSS, normalise_train_step, normalising
from trifolium.replay import Buffer, Prioritized, Uniform
from trifolium.replay.io import file as saving
from trifolium.replay.schema import BufferSpec, leaves_of

__all__ = ["BaseModel"]

_STATE, _MEMORY = "model.", "memory."


class BaseModel(ABC):
    """Base class of models, which choose actions: a network, a fixed rule or a person.

    A subclass must have :meth:`take_action`. One that learns overrides :meth:`train_step` too.

    Args:
        input_size: shape of one observation; an int n means (n,). For structured observations a
            mapping, as ``obs_shape`` of :class:`~trifolium.Buffer`.
        action_space: number of actions, which are 0 to action_space - 1.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action, in [0, 1], for models that use it.
        backend: name of a backend, or a Backend; None for that of ``memory``, or "numpy".
        device: device of the arrays, such as "cuda:0"; None for the backend's default.
        seed: seed of the model's random numbers and its memory's; None for a random seed.
        n_frames: observations stacked to a state; for structured ones perhaps a mapping from names.
        action_mask: name of the part of a structured observation that says which actions are legal,
            [action_space] of bool, uint8 or int8, nonzero for a legal one; "a/b" for a part inside
            another. None without one.
        memory: an existing memory to use, of the model's sizes; None for a new one.
        **memory_options: further options of :class:`~trifolium.Buffer`, for a new memory.

    Attributes:
        memory: the replay memory: a :class:`~trifolium.Buffer`, unless another was given.
        exploring: whether the model may explore; False within :meth:`greedy`.
        loss_names: names of the last losses, where train_step returned a mapping.
        rng: the host generator of all of the model's random numbers.
        mask: ``action_mask``, checked; None without one. A model of your own may choose among
            ``self.mask.of_state(state)``.

    >>> class Left(BaseModel):
    ...     def take_action(self, state):
    ...         return 0
    >>> model = Left(input_size=4, action_space=2, memory_size=100)
    >>> model.take_action([0.0, 0.0, 0.0, 0.0]), float(model.train_step())
    (0, 0.0)
    """

    _epsilon: float
    memory: Buffer  # or another ReplayMemory, where one was given
    exploring: bool = True
    loss_names: tuple[str, ...] = ()
    _loss: Any = NO_LOSS

    def __init__(
        self,
        input_size: int | Sequence[int] | Mapping[str, Any],
        action_space: int,
        memory_size: int,
        epsilon: float = 0.0,
        *,
        backend: str | Backend | None = None,
        device: Any = None,
        seed: int | None = None,
        n_frames: int | Mapping[str, int] = 1,
        action_mask: str | None = None,
        memory: ReplayMemory | None = None,
        **memory_options: Any,
    ) -> None:
        normalise_train_step(type(self))  # it may have been assigned since the class was made
        check_options(type(self), memory_options)
        if backend is None:
            backend = getattr(memory, "backend", "numpy") if device is None else "numpy"
        self.backend = get_backend(backend, device=device)
        self.input_size = input_size
        self.action_space = check_action_space(type(self), action_space)
        self.epsilon = epsilon
        own, memorys = np.random.SeedSequence(checks.seed(seed)).spawn(2)
        self.rng = np.random.Generator(np.random.Philox(own))
        capacity = checks.integer("memory_size", memory_size, 1)
        dtype = memory_options.get("obs_dtype", "float32")
        leaves = leaves_of(input_size, dtype, n_frames, "input_size")
        shape = input_size if leaves[0].path else leaves[0].shape
        if memory is not None:
            if n_frames != 1:
                memory_options["n_frames"] = n_frames
            self.memory = checked_memory(memory, self.backend, capacity, shape, memory_options)
        else:
            self.memory = Buffer(
                capacity,
                shape,
                n_frames,
                backend=self.backend,
                seed=int(memorys.generate_state(1, np.uint64)[0]),
                **memory_options,
            )
        self.mask = ActionMask.checked(action_mask, self.memory.spec, self.action_space)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        normalise_train_step(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "train_step":
            value = MethodType(normalising(staticmethod(value)), self)
        super().__setattr__(name, value)

    @classmethod
    def from_env(cls, env: Any, memory_size: int, **options: Any) -> Self:
        """Return a model for the spaces of an environment.

        ``input_size``, ``action_space`` and ``obs_dtype`` follow from its spaces, and ``n_streams``
        from a vector environment's number of environments. A model with ``convolutions`` gets some for
        images: "nature" for those of at least 36 by 36 pixels, "minatar" for smaller ones. Observations
        of a Dict space stay structured, and so do those of a Tuple space, whose parts are named "0",
        "1" and so on.

        Args:
            env: an environment of Gymnasium, or a vector environment, with Discrete actions and
                observations in a Box, or in a Dict or Tuple of them.
            memory_size: capacity of the replay memory.
            **options: further arguments of the constructor, which replace what follows from the
                spaces.

        Raises:
            WorldError: the model does not support these observations or actions; the message
                suggests a solution.
            TypeError: ``env`` has no spaces.

        >>> import gymnasium, trifolium as tri
        >>> model = tri.DDQN.from_env(gymnasium.make("CartPole-v1"), 10_000, seed=0)
        >>> model.input_size, model.action_space
        ((4,), 2)
        """
        sizes = sizes_of(env)
        if "convolutions" in accepted_options(cls) and not {"convolutions", "network"} & options.keys():
            sizes["convolutions"] = convolutions_of(sizes)
        return cls(**sizes | {"memory_size": memory_size} | options)

    @abstractmethod
    def take_action(self, state: Any) -> int:
        """Return the action to take.

        Args:
            state: the stacked observations, oldest first: [n_frames, *input_size], without the first
                axis where n_frames is 1, or flat; an array of any framework. Where observations are
                structured, a mapping of such arrays.
        """

    def take_actions(self, states: Any) -> np.ndarray:
        """Return an action for each of ``states`` [N, ...]: [N] int64 on the host.

        Where observations are structured, ``states`` is a mapping of arrays [N, ...]. Unless overridden
        it asks :meth:`take_action` for one after the other.
        """
        rows = each_row(states) if self.memory.spec.is_structured else states
        return np.array([self.take_action(state) for state in rows], np.int64)

    @contextmanager
    def greedy(self) -> Iterator[None]:
        """Within this context the model does not explore: epsilon is 0 and ``exploring`` False.

        >>> from trifolium import DDQN
        >>> model = DDQN(input_size=4, action_space=2, memory_size=100, epsilon=0.5, seed=0)
        >>> with model.greedy():
        ...     len({model.take_action(np.ones(4)) for _ in range(20)})
        1
        >>> model.epsilon
        0.5
        """
        before = self._epsilon, self.exploring
        self._epsilon, self.exploring = 0.0, False
        try:
            yield
        finally:
            self._epsilon, self.exploring = before

    @normalising
    def train_step(self) -> AnyArray:
        """Learn from the memory once and return the loss; a model that doesn't learn returns 0.

        An override may return a loss of any type: None, a number, an array of any framework, or a
        sequence, iterator or mapping of these. Its caller gets a floating array of the model's backend,
        detached, of shape () for one loss and (k,) for several. The names of a mapping's losses are in
        ``loss_names``.

        Raises:
            LossTypeError: what an override returned is no loss.
        """
        return 0.0

    @property
    def epsilon(self) -> float:
        """Probability of a random action; what is assigned must be in [0, 1]."""
        return self._epsilon

    @epsilon.setter
    def epsilon(self, value: float) -> None:
        self._epsilon = checks.fraction("epsilon", value)

    def set_epsilon(self, new_epsilon: float) -> None:
        """Replace epsilon; it must be in [0, 1]."""
        self.epsilon = checks.fraction("new_epsilon", new_epsilon)

    def epsilon_decay(self, rate: float) -> None:
        """Multiply epsilon by 1 - ``rate``, a number in [0, 1]."""
        self.epsilon *= 1.0 - checks.fraction("rate", rate)

    def start_epoch_action(self, **kwargs: Any) -> None:  # noqa: ARG002 (a subclass may look at it)
        """Run before each epoch; an experiment passes ``epoch=``.

        An episode that is still open in the memory ends; the successor of its last step is unknown. So
        no episode spans two epochs, even if a loop never passes ``done``. A memory of several streams
        does not change, since their episodes end at different times.
        """
        if self.memory.n_streams == 1:
            self.memory.end_episode()

    def end_epoch_action(self, **kwargs: Any) -> None:
        """Run after each epoch; an experiment passes ``epoch=``. Does nothing unless overridden."""

    def reset(self) -> None:
        """Run when an episode begins. Does nothing unless overridden."""

    @property
    def n_frames(self) -> int:
        """Observations stacked to a state; of structured ones the most that a part has."""
        return int(self.memory.spec.n_frames)

    @property
    def model_name(self) -> str:
        """Name of the model's class."""
        return type(self).__name__

    # Files

    def save(self, path: str | os.PathLike[str], *, memory: bool = False) -> None:
        """Write the model to one safetensors file.

        The file holds :meth:`state`, epsilon, the state of the generator, and the options.

        Args:
            path: the file; its folder is made if it is missing.
            memory: whether the replay memory's rows, priorities and generator are written too.

        Raises:
            TypeError: ``memory`` is set, and the memory is not a Buffer.
        """
        manifest = {
            "model": self.model_name,
            "backend": self.backend.name,
            "epsilon": self.epsilon,
            "generator": saving.generator_state(self.rng),
            "options": self.options(),
            "memory": self._memory_manifest(),
        }
        arrays: dict[str, Any] = {f"{_STATE}{name}": each for name, each in self.state().items()}
        with ExitStack() as stack:
            if memory:
                packed = self._buffer(TypeError, "memory=True").packed()
                manifest["memory"], rows = stack.enter_context(packed)
                arrays |= {f"{_MEMORY}{name}": array for name, array in rows.items()}
            files.write(path, "model", manifest, arrays)

    def load(self, path: str | os.PathLike[str], *, allow_nan: bool = False) -> None:
        """Restore a model that :meth:`save` wrote on any backend.

        The model continues as the saved one would have: epsilon, and the other options that can be
        assigned later, come from the file. The memory is replaced if the file holds its rows; else it
        does not change.

        Args:
            path: the file.
            allow_nan: whether NaN and infinity in the file are no error.

        Raises:
            CheckpointError: the file is damaged, holds another kind of model, or one of other sizes;
                the model does not change.
            FileNotFoundError: there is no such file.
            OSError: it can't be read.
        """
        with files.opened(path, "model") as (manifest, arrays):
            check_model(path, manifest, self.model_name)
            found = saving.below(_STATE, arrays)
            with saving.sound(path, "model"):
                expected = self.expected_state(found)  # type: ignore[arg-type]
            state = checked_state(
                path,
                found,
                expected,
                optional=self.newer_state,
                is_learner=self._is_learner,
                own=None if allow_nan else self.state,
            )
            with saving.sound(path, "model"):
                epsilon = checks.fraction("epsilon", number("epsilon", manifest["epsilon"]))
                options = self.checked_options(dict(manifest.get("options", {})))
                generator = saving.checked_generator(manifest["generator"])
            memory = self._saved_memory(path, manifest, saving.below(_MEMORY, arrays))
        with saving.sound(path, "model"), self._unchanged_on_error():
            self.restore(state)
            self.epsilon = epsilon
            for name, value in options.items():
                setattr(self, name, value)
            self.memory = memory
        self.rng.bit_generator.state = generator

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        attributes, state = dict(vars(self)), self._state_to_keep()
        try:
            yield
        except BaseException:
            vars(self).clear()
            vars(self).update(attributes)
            if state is not None:
                self.restore(state)
            raise

    def _state_to_keep(self) -> dict[str, np.ndarray] | None:
        """Return a copy of the state, where :meth:`restore` may fail after it changed a part of it."""
        return None if type(self).restore is BaseModel.restore else self.state()

    def expected_state(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:  # noqa: ARG002
        """Return arrays with the names and shapes that ``state``, from a file, must have."""
        return self.state()

    def _memory_manifest(self) -> dict[str, Any]:
        memory: Any = self.memory
        if isinstance(memory, Buffer):
            return saving.manifest_of(memory.spec, memory.backend, memory.sampler, memory.rng)
        return {
            "spec": memory.spec.options(),
            "backend": self.backend.name,
            "sampler": type(memory.sampler).__name__,
            "sampler_options": getattr(memory.sampler, "options", {}),
        }

    def _buffer(self, error: type[Exception], what: str) -> Buffer:
        """Return the memory if its rows can be part of a model's file."""
        memory: Any = self.memory
        if isinstance(memory, Buffer):
            return memory
        raise error(
            f"{what}: this model's memory is a {type(memory).__name__}, which has files of its own; "
            "expected a Buffer"
        )

    def _saved_memory(
        self,
        path: str | os.PathLike[str],
        manifest: dict[str, Any],
        rows: dict[str, files.StoredArray],
    ) -> Buffer:
        if not rows:
            return self.memory
        self._buffer(CheckpointError, f"{path} holds the rows of a memory")
        described, here = manifest.get("memory"), type(self.memory.sampler).__name__
        if not isinstance(described, dict):
            raise CheckpointError(f"{path} holds the rows of a memory, and not its options")
        there = described.get("sampler")
        if there != here:
            raise CheckpointError(
                f"{path} holds a memory with the sampler {there!s:.80}; this model's is {here}. Make "
                f"the model with that sampler, or use {self.model_name}.from_file"
            )
        ours = isinstance(self.memory.sampler, Uniform | Prioritized)
        sampler = None if ours else copy.deepcopy(self.memory.sampler)
        memory = Buffer.unpack(path, described, rows, backend=self.backend, sampler=sampler)
        if _on_any_backend(memory.spec) != _on_any_backend(self.memory.spec):
            raise CheckpointError(
                f"{path} holds a memory of {memory.spec}; this model's is {self.memory.spec}"
            )
        with saving.sound(path, "model"):
            self.check_memory(memory)
        return memory

    def check_memory(self, memory: Buffer) -> None:
        """Raise ValueError if the model can't learn from rows of ``memory``, which is from a file."""

    _is_learner = False  # whether the names in its state are those of a Learner
    newer_state: tuple[str, ...] = ()
    """Prefixes of names in :meth:`state` that files of earlier versions may lack."""

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments that :meth:`save` writes, in JSON's types."""
        return {"action_space": self.action_space}

    def checked_options(self, options: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Return the saved ``options`` that :meth:`load` assigns to attributes."""
        return {}

    def state(self) -> dict[str, np.ndarray]:
        """Return the learned state as named host arrays, which :meth:`save` writes."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restore the arrays that :meth:`state` returned: the same names, each of the same shape."""

    # For subclasses

    @property
    def state_size(self) -> int:
        """Elements of one state: n_frames * prod(input_size), or the sum of those of its parts."""
        return state_size(self.memory.spec)

    def flat_state(self, state: Any) -> Any:
        """Return ``state`` on the host as [state_size] float32; a structured one as a mapping of such.

        Raises:
            ValueError, TypeError: it is neither flat nor [n_frames, *input_size], leading axes of
                length 1 aside; or a part of it is not, or is missing, which the message names.
        """
        spec = self.memory.spec
        return flat_state(spec, state) if spec.is_structured else flat_leaf(spec.leaves[0], state)

    def flat_states(self, states: Any) -> Any:
        """Return states [N, ...] on the host as [N, state_size] float32, or as a mapping of such.

        Raises:
            ValueError, TypeError: a state is not as in :meth:`flat_state`.
        """
        return flat_states(self.memory.spec, states)


def _on_any_backend(spec: BufferSpec) -> BufferSpec:
    """Return ``spec`` without the default dtype of actions, which depends on the backend."""
    is_default = spec.action_dtype in ("int32", "int64")
    return replace(spec, action_dtype="int" if is_default else spec.action_dtype)
