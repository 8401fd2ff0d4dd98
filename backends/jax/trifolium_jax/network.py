"""A user's network in JAX as a function of its parameters."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trifolium.backend import Adopted, AnyArray, Params

__all__ = ["adopt"]


class Parts(NamedTuple):
    """A network as parameters and pure functions.

    Attributes:
        params: a pytree of the parameters that are learned.
        apply: called with (params, *inputs), each with a batch axis.
        export: converts params to a trained network in the type of its library.
    """

    params: Any
    apply: Callable[..., AnyArray]
    export: Callable[[Any], Any]


def adopt(network: Any, inputs: Sequence[np.ndarray], key: AnyArray) -> Adopted:
    """Return a network as functions of its parameters by name.

    Args:
        network: a module of flax (nnx or linen) or of equinox, or a pair (init, apply).
        inputs: example inputs of the network.
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

    def function(_: Any, params: Params, *inputs: AnyArray) -> AnyArray:
        return parts.apply(tree(params), *inputs)

    def export(params: Params) -> Any:
        return parts.export(tree({name: jnp.array(value) for name, value in params.items()}))

    # copies: an update may reuse the memory of what it is given
    copies = {name: jnp.array(leaf) for name, (_, leaf) in zip(names, leaves, strict=True)}
    return Adopted(copies, function, function, export, statistics={})


def _take_apart(network: Any, inputs: Sequence[np.ndarray], key: AnyArray) -> Parts:
    nnx, equinox = sys.modules.get("flax.nnx"), sys.modules.get("equinox")
    if nnx is not None and isinstance(network, nnx.Module):
        return _nnx(nnx, network, inputs)
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


def _nnx(nnx: Any, network: Any, inputs: Sequence[np.ndarray]) -> Parts:
    graph, params, rest = nnx.split(network, nnx.Param, ...)
    _check_is_pure(nnx, network, inputs)
    pure = nnx.to_pure_dict(params)

    def merged(values: Any) -> Any:
        state = jax.tree.map(lambda value: value, params)
        nnx.replace_by_pure_dict(state, values)
        return nnx.merge(graph, state, rest)

    return Parts(pure, lambda values, *inputs: merged(values)(*inputs), merged)


def _check_is_pure(nnx: Any, network: Any, inputs: Sequence[np.ndarray]) -> None:
    """Raise TypeError if a call changes what is not a parameter: dropout's keys, running means."""
    copied = nnx.merge(*nnx.split(network))
    before = _data(nnx.to_flat_state(nnx.state(copied)))
    copied(*inputs)
    after = _data(nnx.to_flat_state(nnx.state(copied)))
    changed = [name for name, value in before.items() if not np.array_equal(value, after[name])]
    if changed:
        raise TypeError(
            f"network={type(network).__name__} changes {', '.join(changed)} when it is called, as "
            "dropout and batch normalisation do in training; expected a module that does not: call its "
            "eval() first, or use layers without a state, such as LayerNorm"
        )


def _data(flat: Any) -> dict[str, np.ndarray]:
    found = {}
    for path, variable in flat:
        value = variable.get_value() if hasattr(variable, "get_value") else variable.value
        is_key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
        found[".".join(map(str, path))] = np.asarray(jax.random.key_data(value) if is_key else value)
    return found


def _equinox(equinox: Any, network: Any) -> Parts:
    params, rest = equinox.partition(network, equinox.is_inexact_array)

    def apply(params: Any, *inputs: AnyArray) -> AnyArray:
        return jax.vmap(equinox.combine(params, rest))(*inputs)  # a module of equinox takes one row

    return Parts(params, apply, lambda params: equinox.combine(params, rest))


def _linen(network: Any, inputs: Sequence[np.ndarray], key: AnyArray) -> Parts:
    """Return the collection "params" of the result of ``init``, or all of it if there is none."""
    variables = network.init(key, *inputs)
    if not (isinstance(variables, Mapping) and "params" in variables):
        return Parts(variables, network.apply, lambda params: params)
    rest = {name: value for name, value in variables.items() if name != "params"}

    def whole(params: Any) -> Any:
        return {"params": params, **rest}

    return Parts(variables["params"], lambda p, *inputs: network.apply(whole(p), *inputs), whole)
