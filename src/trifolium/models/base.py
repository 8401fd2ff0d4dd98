"""BaseModel: whatever chooses actions, with a memory of its own."""

import copy
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import numpy as np

from trifolium import _checks as checks
from trifolium import files
from trifolium.backend import Array, Backend, as_numpy, get_backend
from trifolium.errors import CheckpointError
from trifolium.models.train_step import NO_LOSS, normalise_train_step, normalising
from trifolium.replay import Buffer
from trifolium.replay.io import file as saving

__all__ = ["BaseModel"]

_STATE, _MEMORY = "model.", "memory."


class BaseModel(ABC):
    """Wraps anything that chooses actions: a network, a fixed rule, a person.

    A subclass must have :meth:`take_action`. One that learns overrides :meth:`train_step` too.

    Args:
        input_size: shape of one observation; an int n stands for (n,).
        action_space: number of actions, which are 0 to action_space - 1.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action, in [0, 1]; it is up to the model to use it.
        backend: name of a backend, or a Backend.
        device: where arrays lie, such as "cuda:0"; None for the backend's default.
        seed: of all of the model's randomness, its memory's included; None for a random one.
        n_frames: observations stacked to a state.
        **memory_options: further options of :class:`~trifolium.Buffer`.

    Attributes:
        memory: the replay memory, a :class:`~trifolium.Buffer`.
        epsilon: probability of a random action.
        exploring: whether it may explore; False within :meth:`greedy`.
        loss_names: names of the last losses, where train_step returned a mapping.
        rng: the host generator that all of the model's own randomness comes from.

    >>> class Left(BaseModel):
    ...     def take_action(self, state):
    ...         return 0
    >>> model = Left(input_size=4, action_space=2, memory_size=100)
    >>> model.take_action([0.0, 0.0, 0.0, 0.0]), float(model.train_step())
    (0, 0.0)
    """

    memory: Buffer
    epsilon: float
    exploring: bool = True
    loss_names: tuple[str, ...] = ()
    _loss: Any = NO_LOSS

    def __init__(
        self,
        input_size: int | Sequence[int],
        action_space: int,
        memory_size: int,
        epsilon: float = 0.0,
        *,
        backend: str | Backend = "numpy",
        device: Any = None,
        seed: int | None = None,
        n_frames: int = 1,
        **memory_options: Any,
    ) -> None:
        normalise_train_step(type(self))  # it may have been assigned since the class was made
        self.backend = get_backend(backend, device=device)
        self.input_size = input_size
        self.action_space = checks.integer("action_space", action_space, 1)
        self.epsilon = checks.fraction("epsilon", epsilon)
        own, memorys = np.random.SeedSequence(checks.seed(seed)).spawn(2)
        self.rng = np.random.Generator(np.random.Philox(own))
        self.memory = Buffer(
            checks.integer("memory_size", memory_size, 1),
            checks.shape("input_size", input_size),
            n_frames,
            backend=self.backend,
            seed=int(memorys.generate_state(1, np.uint64)[0]),
            **memory_options,
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        normalise_train_step(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "train_step":
            value = MethodType(normalising(staticmethod(value)), self)
        super().__setattr__(name, value)

    @abstractmethod
    def take_action(self, state: Any) -> int:
        """Return the action to take.

        Args:
            state: the stacked observations, oldest first, of any shape that has
                n_frames * prod(input_size) elements; an array of any framework.
        """

    def take_actions(self, states: Any) -> np.ndarray:
        """Return an action for each of ``states`` [N, ...]: [N] int64 on the host.

        Unless overridden it asks :meth:`take_action` for one after the other.
        """
        return np.array([self.take_action(state) for state in states], np.int64)

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
        before = self.epsilon, self.exploring
        self.epsilon, self.exploring = 0.0, False
        try:
            yield
        finally:
            self.epsilon, self.exploring = before

    @normalising
    def train_step(self) -> Array:
        """Learn from the memory once and return the loss; a model that doesn't learn returns 0.

        An override may return a loss of any type: None, a number, an array of any framework, or a
        sequence, iterator or mapping of these. Its caller gets a floating array of the model's backend,
        detached, of shape () for one loss and (k,) for several. The names of a mapping's losses are in
        ``loss_names``.

        Raises:
            LossTypeError: what an override returned is no loss.
        """
        return 0.0

    def set_epsilon(self, new_epsilon: float) -> None:
        """Replace epsilon; it must be in [0, 1]."""
        self.epsilon = checks.fraction("new_epsilon", new_epsilon)

    def epsilon_decay(self, rate: float) -> None:
        """Multiply epsilon by 1 - ``rate``, a number in [0, 1]."""
        self.epsilon *= 1.0 - checks.fraction("rate", rate)

    def start_epoch_action(self, **kwargs: Any) -> None:  # noqa: ARG002 (a subclass may look at it)
        """Run before each epoch; an experiment passes ``epoch=``.

        An episode that the memory still holds open ends there, with a last step whose successor is not
        known: so nothing joins two epochs, even where a loop never says that an episode is over. A
        memory of several streams is left alone, as their episodes end at different times.
        """
        if self.memory.n_streams == 1:
            self.memory.end_episode()

    def end_epoch_action(self, **kwargs: Any) -> None:
        """Run after each epoch; an experiment passes ``epoch=``. Does nothing unless overridden."""

    def reset(self) -> None:
        """Run when an episode begins. Does nothing unless overridden."""

    @property
    def model_name(self) -> str:
        """Name of the model's class."""
        return type(self).__name__

    # Files

    def save(self, path: str | os.PathLike[str], *, memory: bool = False) -> None:
        """Write the model to one safetensors file.

        What is written: :meth:`state`, epsilon, the state of the generator, and the options.

        Args:
            path: the file; its folder is made if it is missing.
            memory: whether the replay memory's rows, priorities and generator are written too.
        """
        kept, rows = self.memory.pack()
        manifest = {
            "model": self.model_name,
            "backend": self.backend.name,
            "epsilon": self.epsilon,
            "generator": saving.generator_state(self.rng),
            "options": self.options(),
            "memory": kept,
        }
        arrays = {f"{_STATE}{name}": array for name, array in self.state().items()}
        if memory:
            arrays |= {f"{_MEMORY}{name}": array for name, array in rows.items()}
        files.write(path, "model", manifest, arrays)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take up what :meth:`save` wrote, on whatever backend it was.

        The memory's rows are replaced if the file holds some; else they stay.

        Raises:
            CheckpointError: the file is damaged, holds another kind of model, or one of other sizes;
                the model is as it was before.
            FileNotFoundError: there is no such file.
        """
        manifest, arrays = files.read(path, "model")
        if manifest.get("model") != self.model_name:
            raise CheckpointError(
                f"{path} holds a {manifest.get('model')!r}; expected a {self.model_name!r}"
            )
        state = saving.below(_STATE, arrays)
        self._check_shapes(path, state)
        memory = self._saved_memory(path, manifest, saving.below(_MEMORY, arrays))
        with saving.sound(path, "model"):
            epsilon = checks.fraction("epsilon", manifest["epsilon"])
            saving.restore_generator(self.rng, manifest["generator"])
        self.epsilon = epsilon
        self.memory = memory
        self.restore(state)

    def _check_shapes(self, path: str | os.PathLike[str], state: dict[str, np.ndarray]) -> None:
        expected = self.state()
        for name in sorted(expected.keys() | state.keys()):
            found = state[name].shape if name in state else "nothing"
            wanted = expected[name].shape if name in expected else "nothing"
            if found != wanted:
                raise CheckpointError(f"{path} has {found} as {name!r}; this model has {wanted}")

    def _saved_memory(
        self, path: str | os.PathLike[str], manifest: dict[str, Any], rows: dict[str, np.ndarray]
    ) -> Buffer:
        if not rows:
            return self.memory
        sampler = copy.deepcopy(self.memory.sampler)
        memory = Buffer.unpack(
            path, manifest.get("memory", {}), rows, backend=self.backend, sampler=sampler
        )
        if memory.spec != self.memory.spec:
            raise CheckpointError(
                f"{path} holds a memory of {memory.spec}; this model's is {self.memory.spec}"
            )
        return memory

    def options(self) -> dict[str, Any]:
        """Return what :meth:`save` writes of the constructor's arguments, in JSON's types."""
        return {"action_space": self.action_space}

    def state(self) -> dict[str, np.ndarray]:
        """Return all that the model has learned, as named host arrays: what :meth:`save` writes."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take up what :meth:`state` returned: the same names, each of the same shape."""

    # For subclasses

    @property
    def state_size(self) -> int:
        """Elements of one state: n_frames * prod(input_size)."""
        return self.memory.n_frames * math.prod(self.memory.obs_shape)

    def flat_state(self, state: Any) -> np.ndarray:
        """Return ``state`` on the host as [state_size] float32, or raise ValueError."""
        array = as_numpy(state)
        if array.size != self.state_size:
            raise ValueError(f"state has shape {array.shape}; expected {self._state_text}")
        return array.reshape(-1).astype(np.float32, copy=False)

    def flat_states(self, states: Any) -> np.ndarray:
        """Return ``states`` [N, ...] on the host as [N, state_size] float32, or raise ValueError."""
        array = as_numpy(states)
        if array.ndim == 0 or array.size != len(array) * self.state_size:
            raise ValueError(f"states have shape {array.shape}; expected N times {self._state_text}")
        return array.reshape(len(array), self.state_size).astype(np.float32, copy=False)

    @property
    def _state_text(self) -> str:
        return (
            f"{self.state_size} elements: n_frames={self.memory.n_frames} observations of shape "
            f"{self.memory.obs_shape}"
        )
