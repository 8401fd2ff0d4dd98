"""Traffic: how fast actors in other processes and a learner work, for the progress of a run."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["HasTraffic", "Traffic"]


@dataclass(frozen=True)
class Traffic:
    """How fast actors and the learner work, over the last second or more.

    Attributes:
        steps_per_second: environment steps of all actors.
        updates_per_second: of the learner.
        samples_per_insert: rows drawn for each step.
        policy_age: updates made since the oldest policy that actors act by.
        shard_bytes: memory of each shard's process; 0 where it is not known.
    """

    steps_per_second: float
    updates_per_second: float
    samples_per_insert: float
    policy_age: int
    shard_bytes: tuple[int, ...]

    def __str__(self) -> str:
        """One line for a terminal.

        >>> print(Traffic(12345.6, 321.0, 8.04, 12, (81_000_000, 0)))
        12,346 steps/s, 321 updates/s, 8.0 samples a step, policies 12 updates old, shards 81+? MB
        """
        sizes = "+".join(f"{size // 10**6}" if size else "?" for size in self.shard_bytes)
        return (
            f"{self.steps_per_second:,.0f} steps/s, {self.updates_per_second:,.0f} updates/s, "
            f"{self.samples_per_insert:.1f} samples a step, policies {self.policy_age} updates old, "
            f"shards {sizes} MB"
        )


@runtime_checkable
class HasTraffic(Protocol):
    """A runner whose actors are in other processes."""

    def traffic(self) -> Traffic | None:
        """Return how fast they work; None in the first second."""
        ...
