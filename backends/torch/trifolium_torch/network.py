"""A user's ``nn.Module`` as a function of its parameters."""

from collections.abc import Callable
from typing import Any

import torch

from trifolium.backend import Array, Params

__all__ = ["adopt"]


def adopt(
    network: Any, device: torch.device
) -> tuple[Params, Callable[..., Array], Callable[[Params], torch.nn.Module]]:
    """Return the parameters of an ``nn.Module``, the function it is, and what puts parameters back.

    Buffers, such as the running means of a normalisation, stay as they are.
    """
    if not isinstance(network, torch.nn.Module):
        raise TypeError(f"network={network!r:.80} is a {type(network).__name__}; expected an nn.Module")
    params = {name: value.detach().clone().to(device) for name, value in network.named_parameters()}
    if not params:
        raise TypeError(f"network={network!r:.80} has no parameters; expected some to learn")
    buffers = {name: value.detach().clone().to(device) for name, value in network.named_buffers()}

    def function(_: Any, params: Params, *inputs: Array) -> Array:
        return torch.func.functional_call(network, {**params, **buffers}, inputs)

    def export(params: Params) -> torch.nn.Module:
        with torch.no_grad():
            for name, value in network.named_parameters():
                value.copy_(params[name])
        return network

    return params, function, export
