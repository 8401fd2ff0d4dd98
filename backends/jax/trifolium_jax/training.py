"""Training runs that are one compiled call: environment, replay memory and updates inside a scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from trifolium import replay
from trifolium.models import layers
from trifolium.models.learner import Learner
from trifolium.models.update import Drawn, Learned, Progress
from trifolium.replay import Buffer, State, checks
from trifolium.replay.assemble import Gathered
from trifolium.replay.draws import DRAWS
from trifolium.schedules import Schedule

__all__ = ["CompiledTraining", "Environment", "Metrics", "OnProgress"]

OnProgress: TypeAlias = Callable[[int, float], None]
"""Called with the steps taken, and the mean return of the episodes that ended since the last call."""

REPORTS = 100
"""How often progress is reported in a run."""


class Environment(Protocol):
    """What gymnax calls an environment: four functions, all but the spaces pure."""

    def reset(self, key: Any, params: Any) -> tuple[Any, Any]:
        """Return (observation, state) of a new episode."""
        ...

    def step(
        self, key: Any, state: Any, action: Any, params: Any
    ) -> tuple[Any, Any, Any, Any, Any, Mapping[str, Any]]:
        """Return (observation, state, reward, terminated, truncated, info).

        Where the episode is over, observation and state are those of the next one, and
        ``info["final_observation"]`` is the last of this one.
        """
        ...

    def action_space(self, params: Any) -> Any:
        """Return a space with ``n`` actions."""
        ...

    def observation_space(self, params: Any) -> Any:
        """Return a space with the ``shape`` of an observation."""
        ...


class Metrics(NamedTuple):
    """What came of a run; with several models each array has a leading axis for them.

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


class _Play(NamedTuple):
    """The environments of one model, N of them."""

    key: jax.Array
    env_state: Any
    obs: jax.Array
    returns: jax.Array
    lengths: jax.Array


class _Run(NamedTuple):
    """All that is a model's own, and changes."""

    learned: Learned
    memory: State
    play: _Play


class _Counts(NamedTuple):
    """How far the run is: int32, the same for all models."""

    steps: jax.Array
    actions: jax.Array
    updates: jax.Array


class CompiledTraining:
    """Trains learners in environments of arrays; each :meth:`run` is one compiled call.

    Acting, environment, memory and updates are in the same graph, so nothing crosses to the host but
    what comes out in the end. Losses, networks and memory are those of the models, by the same code:
    afterwards they act, are saved and go on like any others. Random numbers are drawn in the graph,
    from ``seed``, so a run is another one than that of a Python loop.

    Differences from a loop of ``take_action``, ``memory.add`` and ``train_step``: rows are drawn as
    ``draw`` says, the functional form's way; and where fewer rows can be drawn than a minibatch has,
    those missing weigh nothing.

    Args:
        models: a DDQN or IQN on JAX, or several that differ only in their seeds, and are trained side
            by side with ``jax.vmap``. A memory with ``n_streams`` of N is filled by N environments.
        env: an environment of gymnax 1.0 or newer, or anything with its four functions.
        env_params: what they take for parameters; None for ``env.default_params``.
        seed: of all random numbers of the run.
        train_every: environment steps from one round of learning to the next; it is a multiple of N,
            or N of it.
        updates_per_train: updates in a round.
        learning_starts: steps before the first update.
        epsilon: probability of a random action, or a schedule of it by the number of steps taken here;
            None for that of the models, which goes by the actions they took.
        draw: how rows are drawn, where that is not by priority; see :func:`trifolium.replay.sample`.

    Raises:
        TypeError: a model is none of trifolium's learners, or a schedule can't be traced.
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
        self._model = model = self.models[0]
        self._device: Any = model.backend.device
        self._env = env
        self._params: Any = getattr(env, "default_params", None) if env_params is None else env_params
        _check_fit(model, env, self._params)
        if draw not in DRAWS:
            raise ValueError(f"draw={draw!r}; expected one of {', '.join(DRAWS)}")
        self._draw = draw
        self._learning_starts = checks.integer("learning_starts", learning_starts, 0)
        self._width = width = model.memory.n_streams
        every = checks.integer("train_every", train_every, 1)
        if every % width and width % every:
            raise ValueError(
                f"train_every={every} and the {width} environments step past each other; expected a "
                f"multiple of {width}, or a number that it can be divided by"
            )
        self._turns = max(1, every // width)  # of all environments, before a round of learning
        self._updates = checks.integer("updates_per_train", updates_per_train, 1) * max(
            1, width // every
        )
        own = model.epsilon if model.epsilon_schedule is None else model.epsilon_schedule
        self._epsilon = _traceable("epsilon", own if epsilon is None else epsilon)
        self._by_steps = epsilon is not None  # not by the model's actions
        self._rate = _traceable("learning_rate", model.learning_rate)
        key = jax.random.key(checks.integer("seed", seed, 0))
        keys = [jax.random.fold_in(key, number) for number in range(len(self.models))]
        self._plays = self._each(self._begin)(self._stacked(keys))
        self._memories: Any = None  # in the graph's form, once there was a run
        self._steps = 0
        self._graph = jax.jit(self._scan, static_argnums=(2, 3), donate_argnums=0)
        self._programs: dict[tuple[int, OnProgress | None], Any] = {}

    @property
    def block(self) -> int:
        """Environment steps of a round: what :meth:`run` can take a multiple of."""
        return self._turns * self._width

    def compile(self, steps: int, *, on_progress: OnProgress | None = None) -> None:
        """Compile what :meth:`run` with the same arguments would compile by itself.

        Args:
            steps: as for :meth:`run`.
            on_progress: as for :meth:`run`.

        Raises:
            ValueError: ``steps`` is no multiple of :attr:`block`.
        """
        self._program(steps, on_progress)

    def run(
        self, steps: int, *, on_progress: OnProgress | None = None, memories: bool = True
    ) -> Metrics:
        """Go on for ``steps`` environment steps of each model, in one compiled call.

        The first run of a length compiles. Models take up what was learned; a run that is broken off,
        which Ctrl-C can't do while it lasts, leaves them as they were.

        Args:
            steps: a multiple of :attr:`block`.
            on_progress: called from within the run, a hundred times. Steps count from the first run.
            memories: whether the models' memories take up what was stored, which copies them; else
                :meth:`store_memories` does it later.

        Raises:
            ValueError: ``steps`` is no such number.
        """
        program = self._program(steps, on_progress)
        run, counts = self._given()
        (self._memories, self._plays) = (None, None)  # they are given up
        ran, counts, out = program(run, counts)
        jax.effects_barrier()  # type: ignore[no-untyped-call]
        self._memories, self._plays = ran.memory, ran.play
        self._steps = int(counts.steps)
        epsilon = float(self._epsilon_at(counts, -self._width))
        for model, learned in zip(self.models, self._unstacked(ran.learned), strict=True):
            model.progress = Progress(learned, int(counts.actions), int(counts.updates))
            model.epsilon = epsilon
        if memories:
            self.store_memories()
        return Metrics(*map(np.asarray, self._by_model(out)))

    def store_memories(self) -> None:
        """Let the models' memories take up what was stored by now: copies of it."""
        if self._memories is None:
            return
        for model, state in zip(self.models, self._unstacked(self._memories), strict=True):
            memory = Buffer.from_state(state)
            memory.rng = model.memory.rng
            model.memory = memory

    def state(self) -> dict[str, np.ndarray]:
        """Return all that a run depends on but the models, on the host.

        The models' own files hold the rest, saved with the memory, after :meth:`store_memories`.
        """
        key = jax.random.key_data(self._plays.key)
        leaves = jax.tree.leaves(self._plays._replace(key=key))
        arrays = {f"play.{number}": np.asarray(leaf) for number, leaf in enumerate(leaves)}
        return arrays | {"steps": np.array(self._steps)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` returned; the models are to have been loaded before.

        Raises:
            LookupError, ValueError: it is of another environment.
        """
        raw = self._plays._replace(key=jax.random.key_data(self._plays.key))
        leaves, shape = jax.tree.flatten(raw)
        found = [np.asarray(state[f"play.{number}"]) for number in range(len(leaves))]
        for number, (leaf, array) in enumerate(zip(leaves, found, strict=True)):
            if leaf.shape != array.shape:
                raise ValueError(
                    f"play.{number} has shape {array.shape}; expected {leaf.shape}, as here"
                )
        taken = [jnp.asarray(new, old.dtype) for old, new in zip(leaves, found, strict=True)]
        play = jax.tree.unflatten(shape, taken)
        self._plays = play._replace(key=jax.random.wrap_key_data(play.key))
        self._steps = int(state["steps"])
        self._memories = None

    def _program(self, steps: int, on_progress: OnProgress | None) -> Any:
        blocks, rest = divmod(checks.integer("steps", steps, 1), self.block)
        if rest:
            raise ValueError(
                f"steps={steps}; expected a multiple of {self.block}, the steps of a round of "
                f"learning, such as {steps - rest or self.block} or {steps - rest + self.block}"
            )
        key = (blocks, on_progress)
        if key not in self._programs:
            self._programs[key] = self._graph.lower(*self._given(), *key).compile()
        return self._programs[key]

    def _given(self) -> tuple[_Run, _Counts]:
        """Return what a run begins with, to be given up to it."""
        if self._memories is None:
            self._memories = self._stacked([model.memory.state() for model in self.models])
        learned = self._stacked([jax.tree.map(jnp.copy, each.progress.learned) for each in self.models])
        progress = self._model.progress
        counts = _Counts(*map(jnp.int32, (self._steps, progress.actions, progress.updates)))
        # strong types, and on one device, all that was not yet: else a second run would compile again
        play = self._plays._replace(env_state=jax.tree.map(_strong, self._plays.env_state))
        run = _Run(learned, self._memories, play)
        given: tuple[_Run, _Counts] = jax.device_put((run, counts), self._device)
        return given

    def _epsilon_at(self, counts: _Counts, later: Any) -> Any:
        """Return the probability of a random action ``later`` steps after these counts."""
        return self._epsilon((counts.steps if self._by_steps else counts.actions) + later)

    # One model, or many side by side

    def _each(self, function: Callable[..., Any], *shared: int) -> Callable[..., Any]:
        """Return ``function`` for every model; the arguments at ``shared`` are the same for all."""
        if not self._many:
            return function

        def mapped(*arguments: Any) -> Any:
            axes = [None if number in shared else 0 for number in range(len(arguments))]
            return jax.vmap(function, in_axes=axes)(*arguments)

        return mapped

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

    # The graph

    def _scan(
        self, run: _Run, counts: _Counts, blocks: int, on_progress: OnProgress | None
    ) -> tuple[_Run, _Counts, Any]:
        every = math.ceil(blocks / REPORTS)
        per_block = self._each(self._block, 1)

        def block(carry: Any, number: jax.Array) -> Any:
            run, counts, sums = carry
            run, out = per_block(run, counts)
            counts = self._counted(counts)
            if on_progress is not None:
                due = (number % every == 0) | (number == blocks)
                sums = _summed(sums, out[0])
                jax.lax.cond(due, _reporter(on_progress), lambda *_: None, counts.steps, sums)
                sums = jax.tree.map(lambda each: jnp.where(due, 0.0, each), sums)
            return (run, counts, sums), out

        start = (run, counts, (jnp.float32(0), jnp.float32(0)))
        (run, counts, _), out = jax.lax.scan(block, start, jnp.arange(1, blocks + 1))
        return run, counts, out

    def _counted(self, counts: _Counts) -> _Counts:
        """Return the counts after a block."""
        steps = counts.steps + self.block
        learns = steps > self._learning_starts
        return _Counts(
            steps, counts.actions + self.block, counts.updates + jnp.where(learns, self._updates, 0)
        )

    def _block(self, run: _Run, counts: _Counts) -> tuple[_Run, Any]:
        """Act for some turns, and learn once in the end: one model's part of it."""
        memory, play, params = run.memory, run.play, run.learned.params

        def turn(carry: Any, number: jax.Array) -> Any:
            memory, play = carry
            epsilon = self._epsilon_at(counts, number * self._width)
            memory, play, ended = self._act(params, memory, play, epsilon)
            return (memory, play), ended

        (memory, play), (returns, lengths) = jax.lax.scan(
            turn, (memory, play), jnp.arange(self._turns), unroll=1
        )
        key, learn_key = jax.random.split(play.key)
        changing = (run.learned, memory.priorities)
        learned, priorities, loss = jax.lax.cond(
            counts.steps + self.block > self._learning_starts,
            lambda given: self._learn(given, memory, learn_key, counts.updates),
            lambda given: (*given, jnp.float32(jnp.nan)),
            changing,
        )
        memory = replace(memory, priorities=priorities)
        return _Run(learned, memory, play._replace(key=key)), (returns, lengths, loss)

    def _begin(self, key: jax.Array) -> _Play:
        """Reset the environments of one model."""
        key, reset_key = jax.random.split(key)
        obs, env_state = jax.vmap(self._env.reset, in_axes=(0, None))(
            jax.random.split(reset_key, self._width), self._params
        )
        zeros = jnp.zeros(self._width)
        return _Play(key, env_state, obs, zeros, zeros.astype(jnp.int32))

    def _act(self, params: Any, memory: State, play: _Play, epsilon: Any) -> tuple[State, _Play, Any]:
        """Take one step in each environment, and store it."""
        key, act_key, env_key = jax.random.split(play.key, 3)
        actions = self._actions(params, self._states(memory, play.obs), epsilon, act_key)
        obs, env_state, rewards, terminated, truncated, info = jax.vmap(
            self._env.step, in_axes=(0, 0, 0, None)
        )(jax.random.split(env_key, self._width), play.env_state, actions, self._params)
        alone = self._width == 1
        step = (play.obs, actions, rewards, terminated, truncated, info["final_observation"])
        old, action, reward, done, cut, last = (each[0] if alone else each for each in step)
        memory = replay.add(memory, old, action, reward, done, truncated=cut, next_obs=last)
        over = terminated | truncated
        returns, lengths = play.returns + rewards, play.lengths + 1
        ended = jnp.where(over, returns, jnp.nan), jnp.where(over, lengths, 0)
        going_on = jnp.where(over, 0.0, returns), jnp.where(over, 0, lengths)
        return memory, _Play(key, env_state, obs, *going_on), ended

    def _states(self, memory: State, obs: jax.Array) -> jax.Array:
        """Return what the network takes: [N, n_frames * prod(obs_shape)] float32."""
        if memory.spec.n_frames > 1:
            frames = replay.current_state(memory)
            frames = frames.reshape(self._width, -1, *memory.spec.obs_shape)
            obs = jnp.concatenate([frames, obs[:, None].astype(frames.dtype)], axis=1)
        return obs.reshape(self._width, -1).astype(jnp.float32)

    def _actions(self, params: Any, states: jax.Array, epsilon: Any, key: jax.Array) -> jax.Array:
        """Return an action for each state, epsilon-greedy."""
        draws = _Random(key)
        noise = self._noise(draws, ())
        values = self._model.update.algorithm.action_values(jnp, params, noise, states)
        explores, which = draws.random((2, self._width), np.float32)
        random = jnp.minimum(which * values.shape[1], values.shape[1] - 1).astype(jnp.int32)
        return jnp.where(explores < epsilon, random, jnp.argmax(values, axis=1).astype(jnp.int32))

    def _learn(
        self, changing: tuple[Learned, Any], memory: State, key: jax.Array, updates: jax.Array
    ) -> tuple[Learned, Any, jax.Array]:
        """Make the updates of a round, and return their mean loss."""
        losses = []
        learned, memory = changing[0], replace(memory, priorities=changing[1])
        for number in range(self._updates):
            key, update_key = jax.random.split(key)
            learned, memory, loss = self._updated(learned, memory, update_key, updates + number)
            losses.append(loss)
        return learned, memory.priorities, jnp.mean(jnp.stack(losses))

    def _updated(
        self, learned: Learned, memory: State, key: jax.Array, number: jax.Array
    ) -> tuple[Learned, State, jax.Array]:
        model, draws = self._model, _Random(key)
        bits = draws.bits((model.batch_size, 2))
        batch = replay.sample(memory, bits, draw=self._draw)
        algorithm = model.update.algorithm
        drawn = Drawn(self._noise(draws, (3,)), algorithm.draw(draws, model.batch_size))
        learned, loss, errors = model.update(learned, Gathered.of(batch), drawn, self._rate(number))
        if model.polyak is None:
            due = (number + 1) % model.target_update == 0
            pick = lambda new, old: jnp.where(due, new, old)  # noqa: E731
            learned = learned._replace(target=jax.tree.map(pick, learned.params, learned.target))
        if memory.priorities is not None:
            memory = replay.update_priorities(memory, batch.indices, errors)
        return learned, memory, loss

    def _noise(self, draws: _Random, lead: tuple[int, ...]) -> jax.Array | None:
        size = self._model.noise_size
        return layers.draw_noise(draws, (*lead, size), jnp) if size else None


class _Random:
    """Draws from a key what NumPy's generators draw, as far as algorithms ask for it."""

    def __init__(self, key: jax.Array) -> None:
        self._key = key

    def random(self, size: Any, dtype: Any) -> jax.Array:
        return jax.random.uniform(self._next(), size, dtype)

    def standard_normal(self, size: Any, dtype: Any) -> jax.Array:
        return jax.random.normal(self._next(), size, dtype)

    def bits(self, size: tuple[int, ...]) -> jax.Array:
        return jax.random.bits(self._next(), size)

    def _next(self) -> jax.Array:
        self._key, key = jax.random.split(self._key)
        return key


def _strong(array: jax.Array) -> jax.Array:
    """Return ``array`` with its dtype for good, where it was that of a Python number."""
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return array if is_key else jax.lax.convert_element_type(array, array.dtype)


def _summed(sums: Any, returns: jax.Array) -> Any:
    """Add the episodes that ended in a block to (sum of returns, their number)."""
    ended = ~jnp.isnan(returns)
    return sums[0] + jnp.sum(jnp.where(ended, returns, 0.0)), sums[1] + jnp.sum(ended)


def _reporter(on_progress: OnProgress) -> Callable[..., None]:
    def told(steps: Any, sums: Any) -> None:
        total, count = map(float, sums)
        on_progress(int(steps), total / count if count else math.nan)

    return lambda steps, sums: jax.debug.callback(told, steps, sums, ordered=True)


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
    shape, count = tuple(env.observation_space(params).shape), getattr(env.action_space(params), "n", 0)
    if shape != model.memory.obs_shape:
        raise ValueError(
            f"env has observations of shape {shape}; the model takes {model.memory.obs_shape}"
        )
    if count != model.action_space:
        raise ValueError(
            f"env has {count or 'no discrete'} actions; the model has {model.action_space}"
        )
    key = jax.random.key(0)
    _, state = jax.eval_shape(env.reset, key, params)
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
