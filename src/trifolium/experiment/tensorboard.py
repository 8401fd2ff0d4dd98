"""TensorBoardLog: rows as scalars, written by TensorBoard's own writer; no framework is needed."""

import math
import time
from dataclasses import asdict
from typing import Any

from trifolium.experiment.logs import Log, LogStart
from trifolium.experiment.rows import EpisodeRow, EvaluationRow

__all__ = ["TensorBoardLog"]


class TensorBoardLog(Log):
    """A :class:`~trifolium.experiment.logs.Log` in event files in the folder tensorboard of the run.

    After a resume, TensorBoard hides the earlier scalars of the resumed step and later ones.

    Raises:
        ModuleNotFoundError: the package tensorboard is missing.
    """

    def __init__(self) -> None:
        import tensorboard.summary.writer.event_file_writer  # noqa: F401

    def start(self, start: LogStart) -> None:
        """Open a new event file."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._agents = len(start.agents) > 1
        self._writer = EventFileWriter(str(start.out / "tensorboard"))
        if start.step:
            self._add(start.step + 1, session_log={"status": "START"})

    def episode(self, row: EpisodeRow) -> None:
        """Write the scalars of an episode."""
        self._scalars("training", row, ("episode_return", "length", "epsilon", "loss"))

    def evaluation(self, row: EvaluationRow) -> None:
        """Write the scalars of an evaluation."""
        self._scalars("evaluation", row, ("mean_return", "lowest_return", "highest_return"))

    def save(self) -> None:
        """Write everything to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _scalars(self, group: str, row: EpisodeRow | EvaluationRow, names: tuple[str, ...]) -> None:
        values = asdict(row)
        prefix = f"{row.agent}/{group}" if self._agents else group
        scalars = [
            {"tag": f"{prefix}/{name}", "simple_value": values[name]}
            for name in names
            if not math.isnan(values[name])
        ]
        self._add(row.step, summary={"value": scalars})

    def _add(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(step=step, wall_time=time.time(), **content))
