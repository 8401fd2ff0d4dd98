"""Gradients of a function of many arrays, by autograd."""

from collections.abc import Callable
from typing import Any

import numpy as np
from autograd.core import VJPNode, add_outgrads
from autograd.tracer import getval, isbox, new_box, toposort, trace_stack

from trifolium.backend import AnyArray, Params
from trifolium_numpy import traced

__all__ = ["value_and_grad"]


def value_and_grad(
    function: Callable[..., Any], params: Params, *args: Any
) -> tuple[AnyArray, Any, Params]:
    """Return (loss, aux, grads) of ``function(xp, params, *args) -> (loss, aux)``.

    autograd would trace the dict as one value, and each look-up in it as an operation; here each array
    in it is a root of its own.
    """
    roots = {name: VJPNode.new_root() for name in params}
    with trace_stack.new_trace() as trace:
        boxes = {name: new_box(value, trace, roots[name]) for name, value in params.items()}
        loss, aux = function(traced, boxes, *args)
    found = _pulled_back(loss._node) if isbox(loss) else {}
    grads = {
        # some of autograd's gradients, that of a power for one, are in 64 bits whatever came in
        name: found[root].astype(params[name].dtype, copy=False)
        if root in found
        else np.zeros_like(params[name])
        for name, root in roots.items()
    }
    return np.asarray(getval(loss)), getval(aux), grads


def _pulled_back(end: VJPNode) -> dict[VJPNode, np.ndarray]:
    """Return the gradient of the value of node ``end`` with respect to each root."""
    gathered = {
        end: (np.ones((), np.float32), False)
    }  # autograd's pairs: (gradient, may be written to)
    for node in toposort(end):
        if node.parents:
            gradient = gathered.pop(node)[0]
            for parent, each in zip(node.parents, node.vjp(gradient), strict=True):
                gathered[parent] = add_outgrads(gathered.get(parent), each)
    return {root: gradient for root, (gradient, _) in gathered.items()}
