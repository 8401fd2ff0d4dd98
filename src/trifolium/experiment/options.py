"""TrainOptions: everything that a training run depends on."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from trifolium import _checks as checks
from trifolium import files
from trifolium.errors import CheckpointError
from trifolium.schedules import line

__all__ = ["MODELS", "OWN", "TrainOptions"]

OWN = "own"
"""The name of a model that is none of trifolium's."""

MODELS = ("ddqn", "iqn", "random", OWN)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of a training run; the defaults solve CartPole-v1.

    Attributes:
        env: id of a Gymnasium environment, or "pettingzoo:" or "gymnax:" and the id of one of theirs;
            where the world is your own, what to call it.
        n_envs: environments that step together, of Gymnasium's or gymnax's.
        shared: whether all agents of a world share one model.
        model: "ddqn", "iqn" or "random"; "own" stands for a model that is given to the experiment.
        backend: name of a backend.
        device: device name; None for the backend's default.
        threads: host threads for one operation; small networks are fastest on one.
        steps: environment steps in all.
        turns: steps after which an episode is cut off; None for the world's own limit.
        seed: of the environment and the model.
        memory_size: capacity of the replay memory.
        n_frames: observations stacked to a state.
        n_step: rewards summed for a target.
        prioritized: whether rows are drawn in proportion to their last error.
        convolutions: layers that see images first: "nature" or "minatar"; None for none.
        hidden: sizes of the hidden layers.
        dueling: whether the network tells the state's value from the actions' advantages.
        noisy: whether the layers behind the first are noisy, and explore on their own.
        batch_size: rows of a minibatch.
        learning_rate: of Adam, at the first update; it falls linearly to 0 after the last.
        max_grad_norm: gradients longer than that are scaled down to it; None to leave them.
        gamma: discount of one step.
        huber_delta: error at which the loss turns from quadratic to linear.
        target_update: updates between two copies into the target network.
        learning_starts: steps before the first update.
        train_every: steps from one round of learning to the next.
        updates_per_train: updates in a round.
        epsilon_start: probability of a random action at the start; None to leave it to the model.
        epsilon_end: probability of a random action once exploration is over.
        exploration: part of the steps in which epsilon falls, linearly, from start to end.
        eval_every: steps from one evaluation to the next, at the end of the episode; None for no such.
        eval_episodes: greedy episodes of an evaluation.
        checkpoint_every: steps from one checkpoint to the next; None for one at the end.
        tensorboard: whether to write event files for TensorBoard too.

    >>> TrainOptions(env="CartPole-v1").train_every
    2
    """

    env: str
    n_envs: int = 1
    shared: bool = False
    model: str = "ddqn"
    backend: str = "numpy"
    device: str | None = None
    threads: int = 1
    steps: int = 50_000
    turns: int | None = None
    seed: int = 0
    memory_size: int = 50_000
    n_frames: int = 1
    n_step: int = 3
    prioritized: bool = False
    convolutions: str | None = None
    hidden: tuple[int, ...] = (128, 128)
    dueling: bool = False
    noisy: bool = False
    batch_size: int = 64
    learning_rate: float = 1e-3
    max_grad_norm: float | None = None
    gamma: float = 0.99
    huber_delta: float = 1.0
    target_update: int = 250
    learning_starts: int = 1_000
    train_every: int = 2
    updates_per_train: int = 1
    epsilon_start: float | None = 1.0
    epsilon_end: float = 0.05
    exploration: float = 0.3
    eval_every: int | None = None
    eval_episodes: int = 20
    checkpoint_every: int | None = 10_000
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"model={self.model!r} is not known; known are: {', '.join(MODELS)}")
        for name in ("env", "backend"):
            _of_type(name, getattr(self, name), str)
        for name in ("shared", "prioritized", "dueling", "noisy", "tensorboard"):
            _of_type(name, getattr(self, name), bool)
        for name in (
            "n_envs",
            "threads",
            "steps",
            "memory_size",
            "n_frames",
            "n_step",
            "batch_size",
            "target_update",
            "train_every",
            "updates_per_train",
            "eval_episodes",
        ):
            checks.integer(name, getattr(self, name), 1)
        for name in ("turns", "eval_every", "checkpoint_every"):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), 1)
        for name in ("seed", "learning_starts"):
            checks.integer(name, getattr(self, name), 0)
        for name in ("gamma", "epsilon_end", "exploration"):
            checks.fraction(name, getattr(self, name))
        checks.optional(checks.fraction, "epsilon_start", self.epsilon_start)
        checks.optional(checks.positive, "max_grad_norm", self.max_grad_norm)
        for name in ("learning_rate", "huber_delta"):
            checks.positive(name, getattr(self, name))
        object.__setattr__(self, "hidden", checks.shape("hidden", self.hidden))

    def epsilon(self, step: Any) -> Any:
        """Return the probability of a random action at ``step``; None where it is the model's.

        ``step`` may be an array, and may be traced.
        """
        if self.epsilon_start is None:
            return None
        return line(self.epsilon_start, self.epsilon_end, self.exploration * self.steps, step)

    def updates_between(self, before: int, after: int) -> int:
        """Return how many updates are due once ``after`` steps are taken, where ``before`` were.

        >>> options = TrainOptions(env="x", learning_starts=10, train_every=4, updates_per_train=3)
        >>> [options.updates_between(step, step + 1) for step in (7, 10, 11)]
        [0, 0, 3]
        """
        before = max(before, self.learning_starts)
        rounds = after // self.train_every - before // self.train_every
        return max(rounds, 0) * self.updates_per_train

    def save(self, path: Path) -> None:
        """Write the options as JSON."""
        files.write_text(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> "TrainOptions":
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: it is no JSON, or has options that are missing, unknown or wrong.
            FileNotFoundError: there is no such file.
        """
        try:
            found: Any = json.loads(path.read_text())
            unknown = found.keys() - {field.name for field in fields(cls)}
            if unknown:
                raise ValueError(f"unknown options: {', '.join(sorted(unknown))}")
            return cls(**found)
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} holds no training options: {error}") from error


def _of_type(name: str, value: Any, expected: type) -> None:
    if not isinstance(value, expected):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; expected a {expected.__name__}")
