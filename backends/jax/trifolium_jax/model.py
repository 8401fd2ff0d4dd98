"""JaxModel: base class of custom models in JAX."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trifolium.models import BaseModel

__all__ = ["JaxModel"]


class JaxModel(BaseModel):
    """A :class:`trifolium.BaseModel` whose parameters are one pytree.

    Assign the pytree to ``params``; override ``take_action`` and, if it learns, ``train_step``. What a
    ``train_step`` compiles for itself may take ``self.memory.sample(...)`` apart as it likes: batches
    are JAX arrays. :meth:`save` writes ``params`` and ``key``.

    Args:
        input_size: shape of one observation; an int n means (n,). For structured observations a
            mapping, as for :class:`trifolium.BaseModel`.
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action, for models that use it.
        device: device of the memory's batches, such as "gpu:0".
        seed: of the model's generator and its memory.
        n_frames, **memory_options: as for :class:`trifolium.BaseModel`.

    Attributes:
        params: any pytree, such as a module of equinox or flax.nnx; None until you assign one. Its
            arrays, keys and numbers are what :meth:`save` writes.
        key: a PRNG key that follows from the seed; it is saved too.

    >>> class Linear(JaxModel):
    ...     def __init__(self, *args, **options):
    ...         super().__init__(*args, **options)
    ...         self.params = {"weight": jax.random.normal(self.key, (4, 2))}
    ...
    ...     def take_action(self, state):
    ...         return int(jnp.argmax(jnp.asarray(state) @ self.params["weight"]))
    >>> Linear(input_size=4, action_space=2, memory_size=100, seed=0).take_action(np.ones(4)) in (0, 1)
    True
    """

    def __init__(
        self,
        input_size: int | Sequence[int] | Mapping[str, Any],
        action_space: int,
        memory_size: int,
        epsilon: float = 0.0,
        *,
        device: Any = None,
        seed: int | None = None,
        n_frames: int | Mapping[str, int] = 1,
        **memory_options: Any,
    ) -> None:
        super().__init__(
            input_size,
            action_space,
            memory_size,
            epsilon,
            backend="jax",
            device=device,
            seed=seed,
            n_frames=n_frames,
            **memory_options,
        )
        self.params: Any = None
        self.key = jax.random.key(int(self.rng.integers(2**31)))

    newer_state = ("key",)

    def state(self) -> dict[str, np.ndarray]:
        """Return ``key``, and the arrays, keys and numbers among the leaves of ``params`` by path."""
        leaves = jax.tree_util.tree_leaves_with_path(self.params)
        named = {jax.tree_util.keystr(path): leaf for path, leaf in leaves if _is_saved(leaf)}
        if self.key is not None:
            named["key"] = self.key
        return {name: self._on_host(leaf) for name, leaf in named.items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Replace the leaves by the arrays that :meth:`state` returned, each in its own dtype."""

        def replaced(path: Any, leaf: Any) -> Any:
            name = jax.tree_util.keystr(path)
            return self._like(leaf, state[name]) if _is_saved(leaf) else leaf

        self.params = jax.tree_util.tree_map_with_path(replaced, self.params)
        if "key" in state:  # a file of an earlier version has none
            self.key = self._like(self.key, state["key"])

    def _on_host(self, leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array):
            return self.backend.to_numpy(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        return np.array(leaf)

    def _like(self, leaf: Any, array: np.ndarray) -> Any:
        """Return ``array`` in the type of ``leaf``: a key, an array of its dtype, or a number."""
        if _is_key(leaf):
            data = self.backend.from_numpy(array)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        if isinstance(leaf, jax.Array):
            return self.backend.from_numpy(array.astype(leaf.dtype))
        return array.astype(leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf)(array)


def _is_saved(leaf: Any) -> bool:
    """Return whether a leaf is data; modules of equinox have functions among their leaves."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
