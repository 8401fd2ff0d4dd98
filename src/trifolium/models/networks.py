"""Networks that a learner trains, with their inputs and outputs, written once in the array API.

A network is a function of parameters. The parameters are one flat dict of arrays, whose first values it
draws itself; the function takes the array namespace as an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from trifolium.backend import AnyArray, Params, device_of
from trifolium.models import layers
from trifolium.models.torso import Torso

__all__ = [
    "DefaultNetwork",
    "Head",
    "ImplicitQuantiles",
    "Network",
    "QNetwork",
    "UserNetwork",
]

SIGMA = 0.5
"""Initial noise of noisy layers, times 1 / sqrt(in) (Fortunato et al. 2018, section 3.2)."""


class Network(Protocol):
    """A function of parameters, such as :class:`QNetwork`, or a user's own network behind it."""

    def apply(self, xp: Any, params: Params, noise: AnyArray | None, *inputs: Any) -> AnyArray:
        """Return the outputs for ``inputs``, with the noise of :func:`layers.draw_noise` or without."""
        ...


class DefaultNetwork(Network, Protocol):
    """A network that draws its own parameters, such as :class:`QNetwork`."""

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the parameters: named host arrays, float32."""
        ...


@dataclass(frozen=True)
class UserNetwork:
    """A user's own network, as its backend converts it: a function of (namespace, params, *inputs)."""

    function: Callable[..., AnyArray]

    def apply(self, xp: Any, params: Params, noise: AnyArray | None, *inputs: Any) -> AnyArray:  # noqa: ARG002
        """Return the outputs for ``inputs``."""
        return self.function(xp, params, *inputs)


@dataclass(frozen=True, kw_only=True)
class Head:
    """Features [B, size] to a number for each action [B, A], or to N numbers [B, N, A].

    With ``dueling``, ``Q(s, a) = V(s) + A(s, a) - mean_a A(s, a)`` (Wang et al. 2016, equation 9). Of N
    numbers, such as quantiles or the atoms of a distribution, each has a value and advantages of its
    own (Hessel et al. 2018, section "The Integrated Agent").

    Attributes:
        hidden: sizes of the hidden layers, of each stream if there are two.
        actions: A.
        dueling: whether the state's value and the actions' advantages have a stream each.
        noisy: whether the layers are noisy (Fortunato et al. 2018).
        outputs: N; None for one number, without an axis of its own.
    """

    hidden: tuple[int, ...]
    actions: int
    dueling: bool
    noisy: bool
    outputs: int | None = None

    def init(self, rng: np.random.Generator, size_in: int) -> dict[str, np.ndarray]:
        """Draw the parameters."""
        streams = {"value": 1, "advantage": self.actions} if self.dueling else {"head": self.actions}
        params: dict[str, np.ndarray] = {}
        for name, numbers in streams.items():
            size_out = numbers * (self.outputs or 1)
            params |= layers.init_mlp(rng, [size_in, *self.hidden, size_out], name)
        return layers.init_noise(params, SIGMA) if self.noisy else params

    def apply(self, xp: Any, params: Params, features: AnyArray) -> AnyArray:
        """Return [B, A], or [B, N, A]."""
        if not self.dueling:
            return self._stream(xp, params, features, "head", self.actions)
        advantages = self._stream(xp, params, features, "advantage", self.actions)
        means = xp.mean(advantages, axis=-1, keepdims=True)
        return self._stream(xp, params, features, "value", 1) + advantages - means

    def _stream(self, xp: Any, params: Params, features: AnyArray, name: str, numbers: int) -> AnyArray:
        outputs = layers.mlp(xp, params, features, name)
        return outputs if self.outputs is None else xp.reshape(outputs, (-1, self.outputs, numbers))


@dataclass(frozen=True)
class QNetwork:
    """Action values [B, A] of states, or [B, N, A] where the head has N outputs."""

    torso: Torso
    head: Head

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the parameters."""
        return self.torso.init(rng) | self.head.init(rng, self.torso.size)

    def apply(self, xp: Any, params: Params, noise: AnyArray | None, states: Any) -> AnyArray:
        """Return the outputs of the head for the features of ``states``."""
        params = layers.with_noise(params, noise)
        return self.head.apply(xp, params, self.torso.apply(xp, params, states))


@dataclass(frozen=True)
class ImplicitQuantiles:
    """Quantiles [B, N, A] of the return of each action, for states and fractions [B, N].

    ``Z_tau(s, a) = head(torso(s) * phi(tau))_a``, with
    ``phi_j(tau) = relu(sum_i cos(pi * i * tau) * w_ij + b_j)``, i from 0 to ``cosines`` - 1
    (Dabney et al. 2018, section 3 and equation 4).
    """

    torso: Torso
    head: Head
    cosines: int

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the parameters."""
        torso = self.torso.init(rng)
        embedding = layers.init_mlp(rng, [self.cosines, self.torso.size], "embedding")
        return torso | embedding | self.head.init(rng, self.torso.size)

    def apply(
        self, xp: Any, params: Params, noise: AnyArray | None, states: Any, fractions: AnyArray
    ) -> AnyArray:
        """Return the quantiles [B, N, A]; ``fractions`` [B, N] are each in [0, 1)."""
        params = layers.with_noise(params, noise)
        batch, count = fractions.shape
        features = self.torso.apply(xp, params, states)
        numbers = xp.arange(self.cosines, dtype=fractions.dtype, device=device_of(fractions))
        angles = xp.reshape(fractions, (-1, 1)) * (math.pi * numbers)[None, :]
        embedded = layers.mlp(xp, params, xp.cos(angles), "embedding", rectify_last=True)
        joined = features[:, None, :] * xp.reshape(embedded, (batch, count, -1))
        values = self.head.apply(xp, params, xp.reshape(joined, (batch * count, -1)))
        return xp.reshape(values, (batch, count, -1))
