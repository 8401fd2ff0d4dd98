"""Layers as pure functions of (namespace, parameters, input), in the array API.

Parameters are one flat dict; a part of a network names its own ``<part>.<name>``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from trifolium.backend import AnyArray, Params

__all__ = [
    "Convolution",
    "Random",
    "convolutions",
    "draw_noise",
    "init_convolutions",
    "init_mlp",
    "init_noise",
    "mlp",
    "noise_size",
    "rectified",
    "with_noise",
]

WEIGHT, BIAS = ".weight", ".bias"
WEIGHT_NOISE, BIAS_NOISE = ".weight_noise", ".bias_noise"


class Random(Protocol):
    """A generator of random numbers: ``numpy.random.Generator``, or its replacement in a graph."""

    def random(self, size: Any, dtype: Any) -> AnyArray:
        """Draw from [0, 1)."""
        ...

    def standard_normal(self, size: Any, dtype: Any) -> AnyArray:
        """Draw from the standard normal distribution."""
        ...


class Convolution(NamedTuple):
    """A convolutional layer: ``channels`` out, a square ``kernel``, and a ``stride``; no padding."""

    channels: int
    kernel: int
    stride: int

    def size_out(self, size: int) -> int:
        """Return the height (or width) of the output for that of the input."""
        return (size - self.kernel) // self.stride + 1


def init_mlp(rng: np.random.Generator, sizes: Sequence[int], name: str = "") -> dict[str, np.ndarray]:
    """Draw the parameters of a network with layers of ``sizes``, the input first.

    Layer i has ``<i>.weight`` [in, out] and ``<i>.bias`` [out], both uniform between
    -1 / sqrt(in) and 1 / sqrt(in), float32; ``name`` goes before them, with a dot.

    >>> params = init_mlp(np.random.default_rng(0), [4, 8, 2])
    >>> {name: value.shape for name, value in params.items()}
    {'0.weight': (4, 8), '0.bias': (8,), '1.weight': (8, 2), '1.bias': (2,)}
    """
    params: dict[str, np.ndarray] = {}
    for layer, (size_in, size_out) in enumerate(pairwise(sizes)):
        params |= _uniform(rng, f"{_prefix(name)}{layer}", size_in, (size_in, size_out))
    return params


def mlp(
    xp: Any, params: Params, inputs: AnyArray, name: str = "", *, rectify_last: bool = False
) -> AnyArray:
    """Return the outputs [B, out] for ``inputs`` [B, in]: rectified layers, the last one linear.

    Args:
        xp: array namespace.
        params: those of the layers, and perhaps others.
        inputs: [B, in].
        name: of the part of ``params`` that is this network; one without layers returns its inputs.
        rectify_last: whether the last layer is rectified too.
    """
    prefix = _prefix(name)
    hidden = inputs
    layer = 0
    while (weight := params.get(f"{prefix}{layer}.weight")) is not None:
        if layer:
            hidden = rectified(xp, hidden)
        hidden = xp.matmul(hidden, weight) + params[f"{prefix}{layer}.bias"]
        layer += 1
    return rectified(xp, hidden) if layer and rectify_last else hidden


def rectified(xp: Any, values: AnyArray) -> AnyArray:
    """Return ``values``, zero where they are negative. NaN stays NaN.

    Backends define the gradient of ``xp.maximum(values, 0.0)`` as zero where ``values`` is zero.
    """
    return xp.maximum(values, 0.0)


# Convolutions


def init_convolutions(
    rng: np.random.Generator, channels: int, layers: Sequence[Convolution], name: str = ""
) -> dict[str, np.ndarray]:
    """Draw the parameters of :func:`convolutions` for images of ``channels``.

    Layer i has ``<i>.weight`` [kernel, kernel, in, out] and ``<i>.bias`` [out], uniform between
    ±1 / sqrt(kernel * kernel * in).
    """
    params: dict[str, np.ndarray] = {}
    for number, layer in enumerate(layers):
        fan_in = layer.kernel**2 * channels
        shape = (layer.kernel, layer.kernel, channels, layer.channels)
        params |= _uniform(rng, f"{_prefix(name)}{number}", fan_in, shape)
        channels = layer.channels
    return params


def convolutions(
    xp: Any,
    convolve: Callable[[AnyArray, AnyArray, int], AnyArray],
    params: Params,
    images: AnyArray,
    layers: Sequence[Convolution],
    name: str = "",
) -> AnyArray:
    """Return the features [B, H', W', out] of ``images`` [B, H, W, in]: each layer is rectified.

    Args:
        xp: array namespace.
        convolve: a backend's convolution, :meth:`trifolium.Backend.convolve`.
        params: as :func:`init_convolutions` makes them.
        images: [B, H, W, in].
        layers: the layers.
        name: of the part of ``params`` that they are.
    """
    hidden = images
    for number, layer in enumerate(layers):
        prefix = f"{_prefix(name)}{number}"
        hidden = convolve(hidden, params[prefix + WEIGHT], layer.stride) + params[prefix + BIAS]
        hidden = rectified(xp, hidden)
    return hidden


# Noise (Fortunato et al. 2018, factorised Gaussian noise, section 3)


def init_noise(params: dict[str, np.ndarray], sigma: float) -> dict[str, np.ndarray]:
    """Return ``params`` of dense layers with the parameters of their noise added.

    ``<layer>.weight_noise`` and ``<layer>.bias_noise`` begin as ``sigma / sqrt(in)``.
    """
    noisy = dict(params)
    for name, value in params.items():
        layer = name.removesuffix(WEIGHT)
        if layer != name:
            scale = np.float32(sigma / np.sqrt(len(value)))
            noisy[layer + WEIGHT_NOISE] = np.full_like(value, scale)
            noisy[layer + BIAS_NOISE] = np.full_like(params[layer + BIAS], scale)
    return noisy


def noise_size(params: Params) -> int:
    """Return the size of the noise of one evaluation; 0 if no layer is noisy."""
    return sum(sum(params[layer + WEIGHT_NOISE].shape) for layer in _noisy_layers(params))


def draw_noise(rng: Random, shape: tuple[int, ...], xp: Any = np) -> AnyArray:
    """Draw noise: f(x) = sign(x) sqrt(|x|) of standard normal x, float32.

    An evaluation takes one number for each input and each output of a noisy layer.

    Args:
        rng: draws the numbers.
        shape: of what is returned.
        xp: namespace of the arrays that ``rng`` draws.
    """
    drawn = rng.standard_normal(shape, np.float32)
    return xp.copysign(xp.sqrt(xp.abs(drawn)), drawn)


def with_noise(params: Params, noise: AnyArray | None) -> Params:
    """Return ``params`` with ``noise`` [size] added; None for no noise.

    A noisy layer gets ``weight + weight_noise * f(x_in) f(x_out)`` and
    ``bias + bias_noise * f(x_out)``.
    """
    if noise is None:
        return params
    mixed = dict(params)
    start = 0
    for layer in _noisy_layers(params):
        size_in, size_out = params[layer + WEIGHT_NOISE].shape
        middle, end = start + size_in, start + size_in + size_out
        of_inputs, of_outputs = noise[start:middle, None], noise[None, middle:end]
        mixed[layer + WEIGHT] = (
            params[layer + WEIGHT] + params[layer + WEIGHT_NOISE] * of_inputs * of_outputs
        )
        mixed[layer + BIAS] = params[layer + BIAS] + params[layer + BIAS_NOISE] * noise[middle:end]
        start = end
    return mixed


def _noisy_layers(params: Params) -> list[str]:
    """Return the names of the noisy layers, in an order that does not depend on that of the dict."""
    return sorted(name.removesuffix(WEIGHT_NOISE) for name in params if name.endswith(WEIGHT_NOISE))


def _uniform(
    rng: np.random.Generator, name: str, fan_in: int, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    bound = fan_in**-0.5
    weight, bias = rng.uniform(-bound, bound, shape), rng.uniform(-bound, bound, shape[-1])
    return {name + WEIGHT: weight.astype(np.float32), name + BIAS: bias.astype(np.float32)}


def _prefix(name: str) -> str:
    return f"{name}." if name else ""
