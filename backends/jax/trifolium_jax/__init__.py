"""trifolium on JAX arrays."""

from trifolium_jax.backend import JaxBackend

__all__ = ["JaxBackend"]
