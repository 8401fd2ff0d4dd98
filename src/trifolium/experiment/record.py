"""The record of a run: one line of metrics an episode, and the picture of the learning curve."""

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import TracebackType

import numpy as np

from trifolium.errors import CheckpointError

__all__ = ["Episode", "MetricsFile", "draw_learning_curve", "read_metrics"]


@dataclass(frozen=True)
class Episode:
    """One line of metrics.csv.

    Attributes:
        step: environment steps taken when the episode ended.
        episode: its number, from 1.
        episode_return: sum of its rewards.
        length: its steps.
        epsilon: probability of a random action when it ended.
        loss: mean loss of the updates made during it; nan if there were none.
    """

    step: int
    episode: int
    episode_return: float
    length: int
    epsilon: float
    loss: float


class MetricsFile:
    """metrics.csv, written line by line; a context manager.

    Args:
        path: the file; what it held is lost.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(field.name for field in fields(Episode))

    def write(self, episode: Episode) -> None:
        """Append a line."""
        self._writer.writerow(astuple(episode))

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[Episode]:
    """Return the lines of a metrics.csv.

    Raises:
        CheckpointError: it is none.
    """
    kinds = [field.type for field in fields(Episode)]
    try:
        with path.open(newline="") as file:
            lines = csv.reader(file)
            if next(lines) != [field.name for field in fields(Episode)]:
                raise ValueError("its first line does not name the metrics")
            return [
                Episode(*(kind(value) for kind, value in zip(kinds, line, strict=True)))  # type: ignore[operator]
                for line in lines
            ]
    except (ValueError, StopIteration, csv.Error) as error:
        raise CheckpointError(f"{path} is no metrics file: {error}") from error


def draw_learning_curve(path: Path, episodes: Sequence[Episode], title: str) -> None:
    """Draw return against steps, each episode and the mean of the last 20, to a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = np.array([episode.step for episode in episodes])
    returns = np.array([episode.episode_return for episode in episodes])
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(steps, returns, ".", markersize=3, alpha=0.4, label="episode")
    window = min(20, len(returns))
    if window:
        means = np.convolve(returns, np.full(window, 1 / window), mode="valid")
        axes.plot(steps[window - 1 :], means, label=f"mean of {window} episodes")
    axes.set(xlabel="environment steps", ylabel="return", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
