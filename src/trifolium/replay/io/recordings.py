"""Make buffers from spaces, from episodes of Minari, or from arrays."""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from trifolium.backend import as_numpy
from trifolium.replay.batch import map_tree
from trifolium.replay.rules.chunk import differs

__all__ = [
    "EpisodeSource",
    "Recorded",
    "RecordedEpisode",
    "episodes",
    "found_options",
    "recorded",
    "space_options",
]


class Recording(Protocol):
    """One episode of T steps, as Minari has it."""

    observations: Any
    actions: Any
    rewards: Any
    terminations: Any
    truncations: Any


class EpisodeSource(Protocol):
    """A source of episodes: a ``minari.MinariDataset``, or any object with this method."""

    def iterate_episodes(self) -> Iterable[Any]:
        """Return the episodes, the same each time."""
        ...


class RecordedEpisode(NamedTuple):
    """One episode of T steps as host arrays.

    Attributes:
        observations: [T + 1, *obs_shape], the last after the last step; or a mapping of such arrays.
        actions: [T, *action_shape].
        rewards: [T].
        terminated: [T] bool.
        truncated: [T] bool; the last step is one or the other.
    """

    observations: Any
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def rows(self) -> int:
        """Rows that the episode takes in a buffer."""
        return len(self.rewards) + int(self.truncated.sum())

    def chunk(self) -> dict[str, Any]:
        """Return the arguments of :meth:`trifolium.Buffer.extend` for its steps."""
        return {
            "obs": map_tree(lambda array: array[:-1], self.observations),
            "action": self.actions,
            "reward": self.rewards,
            "done": self.terminated,
            "truncated": self.truncated,
            "next_obs": map_tree(lambda array: array[1:], self.observations),
        }


def found_options(found: Iterator[RecordedEpisode], default_int: str) -> dict[str, Any]:
    """Return the arguments of :class:`trifolium.Buffer` that follow from episodes.

    Args:
        found: the episodes.
        default_int: name of the backend's default integer, which stores observations of int64.
    """
    first = next(found, None)
    if first is None:
        raise ValueError("dataset has no episodes; expected at least one")
    rows = 1 + first.rows + sum(episode.rows for episode in found)
    return _options_of(first.observations, first.actions, default_int) | {"capacity": rows}


def _options_of(observations: Any, actions: np.ndarray, default_int: str) -> dict[str, Any]:
    """Return the shapes and dtypes of arrays with an axis of steps, as arguments of a buffer."""

    def kind(array: np.ndarray) -> tuple[tuple[int, ...], str]:
        name = array.dtype.name
        return array.shape[1:], default_int if name == "int64" else name

    options: dict[str, Any] = {"action_shape": actions.shape[1:]}
    if actions.dtype.kind not in "iub":
        options["action_dtype"] = actions.dtype
    if isinstance(observations, Mapping):
        return options | {"obs_shape": map_tree(kind, observations)}
    obs_shape, obs_dtype = kind(observations)
    return options | {"obs_shape": obs_shape, "obs_dtype": obs_dtype}


def episodes(source: EpisodeSource, observe: Callable[[Any], Any] | None) -> Iterator[RecordedEpisode]:
    """Yield the episodes of ``source``, checked.

    Args:
        source: what has them.
        observe: makes [T + 1, *obs_shape], or a mapping of such arrays, of an episode's observations;
            None where they are that.

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
    observations = _observed(number, "observations", seen if observe is None else observe(seen))
    actions = _array(number, "actions", recording.actions)
    rewards = _array(number, "rewards", recording.rewards)
    terminated = _array(number, "terminations", recording.terminations).astype(bool)
    truncated = _array(number, "truncations", recording.truncations).astype(bool) & ~terminated
    steps = len(rewards)
    lengths = [len(array) for array in _arrays_in(observations)]
    unequal = next((length for length in lengths if length != steps + 1), steps + 1)
    found = (unequal, len(actions), len(terminated), len(truncated))
    if found != (steps + 1, steps, steps, steps):
        raise ValueError(
            f"episode {number} has {steps} rewards and {found[0]} observations, {found[1]} actions, "
            f"{found[2]} terminations and {found[3]} truncations; expected one observation more than "
            "of the others"
        )
    truncated[-1:] |= ~terminated[-1:]  # cut off by the end of the recording
    if not isinstance(observations, Mapping) and observations.ndim == 1:
        observations = observations[:, None]
    return RecordedEpisode(
        map_tree(_narrowed, observations), _narrowed(actions), rewards, terminated, truncated
    )


def _observed(number: int, name: str, value: Any) -> Any:
    """Return the observations of an episode as an array, or as a mapping without its text."""
    if not isinstance(value, Mapping | tuple):
        return _array(number, name, value)
    parts = value.items() if isinstance(value, Mapping) else enumerate(value)
    found = {
        str(key): _observed(number, f"{name}[{key!r}]", part)
        for key, part in parts
        if not _is_text(part)
    }
    if not found:
        raise TypeError(f"episode {number} has {name} without an array; expected at least one")
    return found


def _is_text(value: Any) -> bool:
    return not isinstance(value, Mapping | tuple) and as_numpy(value).dtype.kind in "US"


def _array(number: int, name: str, value: Any) -> np.ndarray:
    array = as_numpy(value)
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        advice = "; give observe=, a function that makes one of them" * name.startswith("observations")
        raise TypeError(
            f"episode {number} has {name} of type {type(value).__name__}; expected an array{advice}"
        )
    return array


def _narrowed(array: np.ndarray) -> np.ndarray:
    """Return float64, which recordings are full of and few networks take, as float32."""
    return array.astype(np.float32) if array.dtype == np.float64 else array


class Recorded(NamedTuple):
    """T steps of one stream as host arrays.

    Attributes:
        obs: [T, *obs_shape], or a mapping of such arrays.
        action: [T, *action_shape].
        reward, done, truncated: [T].
        next_obs: as ``obs``; None if the observations after the steps are not known.
    """

    obs: Any
    action: np.ndarray
    reward: np.ndarray
    done: np.ndarray
    truncated: np.ndarray
    next_obs: Any

    def options(self, default_int: str) -> dict[str, Any]:
        """Return the arguments of :class:`trifolium.Buffer` that follow from the arrays.

        Args:
            default_int: as for :func:`found_options`.
        """
        return _options_of(self.obs, self.action, default_int)

    def parts(self, length: int) -> Iterator[dict[str, Any]]:
        """Yield the arguments of :meth:`trifolium.Buffer.extend`, ``length`` steps at a time."""
        for start in range(0, len(self.reward), length):
            part = operator.itemgetter(slice(start, start + length))
            yield {
                name: None if value is None else map_tree(part, value)
                for name, value in self._asdict().items()
            }

    @property
    def rows(self) -> int:
        """Rows that the steps take in a buffer, at most."""
        if self.next_obs is None:
            return len(self.reward)
        cut = self.truncated & ~self.done
        goes_on = ~(self.truncated | self.done)[:-1]
        unlike = np.zeros(len(goes_on), bool)
        for found, given in zip(_arrays_in(self.obs), _arrays_in(self.next_obs), strict=True):
            unlike |= differs(np, given[:-1], found[1:], 1)
        return len(self.reward) + int(cut.sum()) + int((goes_on & unlike).sum()) + 1


def recorded(
    observations: Any,
    actions: Any,
    rewards: Any,
    terminations: Any,
    truncations: Any,
    next_observations: Any,
) -> Recorded:
    """Return the arguments of :meth:`trifolium.Buffer.from_arrays`, checked."""
    reward = _column("rewards", rewards)
    steps = len(reward)
    if not steps:
        raise ValueError("rewards is empty; expected at least one step")

    def column(name: str, value: Any) -> np.ndarray:
        array = _column(name, value)
        if len(array) != steps:
            raise ValueError(f"{name} has {len(array)} steps; expected {steps}, as rewards has")
        return _narrowed(array)

    def observed(name: str, value: Any) -> Any:
        return map_tree(lambda array: column(name, array), value)

    def flags(name: str, value: Any) -> np.ndarray:
        array = column(name, value).reshape(steps, -1)
        if array.shape[1] != 1 or not np.all((array == 0) | (array == 1)):
            raise ValueError(f"{name} has other values than one truth value a step; expected 0 or 1")
        return array[:, 0].astype(bool)

    done = flags("terminations", terminations)
    cut = np.zeros(steps, bool) if truncations is None else flags("truncations", truncations)
    found = Recorded(
        obs=observed("observations", observations),
        action=column("actions", actions),
        reward=_narrowed(reward).reshape(steps),
        done=done,
        truncated=cut & ~done,
        next_obs=None
        if next_observations is None
        else observed("next_observations", next_observations),
    )
    if found.next_obs is not None:
        shapes = [[a.shape for a in _arrays_in(tree)] for tree in (found.obs, found.next_obs)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"next_observations has shapes {shapes[1]}; expected {shapes[0]}, as observations has"
            )
    return found


def space_options(observation_space: Any, action_space: Any, default_int: str) -> dict[str, Any]:
    """Return the arguments of :class:`trifolium.Buffer` that follow from spaces of Gymnasium.

    64-bit floats become float32, and 64-bit integers the backend's default integer.

    Raises:
        TypeError: a space has no arrays of fixed shapes.
    """

    def kind(name: str, space: Any) -> Any:
        inner = getattr(space, "spaces", None)
        if inner is not None:
            parts = inner.items() if isinstance(inner, Mapping) else enumerate(inner)
            return {str(key): kind(f"{name}[{key!r}]", part) for key, part in parts}
        shape, dtype = getattr(space, "shape", None), getattr(space, "dtype", None)
        if shape is None or dtype is None or np.dtype(dtype).kind not in "biuf":
            raise TypeError(
                f"{name}={space!r:.80} has no array of a fixed shape; expected a space of Gymnasium "
                "made of Box, Discrete, MultiDiscrete, MultiBinary, Dict and Tuple"
            )
        plain = np.dtype(dtype).name
        return tuple(shape), {"float64": "float32", "int64": default_int}.get(plain, plain)

    seen, done = kind("observation_space", observation_space), kind("action_space", action_space)
    if isinstance(done, Mapping):
        raise TypeError(f"action_space={action_space!r:.80} is structured; expected one array")
    options = {"action_shape": done[0], "action_dtype": done[1]}
    if isinstance(seen, Mapping):
        return options | {"obs_shape": seen}
    return options | {"obs_shape": seen[0], "obs_dtype": seen[1]}


def _column(name: str, value: Any) -> np.ndarray:
    array = as_numpy(value)
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise TypeError(
            f"{name} is a {type(value).__name__} of dtype {array.dtype} and shape {array.shape}; "
            "expected an array of numbers with a leading axis of steps"
        )
    return array


def _arrays_in(tree: Any) -> list[np.ndarray]:
    if not isinstance(tree, Mapping):
        return [tree]
    return [array for inner in tree.values() for array in _arrays_in(inner)]
