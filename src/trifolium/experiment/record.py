"""Record: what a run writes while it goes on."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from trifolium.experiment.rows import CsvLog, Episode, Evaluation
from trifolium.experiment.tensorboard import EventLog

__all__ = ["EVALUATIONS", "METRICS", "Record"]

METRICS = "metrics.csv"
EVALUATIONS = "evaluations.csv"


class Record:
    """The logs of a run; a context manager that closes them.

    Args:
        out: the folder of the run.
        agents: whether rows tell whose they are.
        evaluations: whether there is to be a log of evaluations.
        tensorboard: whether there is to be one for TensorBoard.
        step: step that the run goes on from.
        sizes: bytes of each CSV file to keep; None for new files.

    Raises:
        CheckpointError: a file is shorter than that.
        FileNotFoundError: a file of which bytes are to be kept is missing.
    """

    def __init__(
        self,
        out: Path,
        *,
        agents: bool,
        evaluations: bool,
        tensorboard: bool,
        step: int = 0,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        kinds = {METRICS: Episode} | ({EVALUATIONS: Evaluation} if evaluations else {})
        sizes = sizes or {}
        self._logs = {
            name: CsvLog(out / name, kind, agents=agents, size=sizes.get(name))
            for name, kind in kinds.items()
        }
        self._events = EventLog(out / "tensorboard", step, agents=agents) if tensorboard else None

    def episode(self, row: Episode) -> None:
        """Write a line of metrics.csv."""
        self._logs[METRICS].append(row)
        if self._events:
            self._events.episode(row)

    def evaluation(self, row: Evaluation) -> None:
        """Write a line of evaluations.csv."""
        self._logs[EVALUATIONS].append(row)
        if self._events:
            self._events.evaluation(row)

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each CSV file, once all is on the disk."""
        if self._events:
            self._events.flush()
        return {name: log.size() for name, log in self._logs.items()}

    def __enter__(self) -> "Record":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for log in self._logs.values():
            log.close()
        if self._events:
            self._events.close()
