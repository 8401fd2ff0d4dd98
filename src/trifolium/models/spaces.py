"""Sizes of a model from the spaces of an environment, without an import of Gymnasium."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trifolium.errors import WorldError
from trifolium.models.design import PRESETS, is_image
from trifolium.replay.schema import leaves_of, named_part

__all__ = ["convolutions_for", "convolutions_of", "sizes_of"]


BYTES = ("uint8", "int8", "bool")
"""Dtypes that parts of a structured observation keep."""


def sizes_of(env: Any) -> dict[str, Any]:
    """Return the options of a model that follow from an environment's spaces.

    Args:
        env: an environment of Gymnasium, or a vector environment, whose environments are the streams
            of the memory.

    Raises:
        WorldError: the observations are not made of arrays, or the actions are not 0 to n - 1.
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


def convolutions_for(shape: tuple[int, ...], dtype: str, what: str = "observations") -> str | None:
    """Return the name of the convolutions for such observations, or None if they are not images.

    Images are arrays of three axes, and of two if they are bytes. Those of at least 36 by 36 pixels
    get "nature", smaller ones "minatar".

    Args:
        shape: of an observation.
        dtype: name of its dtype.
        what: how errors name it.

    Raises:
        WorldError: the array looks like an image whose first axis is that of channels, or of frames.

    >>> convolutions_for((84, 84), "uint8"), convolutions_for((10, 10, 4), "float32")
    ('nature', 'minatar')
    """
    if not is_image(shape, dtype):
        return None
    if len(shape) == 3 and shape[0] < shape[1] == shape[2]:
        raise WorldError(
            f"{what} of shape {shape} look like images with channels or frames first; expected "
            "[height, width, channels]. Transpose them in a wrapper; in place of a wrapper that "
            "stacks frames give n_frames=; convolutions=None takes them as vectors"
        )
    for name in ("nature", "minatar"):
        if all(_size_out(name, size) >= 1 for size in shape[:2]):
            return name
    return None


def convolutions_of(sizes: Mapping[str, Any]) -> Any:
    """Return the option ``convolutions`` for what :func:`sizes_of` returned: one for each image.

    Raises:
        WorldError: as :func:`convolutions_for`.
    """
    size = sizes["input_size"]
    if not isinstance(size, Mapping):
        return convolutions_for(size, sizes["obs_dtype"])
    leaves = leaves_of(size, "float32", 1)
    found = {
        "/".join(leaf.path): convolutions_for(leaf.shape, leaf.dtype, leaf.named("observation"))
        for leaf in leaves
    }
    return {name: layers for name, layers in found.items() if layers is not None}


def _size_out(name: str, size: int) -> int:
    for layer in PRESETS[name]:
        size = layer.size_out(size)
    return size


def _of_observations(space: Any) -> dict[str, Any]:
    if _parts(space) is not None:
        return {"input_size": _structure(space, ())}
    shape, dtype = _array(space, ())
    return {"input_size": shape, "obs_dtype": "uint8" if dtype == "uint8" else "float32"}


def _parts(space: Any) -> dict[str, Any] | None:
    """Return the spaces in a Dict or a Tuple by name; None for other spaces."""
    if not _kinds(space) & {"Dict", "Tuple"}:
        return None
    inner = space.spaces
    return dict(inner) if isinstance(inner, Mapping) else {str(n): part for n, part in enumerate(inner)}


def _structure(space: Any, path: tuple[str, ...]) -> Any:
    """Return the shapes and dtypes of a Dict or a Tuple, as ``obs_shape`` of a Buffer takes them."""
    parts = _parts(space)
    if parts is None:
        return _array(space, path)
    return {name: _structure(part, (*path, name)) for name, part in parts.items()}


def _array(space: Any, path: tuple[str, ...]) -> tuple[tuple[int, ...], str]:
    """Return the shape and the dtype of a space of arrays; numbers other than bytes are float32."""
    kinds, shape = _kinds(space), getattr(space, "shape", None)
    if not kinds & {"Box", "MultiBinary"} or shape is None or not (shape or path):
        which = f"the observation space {space}"
        if path:
            which = f"the space of {named_part('observation', path)}, {space},"
        raise WorldError(
            f"{which} is not one of arrays with axes; expected a Box. "
            "trifolium.agents.ObservationSpec.from_space makes arrays of other spaces"
        )
    dtype = str(space.dtype)
    return tuple(map(int, shape)), dtype if dtype in BYTES else "float32"


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
