"""Record: the logs of a run, and the CSV files that every run has."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from trifolium.errors import CheckpointError
from trifolium.experiment.logs import Log, LogStart
from trifolium.experiment.rows import CsvFile, EpisodeRow, EvaluationRow

__all__ = ["EVALUATIONS", "METRICS", "CsvLog", "Record"]

METRICS = "metrics.csv"
EVALUATIONS = "evaluations.csv"


class CsvLog(Log):
    """A :class:`~trifolium.experiment.logs.Log` in metrics.csv and, if there are any, evaluations.csv.

    It saves the number of bytes of each file, by its name.
    """

    def start(self, start: LogStart) -> None:
        """Make the files, or cut them to what they held at the checkpoint.

        Raises:
            CheckpointError: a file is missing or shorter than it was, or its size was not saved.
        """
        kinds: dict[str, type[Any]] = {METRICS: EpisodeRow}
        if start.evaluations:
            kinds[EVALUATIONS] = EvaluationRow
        self._files: dict[str, CsvFile] = {}
        try:
            for name, kind in kinds.items():
                size = None if start.saved is None else _size(start, name)
                agents = len(start.agents) > 1
                self._files[name] = CsvFile(start.out / name, kind, agents=agents, size=size)
        except BaseException:
            self.close()
            raise

    def episode(self, row: EpisodeRow) -> None:
        """Write a line of metrics.csv."""
        self._files[METRICS].append(row)

    def evaluation(self, row: EvaluationRow) -> None:
        """Write a line of evaluations.csv."""
        self._files[EVALUATIONS].append(row)

    def save(self) -> dict[str, int]:
        """Return the bytes of each file, once all is on the disk."""
        return {name: file.size() for name, file in self._files.items()}

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


class Record:
    """The logs of a running experiment.

    Args:
        logs: the logs other than the CSV files.
        start: the argument of their ``start``.
        saved: what :meth:`save` returned for the checkpoint; None for a new run.
    """

    def __init__(
        self, logs: Sequence[Log], start: LogStart, saved: Mapping[str, Any] | None = None
    ) -> None:
        self._csv = CsvLog()
        self._others = {f"{index}: {type(log).__name__}": log for index, log in enumerate(logs)}
        self._start = start
        self._saved = saved
        self._started: list[Log] = []

    def episode(self, row: EpisodeRow) -> None:
        """Give the row to each log."""
        for log in self._started:
            log.episode(row)

    def evaluation(self, row: EvaluationRow) -> None:
        """Give the row to each log."""
        for log in self._started:
            log.evaluation(row)

    def save(self) -> dict[str, Any]:
        """Return what each log saves: the bytes of the CSV files, and the others' by their names."""
        return self._csv.save() | {name: log.save() for name, log in self._others.items()}

    def start(self) -> None:
        """Open all logs."""
        self._open(self._csv, self._saved)
        for name, log in self._others.items():
            self._open(log, (self._saved or {}).get(name))

    def close(self) -> None:
        """Close the logs that were opened, all of them, even if one can't be closed."""
        with ExitStack() as stack:
            for log in reversed(self._started):
                stack.callback(log.close)
            self._started = []

    def _open(self, log: Log, saved: Any) -> None:
        log.start(replace(self._start, saved=saved))
        self._started.append(log)


def _size(start: LogStart, name: str) -> int | None:
    """Return the bytes of a file to keep; None for a file that was not there at the checkpoint."""
    size = start.saved.get(name)
    if type(size) is int and size >= 0:
        return size
    if size is None and not (start.out / name).exists():
        return None
    raise CheckpointError(
        f"the checkpoint in {start.out} has no size of {name} (logs: {dict(start.saved)!r:.200}); "
        f"move {start.out / name} elsewhere to continue without its lines"
    )
