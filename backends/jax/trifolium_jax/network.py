"""A user's network in JAX as a function of its parameters."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trifolium.backend import Array, Params

__all__ = ["adopt"]


class Parts(NamedTuple):
    """A network taken apart.

    Attributes:
        params: a pytree of what is learned.
        apply: called with (params, *inputs), each with a batch axis.
        export: what its library calls a trained network, made of params.
    """

    params: Any
    apply: Callable[..., Array]
    export: Callable[[Any], Any]


def adopt(
    network: Any, inputs: Sequence[np.ndarray], key: Array
) -> tuple[Params, Callable[..., Array], Callable[[Params], Any]]:
    """Return a network's parameters by name, the function that it is, and what puts parameters back.

    Args:
        network: a module of flax (nnx or linen) or of equinox, or a pair (init, apply).
        inputs: examples of what it is called with.
        key: for ``init``.
    """
    parts = _take_apart(network, inputs, key)
    leaves, structure = jax.tree_util.tree_flatten_with_path(parts.params)
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    for name, (_, leaf) in zip(names, leaves, strict=True):
        if not (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)):
            raise TypeError(f"network has {leaf!r:.80} at {name}; expected floating arrays to learn")
    if not names:
        raise TypeError(f"network={network!r:.80} has no parameters; expected some to learn")

    def tree(params: Params) -> Any:
        return jax.tree_util.tree_unflatten(structure, [params[name] for name in names])

    def function(_: Any, params: Params, *inputs: Array) -> Array:
        return parts.apply(tree(params), *inputs)

    def export(params: Params) -> Any:
        return parts.export(tree({name: jnp.array(value) for name, value in params.items()}))

    # copies: an update may reuse the memory of what it is given
    return (
        {name: jnp.array(leaf) for name, (_, leaf) in zip(names, leaves, strict=True)},
        function,
        export,
    )


def _take_apart(network: Any, inputs: Sequence[np.ndarray], key: Array) -> Parts:
    nnx, equinox = sys.modules.get("flax.nnx"), sys.modules.get("equinox")
    if nnx is not None and isinstance(network, nnx.Module):
        return _nnx(nnx, network)
    if equinox is not None and isinstance(network, equinox.Module) and callable(network):
        return _equinox(equinox, network)
    if isinstance(network, tuple) and len(network) == 2 and all(map(callable, network)):
        init, apply = network
        return Parts(init(key, *inputs), apply, lambda params: params)
    if callable(getattr(network, "init", None)) and callable(getattr(network, "apply", None)):
        return _linen(network, inputs, key)
    raise TypeError(
        f"network={network!r:.80} is a {type(network).__name__}; expected a module of flax or "
        "equinox, or a pair (init, apply): init(key, *inputs) returns params, apply(params, *inputs) "
        "the outputs"
    )


def _nnx(nnx: Any, network: Any) -> Parts:
    graph, params, rest = nnx.split(network, nnx.Param, ...)
    pure = nnx.to_pure_dict(params)

    def merged(values: Any) -> Any:
        state = jax.tree.map(lambda value: value, params)
        nnx.replace_by_pure_dict(state, values)
        return nnx.merge(graph, state, rest)

    return Parts(pure, lambda values, *inputs: merged(values)(*inputs), merged)


def _equinox(equinox: Any, network: Any) -> Parts:
    params, rest = equinox.partition(network, equinox.is_inexact_array)

    def apply(params: Any, *inputs: Array) -> Array:
        return jax.vmap(equinox.combine(params, rest))(*inputs)  # a module of equinox takes one row

    return Parts(params, apply, lambda params: equinox.combine(params, rest))


def _linen(network: Any, inputs: Sequence[np.ndarray], key: Array) -> Parts:
    """Take what ``init`` returned as what is learned, or its collection "params" if there is one."""
    variables = network.init(key, *inputs)
    if not (isinstance(variables, Mapping) and "params" in variables):
        return Parts(variables, network.apply, lambda params: params)
    rest = {name: value for name, value in variables.items() if name != "params"}

    def whole(params: Any) -> Any:
        return {"params": params, **rest}

    return Parts(variables["params"], lambda p, *inputs: network.apply(whole(p), *inputs), whole)
