"""play: a person plays an environment."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

import gymnasium as gym

from trifolium import _checks as checks
from trifolium.agents import ActionSpec, ObservationSpec
from trifolium.errors import WorldError
from trifolium.experiment.evaluation import returns_of
from trifolium.experiment.runners import GymRunner
from trifolium.models import HumanModel
from trifolium.worlds import gym as gym_worlds
from trifolium.worlds.gym_world import action_names

__all__ = ["SHOWN", "Play", "PlayOptions", "play"]

SHOWN = {"text": "ansi", "picture": "rgb_array", "window": "rgb_array", "numbers": None}
"""Ways to show a world, and the render mode that an environment needs for each."""


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """The options of :func:`play`.

    Attributes:
        env: id of a Gymnasium environment.
        keys: a key for each action, in order, such as "wasd"; its number works too.
        show: how the world is shown: "text", "picture" in the terminal, "window", "numbers"; "auto" for
            the first of text, picture and numbers that it has.
        episodes: episodes to play.
        turns: steps after which an episode is cut off; None for the environment's own limit.
        seed: of the environment.

    >>> PlayOptions(env="FrozenLake-v1").episodes
    1
    """

    env: str
    keys: str | None = None
    show: str = "auto"
    episodes: int = 1
    turns: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.show not in ("auto", *SHOWN):
            raise ValueError(f"show={self.show!r}; expected auto, {', '.join(SHOWN)}")
        checks.integer("episodes", self.episodes, 1)
        checks.integer("seed", self.seed, 0)
        if self.turns is not None:
            checks.integer("turns", self.turns, 1)


def play(
    options: PlayOptions, *, input: TextIO | None = None, output: TextIO | None = None
) -> list[float]:
    """Let a person play; return the return of each episode.

    Args:
        options: the environment and how it is shown.
        input: text stream to read keys from; None for standard input.
        output: text stream to write to; None for standard output.

    Raises:
        HumanQuit: the person quit, or the input ended.
        WorldError: the environment can't be made, or can't be shown in this way.
        ValueError: the keys don't fit the actions.
    """
    return Play(options, input=input, output=output).run()


class Play:
    """A person's episodes in an environment; the arguments and errors are those of :func:`play`."""

    def __init__(
        self, options: PlayOptions, *, input: TextIO | None = None, output: TextIO | None = None
    ) -> None:
        self._options = options
        self._output = output or sys.stdout
        self._show, self._env = _stage(options)
        try:
            person = _person(self._env, options, self._show, input, output)
            self._runner = GymRunner(self._env, person, seed=options.seed, remember=False)
        except BaseException:
            self._env.close()
            raise

    def run(self) -> list[float]:
        """Play the episodes; return the return of each."""
        try:
            return [self._episode(number) for number in range(1, self._options.episodes + 1)]
        except gym.error.DependencyNotInstalled as error:
            name = self._options.env
            raise WorldError(f"env={name!r} can't be shown as {self._show}: {error}") from error
        finally:
            self._env.close()

    def _episode(self, number: int) -> float:
        (returns,) = returns_of(self._runner, 1).values()
        earned = float(returns[0])
        if self._show == "text":
            self._output.write(f"{self._env.render()}\n")
        self._output.write(f"episode {number} is over; it earned {earned:g}\n")
        return earned


def _stage(options: PlayOptions) -> tuple[str, gym.Env[Any, Any]]:
    """Return the way in which the world is shown, and the environment made for it."""
    limit = {} if options.turns is None else {"max_episode_steps": options.turns}
    env = gym_worlds.make(options.env, **limit)
    modes = env.metadata.get("render_modes", ())
    env.close()
    possible = [show for show, mode in SHOWN.items() if mode is None or mode in modes]
    if options.show == "auto":
        show = possible[0]
    elif options.show in possible:
        show = options.show
    else:
        raise WorldError(
            f"env={options.env!r} can't be shown as {options.show}; it can as {', '.join(possible)}"
        )
    return show, gym_worlds.make(options.env, render_mode=SHOWN[show], **limit)


def _person(
    env: gym.Env[Any, Any],
    options: PlayOptions,
    show: str,
    input: TextIO | None,
    output: TextIO | None,
) -> HumanModel:
    observations = ObservationSpec.from_space(env.observation_space, structured=True)
    actions = ActionSpec.from_space(env.action_space)
    view: Callable[[Any], Any] = lambda _: env.render()  # noqa: E731
    return HumanModel(
        observations.shape,
        actions.n,
        memory_size=2,  # nothing is remembered
        obs_dtype=observations.dtype,
        action_names=action_names(env),
        keys=options.keys,
        draw={"text": "auto", "picture": "image"}.get(show, show),
        view=None if show == "numbers" else view,
        input=input,
        output=output,
    )
