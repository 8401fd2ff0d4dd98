"""A user's ``nn.Module`` as functions of its parameters."""

from copy import deepcopy
from typing import Any

import torch

from trifolium.backend import Adopted, AnyArray, Params
from trifolium_torch.recording import refuse_recording

__all__ = ["adopt"]


def adopt(network: Any, device: torch.device) -> Adopted:
    """Return an ``nn.Module`` as functions of its parameters and its buffers.

    It is trained in the mode that each of its parts is in now, as after ``train()`` or ``eval()``; for
    acting and for targets all of it is in ``eval()`` mode. Layers that keep running statistics update
    them when it is trained.
    """
    if not isinstance(network, torch.nn.Module):
        raise TypeError(f"network={network!r:.80} is a {type(network).__name__}; expected an nn.Module")
    params = _copies(network.named_parameters(), device)
    if not params:
        raise TypeError(f"network={network!r:.80} has no parameters; expected some to learn")
    statistics = _copies(network.named_buffers(), device)
    training, evaluated = _structure(network), _structure(network).eval()

    def apply(_: Any, params: Params, *inputs: AnyArray) -> AnyArray:
        refuse_recording("network=")
        return torch.func.functional_call(evaluated, params, inputs)

    def training_apply(_: Any, params: Params, *inputs: AnyArray) -> AnyArray:
        refuse_recording("network=")
        return torch.func.functional_call(training, params, inputs)

    def export(values: Params) -> torch.nn.Module:
        with torch.no_grad():
            for name, tensor in (*network.named_parameters(), *network.named_buffers()):
                tensor.copy_(values[name])
        return network

    return Adopted(params, apply, training_apply, export, statistics)


def _copies(named: Any, device: torch.device) -> Params:
    return {name: value.detach().clone().to(device) for name, value in named}


def _structure(network: torch.nn.Module) -> torch.nn.Module:
    """Return a module with modes of its own, and the same tensors: they are replaced in each call."""
    tensors = (*network.parameters(), *network.buffers())
    return deepcopy(network, {id(tensor): tensor for tensor in tensors})
