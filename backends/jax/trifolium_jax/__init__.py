"""trifolium on JAX arrays."""

from trifolium_jax.backend import JaxBackend
from trifolium_jax.model import JaxModel
from trifolium_jax.training import CompiledTraining

__all__ = ["CompiledTraining", "JaxBackend", "JaxModel"]
