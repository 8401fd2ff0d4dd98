"""Learner: base class of models that learn action values, such as DDQN, IQN and custom algorithms."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from trifolium import _checks as checks
from trifolium import files, saved_options, schedules
from trifolium._json import brief
from trifolium.backend import AnyArray, Backend, Differentiable, Params, differentiable, get_backend
from trifolium.errors import NotEnoughTransitions
from trifolium.models import layers, nested, networks, saved
from trifolium.models.actor import Actor, epsilon_greedy
from trifolium.models.algorithm import Algorithm, Randomness
from trifolium.models.arguments import check_options, own_options
from trifolium.models.base import BaseModel
from trifolium.models.design import Design
from trifolium.models.fixed import Fixed
from trifolium.models.masks import legal_only
from trifolium.models.memory import ReplayMemory, check_fills, drawing
from trifolium.models.networks import DefaultNetwork, Head, Network
from trifolium.models.states import any_array, one_row
from trifolium.models.torso import Torso
from trifolium.models.update import Learned, LearnerState, Update
from trifolium.replay import Buffer, Hindsight, Sampler, Uniform
from trifolium.replay.io import file as saving
from trifolium.replay.rules.assemble import Packed, Plan
from trifolium.replay.schema import nested as nested_in
from trifolium.schedules import Linear, Schedule

__all__ = ["Learner"]

TARGET_UPDATE = 250
"""Updates between two copies into the target network, unless told otherwise."""

_COUNTS = ("updates", "actions")
_ASSIGNABLE = ("learning_rate", "batch_size", "target_update")
_OPTIONS = (*_ASSIGNABLE, "adam_epsilon", "max_grad_norm", "polyak", "compile", "action_mask")
_BUILT = frozenset({"update", "_actor", "_compiled", "_export"})  # made anew in a copy


class Learner(BaseModel):
    """A model that learns action values off-policy, from minibatches, with a target network.

    A subclass brings an :class:`~trifolium.Algorithm`, by :meth:`make_algorithm`, and the network that
    it trains, by :meth:`make_network`. This class does the rest: one compiled update with Adam, the
    target network, priorities, epsilon-greedy acting, and files. docs/howto/add_algorithm.md shows
    how.

    A subclass with further options also takes ``*args`` and ``**options`` and passes them on. Each
    of its own options must be an attribute of the same name, set before ``super().__init__``; files
    then hold it too.

    Args:
        input_size: shape of one observation; an int n means (n,). For structured observations a
            mapping, as ``obs_shape`` of :class:`~trifolium.Buffer`; the default network joins the
            parts.
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action; or a schedule of it, by the number of actions taken.
        hidden: sizes of the hidden layers.
        convolutions: layers that see images first: "nature", "minatar", or (channels, kernel, stride)
            of each; None for none. Observations are then [height, width] or [height, width, channels].
            Of structured ones the parts that are images: uint8 of two axes, or any of three; a mapping
            from parts to convolutions names others.
        input_scale: factor of observations; None for 1/255 where they are uint8, else 1. Of structured
            ones perhaps a mapping from parts.
        dueling: whether the state's value and the actions' advantages have streams of their own
            (Wang et al. 2016).
        noisy: whether the layers behind the torso are noisy (Fortunato et al. 2018).
        network: a custom network, which replaces the one that the options above describe; see
            docs/howto/own_networks.md for what each backend takes.
        learning_rate: of Adam; or a schedule of it, by the number of updates made.
        adam_epsilon: added to the denominator of Adam.
        optimizer: in the place of Adam: a pair of functions (init, update), such as optax's, with a
            learning rate of its own; or with torch a class of ``torch.optim``, which gets
            ``learning_rate``. See docs/reference/backends.md.
        max_grad_norm: longer gradients are scaled down to this norm; None to leave them.
        batch_size: rows of a minibatch.
        gamma: discount of one step.
        target_update: updates between two copies into the target network; None for 250, or for no
            copies with ``polyak``.
        polyak: instead of copies, the part by which the target network moves towards the network
            with every update; None for copies.
        compile: whether the update is compiled with ``torch.compile``, which takes a while at first;
            JAX always compiles.
        action_mask: name of the part of a structured observation that says which actions are legal,
            [action_space] of bool, uint8 or int8, nonzero for a legal one; "a/b" for a part inside
            another. Other actions are never taken, and never chosen in targets. The mask is no input of
            the default network.
        memory: an existing memory, of the model's sizes; None for a new one. Its options are then the
            memory's.
        backend: name of a backend, or a Backend; None for that of ``memory``, or "numpy".
        device: device of the arrays, such as "cuda:0"; None for the backend's default.
        seed: seed of the model's random numbers and a new memory's; None for a random seed.
        n_frames, obs_dtype, action_dtype, extras, n_streams, n_step, boundary, sampler: of a new
            memory, see :class:`~trifolium.Buffer`.

    Attributes:
        design: hidden, convolutions, input_scale, dueling and noisy in their final types. The other
            options are attributes by their own names; learning_rate, batch_size and target_update may
            be assigned later.
        update: the update as a pure function, for code that is compiled.
        noise_size: size of the noise of one evaluation; 0 without noisy layers.
        epsilon_schedule: the schedule of epsilon; None without one. An assignment to epsilon ends it.

    Raises:
        ValueError, TypeError: an option is wrong, or unknown, or contradicts another; the message names
            it. So does a memory that is too small to ever fill a minibatch.
    """

    adam_epsilon = Fixed[float]()
    max_grad_norm = Fixed[float | None]()
    polyak = Fixed[float | None]()
    compile = Fixed[bool]()
    action_mask = Fixed[str | None]()
    newer_state = ("statistics.",)
    _is_learner = True

    def __new__(cls, *args: Any, **options: Any) -> Self:  # noqa: ARG004, D102 (those of __init__)
        check_options(cls, options)  # Python's own message for an unknown one has no suggestion
        return super().__new__(cls)

    def __init__(
        self,
        input_size: int | Sequence[int] | Mapping[str, Any],
        action_space: int,
        memory_size: int,
        epsilon: float | Schedule = 0.1,
        *,
        hidden: Sequence[int] = (128, 128),
        convolutions: str | Sequence[Sequence[int]] | Mapping[str, Any] | None = None,
        input_scale: float | Mapping[str, float] | None = None,
        dueling: bool = False,
        noisy: bool = False,
        network: Any = None,
        learning_rate: float | Schedule = 1e-3,
        adam_epsilon: float = 1e-8,
        optimizer: Any = None,
        max_grad_norm: float | None = None,
        batch_size: int = 64,
        gamma: float = 0.99,
        target_update: int | None = None,
        polyak: float | None = None,
        compile: bool = False,
        action_mask: str | None = None,
        memory: ReplayMemory | None = None,
        backend: str | Backend | None = None,
        device: Any = None,
        seed: int | None = None,
        n_frames: int | Mapping[str, int] = 1,
        obs_dtype: Any = "float32",
        action_dtype: Any = None,
        extras: Mapping[str, Any] | None = None,
        n_streams: int = 1,
        n_step: int = 3,
        boundary: str = "pad",
        sampler: Sampler | None = None,
    ) -> None:
        epsilon = schedules.checked(checks.fraction, "epsilon", epsilon)
        memory_options = {
            "gamma": gamma,
            "obs_dtype": obs_dtype,
            "action_dtype": action_dtype,
            "extras": extras,
            "n_streams": n_streams,
            "n_step": n_step,
            "boundary": boundary,
            "sampler": sampler,
        }
        if memory is not None:  # an option that was not given is the memory's
            defaults: Any = Learner.__init__.__kwdefaults__
            memory_options = {n: v for n, v in memory_options.items() if v != defaults[n]}
        super().__init__(
            input_size,
            action_space,
            memory_size,
            epsilon(0) if callable(epsilon) else epsilon,
            backend=backend,
            device=device,
            seed=seed,
            n_frames=n_frames,
            action_mask=action_mask,
            memory=memory,
            **memory_options,
        )
        self.epsilon_schedule = epsilon if callable(epsilon) else None
        self.action_mask = action_mask
        self.design = Design.checked(
            self.memory.spec,
            self.mask,
            self.action_space,
            hidden=hidden,
            convolutions=convolutions,
            input_scale=input_scale,
            dueling=dueling,
            noisy=noisy,
        )
        self.learning_rate = schedules.checked(checks.positive, "learning_rate", learning_rate)
        self.adam_epsilon = checks.positive("adam_epsilon", adam_epsilon)
        self.max_grad_norm = checks.optional(checks.positive, "max_grad_norm", max_grad_norm)
        self.polyak = checks.optional(checks.fraction, "polyak", polyak)
        self.batch_size = batch_size
        self.target_update = target_update
        self.compile = checks.flag("compile", compile)
        self._check_backend()
        self._actions = 0
        self._updates = 0
        self._user_network = network
        self._user_optimizer = optimizer
        params, statistics = self._build(self.rng)
        self._check_optimizer()
        self._learned = Learned(params, self._copied(params), self._optimizer_state(params), statistics)

    update: Update
    noise_size: int
    epsilon_schedule: Schedule | None = None
    _learned: Learned
    _actor: Actor
    _compiled: Callable[..., tuple[Learned, AnyArray, AnyArray]]
    _export: Callable[[Params], Any]

    # For subclasses

    @abstractmethod
    def make_network(self, torso: Torso, head: Head) -> DefaultNetwork:
        """Return the network that is trained where no ``network=`` is given.

        It is called more than once: for each backend that evaluates the network.

        Args:
            torso: makes features of states, as ``convolutions`` and ``hidden`` describe.
            head: makes one number for each action of features; ``dataclasses.replace(head, outputs=n)``
                makes n.
        """

    @abstractmethod
    def make_algorithm(self, network: Network) -> Algorithm:
        """Return the algorithm around ``network``.

        An algorithm whose targets choose among actions has a field ``mask``, which gets ``self.mask``;
        without it ``action_mask`` is refused.
        """

    def example_inputs(self, states: Any) -> tuple[Any, ...]:
        """Return ``states``, and examples of what else a user's network is called with.

        Args:
            states: [B, n], or a mapping of such arrays where observations are structured.
        """
        return (states,)

    # Options that may be assigned

    @property
    def batch_size(self) -> int:
        """Rows of a minibatch."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        size = checks.integer("batch_size", value, 1)
        check_fills(self.memory.spec, size)
        self._batch_size = size

    @property
    def target_update(self) -> int | None:
        """Updates between two copies into the target network; None with ``polyak``."""
        return self._target_update

    @target_update.setter
    def target_update(self, value: int | None) -> None:
        if value is not None and self.polyak is not None:
            raise ValueError(
                f"target_update={value!r} and polyak={self.polyak!r} are two ways to move the target "
                "network; expected one of the two"
            )
        if value is None and self.polyak is None:
            value = TARGET_UPDATE
        self._target_update = None if value is None else checks.integer("target_update", value, 1)

    @property
    def epsilon(self) -> float:
        """Probability of a random action; an assignment replaces the schedule, if there is one."""
        return self._epsilon

    @epsilon.setter
    def epsilon(self, value: float) -> None:
        self._epsilon = checks.fraction("epsilon", value)
        self.epsilon_schedule = None

    # Acting

    def take_action(self, state: Any) -> int:
        """Return a random action with probability epsilon, else the one with the highest value.

        Noisy layers get new noise with every call, but in :meth:`greedy`. With ``action_mask`` both are
        among the actions that are legal in ``state``.

        Raises:
            ValueError, TypeError: the state has a wrong shape, or lacks a part; or no action is legal.
        """
        flat = self.flat_state(state)
        states = one_row(flat) if self.memory.spec.is_structured else flat[None, :]
        if self.mask is not None:
            self.mask.check(self.mask.legal(states))
        return int(self._choose(states, 1)[0])

    def take_actions(self, states: Any) -> np.ndarray:
        """Return an action for each of ``states`` [N, ...], as :meth:`take_action` would: [N] int64.

        All rows share the noise of noisy layers. The action is -1 where ``action_mask`` says that none
        is legal, as in the last state of an episode: a vector environment does not read it there.
        """
        flat = self.flat_states(states)
        return self._choose(flat, len(any_array(flat)))

    def action_values(self, state: Any) -> np.ndarray:
        """Return the value of each action in ``state``, without noise: [action_space] on the host.

        With ``action_mask`` it is -inf for an action that is not legal.
        """
        states = one_row(self.flat_state(state))
        values = self._values(states, None)
        if self.mask is not None:
            values = legal_only(np, values, self.mask.legal(states))
        found: np.ndarray = values[0]
        return found

    def _choose(self, states: Any, rows: int) -> np.ndarray:
        noise = None
        if self.exploring:
            if self.epsilon_schedule is not None:
                self._epsilon = checks.fraction("epsilon", self.epsilon_schedule(self._actions))
            self._actions += rows
            noise = self._noise(1)
        shape = (rows, self.action_space)
        return epsilon_greedy(
            self.rng,
            self._epsilon,
            lambda: self._values(states, None if noise is None else noise[0]),
            shape,
            None if self.mask is None else self.mask.legal(states),
        )

    def _values(self, states: Any, noise: np.ndarray | None) -> np.ndarray:
        learned = self._learned
        return self._actor.action_values(learned.params, learned.statistics, noise, states)

    # Learning

    def train_step(self) -> AnyArray:
        """Make one update and return its loss: shape (), on the backend's device.

        While the memory can't fill a minibatch nothing is learned, and the loss is 0.

        Raises:
            ValueError: the minibatch holds an action that this model doesn't have.
        """
        if self.memory.drawable < self._batch_size:
            return super().train_step()
        algorithm, rate = self.update.algorithm, self.learning_rate
        with drawing(self.memory):
            try:
                columns, plan, indices = self.memory.draw(self._batch_size)
            except NotEnoughTransitions:  # some samplers draw valid rows alone, which may be fewer
                return super().train_step()
            self._check_actions(plan.actions)
            random = Randomness(
                self._noise(algorithm.evaluations), algorithm.draw(self.rng, self._batch_size)
            )
            self._learned, loss, errors = self._compiled(
                self._learned, columns, plan, random, rate(self._updates) if callable(rate) else rate
            )
        self._actor.forget()
        self._updates += 1
        if self._target_update is not None and self._updates % self._target_update == 0:
            self._learned = self._learned._replace(target=self._copied(self._learned.params))
        if not isinstance(self.memory.sampler, Uniform | Hindsight):
            self.memory.update_priorities(indices, errors)
        return loss

    @property
    def network(self) -> Any:
        """The network as trained: your own if you gave one, else its parameters as host arrays.

        Its type is that of a trained network in the framework, see docs/howto/own_networks.md. It is a
        copy, which does not change with further updates.
        """
        return self._export(self._learned.params | self._learned.statistics)

    @property
    def progress(self) -> LearnerState:
        """What is learned, and the counts that schedules go by; code that trains the model sets it."""
        return LearnerState(self._learned, self._actions, self._updates)

    @progress.setter
    def progress(self, progress: LearnerState) -> None:
        self._learned, self._actions, self._updates = progress
        self._actor.forget()

    def _build(self, rng: np.random.Generator) -> tuple[Params, Params]:
        """Make what depends on the network; return new parameters, and statistics."""
        backend = differentiable(self.backend, needed_by=type(self).__name__)
        statistics: Params = {}
        trained: Network
        acting: Network
        training: Network
        if self._user_network is None:
            trained = training = ours = self._network_on(backend)
            acting = self._network_on(differentiable(get_backend("numpy"), needed_by="acting"))
            params, self._export = (
                self._on_device(ours.init(saved.parameter_generator(rng))),
                self._on_host,
            )
        else:
            self.design.check_is_plain()
            inputs = self.example_inputs(one_row(self._blank_state()))
            adopted = backend.adopt(self._user_network, inputs, rng)
            params, statistics, self._export = adopted.params, adopted.statistics, adopted.export
            if statistics and self.compile:
                raise ValueError(_STATISTICS.format(", ".join(statistics)))
            trained = acting = networks.UserNetwork(adopted.apply)
            training = networks.UserNetwork(adopted.training_apply)
        self.noise_size = layers.noise_size(params)
        values, leaves = self._algorithm(acting).action_values, self.memory.spec.leaves
        self._actor = Actor(backend, values, leaves, on_host=self._user_network is None)
        self.update = Update(
            backend,
            self._algorithm(trained),
            self._algorithm(training),
            backend.optimizer(self._user_optimizer, epsilon=self.adam_epsilon),
            self.max_grad_norm,
            self.polyak,
        )
        self._compiled = self._compiled_update()
        return params, statistics

    def _algorithm(self, network: Network) -> Algorithm:
        """Return the algorithm around ``network``, or raise TypeError if it ignores the mask."""
        algorithm = self.make_algorithm(network)
        if self.mask is not None and getattr(algorithm, "mask", None) != self.mask:
            raise TypeError(
                f"action_mask={self.action_mask!r}: {type(algorithm).__name__} has no field mask with "
                "it, so its targets would choose actions that are not legal; expected make_algorithm "
                "to give it self.mask"
            )
        return algorithm

    def _blank_state(self) -> Any:
        leaves = self.memory.spec.leaves
        blank = [np.zeros((leaf.n_frames, *leaf.shape), np.float32) for leaf in leaves]
        return self.flat_state(nested_in(leaves, blank))

    def _compiled_update(self) -> Callable[..., tuple[Learned, AnyArray, AnyArray]]:
        """Return the update with the gather of its minibatch, as one call."""
        assemble, make_update = self.memory.assembler(), self.update

        def update(
            learned: Learned,
            columns: Params,
            plan: Plan | Packed,
            random: Randomness,
            learning_rate: float,
        ) -> tuple[Learned, AnyArray, AnyArray]:
            return make_update(learned, assemble(columns, plan), random, learning_rate)

        return self.backend.compile(update, donate=(0,), use_slow_compiler=self.compile)

    def _check_backend(self) -> None:
        differentiable(self.backend, needed_by=type(self).__name__)
        if self.compile and not self.backend.capabilities.compile:
            raise ValueError(
                f"compile=True: backend={self.backend.name!r} has no compiler; expected False"
            )

    def _check_optimizer(self) -> None:
        """Raise ValueError if an option has no effect with the optimizer that was given."""
        optimizer, defaults = self.update.optimizer, Learner.__init__.__kwdefaults__ or {}
        unused = {"adam_epsilon"} if self._user_optimizer is not None else set()
        unused |= {"learning_rate"} if optimizer.own_rate else set()
        for name in sorted(unused):
            value = getattr(self, name)
            if value != defaults[name]:
                raise ValueError(
                    f"{name}={value!r} has no effect with optimizer={self._user_optimizer!r:.80}; "
                    "set it in the optimizer"
                )
        if self.compile and not optimizer.traceable:
            raise ValueError(
                f"compile=True with optimizer={self._user_optimizer!r:.80}, which can't be compiled; "
                "expected compile=False, or a pair of functions (init, update)"
            )

    def _optimizer_state(self, params: Params, *, steps: int = 0) -> Any:
        """Return the optimizer's state after ``steps`` steps by nothing, 0 or 1."""
        optimizer, copied = self.update.optimizer, self._copied(params)
        state = optimizer.init(copied)
        if steps:
            zeros = {name: self.backend.xp.zeros_like(value) for name, value in params.items()}
            _, state = optimizer.step(copied, zeros, state, 0.0)
        return nested.mapped(lambda _, leaf: self._copy_of(leaf), state)

    def _check_actions(self, actions: np.ndarray) -> None:
        low, high = actions.min(), actions.max()
        if low < 0 or high >= self.action_space:
            raise ValueError(
                f"the memory holds action {low if low < 0 else high}; expected 0 to "
                f"{self.action_space - 1}, as of action_space={self.action_space}"
            )

    def _network_on(self, backend: Differentiable) -> DefaultNetwork:
        return self.make_network(self.design.torso(backend.convolve), self.design.head)

    def _noise(self, evaluations: int) -> np.ndarray | None:
        """Draw the noise [evaluations, size] of noisy layers, if there are some."""
        if not self.noise_size:
            return None
        return layers.draw_noise(self.rng, (evaluations, self.noise_size))

    # Files and copies

    def state(self) -> dict[str, np.ndarray]:
        """Return the network, the target network, the optimizer, and the counts, on the host."""
        counts = {"updates": np.array(self._updates), "actions": np.array(self._actions)}
        return self._learned.to_numpy(self.backend) | counts

    def expected_state(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return arrays with the names and shapes that ``state`` must have."""
        like = self._like(state).placeholders(self.backend)
        return like | {name: saved.placeholder((), "int64") for name in _COUNTS}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restore what :meth:`state` returned, each array in the dtype that it has here."""
        learned = self._like(state).from_numpy(self.backend, state)
        self.progress = LearnerState(learned, int(state["actions"]), int(state["updates"]))

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments; the repr of one that JSON can't hold."""
        names = (*_OPTIONS, *own_options(type(self), Learner))
        options = super().options() | self.design.options
        options |= {name: getattr(self, name) for name in names}
        special = {
            "epsilon": self.epsilon_schedule,
            "network": self._user_network,
            "optimizer": self._user_optimizer,
            "learning_rate": self.learning_rate if callable(self.learning_rate) else None,
        }
        return options | {
            name: saved_options.to_json(value) for name, value in special.items() if value is not None
        }

    def checked_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return what :meth:`load` assigns: the schedule of epsilon, and options that may change.

        A schedule that no file can hold stays what it is here.
        """
        found = {name: options[name] for name in _ASSIGNABLE if name in options}
        found["epsilon_schedule"] = options.get("epsilon")
        if self.polyak is not None or options.get("polyak") is not None:
            found.pop("target_update", None)
        kept = {name: v for name, v in found.items() if not saved_options.is_missing(v)}
        kept = {name: saved_options.from_json(value) for name, value in kept.items()}
        if not isinstance(kept.get("epsilon_schedule"), Linear | None):
            raise TypeError(f"epsilon={brief(options['epsilon'])}; expected a schedule or null")
        rate = kept.get("learning_rate", 1.0)
        saved_options.check_schedule(checks.positive, "learning_rate", rate)
        saved_options.check_schedule(checks.fraction, "epsilon", kept.get("epsilon_schedule") or 0.0)
        size = checks.integer("batch_size", kept.get("batch_size", 1), 1)
        check_fills(self.memory.spec, size)
        checks.integer("target_update", kept.get("target_update") or 1, 1)
        return kept

    def check_memory(self, memory: Buffer) -> None:
        """Raise ValueError if ``memory`` holds an action that this model lacks."""
        for actions in memory.actions_by_age():
            self._check_actions(actions)

    def _state_to_keep(self) -> dict[str, np.ndarray] | None:
        return None if type(self).restore is Learner.restore else super()._state_to_keep()

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        backend: str | Backend | None = None,
        device: Any = None,
        **changes: Any,
    ) -> Self:
        """Return the model saved at ``path``, made with the options that it was saved with.

        Args:
            path: the file.
            backend: another backend than it was saved from; None for that of ``memory=``, or else for
                the same.
            device: as for the constructor.
            **changes: options that replace the saved ones. A network, a schedule or a sampler of
                your own is in no file, and has to be given here.

        Raises:
            CheckpointError: the file is damaged, or holds another kind of model.
            ValueError: an option has to be given and was not.
            FileNotFoundError: there is no such file.

        >>> import tempfile
        >>> from trifolium import DDQN
        >>> model = DDQN(input_size=4, action_space=2, memory_size=100, hidden=(8,), seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/model")
        ...     again = DDQN.from_file(f"{folder}/model")
        >>> again.design.hidden
        (8,)
        """
        check_options(cls, changes)
        with files.opened(path, "model") as (manifest, arrays):
            saved.check_model(path, manifest, cls.__name__)
            params = saving.below("model.params.", arrays)
            with saving.sound(path, "model"):
                saving.check_fits(path, manifest["memory"], saving.below("memory.", arrays))
        with saving.sound(path, "model"):
            if backend is None and device is None:
                backend = getattr(changes.get("memory"), "backend", None)
            chosen = saving.backend_for(path, manifest["memory"], backend, device)
            options = saving.buffer_options(manifest["memory"], chosen, changes.get("sampler"))
            options["memory_size"], options["input_size"] = options["capacity"], options["obs_shape"]
            saved.check_quantiles(manifest["options"])
            options |= manifest["options"]
            if options["polyak"] is not None:
                options["target_update"] = None  # files of earlier versions have a number
            if "memory" in changes:
                del options["sampler"]
            options = {
                n: saved_options.from_json(v) for n, v in options.items() if n not in _OF_BUFFERS
            }
        options = saved_options.required(path, options | changes)
        most = sum(math.prod(each.shape) for each in params.values())
        with saved_options.blamed_on_file(path, changes), saved.limited_parameters(path, most):
            model = cls(**options, backend=chosen)
        model.load(path)
        epsilon = changes.get("epsilon")
        if callable(epsilon):
            model.epsilon_schedule = epsilon
        elif epsilon is not None:
            model.epsilon = epsilon
        for name in changes.keys() & {*_ASSIGNABLE}:
            setattr(model, name, changes[name])
        return model

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _BUILT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._build(np.random.Generator(np.random.Philox(0)))  # its draws are not used

    def _like(self, state: Mapping[str, np.ndarray]) -> Learned:
        """Return what is learned, with an optimizer's state of the same structure as in ``state``.

        Optimizers of torch have no state before their first step.
        """
        learned = self._learned
        wanted = {name for name in state if name.startswith("optimizer.")}

        def has_structure(optimizer: Any) -> bool:
            return {name for name, _ in nested.leaves(optimizer, "optimizer")} == wanted

        if not has_structure(learned.optimizer):
            for steps in (0, 1):
                other = self._optimizer_state(learned.params, steps=steps)
                if has_structure(other):
                    return learned._replace(optimizer=other)
        return learned

    def _on_device(self, arrays: dict[str, np.ndarray]) -> Params:
        return {name: self.backend.from_numpy(array) for name, array in arrays.items()}

    def _on_host(self, params: Params) -> dict[str, np.ndarray]:
        return {name: self.backend.to_numpy(value) for name, value in params.items()}

    def _copied(self, params: Params) -> Params:
        return {name: self._copy_of(value) for name, value in params.items()}

    def _copy_of(self, value: Any) -> Any:
        return self.backend.xp.asarray(value, copy=True) if self.backend.is_array(value) else value


_OF_BUFFERS = frozenset({"capacity", "obs_shape", "action_shape"})  # a learner has names of its own
_STATISTICS = (
    "compile=True can't be had with a network that keeps running statistics ({}); expected "
    "compile=False, or a network in eval mode"
)
