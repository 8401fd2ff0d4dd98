"""Timing of several functions that take turns, so that noise affects all alike."""

import random
import statistics
import time
from collections.abc import Callable, Mapping

__all__ = ["least", "medians"]


def least(work: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Return the least seconds of a call of each of ``work``: what a busy machine disturbs least."""
    return medians(work, rounds=rounds, pick=min)


def medians(
    work: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    calls: int = 1,
    finish: Callable[[object], object] = lambda _: None,
    seed: int = 0,
    pick: Callable[[list[float]], float] = statistics.median,
) -> dict[str, float]:
    """Return the median seconds of one call of each of ``work``.

    Args:
        work: names to what is timed.
        rounds: how often each gets its turn, in another order each; the first does not count.
        calls: of one turn.
        finish: waits for what the last call of a turn returned; its time counts.
        seed: of the order.
        pick: chooses from the seconds of all rounds, in the place of the median.
    """
    taken: dict[str, list[float]] = {name: [] for name in work}
    order, rng = list(work), random.Random(seed)
    for round_ in range(rounds + 1):
        rng.shuffle(order)
        for name in order:
            call = work[name]
            begin = time.perf_counter()
            for _ in range(calls):
                found = call()
            finish(found)
            if round_:
                taken[name].append((time.perf_counter() - begin) / calls)
    return {name: pick(each) for name, each in taken.items()}
