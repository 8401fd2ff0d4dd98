"""trifolium on NumPy arrays, gradients by autograd."""

from trifolium_numpy.backend import NumpyBackend

__all__ = ["NumpyBackend"]
