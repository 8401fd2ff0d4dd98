"""Reference gradients and Adam, slow and simple, and a small network for their tests."""

from collections.abc import Callable
from typing import Any

import numpy as np

from trifolium.backend import AnyArray, Params

__all__ = [
    "PlainAdam",
    "convolution",
    "example_loss",
    "example_network",
    "finite_differences",
    "noise",
]


def noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return a normal float32 array of ``shape``, also of shape ()."""
    return np.asarray(rng.normal(size=shape), np.float32)


def example_network() -> dict[str, np.ndarray]:
    """Return parameters of every rank, one of which has no part in the loss."""
    rng = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {"weight": (3, 2), "bias": (2,), "scale": (), "unused": (2,)}
    return {name: noise(rng, shape) for name, shape in shapes.items()}


def example_loss(xp: Any, params: Params, inputs: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return (loss, output) of a small network for ``inputs`` [batch, 3]."""
    output = params["scale"] * xp.tanh(inputs @ params["weight"] + params["bias"])
    return xp.mean(output**2 + output), output


def convolution(images: np.ndarray, kernels: np.ndarray, stride: int) -> np.ndarray:
    """Return the convolution [B, H', W', O] of [B, H, W, C] with [h, w, C, O], place by place."""
    height, width = kernels.shape[:2]
    rows = range(0, images.shape[1] - height + 1, stride)
    columns = range(0, images.shape[2] - width + 1, stride)
    found = [
        [np.einsum("bijc,ijco->bo", images[:, y : y + height, x : x + width], kernels) for x in columns]
        for y in rows
    ]
    return np.array(found).transpose(2, 0, 1, 3)


def finite_differences(
    loss: Callable[[dict[str, np.ndarray]], Any], params: dict[str, np.ndarray], name: str
) -> np.ndarray:
    """Return the central differences of ``loss`` by ``params[name]``, in 64 bits."""
    wide = {key: value.astype(np.float64) for key, value in params.items()}
    grad = np.zeros(wide[name].shape)
    for place in np.ndindex(grad.shape):
        step = np.zeros(grad.shape)
        step[place] = 1e-6
        above, below = loss(wide | {name: wide[name] + step}), loss(wide | {name: wide[name] - step})
        grad[place] = (above - below) / 2e-6
    return grad


class PlainAdam:
    """Algorithm 1 of Kingma and Ba 2015, line by line, in 64 bits."""

    def __init__(self, params: dict[str, np.ndarray]) -> None:
        self.params = {name: value.astype(np.float64) for name, value in params.items()}
        self.count = 0
        self.mean = {name: np.zeros(value.shape) for name, value in params.items()}
        self.square = {name: np.zeros(value.shape) for name, value in params.items()}

    def step(self, grads: dict[str, np.ndarray], learning_rate: float, epsilon: float) -> None:
        """Move the parameters against the gradients."""
        self.count += 1
        for name, grad in grads.items():
            wide = grad.astype(np.float64)
            self.mean[name] = 0.9 * self.mean[name] + 0.1 * wide
            self.square[name] = 0.999 * self.square[name] + 0.001 * wide**2
            mean = self.mean[name] / (1 - 0.9**self.count)
            square = self.square[name] / (1 - 0.999**self.count)
            self.params[name] = self.params[name] - learning_rate * mean / (np.sqrt(square) + epsilon)
