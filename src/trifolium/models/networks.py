"""Networks as pure functions of (namespace, parameters, input), in the array API.

Parameters are one flat dict; a network made of others names theirs ``<part>.<name>``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from trifolium.backend import Array, Params, device_of

__all__ = [
    "dueling",
    "implicit_quantiles",
    "init_dueling",
    "init_implicit_quantiles",
    "init_mlp",
    "mlp",
]


def init_mlp(rng: np.random.Generator, sizes: Sequence[int], name: str = "") -> dict[str, np.ndarray]:
    """Draw the parameters of a network with layers of ``sizes``, the input first.

    Layer i has ``<i>.weight`` [in, out] and ``<i>.bias`` [out], both uniform between
    -1 / sqrt(in) and 1 / sqrt(in), float32; ``name`` goes before them, with a dot.

    >>> params = init_mlp(np.random.default_rng(0), [4, 8, 2])
    >>> {name: value.shape for name, value in params.items()}
    {'0.weight': (4, 8), '0.bias': (8,), '1.weight': (8, 2), '1.bias': (2,)}
    """
    prefix = f"{name}." if name else ""
    params = {}
    for layer, (size_in, size_out) in enumerate(pairwise(sizes)):
        bound = size_in**-0.5
        params[f"{prefix}{layer}.weight"] = rng.uniform(-bound, bound, (size_in, size_out))
        params[f"{prefix}{layer}.bias"] = rng.uniform(-bound, bound, size_out)
    return {name: value.astype(np.float32) for name, value in params.items()}


def mlp(xp: Any, params: Params, inputs: Array, name: str = "", *, rectify_last: bool = False) -> Array:
    """Return the outputs [B, out] for ``inputs`` [B, in]: rectified layers, the last one linear.

    Args:
        xp: array namespace.
        params: those of the layers, and perhaps others.
        inputs: [B, in].
        name: of the part of ``params`` that is this network.
        rectify_last: whether the last layer is rectified too.
    """
    prefix = f"{name}." if name else ""
    hidden = inputs
    layer = 0
    while f"{prefix}{layer}.weight" in params:
        if layer:
            hidden = rectified(xp, hidden)
        hidden = xp.matmul(hidden, params[f"{prefix}{layer}.weight"]) + params[f"{prefix}{layer}.bias"]
        layer += 1
    return rectified(xp, hidden) if rectify_last else hidden


def rectified(xp: Any, values: Array) -> Array:
    """Return ``values``, zero where they are negative."""
    return xp.maximum(values, xp.zeros_like(values))


def init_dueling(
    rng: np.random.Generator, size_in: int, hidden: Sequence[int], actions: int
) -> dict[str, np.ndarray]:
    """Draw the parameters of :func:`dueling`: a torso, and two streams with one hidden layer each."""
    *torso, last = hidden
    features = torso[-1] if torso else size_in
    return (
        init_mlp(rng, [size_in, *torso], "torso")
        | init_mlp(rng, [features, last, 1], "value")
        | init_mlp(rng, [features, last, actions], "advantage")
    )


def dueling(xp: Any, params: Params, states: Array) -> Array:
    """Return action values [B, A] of a dueling network (Wang et al. 2016, equation 9).

    ``Q(s, a) = V(s) + A(s, a) - mean_a A(s, a)``
    """
    features = _torso(xp, params, states)
    advantages = mlp(xp, params, features, "advantage")
    means = xp.mean(advantages, axis=1, keepdims=True)
    return mlp(xp, params, features, "value") + advantages - means


def init_implicit_quantiles(
    rng: np.random.Generator, size_in: int, hidden: Sequence[int], actions: int, cosines: int
) -> dict[str, np.ndarray]:
    """Draw the parameters of :func:`implicit_quantiles`."""
    *torso, last = hidden
    features = torso[-1] if torso else size_in
    return (
        init_mlp(rng, [size_in, *torso], "torso")
        | init_mlp(rng, [cosines, features], "embedding")
        | init_mlp(rng, [features, last, actions], "head")
    )


def implicit_quantiles(xp: Any, params: Params, states: Array, fractions: Array) -> Array:
    """Return quantiles of the return of each action (Dabney et al. 2018, section 3 and equation 4).

    ``Z_tau(s, a) = head(torso(s) * phi(tau))_a``, with
    ``phi_j(tau) = relu(sum_i cos(pi * i * tau) * w_ij + b_j)``, i from 0 to the number of cosines - 1.

    Args:
        xp: array namespace.
        params: as :func:`init_implicit_quantiles` makes them.
        states: [B, in].
        fractions: [B, N], tau, each in [0, 1).

    Returns:
        [B, N, A].
    """
    batch, count = fractions.shape
    features = _torso(xp, params, states)
    cosines = params["embedding.0.weight"].shape[0]
    frequencies = math.pi * xp.arange(cosines, dtype=fractions.dtype, device=device_of(fractions))
    angles = xp.reshape(fractions, (-1, 1)) * frequencies[None, :]
    embedded = mlp(xp, params, xp.cos(angles), "embedding", rectify_last=True)
    joined = features[:, None, :] * xp.reshape(embedded, (batch, count, -1))
    values = mlp(xp, params, xp.reshape(joined, (batch * count, -1)), "head")
    return xp.reshape(values, (batch, count, -1))


def _torso(xp: Any, params: Params, states: Array) -> Array:
    if "torso.0.weight" not in params:  # no hidden layer but that of the streams
        return states
    return mlp(xp, params, states, "torso", rectify_last=True)
