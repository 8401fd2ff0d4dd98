"""TrainOptions: the options of a training run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from trifolium import _checks as checks
from trifolium import files
from trifolium.errors import CheckpointError
from trifolium.experiment.modelnames import OWN, default_of
from trifolium.experiment.suggestions import nearest
from trifolium.models import DDQN, IQN, model_names
from trifolium.replay import Prioritized
from trifolium.schedules import line

__all__ = ["AUTO", "IGNORE", "NO_MASK", "OWN", "STOP", "TrainOptions"]

STOP, IGNORE = "stop", "ignore"
"""What ``on_nan`` can be."""

AUTO, NO_MASK = "auto", "none"
"""What ``action_mask`` can be, other than a name."""

_FLAGS = (
    *("shared", "structured", "policy_version", "lockstep", "prioritized", "dueling", "noisy"),
    *("keep_memory", "tensorboard"),
)
_COUNTS = (
    "n_envs",
    "shards",
    "threads",
    "steps",
    "memory_size",
    "n_frames",
    "n_step",
    "batch_size",
    "quantiles",
    "target_quantiles",
    "action_quantiles",
    "cosines",
    "train_every",
    "updates_per_train",
    "eval_episodes",
)
_COUNTS_OR_NONE = ("turns", "target_update", "eval_every", "checkpoint_every")
_FRACTIONS = ("gamma", "alpha", "beta", "epsilon_end", "exploration")
_FRACTIONS_OR_NONE = ("polyak", "epsilon_start")
_POSITIVE = ("learning_rate", "kappa")
_POSITIVE_OR_NONE = ("max_grad_norm", "huber_delta", "samples_per_insert")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of a training run.

    Options of a model have the defaults of its constructor.

    Attributes:
        env: id of a Gymnasium environment, or "pettingzoo:" or "gymnax:" and the id of one of theirs;
            a name of your choice for a custom world.
        n_envs: environments that step together, of Gymnasium's or gymnax's.
        actors: processes of Ray's that act, each in ``n_envs`` environments, while this one learns; 0
            acts in this one, with a memory of its own.
        shards: processes that hold the memory, with ``actors``.
        samples_per_insert: rows drawn for each environment step, with ``actors``, in place of
            ``train_every`` and ``updates_per_train``; None for what those say.
        address: the Ray cluster, with ``actors``: "local" starts Ray on this machine, "auto" joins the
            cluster of this machine, "process" keeps all in this process, without Ray.
        policy_version: whether rows hold the version of the policy that acted, with ``actors``: the
            extra "policy_version".
        prefetch: minibatches drawn ahead of the learner, with ``actors``, several in each call of a
            shard; none in lockstep.
        lockstep: whether actors take one step in each environment, then wait for the learner; such a
            run repeats itself bit for bit.
        shared: whether all agents of a world share one model.
        structured: whether the parts of Dict and Tuple observations stay apart; else they are flattened
            and joined.
        action_mask: the part of the observation that says which actions are legal, the others are never
            taken; "auto" for the "action_mask" of PettingZoo's games and of structured observations,
            "none" for no mask.
        model: "ddqn", "iqn", "random", or a name registered in the entry-point group
            ``trifolium.models``; "own" for a custom model that is passed to the experiment.
        backend: name of a backend.
        device: device name; None for the backend's default.
        threads: host threads for one operation; small networks are fastest on one.
        steps: total environment steps; a higher number continues a finished run.
        turns: steps after which an episode is cut off; None for the world's own limit.
        seed: of the environment and the model.
        memory_size: capacity of the replay memory, rounded up to a multiple of its streams.
        n_frames: observations stacked to a state.
        n_step: rewards summed for a target.
        prioritized: whether rows are drawn in proportion to their last error.
        alpha: exponent of a row's priority, with ``prioritized``.
        beta: exponent of the weights that correct for it, with ``prioritized``.
        convolutions: layers that see images first: "nature" or "minatar"; None for none.
        hidden: sizes of the hidden layers.
        dueling: whether the network has separate streams for values and advantages.
        noisy: whether the layers behind the first are noisy, and explore on their own.
        batch_size: rows of a minibatch.
        learning_rate: of Adam, at the first update.
        learning_rate_end: learning rate after the last update, to which it falls linearly; None for a
            constant one.
        max_grad_norm: gradients longer than that are scaled down to it; None to leave them.
        gamma: discount of one step.
        huber_delta: error at which the loss of "ddqn" turns from quadratic to linear; None for a
            quadratic loss.
        target_update: updates between two copies into the target network.
        polyak: instead of copies, part by which the target network moves at every update; None for
            copies.
        double: whether the network, not the target network, chooses the next action; None for the
            model's own default.
        quantiles: fractions at which "iqn" moves its network.
        target_quantiles: samples of the target of "iqn".
        action_quantiles: fractions over which action values of "iqn" are means.
        cosines: cosines that "iqn" embeds a fraction in.
        kappa: error at which the loss of "iqn" turns from quadratic to linear.
        model_options: further options of the model's constructor, by name.
        learning_starts: steps before the first update.
        train_every: steps from one round of learning to the next.
        updates_per_train: updates in a round.
        epsilon_start: probability of a random action at the start; None to leave it to the model.
        epsilon_end: probability of a random action once exploration is over.
        exploration: part of the steps in which epsilon falls, linearly, from start to end.
        eval_every: steps from one evaluation to the next, at the end of the episode; None for no such.
        eval_episodes: greedy episodes of an evaluation.
        checkpoint_every: steps from one checkpoint to the next; None for one at the end.
        keep_memory: whether the checkpoint of a finished run holds the replay memory, to resume later.
        on_nan: "stop" ends a run in which an observation, a reward, a loss or a weight is NaN;
            "ignore" continues.
        tensorboard: whether to write event files for TensorBoard too.

    >>> TrainOptions(env="CartPole-v1").train_every
    2
    """

    env: str
    n_envs: int = 1
    actors: int = 0
    shards: int = 1
    samples_per_insert: float | None = None
    address: str = "local"
    policy_version: bool = False
    prefetch: int = 16
    lockstep: bool = False
    shared: bool = False
    structured: bool = False
    action_mask: str = AUTO
    model: str = "ddqn"
    backend: str = "numpy"
    device: str | None = None
    threads: int = 1
    steps: int = 50_000
    turns: int | None = None
    seed: int = 0
    memory_size: int = 50_000
    n_frames: int = default_of(DDQN, "n_frames")
    n_step: int = default_of(DDQN, "n_step")
    prioritized: bool = False
    alpha: float = default_of(Prioritized, "alpha")
    beta: float = default_of(Prioritized, "beta")
    convolutions: str | None = default_of(DDQN, "convolutions")
    hidden: tuple[int, ...] = default_of(DDQN, "hidden")
    dueling: bool = default_of(DDQN, "dueling")
    noisy: bool = default_of(DDQN, "noisy")
    batch_size: int = default_of(DDQN, "batch_size")
    learning_rate: float = default_of(DDQN, "learning_rate")
    learning_rate_end: float | None = 0.0
    max_grad_norm: float | None = default_of(DDQN, "max_grad_norm")
    gamma: float = default_of(DDQN, "gamma")
    huber_delta: float | None = default_of(DDQN, "huber_delta")
    target_update: int | None = default_of(DDQN, "target_update")
    polyak: float | None = default_of(DDQN, "polyak")
    double: bool | None = None
    quantiles: int = default_of(IQN, "quantiles")
    target_quantiles: int = default_of(IQN, "target_quantiles")
    action_quantiles: int = default_of(IQN, "action_quantiles")
    cosines: int = default_of(IQN, "cosines")
    kappa: float = default_of(IQN, "kappa")
    model_options: Mapping[str, Any] = field(default_factory=dict)
    learning_starts: int = 1_000
    train_every: int = 2
    updates_per_train: int = 1
    epsilon_start: float | None = 1.0
    epsilon_end: float = 0.05
    exploration: float = 0.3
    eval_every: int | None = None
    eval_episodes: int = 20
    checkpoint_every: int | None = 10_000
    keep_memory: bool = False
    on_nan: str = STOP
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("env", "backend", "model", "on_nan", "action_mask", "address"):
            _of_type(name, getattr(self, name), str)
        if self.device is not None:
            _of_type("device", self.device, str)
        known = [*model_names(), OWN]
        if self.model not in known:
            suggestion = nearest(self.model, known)
            raise ValueError(
                f"model={self.model!r} is not known; known are: {', '.join(known)}{suggestion}"
            )
        if self.on_nan not in (STOP, IGNORE):
            raise ValueError(f"on_nan={self.on_nan!r}; expected {STOP!r} or {IGNORE!r}")
        for name in _FLAGS:
            _of_type(name, getattr(self, name), bool)
        if self.double is not None:
            _of_type("double", self.double, bool)
        _of_type("model_options", self.model_options, Mapping)
        for name in _COUNTS:
            checks.integer(name, getattr(self, name), 1)
        for name in _COUNTS_OR_NONE:
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), 1)
        for name in ("seed", "learning_starts", "actors", "prefetch"):
            checks.integer(name, getattr(self, name), 0)
        for name in _FRACTIONS:
            checks.fraction(name, getattr(self, name))
        for name in _FRACTIONS_OR_NONE:
            checks.optional(checks.fraction, name, getattr(self, name))
        for name in _POSITIVE:
            checks.positive(name, getattr(self, name))
        for name in _POSITIVE_OR_NONE:
            checks.optional(checks.positive, name, getattr(self, name))
        if self.learning_rate_end:
            checks.positive("learning_rate_end", self.learning_rate_end)
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
        if self.actors and self.samples_per_insert is not None:
            each = self.samples_per_insert / self.batch_size
            return max(int(after * each) - int(before * each), 0)
        rounds = after // self.train_every - before // self.train_every
        return max(rounds, 0) * self.updates_per_train

    def save(self, path: Path) -> None:
        """Write the options as JSON."""
        values = asdict(self) | {"model_options": dict(self.model_options)}
        try:
            text = json.dumps(values, indent=2)
        except TypeError as error:
            raise TypeError(f"model_options={self.model_options!r} is not JSON: {error}") from error
        files.write_text(path, text + "\n")

    @classmethod
    def load(cls, path: Path) -> "TrainOptions":
        """Read a file that :meth:`save` wrote.

        Raises:
            CheckpointError: it is not JSON, or has missing, unknown or wrong options.
            FileNotFoundError: there is no such file.
            OSError: it can't be read.
        """
        found: Any = files.read_json(path, "training options")
        try:
            known = [field.name for field in fields(cls)]
            unknown = sorted(found.keys() - set(known))
            if unknown:
                raise ValueError(f"unknown options: {', '.join(unknown)}{nearest(unknown[0], known)}")
            if found.get("model") == "iqn" and "kappa" not in found:
                # before kappa had its own option
                found["kappa"] = found.pop("huber_delta")
            found.setdefault("action_mask", NO_MASK)  # of earlier versions, which used none
            return cls(**found)
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
            raise CheckpointError(f"{path} holds no training options: {error!s:.500}") from error


def _of_type(name: str, value: Any, expected: type) -> None:
    if not isinstance(value, expected):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; expected a {expected.__name__}")
