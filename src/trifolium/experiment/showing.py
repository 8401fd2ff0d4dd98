"""Show trained models in a world: in a window, as text, or as pictures."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from trifolium.errors import WorldError
from trifolium.experiment.evaluation import returns_of
from trifolium.experiment.experiment import Experiment
from trifolium.experiment.runners import Runner

__all__ = ["Frames", "episode_frames", "watch", "write_gif"]

FRAMES_PER_SECOND = 10
"""Pictures per second if the world has no value."""

LONGEST = 1_000
"""Steps of an episode of which pictures are taken at most."""


@dataclass(frozen=True)
class Frames:
    """An episode in pictures.

    Attributes:
        pictures: one after each step, each [height, width, 3] uint8.
        per_second: frame rate of the world.
    """

    pictures: list[np.ndarray]
    per_second: float


def episode_frames(run: Experiment) -> Frames:
    """Let a run's models play an episode without exploration, and take a picture after each step.

    Raises:
        WorldError: the world makes no pictures, or a package for them is missing.
    """
    pictures: list[np.ndarray] = []
    with _stage(run, "rgb_array") as (world, runner):

        def take_picture() -> None:
            if len(pictures) < LONGEST:
                pictures.append(np.array(_render(world), np.uint8))

        returns_of(runner, 1, after_step=take_picture)
        return Frames(pictures, _frames_per_second(world))


def write_gif(path: Path, frames: Frames) -> None:
    """Write the pictures as a GIF that repeats itself."""
    from PIL import Image

    first, *others = (Image.fromarray(picture) for picture in frames.pictures)
    duration = 1000 / frames.per_second
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, "GIF", save_all=True, append_images=others, duration=duration, loop=0)


def watch(run: Experiment, episodes: int, *, text: bool = False) -> dict[str, np.ndarray]:
    """Show episodes without exploration; return the returns of each agent.

    Args:
        run: whose models play.
        episodes: how many.
        text: whether they are printed on the terminal, not shown in a window.

    Raises:
        WorldError: the world can't be shown in this way, or a package for it is missing.
    """
    with _stage(run, "ansi" if text else "human") as (world, runner):

        def print_world() -> None:
            print(_render(world), flush=True)
            time.sleep(1 / _frames_per_second(world))

        return returns_of(runner, episodes, after_step=print_world if text else None)


@contextmanager
def _stage(run: Experiment, render_mode: str) -> Iterator[tuple[Any, Runner]]:
    """Make a world that can be seen, and the runner that plays in it."""
    try:
        _check_mode(run, render_mode)
        world, runner = run.stage(render_mode)
        try:
            yield world, runner
        finally:
            runner.close()
    except (gym.error.DependencyNotInstalled, RuntimeError) as error:  # pygame's are RuntimeErrors
        raise WorldError(f"env={run.options.env!r} can't be shown here: {error}") from error


def _check_mode(run: Experiment, render_mode: str) -> None:
    world, runner = run.stage()
    modes = list(_metadata(world).get("render_modes", ()))
    runner.close()
    if render_mode not in modes:
        raise WorldError(
            f"env={run.options.env!r} can't be shown as {render_mode!r}; "
            f"it has {', '.join(modes) or 'no pictures at all'}"
        )


def _render(world: Any) -> Any:
    return world.render() if hasattr(world, "render") else world.env.render()


def _frames_per_second(world: Any) -> float:
    return float(_metadata(world).get("render_fps", FRAMES_PER_SECOND))


def _metadata(world: Any) -> Mapping[str, Any]:
    """Return the metadata of a Gymnasium or PettingZoo environment."""
    found = getattr(world, "metadata", None) or getattr(getattr(world, "env", None), "metadata", None)
    return found or {}
