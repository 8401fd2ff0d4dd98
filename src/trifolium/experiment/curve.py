"""The picture of a learning curve."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trifolium import files
from trifolium.experiment.rows import EpisodeRow

__all__ = ["WINDOW", "draw_learning_curve", "recent_means"]

WINDOW = 20
"""Episodes of which a curve shows the mean."""


def draw_learning_curve(path: Path, episodes: Sequence[EpisodeRow], title: str) -> None:
    """Draw return against steps, each episode and the mean of the last 20, to a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    agents = list(dict.fromkeys(episode.agent for episode in episodes))
    for index, agent in enumerate(agents):
        own = [episode for episode in episodes if episode.agent == agent]
        steps = np.array([episode.step for episode in own])
        returns = np.array([episode.episode_return for episode in own])
        whose = _plain(f"{agent:.40}: ") if len(agents) > 1 else ""
        color = f"C{2 * index % 10}"
        axes.plot(steps, returns, ".", color=color, markersize=3, alpha=0.4, label=f"{whose}episode")
        means = recent_means(returns)
        label = f"{whose}mean of {min(WINDOW, len(own))} episodes"
        axes.plot(steps[-len(means) :], means, color=f"C{(2 * index + 1) % 10}", label=label)
    axes.set(xlabel="environment steps", ylabel="return", title=_plain(title))
    axes.grid(alpha=0.3)
    if agents:
        axes.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=150)
    files.write_bytes(path, drawn.getvalue())


def _plain(text: str) -> str:
    """Return ``text`` escaped for matplotlib, which else reads dollar signs as mathematics."""
    return text.replace("$", r"\$")


def recent_means(returns: np.ndarray) -> np.ndarray:
    """Return the mean of each 20 returns in a row, or of all where there are fewer.

    >>> recent_means(np.arange(22.0))
    array([ 9.5, 10.5, 11.5])
    """
    window = min(WINDOW, len(returns))
    return np.convolve(returns, np.full(window, 1 / window), mode="valid") if window else returns
