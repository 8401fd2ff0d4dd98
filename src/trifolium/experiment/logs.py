"""Log: the protocol of loggers, which receive the rows of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trifolium.experiment.rows import EpisodeRow, EvaluationRow

__all__ = ["Log", "LogStart"]


@dataclass(frozen=True)
class LogStart:
    """The argument of :meth:`Log.start`, when training begins or resumes.

    Attributes:
        out: the folder of the run; it exists.
        step: environment steps taken before; 0 for a new run.
        agents: names of the agents, as far as the world tells them.
        evaluations: whether there will be evaluations.
        saved: what :meth:`Log.save` returned for the checkpoint that the run resumes from; None for a
            new run, and for a log that was not there before.
    """

    out: Path
    step: int
    agents: Sequence[str]
    evaluations: bool
    saved: Any = None


class Log(Protocol):  # its methods return: type checkers take empty ones for abstract
    """Receives the rows of a run: ``Experiment(..., logs=[MyLog()])``.

    A subclass overrides what it needs; the methods here do nothing. An error in one ends the training.

    >>> class Printed(Log):
    ...     def episode(self, row):
    ...         print(f"{row.step}: {row.episode_return}")
    >>> Printed().episode(EpisodeRow(10, 1, 2.5, 10, 0.1, 0.5))
    10: 2.5
    """

    def start(self, start: LogStart) -> None:  # noqa: ARG002 (a subclass looks at it)
        """Open the log. It may be called again after :meth:`close`, when the run resumes."""
        return

    def episode(self, row: EpisodeRow) -> None:  # noqa: ARG002 (a subclass looks at it)
        """Take the row of an episode that ended."""
        return

    def evaluation(self, row: EvaluationRow) -> None:  # noqa: ARG002 (a subclass looks at it)
        """Take the row of an evaluation."""
        return

    def save(self) -> Any:
        """Write everything to the disk, as a checkpoint is being made.

        Returns:
            The data with which :meth:`start` removes later rows when the run resumes from there, in
            JSON's types.
        """
        return None

    def close(self) -> None:
        """Close the log; training has ended or is interrupted."""
        return
