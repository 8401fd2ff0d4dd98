"""The torso of a network: from states to features, written once in the array API."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trifolium.backend import AnyArray, Params
from trifolium.models import layers
from trifolium.models.layers import Convolution
from trifolium.models.states import part_of

__all__ = ["Input", "Torso"]


@dataclass(frozen=True, kw_only=True)
class Input:
    """One array of states [B, n_frames * prod(shape)], as a network takes it.

    Attributes:
        n_frames: frames of a state.
        shape: of a frame; [height, width] or [height, width, channels] for convolutions.
        convolutions: the layers that see images, perhaps none.
        scale: factor of the values.
        path: the keys that lead to the array in a structured observation; () where there is one array.
    """

    n_frames: int
    shape: tuple[int, ...]
    convolutions: tuple[Convolution, ...] = ()
    scale: float = 1.0
    path: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Features of a state."""
        if not self.convolutions:
            return self.n_frames * math.prod(self.shape)
        height, width = self.shape[:2]
        for layer in self.convolutions:
            height, width = layer.size_out(height), layer.size_out(width)
        return height * width * self.convolutions[-1].channels

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the parameters."""
        channels = self.n_frames * math.prod(self.shape[2:])
        return layers.init_convolutions(rng, channels, self.convolutions, self._name)

    def apply(
        self,
        xp: Any,
        convolve: Callable[[AnyArray, AnyArray, int], AnyArray],
        params: Params,
        states: Any,
    ) -> AnyArray:
        """Return the features [B, size] of its part of ``states``."""
        hidden = part_of(states, self.path)
        if self.scale != 1.0:
            hidden = hidden * self.scale
        if not self.convolutions:
            return hidden
        images = self._images(xp, hidden)
        found = layers.convolutions(xp, convolve, params, images, self.convolutions, self._name)
        return xp.reshape(found, (-1, self.size))

    @property
    def _name(self) -> str:
        """Name of the layers among the parameters."""
        return "/".join(("convolution", *self.path))

    def _images(self, xp: Any, states: AnyArray) -> AnyArray:
        """Return states as [B, height, width, n_frames * channels]."""
        height, width, *channels = self.shape
        depth = math.prod(channels)
        if self.n_frames == 1:
            return xp.reshape(states, (-1, height, width, depth))
        frames = xp.reshape(states, (-1, self.n_frames, height, width, depth))
        by_place = xp.permute_dims(frames, (0, 2, 3, 1, 4))
        return xp.reshape(by_place, (-1, height, width, self.n_frames * depth))


@dataclass(frozen=True, kw_only=True)
class Torso:
    """States to features [B, size]: convolutions of images, then dense layers.

    States are one array [B, n], or a mapping of such arrays, whose features are joined.

    Attributes:
        inputs: the arrays of states that the network takes, at least one.
        hidden: sizes of the dense layers, perhaps none.
        convolve: a backend's convolution.
    """

    inputs: tuple[Input, ...]
    hidden: tuple[int, ...]
    convolve: Callable[[AnyArray, AnyArray, int], AnyArray]
    _is_plain: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note whether states go to the dense layers as they are, which then takes no time."""
        first = self.inputs[0]
        is_plain = not (first.path or first.convolutions) and first.scale == 1.0
        object.__setattr__(self, "_is_plain", is_plain)

    @property
    def _size_in(self) -> int:
        """Features that the dense layers take."""
        return sum(each.size for each in self.inputs)

    @property
    def size(self) -> int:
        """Number of features."""
        return self.hidden[-1] if self.hidden else self._size_in

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the parameters."""
        params: dict[str, np.ndarray] = {}
        for each in self.inputs:
            params |= each.init(rng)
        return params | layers.init_mlp(rng, [self._size_in, *self.hidden], "torso")

    def apply(self, xp: Any, params: Params, states: Any) -> AnyArray:
        """Return the features [B, size]."""
        if self._is_plain:
            joined = states
        else:
            found = [each.apply(xp, self.convolve, params, states) for each in self.inputs]
            joined = xp.concat(found, axis=1) if len(found) > 1 else found[0]
        return layers.mlp(xp, params, joined, "torso", rectify_last=True)
