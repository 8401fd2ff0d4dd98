"""The rows of a run, in CSV files of which every line is complete at any moment."""

import csv
import math
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from trifolium.errors import CheckpointError

__all__ = ["CsvFile", "EpisodeRow", "EvaluationRow", "read_rows"]

Row = TypeVar("Row")
AGENT = "agent"
"""The column that is left out where there is one agent."""


@dataclass(frozen=True)
class EpisodeRow:
    """One line of metrics.csv.

    Attributes:
        step: environment steps taken when the episode ended.
        episode: its number, from 1; each agent counts its own.
        episode_return: sum of its rewards.
        length: its steps.
        epsilon: probability of a random action when it ended.
        loss: mean loss of its model's updates since the model's line before; nan if there were none.
        agent: name of the agent; a column only where there are several agents.
    """

    step: int
    episode: int
    episode_return: float
    length: int
    epsilon: float
    loss: float
    agent: str = AGENT


@dataclass(frozen=True)
class EvaluationRow:
    """One line of evaluations.csv.

    Attributes:
        step: environment steps learned from when the evaluation was made.
        episodes: greedy episodes played.
        mean_return: mean of their returns.
        lowest_return: the lowest of them.
        highest_return: the highest of them.
        agent: name of the agent; a column only where there are several agents.
    """

    step: int
    episodes: int
    mean_return: float
    lowest_return: float
    highest_return: float
    agent: str = AGENT

    @classmethod
    def of(cls, step: int, returns: np.ndarray, agent: str) -> "EvaluationRow":
        """Return the line for ``returns`` [N] of an agent; nan where it was in no episode."""
        if not len(returns):
            return cls(step, 0, math.nan, math.nan, math.nan, agent)
        mean, lowest, highest = (float(of(returns)) for of in (np.mean, np.min, np.max))
        return cls(step, len(returns), mean, lowest, highest, agent)


class CsvFile:
    """A CSV file to which rows are appended, each by one write: a crash leaves whole lines.

    Args:
        path: the file.
        kind: the data class that is a row.
        agents: whether its last field, the agent, is a column.
        size: None for a new file; else bytes to keep of the one that is there.

    Raises:
        CheckpointError: the file is shorter than ``size``.
    """

    def __init__(self, path: Path, kind: type[Any], *, agents: bool, size: int | None = None) -> None:
        names = [field.name for field in fields(kind)]
        self._path = path
        self._names = names if agents else names[:-1]
        self._file = path.open("wb" if size is None else "r+b", buffering=0)
        self._writer = csv.writer(self, lineterminator="\n")
        self._end = 0  # bytes that whole lines take
        try:
            if size is None:
                self._writer.writerow(self._names)
            else:
                self._cut(size)
        except BaseException:
            self._file.close()
            raise

    def append(self, row: Any) -> None:
        """Write a row."""
        self._writer.writerow([getattr(row, name) for name in self._names])

    def size(self) -> int:
        """Return the bytes written, once they are on the disk."""
        os.fsync(self._file.fileno())
        return self._end

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def write(self, line: str) -> None:
        """Write a line whole, or take it back and raise OSError; :mod:`csv` calls this once a row."""
        content, done = line.encode(), 0
        try:
            while done < len(content):
                done += self._file.write(content[done:])
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
                self._file.seek(self._end)
            reason = f"{error.strerror}; its lines are whole"
            raise OSError(error.errno, reason, str(self._path)) from error
        self._end += done

    def _cut(self, size: int) -> None:
        """Leave ``size`` bytes, all of whole lines."""
        length = self._file.seek(0, os.SEEK_END)
        if length < size:
            raise CheckpointError(f"{self._path} is shorter than the {size} bytes of the checkpoint")
        if self._byte_before(size) != b"\n":
            raise CheckpointError(f"{self._path} has no line that ends at the checkpoint's byte {size}")
        if self._byte_before(length) != b"\n":
            warnings.warn(
                f"{self._path} ended in a line that was not written whole; it is removed",
                RuntimeWarning,
                stacklevel=2,
            )
        self._file.truncate(size)
        self._file.seek(size)
        self._end = size

    def _byte_before(self, place: int) -> bytes:
        self._file.seek(max(place - 1, 0))
        return self._file.read(1)


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Return the rows of a file that :class:`CsvFile` wrote, perhaps one that is being written.

    Raises:
        CheckpointError: it has another content.
        FileNotFoundError: there is no such file.
    """
    types: Any = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    columns = list(types)
    try:
        whole = path.read_text().rpartition("\n")[0]  # a line that is being written has no end yet
        header, *lines = csv.reader(whole.splitlines())
        if header not in (columns, columns[:-1]):
            raise ValueError("its first line does not name the columns")
        return [_row(kind, types, header, line) for line in lines]
    except (ValueError, csv.Error) as error:
        raise CheckpointError(f"{path} is no record of a run: {error}") from error


def _row(kind: type[Row], types: Any, header: Sequence[str], line: Sequence[str]) -> Row:
    pairs = zip(header, line, strict=True)
    return kind(**{name: types[name](value) for name, value in pairs})
