"""What is compared where rows are drawn by priority: draws of a batch, and updates of its priorities.

torchrl's prioritized sampler is left out: its compiled part does not load with the tested torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rivals import Case, Cpprb, Flashbax, OnNumPy, with_kernels

import trifolium as tri

__all__ = ["draws_and_updates"]

ALPHA, BETA = 0.6, 0.4


def draws_and_updates(case: Case) -> dict[str, Callable[[], Any]]:
    """Return functions that draw and update, by framework and name, of full memories."""
    errors = np.random.default_rng(0).random(case.batch).astype(np.float32)
    found = {f"{name} trifolium": ours(name, case, errors) for name in ("numpy", "torch", "jax")}
    fast = {f"{name} fast": with_kernels(call) for name, call in found.items()}
    return (
        found
        | fast
        | {
            "numpy cpprb": of_cpprb(case, errors),
            "jax flashbax flat": of_flashbax(case, errors),
        }
    )


def ours(backend: str, case: Case, errors: np.ndarray) -> Callable[[], Any]:
    memory = OnNumPy(case)
    sampler = tri.Prioritized(ALPHA, BETA)
    buffer = memory.buffer = tri.Buffer(
        case.capacity, case.shape, obs_dtype=case.dtype, backend=backend, seed=0, sampler=sampler
    )
    memory.fill()
    td = tri.get_backend(backend).from_numpy(errors)

    def call() -> Any:
        batch = buffer.sample(case.batch)
        buffer.update_priorities(batch.indices, td)
        return batch

    return call


def of_cpprb(case: Case, errors: np.ndarray) -> Callable[[], Any]:
    from cpprb import PrioritizedReplayBuffer

    memory = Cpprb(case)
    columns = {
        "obs": {"shape": case.shape, "dtype": np.dtype(case.dtype)},
        "act": {"dtype": np.int64},
        "rew": {"dtype": np.float32},
        "next_obs": {"shape": case.shape, "dtype": np.dtype(case.dtype)},
        "done": {"dtype": np.float32},
    }
    buffer = memory.buffer = PrioritizedReplayBuffer(case.capacity, columns, alpha=ALPHA)
    memory.fill()

    def call() -> Any:
        batch = buffer.sample(case.batch, beta=BETA)
        buffer.update_priorities(batch["indexes"], errors)
        return batch

    return call


def of_flashbax(case: Case, errors: np.ndarray) -> Callable[[], Any]:
    import flashbax
    import jax

    class Prioritised(Flashbax):
        def _buffer(self) -> Any:
            return flashbax.make_prioritised_flat_buffer(
                case.capacity, case.batch, case.batch, add_sequences=True, priority_exponent=ALPHA
            )

    memory = Prioritised(case)
    memory.fill()
    update = jax.jit(memory.buffer.set_priorities, donate_argnums=0)
    td = jax.numpy.asarray(errors)

    def call() -> Any:
        batch = memory.sample()
        memory.state = update(memory.state, batch.indices, td)
        return batch

    return call
