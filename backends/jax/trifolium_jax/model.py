"""JaxModel: a model of your own in JAX."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from trifolium.models import BaseModel

__all__ = ["JaxModel"]


class JaxModel(BaseModel):
    """A :class:`trifolium.BaseModel` whose parameters are one pytree.

    Assign the pytree to ``params``; override ``take_action`` and, if it learns, ``train_step``. What a
    ``train_step`` compiles for itself may take ``self.memory.sample(...)`` apart as it likes: batches
    are JAX arrays. :meth:`save` writes ``params``.

    Args:
        input_size: shape of one observation; an int n stands for (n,).
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action; it is up to the model to use it.
        device: where the memory's batches lie, such as "gpu:0".
        seed: of the model's generator and its memory.
        n_frames, **memory_options: as for :class:`trifolium.BaseModel`.

    Attributes:
        params: any pytree of arrays; None until you assign one.
        key: a PRNG key that follows from the seed.

    >>> import jax.numpy as jnp
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
        input_size: int | Sequence[int],
        action_space: int,
        memory_size: int,
        epsilon: float = 0.0,
        *,
        device: Any = None,
        seed: int | None = None,
        n_frames: int = 1,
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

    def state(self) -> dict[str, np.ndarray]:
        """Return the leaves of ``params`` as host arrays, named by their paths."""
        leaves = jax.tree_util.tree_leaves_with_path(self.params)
        return {jax.tree_util.keystr(path): self.backend.to_numpy(leaf) for path, leaf in leaves}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Put what :meth:`state` returned in the place of the leaves, each in its own dtype."""

        def replaced(path: Any, leaf: Any) -> Any:
            array = state[jax.tree_util.keystr(path)]
            return self.backend.from_numpy(array.astype(leaf.dtype))

        self.params = jax.tree_util.tree_map_with_path(replaced, self.params)
