"""CudaGraph: operations on tensors that a GPU of Nvidia is told to do in one call."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["CudaGraph"]

WARM_UP = 3  # runs before the capture, as PyTorch's documentation asks for


class CudaGraph:
    """Operations in place on some tensors, captured once and launched at each call.

    A graph reads and writes at the addresses that it was captured with. So it has copies of what it
    changes, and of what it is given.

    Args:
        run: called with the tensors of ``held`` and of ``given``; changes the first, returns others.
        held: the tensors that it changes. The graph has copies of them.
        given: the other tensors.
        fixed: how many of ``given``, from the first, are always the same tensors; these are not copied.

    Attributes:
        held: the graph's own tensors, which each call changes.
    """

    def __init__(
        self,
        run: Callable[..., list[torch.Tensor]],
        held: list[torch.Tensor],
        given: list[torch.Tensor],
        *,
        fixed: int = 0,
    ) -> None:
        device = held[0].device
        self.held = [each.clone() for each in held]
        self._fixed = fixed
        self._given = [*given[:fixed], *(each.clone() for each in given[fixed:])]
        beside = torch.cuda.Stream(device)
        beside.wait_stream(torch.cuda.current_stream(device))
        with torch.no_grad(), torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                run(*self.held, *self._given)
        torch.cuda.current_stream(device).wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        # other threads may use the GPU meanwhile
        with torch.no_grad(), torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._results = run(*self.held, *self._given)
        self.hold(held)

    def hold(self, tensors: list[torch.Tensor]) -> None:
        """Take over the values of the tensors that the graph changes."""
        for own, other in zip(self.held, tensors, strict=True):
            if own is not other:
                own.copy_(other)

    def __call__(self, given: list[torch.Tensor]) -> list[torch.Tensor]:
        """Launch the operations; return copies of their results."""
        for own, new in zip(self._given[self._fixed :], given[self._fixed :], strict=True):
            own.copy_(new)
        self._graph.replay()
        return [each.clone() for each in self._results]
