"""Convolution for NumPy, with its gradients, which autograd lacks."""

from collections.abc import Callable

import numpy as np
from autograd.extend import defvjp, primitive
from numpy.lib.stride_tricks import sliding_window_view

__all__ = ["convolve"]

Gradient = Callable[[np.ndarray], np.ndarray]


@primitive  # type: ignore[untyped-decorator]
def convolve(images: np.ndarray, kernels: np.ndarray, stride: int) -> np.ndarray:
    """Return the convolution [B, H', W', O] of [B, H, W, C] with [h, w, C, O]; no padding."""
    patches = _patches(images, kernels, stride)
    return np.tensordot(patches, kernels, axes=3)


def _patches(images: np.ndarray, kernels: np.ndarray, stride: int) -> np.ndarray:
    """Return the input window of each output position, [B, H', W', h, w, C], as a view."""
    windows = sliding_window_view(images, kernels.shape[:2], axis=(1, 2))
    return windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def _by_images(_: np.ndarray, images: np.ndarray, kernels: np.ndarray, stride: int) -> Gradient:
    def pull_back(grads: np.ndarray) -> np.ndarray:
        height, width = grads.shape[1] * stride, grads.shape[2] * stride
        spread = np.tensordot(grads, kernels, axes=((3,), (3,)))  # [B, H', W', h, w, C]
        total = np.zeros_like(images)
        for row, column in np.ndindex(kernels.shape[:2]):
            seen = total[:, row : row + height : stride, column : column + width : stride]
            seen += spread[:, : seen.shape[1], : seen.shape[2], row, column]
        return total

    return pull_back


def _by_kernels(_: np.ndarray, images: np.ndarray, kernels: np.ndarray, stride: int) -> Gradient:
    def pull_back(grads: np.ndarray) -> np.ndarray:
        return np.tensordot(_patches(images, kernels, stride), grads, axes=((0, 1, 2), (0, 1, 2)))

    return pull_back


defvjp(convolve, _by_images, _by_kernels)
