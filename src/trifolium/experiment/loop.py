"""Loop: epochs, hooks and learning around the steps of a runner."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from trifolium.experiment.options import TrainOptions
from trifolium.experiment.rows import Episode
from trifolium.experiment.runners import EpisodeEnd, Runner
from trifolium.experiment.updates import Updates

__all__ = ["Counters", "Loop"]


@dataclass
class Counters:
    """How far a run is.

    Attributes:
        step: environment steps taken.
        epoch: epochs begun.
        epoch_is_open: whether the newest of them goes on.
        evaluated: step of the last evaluation, 0 if there was none.
        episodes: episodes that are over, by agent.
    """

    step: int = 0
    epoch: int = 0
    epoch_is_open: bool = False
    evaluated: int = 0
    episodes: dict[str, int] = field(default_factory=dict)


class Loop:
    """Steps of a runner, with the hooks of its epochs, the schedule of epsilon, and learning.

    An epoch is an episode of the world; of a vector of worlds, what lies between two ends of episodes.

    Args:
        runner: what is driven.
        options: of the run.

    Attributes:
        counters: how far it is.
    """

    def __init__(self, runner: Runner, options: TrainOptions) -> None:
        self.counters = Counters()
        self._runner = runner
        self._models = list(runner.models.values())
        self._options = options
        self._updates = Updates(runner.models, options)

    def step(self) -> Sequence[Episode]:
        """Act, remember and learn; return the episodes that ended with that."""
        counters, runner = self.counters, self._runner
        if not counters.epoch_is_open:
            self._start_epoch()
        epsilon = self._options.epsilon(counters.step)
        if epsilon is not None:
            for model in self._models:
                if model.epsilon != epsilon:
                    model.set_epsilon(epsilon)
        before, episodes = counters.step, runner.episodes
        ends = runner.step()
        counters.step = before + runner.width
        self._updates.make(before, counters.step)
        rows = [self._row(end) for end in ends] if ends else ()
        if runner.episodes > episodes:
            self.end_epoch()
        return rows

    def end_epoch(self) -> None:
        """Run the hooks of the epoch's end, unless none is open."""
        if self.counters.epoch_is_open:
            self.counters.epoch_is_open = False
            for model in self._models:
                model.end_epoch_action(epoch=self.counters.epoch)

    def state(self) -> dict[str, Any]:
        """Return the counters and the losses not reported yet, in JSON's types."""
        return asdict(self.counters) | {"losses": self._updates.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` returned."""
        counters = dict(state)
        self._updates.restore(counters.pop("losses"))
        self.counters = Counters(**counters)

    def _start_epoch(self) -> None:
        self.counters.epoch += 1
        self.counters.epoch_is_open = True
        for model in self._models:
            model.start_epoch_action(epoch=self.counters.epoch)

    def _row(self, end: EpisodeEnd) -> Episode:
        number = self.counters.episodes[end.agent] = self.counters.episodes.get(end.agent, 0) + 1
        return Episode(
            step=self.counters.step,
            episode=number,
            episode_return=end.episode_return,
            length=end.length,
            epsilon=self._runner.models[end.model].epsilon,
            loss=self._updates.mean_loss(end.model),
            agent=end.agent,
        )
