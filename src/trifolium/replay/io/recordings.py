"""Episodes that were recorded elsewhere."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from trifolium.backend import as_numpy

__all__ = ["EpisodeSource", "RecordedEpisode", "episodes", "found_options"]


class Recording(Protocol):
    """One episode of T steps, as Minari has it."""

    observations: Any
    actions: Any
    rewards: Any
    terminations: Any
    truncations: Any


class EpisodeSource(Protocol):
    """What has episodes: a ``minari.MinariDataset``, or anything with this method."""

    def iterate_episodes(self) -> Iterable[Any]:
        """Return the episodes, the same each time."""
        ...


class RecordedEpisode(NamedTuple):
    """One episode of T steps as host arrays.

    Attributes:
        observations: [T + 1, *obs_shape], the last after the last step.
        actions: [T, *action_shape].
        rewards: [T].
        terminated: [T] bool.
        truncated: [T] bool; the last step is one or the other.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def rows(self) -> int:
        """Rows that the episode takes in a buffer."""
        return len(self.rewards) + int(self.truncated.sum())

    def steps(self) -> Iterator[dict[str, Any]]:
        """Yield the arguments of :meth:`trifolium.Buffer.add` for each step."""
        for step, reward in enumerate(self.rewards):
            yield {
                "obs": self.observations[step],
                "action": self.actions[step],
                "reward": reward,
                "done": self.terminated[step],
                "truncated": self.truncated[step],
                "next_obs": self.observations[step + 1],
            }


def found_options(found: Iterator[RecordedEpisode]) -> dict[str, Any]:
    """Return the arguments of :class:`trifolium.Buffer` that follow from episodes."""
    first = next(found, None)
    if first is None:
        raise ValueError("dataset has no episodes; expected at least one")
    action_dtype = {} if first.actions.dtype.kind in "iub" else {"action_dtype": first.actions.dtype}
    return {
        "capacity": 1 + first.rows + sum(episode.rows for episode in found),
        "obs_shape": first.observations.shape[1:],
        "obs_dtype": first.observations.dtype,
        "action_shape": first.actions.shape[1:],
        **action_dtype,
    }


def episodes(source: EpisodeSource, observe: Callable[[Any], Any] | None) -> Iterator[RecordedEpisode]:
    """Yield the episodes of ``source``, checked.

    Args:
        source: what has them.
        observe: makes [T + 1, *obs_shape] of an episode's observations; None where they are that.

    Raises:
        TypeError: ``source`` has no episodes, or their observations or actions are no arrays.
        ValueError: lengths differ.
    """
    if not callable(getattr(source, "iterate_episodes", None)):
        raise TypeError(
            f"dataset is a {type(source).__name__}; expected a minari.MinariDataset, such as "
            "minari.load_dataset returns, or anything with iterate_episodes()"
        )
    for number, recording in enumerate(source.iterate_episodes()):
        yield _checked(number, recording, observe)


def _checked(
    number: int, recording: Recording, observe: Callable[[Any], Any] | None
) -> RecordedEpisode:
    seen = recording.observations
    observations = _array(number, "observations", seen if observe is None else observe(seen))
    actions = _array(number, "actions", recording.actions)
    rewards = _array(number, "rewards", recording.rewards)
    terminated = _array(number, "terminations", recording.terminations).astype(bool)
    truncated = _array(number, "truncations", recording.truncations).astype(bool) & ~terminated
    steps = len(rewards)
    found = (len(observations), len(actions), len(terminated), len(truncated))
    if found != (steps + 1, steps, steps, steps):
        raise ValueError(
            f"episode {number} has {steps} rewards and {found[0]} observations, {found[1]} actions, "
            f"{found[2]} terminations and {found[3]} truncations; expected one observation more than "
            "of the others"
        )
    truncated[-1:] |= ~terminated[-1:]  # cut off by the end of the recording
    if observations.ndim == 1:
        observations = observations[:, None]
    return RecordedEpisode(_narrowed(observations), _narrowed(actions), rewards, terminated, truncated)


def _array(number: int, name: str, value: Any) -> np.ndarray:
    array = None if isinstance(value, dict | tuple) else as_numpy(value)
    if array is None or array.dtype.kind not in "biuf" or array.ndim == 0:
        advice = "; give observe=, a function that makes one of them" * (name == "observations")
        raise TypeError(
            f"episode {number} has {name} of type {type(value).__name__}; expected an array{advice}"
        )
    return array


def _narrowed(array: np.ndarray) -> np.ndarray:
    """Return float64, which recordings are full of and few networks take, as float32."""
    return array.astype(np.float32) if array.dtype == np.float64 else array
