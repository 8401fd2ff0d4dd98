"""Learner: what DDQN and IQN share."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias, TypeVar

import numpy as np

from trifolium import _checks as checks
from trifolium import files, schedules
from trifolium.backend import Array, Backend, Differentiable, Params, differentiable, get_backend
from trifolium.models import layers, networks
from trifolium.models.actor import Actor, epsilon_greedy
from trifolium.models.base import BaseModel
from trifolium.models.networks import Design, Head, ImplicitQuantiles, Network, QNetwork, Torso
from trifolium.models.update import Algorithm, Drawn, Learned, Progress, Update
from trifolium.replay import Uniform
from trifolium.replay.io import file as saving
from trifolium.replay.rules.assemble import Packed, Plan
from trifolium.schedules import Linear, Schedule

__all__ = ["Learner"]

L = TypeVar("L", bound="Learner")
DefaultNetwork: TypeAlias = QNetwork | ImplicitQuantiles

_OF_YOUR_OWN, _LINEAR = "of your own", "linear"
_OPTIONS = (  # those whose attribute is what the constructor takes
    "learning_rate",
    "adam_epsilon",
    "max_grad_norm",
    "batch_size",
    "target_update",
    "polyak",
    "compile",
)


class Learner(BaseModel):
    """A model that learns action values off-policy, from minibatches, with a target network.

    An algorithm is a few pure functions; this class brings the rest: one compiled update with Adam, the
    target network, priorities, epsilon-greedy acting, and files.

    Args:
        input_size: shape of one observation; an int n stands for (n,).
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action; or a schedule of it, by the number of actions taken.
        hidden: sizes of the hidden layers.
        convolutions: layers that see images first: "nature", "minatar", or (channels, kernel, stride)
            of each; None for none. Observations are then [height, width] or [height, width, channels].
        input_scale: what observations are multiplied by; 1/255 for images of bytes.
        dueling: whether the state's value and the actions' advantages have streams of their own
            (Wang et al. 2016).
        noisy: whether the layers behind the torso are noisy (Fortunato et al. 2018).
        network: a network of your own in the place of the one that the options before describe;
            docs/own_networks.md tells what each backend takes.
        learning_rate: of Adam; or a schedule of it, by the number of updates made.
        adam_epsilon: added to the denominator of Adam.
        max_grad_norm: gradients longer than that are scaled down to it; None to leave them.
        batch_size: rows of a minibatch.
        gamma: discount of one step.
        target_update: updates between two copies into the target network.
        polyak: instead of copies, the part by which the target network moves towards the network
            with every update; None for copies.
        compile: whether the update goes through a compiler that takes its time, ``torch.compile``;
            JAX always compiles.
        backend, device, seed, n_frames, **memory_options: as for :class:`~trifolium.BaseModel`.

    Attributes:
        design: hidden, convolutions, input_scale, dueling and noisy in their final types. The other
            options are attributes by their own names.
        update: its update as a pure function, for code that is compiled.
        noise_size: how many numbers the noise of one evaluation is; 0 without noisy layers.
        epsilon_schedule: the schedule of epsilon, if it has one.
    """

    def __init__(
        self,
        input_size: int | Sequence[int],
        action_space: int,
        memory_size: int,
        epsilon: float | Schedule = 0.1,
        *,
        hidden: Sequence[int] = (120, 84),
        convolutions: str | Sequence[Sequence[int]] | None = None,
        input_scale: float = 1.0,
        dueling: bool = False,
        noisy: bool = False,
        network: Any = None,
        learning_rate: float | Schedule = 2.5e-4,
        adam_epsilon: float = 1e-8,
        max_grad_norm: float | None = None,
        batch_size: int = 128,
        gamma: float = 0.99,
        target_update: int = 50,
        polyak: float | None = None,
        compile: bool = False,
        backend: str | Backend = "numpy",
        device: Any = None,
        seed: int | None = None,
        n_frames: int = 1,
        **memory_options: Any,
    ) -> None:
        epsilon = schedules.checked(checks.fraction, "epsilon", epsilon)
        super().__init__(
            input_size,
            action_space,
            memory_size,
            epsilon(0) if callable(epsilon) else epsilon,
            backend=backend,
            device=device,
            seed=seed,
            n_frames=n_frames,
            gamma=gamma,
            **memory_options,
        )
        self.design = Design.checked(
            self.memory,
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
        self.batch_size = checks.integer("batch_size", batch_size, 1)
        self.target_update = checks.integer("target_update", target_update, 1)
        self.polyak = checks.optional(checks.fraction, "polyak", polyak)
        self.compile = checks.flag("compile", compile)
        self._check_backend()
        self.epsilon_schedule: Schedule | None = epsilon if callable(epsilon) else None
        self._actions = 0
        self._updates = 0
        self._build(network)

    update: Update
    noise_size: int

    # What an algorithm brings

    _own_options: tuple[str, ...] = ()
    _learned: Learned
    _actor: Actor
    _compiled: Callable[..., tuple[Learned, Array, Array]]
    _export: Callable[[Params], Any]

    @abstractmethod
    def _default_network(self, torso: Torso, head: Head) -> DefaultNetwork:
        """Return the algorithm's network."""

    @abstractmethod
    def _algorithm(self, network: Network) -> Algorithm:
        """Return the algorithm around ``network``."""

    def _example_inputs(self, states: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return what the network takes besides ``states``, with them."""
        return (states,)

    # Acting

    def take_action(self, state: Any) -> int:
        """Return a random action with probability epsilon, else the one with the highest value.

        Noisy layers get new noise with every call, but in :meth:`greedy`.
        """
        return int(self._choose(self.flat_state(state)[None, :])[0])

    def take_actions(self, states: Any) -> np.ndarray:
        """Return an action for each of ``states`` [N, ...], as :meth:`take_action` would: [N] int64.

        All rows share the noise of noisy layers.
        """
        return self._choose(self.flat_states(states))

    def action_values(self, state: Any) -> np.ndarray:
        """Return the value of each action in ``state``, without noise: [action_space] on the host."""
        return self._values(self.flat_state(state)[None, :], None)[0]

    def set_epsilon(self, new_epsilon: float) -> None:
        """Replace epsilon, or its schedule, by a number in [0, 1]."""
        super().set_epsilon(new_epsilon)
        self.epsilon_schedule = None

    def _choose(self, states: np.ndarray) -> np.ndarray:
        rows, noise = len(states), None
        if self.exploring:
            if self.epsilon_schedule is not None:
                self.epsilon = checks.fraction("epsilon", self.epsilon_schedule(self._actions))
            self._actions += rows
            noise = self._noise(1)
        shape = (rows, self.action_space)
        return epsilon_greedy(
            self.rng,
            self.epsilon,
            lambda: self._values(states, None if noise is None else noise[0]),
            shape,
        )

    def _values(self, states: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
        return self._actor.action_values(self._learned.params, noise, states)

    # Learning

    def train_step(self) -> Array:
        """Make one update and return its loss: shape (), on the backend's device.

        While the memory can't fill a minibatch nothing is learned, and the loss is 0.

        Raises:
            ValueError: the minibatch holds an action that this model doesn't have.
        """
        if self.memory.drawable < self.batch_size:
            return super().train_step()
        columns, plan, indices = self.memory.draw(self.batch_size)
        self._check_actions(plan.actions)
        drawn = Drawn(self._noise(3), self.update.algorithm.draw(self.rng, self.batch_size))
        rate = self.learning_rate
        self._learned, loss, errors = self._compiled(
            self._learned, columns, plan, drawn, rate(self._updates) if callable(rate) else rate
        )
        self._actor.forget()
        self._updates += 1
        if self.polyak is None and self._updates % self.target_update == 0:
            self._learned = self._learned._replace(target=self._copied(self._learned.params))
        if not isinstance(self.memory.sampler, Uniform):
            self.memory.update_priorities(indices, errors)
        return loss

    @property
    def network(self) -> Any:
        """The network as trained: your own if you gave one, else its parameters as host arrays.

        It is what the framework takes for a trained network, see docs/own_networks.md, and a copy: it
        does not change with further updates.
        """
        return self._export(self._learned.params)

    @property
    def progress(self) -> Progress:
        """What is learned, and the counts that schedules go by; code that trains the model sets it."""
        return Progress(self._learned, self._actions, self._updates)

    @progress.setter
    def progress(self, progress: Progress) -> None:
        self._learned, self._actions, self._updates = progress
        self._actor.forget()

    def _build(self, network: Any) -> None:
        """Make all that depends on the network."""
        backend = differentiable(self.backend, needed_by=type(self).__name__)
        trained: Network
        acting: Network
        self._user_network = network
        if network is None:
            host = differentiable(get_backend("numpy"), needed_by="acting")
            ours = self._network_on(backend)
            params, self._export = self._on_device(ours.init(self.rng)), self._on_host
            trained, acting = ours, self._network_on(host)
        else:
            self.design.check_is_plain()
            inputs = self._example_inputs(np.zeros((1, self.state_size), np.float32))
            params, function, self._export = backend.adopt(network, inputs, self.rng)
            trained = acting = networks.UserNetwork(function)
        optimizer = backend.optimizer(epsilon=self.adam_epsilon)
        self._learned = Learned(params, self._copied(params), optimizer.init(params))
        self.noise_size = layers.noise_size(params)
        values = self._algorithm(acting).action_values
        self._actor = Actor(backend, values, on_host=network is None)
        self.update = Update(
            backend, self._algorithm(trained), optimizer, self.max_grad_norm, self.polyak
        )
        self._compiled = self._compiled_update()

    def _compiled_update(self) -> Callable[..., tuple[Learned, Array, Array]]:
        """Return the update with the gather of its minibatch, as one call."""
        assemble = self.memory.assembler()

        def update(
            learned: Learned, columns: Params, plan: Plan | Packed, drawn: Drawn, learning_rate: float
        ) -> tuple[Learned, Array, Array]:
            batch = assemble(columns, plan)
            return self.update(learned, batch, drawn, learning_rate)

        return self.backend.compile(update, donate=(0,), use_slow_compiler=self.compile)

    def _check_backend(self) -> None:
        differentiable(self.backend, needed_by=type(self).__name__)
        if self.compile and not self.backend.capabilities.compile:
            raise ValueError(
                f"compile=True: backend={self.backend.name!r} has no compiler; expected False"
            )

    def _check_actions(self, actions: np.ndarray) -> None:
        low, high = actions.min(), actions.max()
        if low < 0 or high >= self.action_space:
            raise ValueError(
                f"the memory holds action {low if low < 0 else high}; expected 0 to "
                f"{self.action_space - 1}, as of action_space={self.action_space}"
            )

    def _network_on(self, backend: Differentiable) -> DefaultNetwork:
        return self._default_network(self.design.torso(backend.convolve), self.design.head)

    def _noise(self, evaluations: int) -> np.ndarray | None:
        """Draw the noise [evaluations, size] of noisy layers, if there are some."""
        if not self.noise_size:
            return None
        return layers.draw_noise(self.rng, (evaluations, self.noise_size))

    # Files

    def state(self) -> dict[str, np.ndarray]:
        """Return the network, the target network, the optimizer, and the counts, on the host."""
        counts = {"updates": np.array(self._updates), "actions": np.array(self._actions)}
        return self._learned.to_numpy(self.backend) | counts

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take up what :meth:`state` returned, each array in the dtype that it has here."""
        learned = self._learned.from_numpy(self.backend, state)
        self.progress = Progress(learned, int(state["actions"]), int(state["updates"]))

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments; of one that JSON can't hold, what it was."""
        names = (*_OPTIONS, *self._own_options)
        options = super().options() | self.design.options
        options |= {name: getattr(self, name) for name in names}
        of_your_own = {
            "epsilon": self.epsilon_schedule,
            "network": self._user_network,
            "learning_rate": self.learning_rate if callable(self.learning_rate) else None,
        }
        return options | {
            name: {_LINEAR: asdict(value)} if isinstance(value, Linear) else {_OF_YOUR_OWN: repr(value)}
            for name, value in of_your_own.items()
            if value is not None
        }

    @classmethod
    def from_file(
        cls: type[L],
        path: str | os.PathLike[str],
        *,
        backend: str | Backend | None = None,
        device: Any = None,
        **changes: Any,
    ) -> L:
        """Return the model saved at ``path``, made with the options that it was saved with.

        Args:
            path: the file.
            backend: another backend than it was saved from; None for the same.
            device: as for the constructor.
            **changes: options in the place of the saved ones. A network, a schedule or a sampler of
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
        manifest, _ = files.read(path, "model")
        with saving.sound(path, "model"):
            chosen = get_backend(backend or str(manifest["memory"]["backend"]), device=device)
            options = saving.buffer_options(manifest["memory"], chosen, changes.pop("sampler", None))
            options["memory_size"], options["input_size"] = options["capacity"], options["obs_shape"]
            del options["capacity"], options["obs_shape"]
            options |= manifest["options"] | changes
        for name, value in options.items():
            if isinstance(value, dict) and _LINEAR in value:
                options[name] = Linear(**value[_LINEAR])
            elif isinstance(value, dict) and _OF_YOUR_OWN in value:
                raise ValueError(
                    f"{path} was saved with {name}={value[_OF_YOUR_OWN]}; give {name}= again"
                )
        model = cls(**options, backend=chosen)
        model.load(path)
        return model

    def _on_device(self, arrays: dict[str, np.ndarray]) -> Params:
        return {name: self.backend.from_numpy(array) for name, array in arrays.items()}

    def _on_host(self, params: Params) -> dict[str, np.ndarray]:
        return {name: self.backend.to_numpy(value) for name, value in params.items()}

    def _copied(self, params: Params) -> Params:
        return {name: self.backend.xp.asarray(value, copy=True) for name, value in params.items()}
