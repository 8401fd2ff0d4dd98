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

from trifolium import _checks as checks
from trifolium.backend import Array, Params, device_of
from trifolium.models import layers
from trifolium.models.layers import Convolution
from trifolium.models.memory import ReplayMemory

__all__ = [
    "PRESETS",
    "DefaultNetwork",
    "Design",
    "Head",
    "ImplicitQuantiles",
    "Network",
    "QNetwork",
    "Torso",
    "UserNetwork",
    "checked_convolutions",
]

PRESETS = {
    "nature": (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1)),
    "minatar": (Convolution(16, 3, 1),),
}
"""Convolutions by name: those of Mnih et al. (2015), and of Young and Tian (2019)."""

SIGMA = 0.5
"""Initial noise of noisy layers, times 1 / sqrt(in) (Fortunato et al. 2018, section 3.2)."""


def checked_convolutions(value: Any, obs_shape: tuple[int, ...]) -> tuple[Convolution, ...]:
    """Return the layers that ``value`` names or lists, if images of ``obs_shape`` have room."""
    if value is None or len(value) == 0:
        return ()
    if isinstance(value, str):
        if value not in PRESETS:
            raise ValueError(f"convolutions={value!r} is not known; known are: {', '.join(PRESETS)}")
        found = PRESETS[value]
    else:
        found = tuple(_checked_convolution(number, layer) for number, layer in enumerate(value))
    if len(obs_shape) not in (2, 3):
        raise ValueError(
            f"convolutions={value!r} need observations of shape [height, width] or "
            f"[height, width, channels]; input_size is {obs_shape}"
        )
    for size in obs_shape[:2]:
        for layer in found:
            size = layer.size_out(size)
        if size < 1:
            raise ValueError(
                f"convolutions={value!r} leave nothing of images of shape {obs_shape}, which is "
                "[height, width] or [height, width, channels]"
            )
    return found


def _checked_scale(value: Any, obs_dtype: str) -> float:
    if value is None:
        return 1 / 255 if obs_dtype == "uint8" else 1.0
    return checks.positive("input_scale", value)


def _checked_convolution(number: int, layer: Any) -> Convolution:
    name = f"convolutions[{number}]"
    sizes = checks.shape(name, layer)
    if len(sizes) != 3:
        raise ValueError(f"{name}={layer!r}; expected (channels, kernel, stride)")
    return Convolution(*sizes)


class Network(Protocol):
    """A function of parameters, such as :class:`QNetwork`, or a user's own network behind it."""

    def apply(self, xp: Any, params: Params, noise: Array | None, *inputs: Array) -> Array:
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

    function: Callable[..., Array]

    def apply(self, xp: Any, params: Params, noise: Array | None, *inputs: Array) -> Array:  # noqa: ARG002
        """Return the outputs for ``inputs``."""
        return self.function(xp, params, *inputs)


@dataclass(frozen=True, kw_only=True)
class Design:
    """The options of a default network, in their final types.

    ``hidden``, ``convolutions``, ``input_scale``, ``dueling`` and ``noisy`` are options of
    :class:`~trifolium.Learner`; the others follow from its memory and its actions.
    """

    n_frames: int
    obs_shape: tuple[int, ...]
    actions: int
    hidden: tuple[int, ...]
    convolutions: tuple[Convolution, ...]
    input_scale: float
    dueling: bool
    noisy: bool

    @classmethod
    def checked(
        cls,
        memory: ReplayMemory,
        actions: int,
        *,
        hidden: Any,
        convolutions: Any,
        input_scale: Any,
        dueling: Any,
        noisy: Any,
    ) -> Design:
        """Return the options in their final types, or raise an error that names the bad one."""
        return cls(
            n_frames=memory.spec.n_frames,
            obs_shape=memory.spec.obs_shape,
            actions=actions,
            hidden=checks.shape("hidden", hidden),
            convolutions=checked_convolutions(convolutions, memory.spec.obs_shape),
            input_scale=_checked_scale(input_scale, memory.spec.obs_dtype),
            dueling=checks.flag("dueling", dueling),
            noisy=checks.flag("noisy", noisy),
        )

    @property
    def options(self) -> dict[str, Any]:
        """The options of a learner that describe its network."""
        names = ("hidden", "convolutions", "input_scale", "dueling", "noisy")
        return {name: getattr(self, name) for name in names}

    def check_is_plain(self) -> None:
        """Raise ValueError for options that only a default network has."""
        for name in ("convolutions", "dueling", "noisy"):
            value = getattr(self, name)
            if value:
                raise ValueError(
                    f"{name}={value!r} describes the network that network= replaces; expected one of "
                    "the two"
                )

    def torso(self, convolve: Callable[[Array, Array, int], Array]) -> Torso:
        """Return the torso: all hidden layers but the last, behind the convolutions."""
        return Torso(
            n_frames=self.n_frames,
            obs_shape=self.obs_shape,
            convolutions=self.convolutions,
            hidden=self.hidden[:-1],
            scale=self.input_scale,
            convolve=convolve,
        )

    @property
    def head(self) -> Head:
        """The head: the last hidden layer, and the outputs."""
        return Head(
            hidden=self.hidden[-1:], actions=self.actions, dueling=self.dueling, noisy=self.noisy
        )


@dataclass(frozen=True, kw_only=True)
class Torso:
    """States [B, n_frames * prod(obs_shape)] to features [B, size]: convolutions, then dense layers.

    Attributes:
        n_frames: frames of a state.
        obs_shape: shape of a frame; [height, width] or [height, width, channels] for convolutions.
        convolutions: the layers that see images, perhaps none.
        hidden: sizes of the dense layers, perhaps none.
        scale: factor of the states.
        convolve: a backend's convolution.
    """

    n_frames: int
    obs_shape: tuple[int, ...]
    convolutions: tuple[Convolution, ...]
    hidden: tuple[int, ...]
    scale: float
    convolve: Callable[[Array, Array, int], Array]

    @property
    def _flat_size(self) -> int:
        """Features that the dense layers take."""
        if not self.convolutions:
            return self.n_frames * math.prod(self.obs_shape)
        height, width = self.obs_shape[:2]
        for layer in self.convolutions:
            height, width = layer.size_out(height), layer.size_out(width)
        return height * width * self.convolutions[-1].channels

    @property
    def size(self) -> int:
        """Number of features."""
        return self.hidden[-1] if self.hidden else self._flat_size

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the parameters."""
        channels = self.n_frames * math.prod(self.obs_shape[2:])
        convolutional = layers.init_convolutions(rng, channels, self.convolutions, "convolution")
        return convolutional | layers.init_mlp(rng, [self._flat_size, *self.hidden], "torso")

    def apply(self, xp: Any, params: Params, states: Array) -> Array:
        """Return the features [B, size]."""
        hidden = states if self.scale == 1.0 else states * self.scale
        if self.convolutions:
            images = self._images(xp, hidden)
            hidden = layers.convolutions(
                xp, self.convolve, params, images, self.convolutions, "convolution"
            )
            hidden = xp.reshape(hidden, (-1, self._flat_size))
        return layers.mlp(xp, params, hidden, "torso", rectify_last=True)

    def _images(self, xp: Any, states: Array) -> Array:
        """Return states as [B, height, width, n_frames * channels]."""
        height, width, *channels = self.obs_shape
        depth = math.prod(channels)
        if self.n_frames == 1:
            return xp.reshape(states, (-1, height, width, depth))
        frames = xp.reshape(states, (-1, self.n_frames, height, width, depth))
        by_place = xp.permute_dims(frames, (0, 2, 3, 1, 4))
        return xp.reshape(by_place, (-1, height, width, self.n_frames * depth))


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

    def apply(self, xp: Any, params: Params, features: Array) -> Array:
        """Return [B, A], or [B, N, A]."""
        if not self.dueling:
            return self._stream(xp, params, features, "head", self.actions)
        advantages = self._stream(xp, params, features, "advantage", self.actions)
        means = xp.mean(advantages, axis=-1, keepdims=True)
        return self._stream(xp, params, features, "value", 1) + advantages - means

    def _stream(self, xp: Any, params: Params, features: Array, name: str, numbers: int) -> Array:
        outputs = layers.mlp(xp, params, features, name)
        return outputs if self.outputs is None else xp.reshape(outputs, (-1, self.outputs, numbers))


@dataclass(frozen=True)
class QNetwork:
    """Action values [B, A] of states [B, n], or [B, N, A] where the head has N outputs."""

    torso: Torso
    head: Head

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the parameters."""
        return self.torso.init(rng) | self.head.init(rng, self.torso.size)

    def apply(self, xp: Any, params: Params, noise: Array | None, states: Array) -> Array:
        """Return the outputs of the head for the features of ``states``."""
        params = layers.with_noise(params, noise)
        return self.head.apply(xp, params, self.torso.apply(xp, params, states))


@dataclass(frozen=True)
class ImplicitQuantiles:
    """Quantiles [B, N, A] of the return of each action, for states [B, n] and fractions [B, N].

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
        self, xp: Any, params: Params, noise: Array | None, states: Array, fractions: Array
    ) -> Array:
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
