"""Makes recorded operations fewer and quicker to call, without a change in any bit of their results."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

__all__ = ["shorten"]

aten: Any = torch.ops.aten
_QUICK: dict[Any, Callable[..., Any]] = {  # the same operations, whose calls take half as long
    aten.add.Tensor: torch.add,
    aten.amax.default: torch.amax,
    aten.argmax.default: torch.argmax,
    aten.clone.default: torch.clone,
    aten.div.Tensor: torch.div,
    aten.gather.default: torch.gather,
    aten.maximum.default: torch.maximum,
    aten.mm.default: torch.mm,
    aten.mul.Tensor: torch.mul,
    aten.relu.default: torch.relu,
    aten.rsub.Scalar: torch.rsub,
    aten.scatter_add.default: torch.scatter_add,
    aten.select.int: torch.select,
    aten.sub.Tensor: torch.sub,
    aten.sum.default: torch.sum,
    aten.sum.dim_IntList: torch.sum,
    aten.t.default: torch.t,
    aten.unbind.int: torch.unbind,
}


def shorten(graph: fx.GraphModule) -> None:
    """Shorten a graph of ATen operations, which no gradient is taken of."""
    for node in list(graph.graph.nodes):
        if _returns_its_argument(node):
            _replace(node, node.args[0])
        elif node.target is aten.view.default:
            _drop_kept_axis(node)
        elif node.target is aten._foreach_add_.Scalar:
            _count_once(graph.graph, node)
    graph.graph.eliminate_dead_code()
    for node in graph.graph.nodes:
        node.target = _QUICK.get(node.target, node.target)
    graph.recompile()


def _replace(node: fx.Node, other: Any) -> None:
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)


def _returns_its_argument(node: fx.Node) -> bool:
    if node.target is aten.detach.default:
        return True
    if node.target not in (aten.expand.default, aten.view.default):
        return False
    source = node.args[0]
    return isinstance(source, fx.Node) and _shape(source) == _shape(node)


def _drop_kept_axis(view: fx.Node) -> None:
    """Sum without a kept axis where a view drops it: the gradient of a bias."""
    source = view.args[0]
    if not isinstance(source, fx.Node) or source.target is not aten.sum.dim_IntList:
        return
    if source.args[1:] == ([0], True) and len(source.users) == 1 and _shape(source)[1:] == _shape(view):
        source.args = (source.args[0], [0])
        _replace(view, source)


def _count_once(graph: fx.Graph, node: fx.Node) -> None:
    """Add to one count where copies of it are added to alike: Adam's, one of each parameter."""
    counts: Any = node.args[0]
    first, *others = counts
    if not all(_is_copy(each, first) for each in others):
        return
    with graph.inserting_before(node):
        graph.call_function(aten.add_.Tensor, (first, node.args[1]))
    graph.erase_node(node)
    for each in others:
        _replace(each, first)


def _is_copy(node: fx.Node, count: fx.Node) -> bool:
    """Return whether ``node`` is an item of ``count.repeat(n).unbind()``."""
    path = [node]
    for target in (operator.getitem, aten.unbind.int, aten.repeat.default):
        if path[-1].target is not target:
            return False
        path.append(path[-1].args[0])  # type: ignore[arg-type]
    return path[-1] is count


def _shape(node: fx.Node) -> Any:
    return tuple(node.meta["val"].shape)
