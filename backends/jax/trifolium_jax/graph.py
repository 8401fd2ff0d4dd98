"""The graph of a training run, as pure functions that JAX traces."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp

from trifolium import replay
from trifolium.models.learner import Learner
from trifolium.models.masks import legal_only
from trifolium.models.states import part_of
from trifolium.models.update import Learned
from trifolium.replay import State
from trifolium.replay.schema import nested
from trifolium_jax import namespace
from trifolium_jax.draws import BlockDraws, Drawing, TurnDraws, UpdateDraws

__all__ = ["Counts", "Environment", "Graph", "OnProgress", "PlayState", "Run"]

OnProgress: TypeAlias = Callable[[int, float], None]
"""Called with the steps taken, and the mean return of the episodes that ended since the last call."""

REPORTS = 100
"""How often progress is reported in a run."""


class Environment(Protocol):
    """The protocol of gymnax's environments: three functions, of which reset and step are pure."""

    def reset(self, key: Any, params: Any) -> tuple[Any, Any]:
        """Return (observation, state) of a new episode; an observation is an array, or a mapping."""
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


class PlayState(NamedTuple):
    """The environments of one model, N of them; the key of all draws stays the same."""

    key: jax.Array
    env_state: Any
    obs: Any
    returns: jax.Array
    lengths: jax.Array


class Run(NamedTuple):
    """The state of one model that changes during training."""

    learned: Learned
    memory: State
    play: PlayState


class Counts(NamedTuple):
    """The counters of a run: int32, the same for all models."""

    steps: jax.Array
    actions: jax.Array
    updates: jax.Array


@dataclass(frozen=True, eq=False)
class Graph:
    """The training step of one model in its environments, or of several models in parallel.

    A block is the steps after one round of learning up to the next round, which is included.

    Attributes:
        model: a model that defines algorithm, options and sizes; any one of several.
        many: whether the state of models has a leading axis of models.
        env: the environment.
        params: its parameters.
        turns: steps of every environment in a block.
        updates: in a round of learning.
        learning_starts: steps before the first round.
        epsilon: probability of a random action, by the steps or the actions taken.
        by_steps: whether epsilon depends on the steps of the run, not the actions of the model.
        rate: learning rate by the updates made.
        draw: how rows are drawn if not by priority.
    """

    model: Learner
    many: bool
    env: Environment
    params: Any
    turns: int
    updates: int
    learning_starts: int
    epsilon: Callable[[Any], Any]
    by_steps: bool
    rate: Callable[[Any], Any]
    draw: str

    @property
    def _drawing(self) -> Drawing:
        model = self.model
        return Drawing(
            width=self.width,
            turns=self.turns,
            updates=self.updates,
            batch_size=model.batch_size,
            algorithm=model.update.algorithm,
            noise_size=model.noise_size,
        )

    @property
    def width(self) -> int:
        """Environments of a model: N."""
        return self.model.memory.n_streams

    @property
    def steps(self) -> int:
        """Environment steps of a block."""
        return self.turns * self.width

    def begin(self, key: jax.Array) -> PlayState:
        """Reset the environments; ``key`` is one for each model."""
        return self._each(self._begin, (0,))(key)

    def scan(
        self, run: Run, counts: Counts, blocks: int, on_progress: OnProgress | None
    ) -> tuple[Run, Counts, Any]:
        """Run ``blocks``; return also (returns, lengths, losses) of each, [blocks, ...]."""
        every = math.ceil(blocks / REPORTS)
        per_block = self._each(self._block, (0, None, 0))
        per_number = self._each(self._drawing.block, (0, None))
        models = len(run.play.key) if self.many else 1
        at_once = self._drawing.blocks_at_once(blocks, models)

        def several(carry: Any, numbers: jax.Array) -> Any:
            run, counts, _ = carry
            later = numbers - numbers[0] + counts.steps // self.steps
            draws = jax.vmap(per_number, in_axes=(None, 0))(run.play.key, later)
            return jax.lax.scan(block, carry, (numbers, draws))

        def block(carry: Any, given: tuple[jax.Array, BlockDraws]) -> Any:
            run, counts, sums = carry
            number, draws = given
            run, out = per_block(run, counts, draws)
            counts = self._counted(counts)
            if on_progress is not None:
                due = (number % every == 0) | (number == blocks)
                sums = _summed(sums, out[0])
                jax.lax.cond(due, _reporter(on_progress), lambda *_: None, counts.steps, sums)
                sums = jax.tree.map(lambda each: jnp.where(due, 0.0, each), sums)
            return (run, counts, sums), out

        start = (run, counts, (jnp.float32(0), jnp.float32(0)))
        numbers = jnp.arange(1, blocks + 1).reshape(-1, at_once)
        (run, counts, _), out = jax.lax.scan(several, start, numbers)
        return run, counts, jax.tree.map(lambda each: each.reshape(blocks, *each.shape[2:]), out)

    def _counted(self, counts: Counts) -> Counts:
        """Return the counts after a block."""
        return Counts(
            counts.steps + self.steps,
            counts.actions + self.steps,
            counts.updates + jnp.where(self._learns(counts), self.updates, 0),
        )

    def _learns(self, counts: Counts) -> jax.Array:
        """Return whether the block that begins with these counts ends with a round of learning."""
        return counts.steps + self.steps > self.learning_starts

    def _block(self, run: Run, counts: Counts, draws: BlockDraws) -> tuple[Run, Any]:
        """Act for some turns, and learn once in the end: one model's part of it."""
        memory, play, params = run.memory, run.play, run.learned.params

        def turn(carry: Any, given: tuple[jax.Array, TurnDraws]) -> Any:
            memory, play = carry
            number, drawn = given
            epsilon = self.epsilon_at(counts, number * self.width)
            memory, play, ended = self._act(params, memory, play, epsilon, drawn)
            return (memory, play), ended

        numbers = jnp.arange(self.turns)
        (memory, play), (returns, lengths) = jax.lax.scan(
            turn, (memory, play), (numbers, draws.turns), unroll=self.turns == 1
        )
        changing = (run.learned, memory.priorities)
        learned, priorities, loss = jax.lax.cond(
            self._learns(counts),
            lambda given: self._learn(given, memory, draws.updates, counts.updates),
            lambda given: (*given, jnp.float32(jnp.nan)),
            changing,
        )
        memory = replace(memory, priorities=priorities)
        return Run(learned, memory, play), (returns, lengths, loss)

    def _begin(self, key: jax.Array) -> PlayState:
        """Reset the environments of one model."""
        key, reset_key = jax.random.split(key)
        obs, env_state = jax.vmap(self.env.reset, in_axes=(0, None))(
            jax.random.split(reset_key, self.width), self.params
        )
        zeros = jnp.zeros(self.width)
        return PlayState(key, env_state, obs, zeros, zeros.astype(jnp.int32))

    def _act(
        self, params: Any, memory: State, play: PlayState, epsilon: Any, draws: TurnDraws
    ) -> tuple[State, PlayState, Any]:
        """Take one step in each environment, and store it."""
        actions = self._actions(params, self._states(memory, play.obs), epsilon, draws)
        obs, env_state, rewards, terminated, truncated, info = jax.vmap(
            self.env.step, in_axes=(0, 0, 0, None)
        )(draws.keys, play.env_state, actions, self.params)
        alone = self.width == 1
        step = (play.obs, actions, rewards, terminated, truncated, info["final_observation"])
        old, action, reward, done, cut, last = _first(step) if alone else step
        memory = replay.add(memory, old, action, reward, done, truncated=cut, next_obs=last)
        over = terminated | truncated
        returns, lengths = play.returns + rewards, play.lengths + 1
        ended = jnp.where(over, returns, jnp.nan), jnp.where(over, lengths, 0)
        going_on = jnp.where(over, 0.0, returns), jnp.where(over, 0, lengths)
        return memory, PlayState(play.key, env_state, obs, *going_on), ended

    def _states(self, memory: State, obs: Any) -> Any:
        """Return the input of the network: [N, n_frames * prod(obs_shape)] float32, or a mapping."""
        leaves = memory.spec.leaves
        frames = replay.current_state(memory) if memory.spec.n_frames > 1 else None
        found = []
        for leaf in leaves:
            newest = part_of(obs, leaf.path)
            if leaf.n_frames > 1:
                before = part_of(frames, leaf.path).reshape(self.width, -1, *leaf.shape)
                newest = jnp.concatenate([before, newest[:, None].astype(before.dtype)], axis=1)
            found.append(newest.reshape(self.width, -1).astype(jnp.float32))
        return nested(leaves, found)

    def _actions(self, params: Any, states: Any, epsilon: Any, draws: TurnDraws) -> jax.Array:
        """Return an action for each state, epsilon-greedy among the legal ones."""
        algorithm, which = self.model.update.algorithm, draws.which
        values = algorithm.action_values(namespace, params, draws.noise, states)
        mask = self.model.mask
        if mask is None:
            random = jnp.minimum(which * values.shape[1], values.shape[1] - 1).astype(jnp.int32)
        else:
            legal = mask.legal(states)
            values = legal_only(namespace, values, legal)
            random = _random_legal(which, legal)
        return jnp.where(draws.explores < epsilon, random, jnp.argmax(values, axis=1).astype(jnp.int32))

    def _learn(
        self, changing: tuple[Learned, Any], memory: State, draws: UpdateDraws, updates: jax.Array
    ) -> tuple[Learned, Any, jax.Array]:
        """Make the updates of a round, and return their mean loss."""
        losses = []
        learned, memory = changing[0], replace(memory, priorities=changing[1])
        for number in range(self.updates):
            drawn = jax.tree.map(lambda each: each[number], draws)  # noqa: B023
            learned, memory, loss = self._updated(learned, memory, drawn, updates + number)
            losses.append(loss)
        return learned, memory.priorities, jnp.mean(jnp.stack(losses))

    def _updated(
        self, learned: Learned, memory: State, draws: UpdateDraws, number: jax.Array
    ) -> tuple[Learned, State, jax.Array]:
        model = self.model
        batch = replay.sample(memory, draws.bits, draw=self.draw)
        learned, loss, errors = model.update(learned, batch, draws.random, self.rate(number))
        if model.target_update is not None:
            due = (number + 1) % model.target_update == 0
            pick = lambda new, old: jnp.where(due, new, old)  # noqa: E731
            learned = learned._replace(target=jax.tree.map(pick, learned.params, learned.target))
        if memory.priorities is not None:
            memory = replay.update_priorities(memory, batch.indices, errors)
        return learned, memory, loss

    def epsilon_at(self, counts: Counts, later: Any) -> Any:
        """Return the probability of a random action ``later`` steps after these counts."""
        return self.epsilon((counts.steps if self.by_steps else counts.actions) + later)

    def _each(self, function: Callable[..., Any], axes: tuple[int | None, ...]) -> Callable[..., Any]:
        """Return ``function`` for every model; an argument whose axis is None is the same for all."""
        return jax.vmap(function, in_axes=axes) if self.many else function


def _first(step: Any) -> Any:
    """Return a step of one environment without the axis of environments."""
    return jax.tree.map(lambda array: array[0], step)


def _random_legal(which: jax.Array, legal: jax.Array) -> jax.Array:
    """Return the legal action [N] that ``which`` [N], in [0, 1), falls on; 0 where there is none."""
    counts = jnp.sum(legal, axis=1)
    places = jnp.minimum((which * counts).astype(jnp.int32), counts - 1)
    return jnp.argmax(jnp.cumsum(legal, axis=1) > places[:, None], axis=1).astype(jnp.int32)


def _summed(sums: Any, returns: jax.Array) -> Any:
    """Add the episodes that ended in a block to (sum of returns, their number)."""
    ended = ~jnp.isnan(returns)
    return sums[0] + jnp.sum(jnp.where(ended, returns, 0.0)), sums[1] + jnp.sum(ended)


def _reporter(on_progress: OnProgress) -> Callable[..., None]:
    def told(steps: Any, sums: Any) -> None:
        total, count = map(float, sums)
        on_progress(int(steps), total / count if count else math.nan)

    return lambda steps, sums: jax.debug.callback(told, steps, sums, ordered=True)
