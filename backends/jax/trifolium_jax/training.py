"""Training runs that are one compiled call: environment, replay memory and updates inside a scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trifolium import _checks as checks
from trifolium.models.learner import Learner
from trifolium.models.update import LearnerState
from trifolium.replay import Buffer, Prioritized, Uniform
from trifolium.replay.batch import map_tree
from trifolium.replay.rules.ordinals import DRAWS
from trifolium.replay.schema import nested
from trifolium.schedules import Schedule
from trifolium_jax import threefry
from trifolium_jax.graph import Counts, Environment, Graph, OnProgress, Run

__all__ = ["CompiledTraining", "Metrics"]


class Metrics(NamedTuple):
    """The results of a run; with several models each array has a leading axis of models.

    Attributes:
        returns: [steps] float32, the return of the episode that ended with a step; nan where none did.
        lengths: [steps] int32, its number of steps; 0 where none ended.
        losses: [rounds] float32, the mean loss of each round of learning; nan where none was due yet.
    """

    returns: np.ndarray
    lengths: np.ndarray
    losses: np.ndarray

    def last_return(self, episodes: int = 100) -> np.ndarray:
        """Return the mean return of the last ``episodes``: [], or [models]; nan if none ended."""
        means = [_mean(row[~np.isnan(row)][-episodes:]) for row in np.atleast_2d(self.returns)]
        return np.array(means).reshape(self.returns.shape[:-1])


class CompiledTraining:
    """Trains learners in environments of arrays; each :meth:`run` is one compiled call.

    Acting, environment, memory and updates are in the same graph, so only the results are copied to
    the host, at the end. Losses, networks and memory are those of the models, by the same code:
    afterwards they act, are saved and train like any others. Random numbers are drawn in the graph,
    from ``seed``, so a run differs from that of a Python loop.

    Differences from a loop of ``take_action``, ``memory.add`` and ``train_step``: rows are drawn as
    ``draw`` says, the functional form's way; and where fewer rows can be drawn than a minibatch has,
    the missing rows have weight 0. Observations may be mappings; with an ``action_mask`` only legal
    actions are taken, and action 0 where none is, which no error tells.

    Args:
        models: a DDQN or IQN on JAX, or several that differ only in their seeds, and are trained side
            by side with ``jax.vmap``. A memory with ``n_streams`` of N is filled by N environments.
        env: an environment of gymnax 1.0 or newer, or anything with its functions ``reset``, ``step``
            and ``action_space``.
        env_params: the parameters of these functions; None for ``env.default_params``.
        seed: of all random numbers of the run.
        train_every: environment steps from one round of learning to the next; it is a multiple of N,
            or N of it.
        updates_per_train: updates in a round.
        learning_starts: steps before the first update.
        epsilon: probability of a random action, or a schedule of it by the number of steps taken here;
            None for that of the models, which goes by the actions they took.
        draw: how rows are drawn, if not by priority; see :func:`trifolium.replay.sample`.

    Raises:
        TypeError: a model is not a Learner, or a schedule can't be traced.
        ValueError: models differ, are not on JAX, or don't fit the environment.

    >>> import gymnax, trifolium as tri
    >>> env, params = gymnax.make("CartPole-v1")
    >>> models = [tri.DDQN(4, 2, 1000, 0.1, backend="jax", seed=seed) for seed in (0, 1)]
    >>> training = CompiledTraining(models, env, params, seed=0, train_every=10, learning_starts=200)
    >>> metrics = training.run(400)
    >>> metrics.returns.shape, metrics.losses.shape, len(models[0].memory)
    ((2, 400), (2, 40), 400)
    """

    def __init__(
        self,
        models: Learner | Sequence[Learner],
        env: Environment,
        env_params: Any = None,
        *,
        seed: int = 0,
        train_every: int = 1,
        updates_per_train: int = 1,
        learning_starts: int = 0,
        epsilon: float | Schedule | None = None,
        draw: str = "stratified",
    ) -> None:
        self._many = not isinstance(models, Learner)
        self.models: list[Learner] = _checked_models(
            [models] if isinstance(models, Learner) else models
        )
        model = self.models[0]
        params = getattr(env, "default_params", None) if env_params is None else env_params
        _check_fit(model, env, params)
        if draw not in DRAWS:
            raise ValueError(f"draw={draw!r}; expected one of {', '.join(DRAWS)}")
        width, every = model.memory.n_streams, checks.integer("train_every", train_every, 1)
        if every % width and width % every:
            raise ValueError(
                f"train_every={every} and the {width} environments step past each other; expected a "
                f"multiple of {width}, or a number that it can be divided by"
            )
        rounds = max(1, width // every)  # that are due at once
        own = model.epsilon if model.epsilon_schedule is None else model.epsilon_schedule
        self._graph = Graph(
            model=model,
            many=self._many,
            env=env,
            params=params,
            turns=max(1, every // width),
            updates=checks.integer("updates_per_train", updates_per_train, 1) * rounds,
            learning_starts=checks.integer("learning_starts", learning_starts, 0),
            epsilon=_traceable("epsilon", own if epsilon is None else epsilon),
            by_steps=epsilon is not None,
            rate=_traceable("learning_rate", model.learning_rate),
            draw=draw,
        )
        key = threefry.key(checks.integer("seed", seed, 0))
        keys = [jax.random.fold_in(key, number) for number in range(len(self.models))]
        self._play: Any = self._graph.begin(self._stacked(keys))
        self._memory: Any = None  # in the graph's form, once there was a run
        self._joins = False  # whether the first step continues the memories' open episodes
        self._steps = 0
        self._scan = jax.jit(self._graph.scan, static_argnums=(2, 3), donate_argnums=0)
        self._programs: dict[tuple[int, OnProgress | None], Any] = {}

    @property
    def block(self) -> int:
        """Environment steps of a round; the steps of :meth:`run` are a multiple of it."""
        return self._graph.steps

    def compile(self, steps: int, *, on_progress: OnProgress | None = None) -> None:
        """Compile what :meth:`run` with the same arguments would compile by itself.

        Args:
            steps: as for :meth:`run`.
            on_progress: as for :meth:`run`.

        Raises:
            ValueError: ``steps`` is not a multiple of :attr:`block`.
        """
        self._program(steps, on_progress)

    def run(
        self, steps: int, *, on_progress: OnProgress | None = None, memories: bool = True
    ) -> Metrics:
        """Train for ``steps`` environment steps of each model, in one compiled call.

        The first run of a length compiles. The models are updated at its end, and Ctrl-C waits until
        then. If ``on_progress`` raises an error, the models do not change, and this object can't be
        used again.

        Args:
            steps: a multiple of :attr:`block`.
            on_progress: called from within the run, a hundred times. Steps count from the first run.
            memories: whether the stored steps are copied to the models' memories; else
                :meth:`store_memories` does it later.

        Raises:
            ValueError: ``steps`` is not a multiple of :attr:`block`.
        """
        program = self._program(steps, on_progress)
        run, counts = self._given()
        self._memory = self._play = None  # they are donated
        ran, counts, out = program(run, counts)
        jax.effects_barrier()
        self._memory, self._play = ran.memory, ran.play
        self._steps = int(counts.steps)
        epsilon = float(self._graph.epsilon_at(counts, -self._graph.width))
        for model, learned in zip(self.models, self._unstacked(ran.learned), strict=True):
            model.progress = LearnerState(learned, int(counts.actions), int(counts.updates))
            schedule = model.epsilon_schedule  # which an assignment to epsilon ends
            model.epsilon = epsilon
            model.epsilon_schedule = schedule
        if memories:
            self.store_memories()
        return Metrics(*map(np.asarray, self._by_model(out)))

    def store_memories(self) -> None:
        """Copy the steps stored so far to the models' memories."""
        if self._memory is None:
            return
        for model, state in zip(self.models, self._unstacked(self._memory), strict=True):
            memory = Buffer.from_state(state)
            memory.rng = model.memory.rng
            model.memory = memory

    def state(self) -> dict[str, np.ndarray]:
        """Return the state of a run without the models, on the host.

        The models' own files hold the rest, saved with the memory, after :meth:`store_memories`.
        """
        key = jax.random.key_data(self._play.key)
        leaves = jax.tree.leaves(self._play._replace(key=key))
        arrays = {f"play.{number}": np.asarray(leaf) for number, leaf in enumerate(leaves)}
        return arrays | {"steps": np.array(self._steps)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`state` returned; load the models first.

        Raises:
            LookupError, ValueError: the state is of another environment.
        """
        raw = self._play._replace(key=jax.random.key_data(self._play.key))
        leaves, shape = jax.tree.flatten(raw)
        found = [np.asarray(state[f"play.{number}"]) for number in range(len(leaves))]
        for number, (leaf, array) in enumerate(zip(leaves, found, strict=True)):
            if leaf.shape != array.shape:
                raise ValueError(
                    f"play.{number} has shape {array.shape}; expected {leaf.shape}, as here"
                )
        taken = [jnp.asarray(new, old.dtype) for old, new in zip(leaves, found, strict=True)]
        play = jax.tree.unflatten(shape, taken)
        self._play = play._replace(key=threefry.with_data(play.key))
        self._steps = int(state["steps"])
        self._memory = None
        self._joins = True

    def _program(self, steps: int, on_progress: OnProgress | None) -> Any:
        blocks, rest = divmod(checks.integer("steps", steps, 1), self.block)
        if rest:
            raise ValueError(
                f"steps={steps}; expected a multiple of {self.block}, the steps of a round of "
                f"learning, such as {steps - rest or self.block} or {steps - rest + self.block}"
            )
        key = (blocks, on_progress)
        if key not in self._programs:
            self._programs[key] = self._scan.lower(*self._given(), *key).compile()
        return self._programs[key]

    def _given(self) -> tuple[Run, Counts]:
        """Return what a run begins with, to be given up to it."""
        if self._play is None:
            raise RuntimeError("a run broke off, and took the environments with it; begin anew")
        if not self._joins:
            for model in self.models:
                model.memory.end_episode()  # one that another run left open
            self._joins = True
        if self._memory is None:
            self._memory = self._stacked([model.memory.state() for model in self.models])
        learned = self._stacked([jax.tree.map(jnp.copy, each.progress.learned) for each in self.models])
        progress = self.models[0].progress
        counts = Counts(*map(jnp.int32, (self._steps, progress.actions, progress.updates)))
        run = Run(learned, self._memory, jax.tree.map(_own, self._play))
        # on one device all that was not yet, or a second run would compile again
        given: tuple[Run, Counts] = jax.device_put((run, counts), self.models[0].backend.device)
        return given

    # One model, or many side by side

    def _stacked(self, trees: list[Any]) -> Any:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) if self._many else trees[0]

    def _unstacked(self, tree: Any) -> list[Any]:
        if not self._many:
            return [tree]
        leaves, shape = jax.tree.flatten(tree)
        each = zip(*leaves, strict=True)
        return [jax.tree.unflatten(shape, of_one) for of_one in each]

    def _by_model(self, out: tuple[jax.Array, ...]) -> list[jax.Array]:
        """Return metrics [blocks, (models,) ...] as [(models,) all]."""
        if not self._many:
            return [each.reshape(-1) for each in out]
        return [jnp.moveaxis(each, 1, 0).reshape(len(self.models), -1) for each in out]


def _own(array: jax.Array) -> jax.Array:
    """Return a copy that can be given up, with its dtype for good where it was a Python number's.

    An environment may return one array twice, as an observation and in its state.
    """
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return array if is_key else jnp.array(array, array.dtype, copy=True)


def _mean(returns: np.ndarray) -> float:
    return float(returns.mean()) if len(returns) else math.nan


def _checked_models(models: Sequence[Learner]) -> list[Learner]:
    """Return the models, or raise an error if they can't be trained side by side."""
    if not models:
        raise ValueError("models are none; expected one at least")
    for model in models:
        if not isinstance(model, Learner):
            raise TypeError(f"models have a {type(model).__name__}; expected DDQN or IQN")
        if model.backend.name != "jax":
            raise ValueError(f"models have backend={model.backend.name!r}; expected 'jax'")
        if not isinstance(model.memory.sampler, Uniform | Prioritized):
            raise TypeError(
                f"models have the sampler {type(model.memory.sampler).__name__}, which can't be "
                "compiled; expected Uniform or Prioritized"
            )
    first = models[0]
    for model in models:
        same = (type(model), model.options(), model.memory.spec, model.progress[1:])
        if same != (type(first), first.options(), first.memory.spec, first.progress[1:]):
            raise ValueError(
                "models differ in more than their seeds: in their kind, their options, or how many "
                "actions and updates they made; expected models that are alike"
            )
    return list(models)


def _check_fit(model: Learner, env: Environment, params: Any) -> None:
    """Raise ValueError if the model's sizes are not the environment's, or its step is an old one."""
    count, key = getattr(env.action_space(params), "n", 0), jax.random.key(0)
    obs, state = jax.eval_shape(env.reset, key, params)
    shape = map_tree(lambda array: tuple(array.shape), obs)
    expected = nested(model.memory.spec.leaves, [leaf.shape for leaf in model.memory.spec.leaves])
    if shape != expected:
        raise ValueError(f"env has observations of shape {shape}; the model takes {expected}")
    if count != model.action_space:
        raise ValueError(
            f"env has {count or 'no discrete'} actions; the model has {model.action_space}"
        )
    stepped = jax.eval_shape(env.step, key, state, jnp.int32(0), params)
    if len(stepped) != 6 or "final_observation" not in stepped[5]:
        raise ValueError(
            f"env.step returns {len(stepped)} values; expected (observation, state, reward, "
            "terminated, truncated, info), with info['final_observation'], as of gymnax 1.0"
        )


def _traceable(name: str, value: Any) -> Callable[[Any], Any]:
    """Return a number as a schedule, and a schedule if it can be part of a graph."""
    if not callable(value):
        return lambda _: value
    try:
        jax.eval_shape(value, jnp.int32(0))
    except (jax.errors.JAXTypeError, TypeError) as error:
        raise TypeError(
            f"{name}={value!r} can't be part of a graph; expected a number, trifolium.Linear, or a "
            "function that computes with jax.numpy"
        ) from error
    return value
