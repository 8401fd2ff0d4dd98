"""RepeatedUpdate: the update of a learner, whose operations are recorded once and then repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from trifolium_torch.cudagraph import CudaGraph
from trifolium_torch.recording import Program, Unrecordable, leaves, rebuilt, record

__all__ = ["RepeatedUpdate"]

CALLS_BEFORE = 200
"""Calls before an update is recorded, which takes as long as some hundreds of them."""

PROGRAMS = 4
"""Sizes of minibatches for which an update is recorded."""

_UNGUARDED: (
    dict[str, Any] | None
) = (  # shapes are looked at here; newer versions of torch can do without their own checks
    {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
    if hasattr(torch.compiler, "skip_all_guards_unsafe")
    else None
)


class RepeatedUpdate:
    """The update of a learner: called with (learned, columns, plan, random, learning rate).

    For a small network autograd and the Python code of losses and optimizers take longer than the
    kernels. So the operations of an update are recorded, and repeated in the same order: with the same
    results, bit for bit. An update that can't be recorded, since a user's module or an optimizer of
    ``torch.optim`` may have other effects, runs as it is.

    Args:
        function: the update, of tensors; it returns (learned, loss, errors).
        plain: the same, of host arrays and numbers too: what runs before it is recorded.
        moved: converts host arrays in an argument to tensors on the device.
        device: of the tensors.
        compiles: whether ``torch.compile`` compiles the operations, at the first call. On a GPU of
            Nvidia they are then launched as one CUDA graph.
        calls_before: calls before it is recorded, without ``compiles``.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        plain: Callable[..., Any],
        moved: Callable[[Any], Any],
        device: torch.device,
        *,
        compiles: bool,
        calls_before: int = CALLS_BEFORE,
    ) -> None:
        self._function, self._plain, self._moved = function, plain, moved
        self._device = device
        self._compiles = compiles
        self._captures = compiles and device.type == "cuda"
        self._calls_left = 0 if compiles else calls_before
        self._rounds = compiles or device.type != "cpu"  # the learning rate, to 32 bits
        self._can_repeat = device.type in ("cpu", "cuda")
        self._repeated: dict[Any, Repeated | Captured] = {}
        self._rate: tuple[float, torch.Tensor] = (0.0, torch.zeros((), device=device))

    def __call__(self, learned: Any, *rest: Any) -> Any:
        """Return (learned, loss, errors) after an update; ``learned`` may change in place."""
        if self._rounds:
            rest = (*rest[:-1], float(np.float32(rest[-1])))
        if not self._can_repeat or self._calls_left > 0 or _is_watched(self._device):
            self._calls_left -= 1
            return self._plain(learned, *rest)
        args = (*map(self._moved, rest[:-1]), self._rate_of(rest[-1]))
        given = leaves(args)
        kind = self._kind_of(args, given)
        repeated = self._repeated.get(kind)
        if repeated is None:
            if len(self._repeated) == PROGRAMS:
                return self._plain(learned, *rest)
            try:
                repeated = self._repeated[kind] = self._recorded(learned, args)
            except Unrecordable:
                self._can_repeat = False
                return self._plain(learned, *rest)
        return repeated(learned, given)

    def _kind_of(self, args: tuple[Any, ...], given: list[torch.Tensor]) -> Any:
        """Return what a recorded update depends on."""
        shapes = tuple([(each.shape, each.stride(), each.dtype) for each in given])
        if not self._captures:
            return shapes
        return shapes, tuple([each.data_ptr() for each in leaves(args[0])])

    def _rate_of(self, rate: float) -> torch.Tensor:
        """Return the learning rate as a tensor: it would be a constant of what is recorded."""
        if rate != self._rate[0]:
            dtype = torch.float32 if self._rounds else torch.float64
            self._rate = (rate, torch.tensor(rate, dtype=dtype, device=self._device))
        return self._rate[1]

    def _recorded(self, learned: Any, args: tuple[Any, ...]) -> Repeated | Captured:
        program = record(self._function, (learned, *args), for_compiler=self._compiles)
        run: Callable[..., list[torch.Tensor]] = program.graph.forward
        if self._compiles:
            run = torch.compile(program.graph, fullgraph=True, dynamic=False, options=_UNGUARDED)
        held = leaves(learned)
        if self._captures:
            return Captured(program, CudaGraph(run, held, leaves(args), fixed=len(leaves(args[0]))))
        return Repeated(program, run)


class Repeated:
    """A recorded update. It keeps the leaves of what is learned from one call to the next."""

    def __init__(self, program: Program, run: Callable[..., list[torch.Tensor]]) -> None:
        self._program, self._run = program, run
        self._learned: Any = None
        self._held: list[torch.Tensor] = []

    def __call__(self, learned: Any, given: list[torch.Tensor]) -> Any:
        """Return (learned, loss, errors) after an update."""
        if learned is not self._learned:
            self._learned, self._held = learned, leaves(learned)
        with torch.no_grad():
            found = self._run(*self._held, *given)
        if self._program.is_in_place:
            return learned, *found
        results = rebuilt(self._program.results, iter(found))
        self._learned, self._held = results[0], found[: len(self._held)]
        return results


class Captured:
    """A recorded update that is launched as one CUDA graph, on tensors at addresses of its own."""

    def __init__(self, program: Program, graph: CudaGraph) -> None:
        self._graph = graph
        self._learned = rebuilt(program.results[0], iter(graph.held))

    def __call__(self, learned: Any, given: list[torch.Tensor]) -> Any:
        """Return (learned, loss, errors) after an update."""
        if learned is not self._learned:
            self._graph.hold(leaves(learned))
        return self._learned, *self._graph(given)


def _is_watched(device: torch.device) -> bool:
    """Return whether something else has to see the operations, or changes them."""
    return (
        torch.compiler.is_compiling()
        or torch.is_anomaly_enabled()
        or torch.is_autocast_enabled(device.type)
    )
