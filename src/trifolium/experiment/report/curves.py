"""The curves of a run: its record as series of points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from trifolium.experiment.curve import WINDOW, recent_means
from trifolium.experiment.report.chart import STYLES, Series
from trifolium.experiment.rows import EpisodeRow, EvaluationRow

__all__ = ["Curve", "curves"]

Row = TypeVar("Row", EpisodeRow, EvaluationRow)


@dataclass(frozen=True)
class Curve:
    """One chart.

    Attributes:
        name: its id in the page.
        title: what it shows.
        series: what is drawn.
    """

    name: str
    title: str
    series: list[Series]


def curves(episodes: Sequence[EpisodeRow], evaluations: Sequence[EvaluationRow]) -> list[Curve]:
    """Return the charts for which there is something to show."""
    found = [
        Curve("return", "Return of the training episodes", _returns(episodes)),
        Curve(
            "evaluation", "Return of the greedy episodes", _values(evaluations, _mean_return, "mean")
        ),
        Curve("loss", "Mean loss of the updates in an episode", _values(episodes, lambda e: e.loss)),
        Curve("length", "Steps of the training episodes", _values(episodes, lambda e: e.length)),
        Curve("epsilon", "Probability of a random action", _values(episodes, lambda e: e.epsilon)),
    ]
    return [curve for curve in found if any(np.isfinite(each.y).any() for each in curve.series)]


def _returns(episodes: Sequence[EpisodeRow]) -> list[Series]:
    found: list[Series] = []
    for whose, own, style in _by_agent(episodes):
        steps, returns = _column(own, lambda e: e.step), _column(own, lambda e: e.episode_return)
        means = recent_means(returns)
        mean = f"{whose}mean of {min(WINDOW, len(own))} episodes"
        found.append(Series(f"{whose}episode", steps, returns, style, is_line=False))
        found.append(Series(mean, steps[len(steps) - len(means) :], means, style + 1))
    return found


def _values(rows: Sequence[Row], value: Callable[[Row], float], name: str = "episode") -> list[Series]:
    return [
        Series(f"{whose}{name}", _column(own, lambda row: row.step), _column(own, value), style + 1)
        for whose, own, style in _by_agent(rows)
    ]


def _mean_return(row: EvaluationRow) -> float:
    return row.mean_return


def _by_agent(rows: Sequence[Row]) -> list[tuple[str, list[Row], int]]:
    """Return, for each agent, what to put before a name, its rows, and the first of its two styles."""
    agents = list(dict.fromkeys(row.agent for row in rows))
    return [
        (
            f"{agent}: " if len(agents) > 1 else "",
            [row for row in rows if row.agent == agent],
            2 * index % STYLES,
        )
        for index, agent in enumerate(agents)
    ]


def _column(rows: Sequence[Row], value: Callable[[Row], float]) -> np.ndarray:
    return np.array([value(row) for row in rows], np.float64)
