"""Sizes of a model from the spaces of an environment, without an import of Gymnasium."""

from __future__ import annotations

from typing import Any

from trifolium.errors import WorldError
from trifolium.models.networks import PRESETS

__all__ = ["convolutions_for", "sizes_of"]


def sizes_of(env: Any) -> dict[str, Any]:
    """Return the options of a model that follow from an environment's spaces.

    Args:
        env: an environment of Gymnasium, or a vector environment, whose environments are the streams
            of the memory.

    Raises:
        WorldError: the observations are not arrays, or the actions are not 0 to n - 1.
        TypeError: ``env`` has no spaces.
    """
    vector = hasattr(env, "single_observation_space")
    prefix = "single_" if vector else ""
    try:
        observations = getattr(env, f"{prefix}observation_space")
        actions = getattr(env, f"{prefix}action_space")
    except AttributeError as error:
        raise TypeError(
            f"env={env!r:.80} is a {type(env).__name__} without {error.name}; expected an environment "
            "of Gymnasium, or a vector environment"
        ) from None
    sizes: dict[str, Any] = _of_observations(observations) | {"action_space": _count(actions)}
    return sizes | ({"n_streams": int(env.num_envs)} if vector else {})


def convolutions_for(shape: tuple[int, ...], dtype: str) -> str | None:
    """Return the name of the convolutions for such observations, or None if they are not images.

    Images are arrays of three axes, and of two if they are bytes. Those of at least 36 by 36 pixels
    get "nature", smaller ones "minatar".

    Raises:
        WorldError: the array looks like an image whose first axis is that of channels, or of frames.

    >>> convolutions_for((84, 84), "uint8"), convolutions_for((10, 10, 4), "float32")
    ('nature', 'minatar')
    """
    if len(shape) != 3 and not (len(shape) == 2 and dtype == "uint8"):
        return None
    if len(shape) == 3 and shape[0] < shape[1] == shape[2]:
        raise WorldError(
            f"observations of shape {shape} look like images with channels or frames first; expected "
            "[height, width, channels]. Transpose them in a wrapper; in place of a wrapper that "
            "stacks frames give n_frames=; convolutions=None takes them as vectors"
        )
    for name in ("nature", "minatar"):
        if all(_size_out(name, size) >= 1 for size in shape[:2]):
            return name
    return None


def _size_out(name: str, size: int) -> int:
    for layer in PRESETS[name]:
        size = layer.size_out(size)
    return size


def _of_observations(space: Any) -> dict[str, Any]:
    kinds, shape = _kinds(space), getattr(space, "shape", None)
    if not kinds & {"Box", "MultiBinary"} or not shape:
        raise WorldError(
            f"the observation space {space} is not one of arrays with axes; expected a Box. "
            "trifolium.agents.ObservationSpec.from_space makes arrays of other spaces"
        )
    dtype = "uint8" if str(space.dtype) == "uint8" else "float32"
    return {"input_size": tuple(map(int, shape)), "obs_dtype": dtype}


def _count(space: Any) -> int:
    if "Discrete" not in _kinds(space):
        raise WorldError(
            f"the action space {space} is not one of a number of actions; expected Discrete. "
            "trifolium.agents.ActionSpec.from_space numbers those of MultiDiscrete and MultiBinary"
        )
    if int(getattr(space, "start", 0)):
        raise WorldError(
            f"the action space {space} begins at {space.start}; expected 0, since the actions of a "
            "model do. trifolium.agents.ActionSpec.from_space numbers them"
        )
    return int(space.n)


def _kinds(space: Any) -> set[str]:
    """Return the names of the classes of a space: Gymnasium's, and those of libraries that copy it."""
    return {cls.__name__ for cls in type(space).__mro__}
