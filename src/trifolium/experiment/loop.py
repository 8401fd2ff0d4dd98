"""Loops: epochs, hooks and learning around the steps of a runner."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from trifolium._json import brief
from trifolium._nan import check_arrays, check_number
from trifolium.experiment.options import STOP, TrainOptions
from trifolium.experiment.rows import EpisodeRow
from trifolium.experiment.runners import (
    AGENT,
    MODEL,
    BlockRunner,
    EpisodeEnd,
    Runner,
    checked_count,
)
from trifolium.experiment.updates import Updates
from trifolium.models import BaseModel

__all__ = ["BlockLoop", "Counters", "Loop", "StepLoop", "make_loop"]

PARTS = 100
"""Approximate number of calls of a compiled run; progress is shown after each."""


@dataclass
class Counters:
    """The counters of a run.

    Attributes:
        step: environment steps taken.
        epoch: epochs begun.
        epoch_is_open: whether the newest epoch is not finished.
        evaluated: step of the last evaluation, 0 if there was none.
        episodes: episodes that are over, by agent.
    """

    step: int = 0
    epoch: int = 0
    epoch_is_open: bool = False
    evaluated: int = 0
    episodes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError or TypeError where a file holds other values."""
        for name in ("step", "epoch", "evaluated"):
            checked_count(name, getattr(self, name))
        if not isinstance(self.epoch_is_open, bool):
            raise TypeError(f"epoch_is_open={brief(self.epoch_is_open)}; expected true or false")
        if not isinstance(self.episodes, dict):
            raise TypeError(f"episodes={brief(self.episodes)}; expected numbers by agent")
        for agent, count in self.episodes.items():
            checked_count(f"episodes[{brief(agent)}]", count)


class Loop(Protocol):
    """A run as an experiment sees it: steps, with hooks, schedules and learning around them.

    Attributes:
        counters: the counters of the run.
        may_evaluate: whether models may be evaluated now.
    """

    counters: Counters

    @property
    def may_evaluate(self) -> bool: ...  # noqa: D102

    def step(self) -> Sequence[EpisodeRow]:
        """Take one or more steps; return the episodes that ended."""
        ...

    def end_epoch(self) -> None:
        """Run the hooks of the epoch's end, unless none is open."""
        ...

    def check_weights(self) -> None:
        """Raise NanError if a model's weights hold NaN, unless the options ignore that."""
        ...

    def unlearned(self) -> list[str]:
        """Return a message for each learner that has made no update."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the counters and the losses not reported yet, in JSON's types.

        Raises:
            NanError: a loss is NaN, unless the options ignore that.
        """
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`state` returned."""
        ...


def make_loop(runner: Runner | BlockRunner, options: TrainOptions) -> Loop:
    """Return the loop for a runner."""
    if isinstance(runner, BlockRunner):
        return BlockLoop(runner, options)
    return StepLoop(runner, options)


class _Epochs:
    """Base of both kinds of loops: counters, losses and the hooks of epochs."""

    def __init__(self, models: Mapping[str, BaseModel], options: TrainOptions) -> None:
        self.counters = Counters()
        self._models = models
        self._options = options
        self._updates = Updates(models, options)

    def _start_epoch(self) -> None:
        """Run the hooks of an epoch's start, unless one is open."""
        if not self.counters.epoch_is_open:
            self.counters.epoch += 1
            self.counters.epoch_is_open = True
            for model in self._models.values():
                model.start_epoch_action(epoch=self.counters.epoch)

    def end_epoch(self) -> None:
        if self.counters.epoch_is_open:
            self.counters.epoch_is_open = False
            for model in self._models.values():
                model.end_epoch_action(epoch=self.counters.epoch)

    def check_weights(self) -> None:
        if self._options.on_nan == STOP:
            for name, model in self._models.items():
                check_arrays(name, model.state())

    def unlearned(self) -> list[str]:
        return self._updates.unlearned()

    def state(self) -> dict[str, Any]:
        return asdict(self.counters) | {"losses": self._updates.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        counters = dict(state)
        self._updates.restore(counters.pop("losses"))
        self.counters = Counters(**counters)

    def _row(self, step: int, end: EpisodeEnd, epsilon: float) -> EpisodeRow:
        number = self.counters.episodes[end.agent] = self.counters.episodes.get(end.agent, 0) + 1
        return EpisodeRow(
            step=step,
            episode=number,
            episode_return=end.episode_return,
            length=end.length,
            epsilon=epsilon,
            loss=self._updates.mean_loss(end.model),
            agent=end.agent,
        )


class StepLoop(_Epochs):
    """A :class:`Loop` of single steps of a runner.

    An epoch is an episode of the world; of a vector of worlds, the steps from one end of an episode
    to the next.

    Args:
        runner: what is driven.
        options: of the run.
    """

    def __init__(self, runner: Runner, options: TrainOptions) -> None:
        super().__init__(runner.models, options)
        self._runner = runner

    @property
    def may_evaluate(self) -> bool:
        """Between two epochs."""
        return not self.counters.epoch_is_open

    def step(self) -> Sequence[EpisodeRow]:
        """Act, store and learn; return the episodes that ended."""
        counters, runner = self.counters, self._runner
        self._start_epoch()
        epsilon = self._options.epsilon(counters.step)
        if epsilon is not None:
            for model in self._models.values():
                if model.epsilon != epsilon:
                    model.set_epsilon(epsilon)
        before, episodes = counters.step, runner.episodes
        ends = runner.step()
        counters.step = before + runner.width
        self._updates.make(before, counters.step)
        rows = [self._row(counters.step, end, self._models[end.model].epsilon) for end in ends]
        if runner.episodes > episodes:
            self.end_epoch()
        return rows


class BlockLoop(_Epochs):
    """A :class:`Loop` of about a hundred compiled calls of many steps each; all are one epoch.

    Args:
        runner: what is driven.
        options: of the run.
    """

    may_evaluate = True  # the episodes are in the graph

    def __init__(self, runner: BlockRunner, options: TrainOptions) -> None:
        super().__init__(runner.models, options)
        self._runner = runner
        wanted = (math.ceil(options.steps / PARTS), options.eval_every, options.checkpoint_every)
        shortest = min(each for each in wanted if each is not None)
        self._stride = math.ceil(shortest / runner.block) * runner.block

    def step(self) -> Sequence[EpisodeRow]:
        """Act, store and learn in one compiled call; return the episodes that ended."""
        before, steps = self.counters.step, self._options.steps
        end = min((before // self._stride + 1) * self._stride, steps)
        self._start_epoch()
        metrics = self._runner.run(end - before)
        self.counters.step = end
        return self._rows(before, metrics)

    def _rows(self, before: int, metrics: Any) -> list[EpisodeRow]:
        width, block = self._runner.width, self._runner.block
        (model,) = self._models.values()
        rows, reported = [], 0
        ends = before + block * np.arange(1, len(metrics.losses) + 1)
        due = ends > self._options.learning_starts
        losses = [
            loss if learned else None
            for loss, learned in zip(metrics.losses.tolist(), due.tolist(), strict=True)
        ]
        for index in np.flatnonzero(metrics.lengths).tolist():
            taken = (index // width + 1) * width  # of this call, when the episode ended
            self._updates.keep(MODEL, losses[reported : taken // block])
            reported = taken // block
            epsilon = self._options.epsilon(before + taken - width)
            earned, length = float(metrics.returns[index]), int(metrics.lengths[index])
            if self._options.on_nan == STOP:
                check_number(f"the return of agent {AGENT!r}", earned)
            ended = EpisodeEnd(AGENT, earned, length, MODEL)
            rows.append(
                self._row(before + taken, ended, model.epsilon if epsilon is None else float(epsilon))
            )
        self._updates.keep(MODEL, losses[reported:])
        return rows
