"""trifolium on JAX arrays."""

from trifolium_jax.backend import JaxBackend
from trifolium_jax.model import JaxModel

__all__ = ["JaxBackend", "JaxModel"]
