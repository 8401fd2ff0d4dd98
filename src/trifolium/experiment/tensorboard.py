"""EventLog: rows as scalars for TensorBoard, through its own writer; no framework is needed."""

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trifolium.experiment.rows import Episode, Evaluation

__all__ = ["EventLog", "check_installed"]


def check_installed() -> None:
    """Raise ModuleNotFoundError where the package tensorboard is missing."""
    import tensorboard.summary.writer.event_file_writer  # noqa: F401


class EventLog:
    """Event files in a folder that TensorBoard reads.

    Scalars of a run that goes on from a step make TensorBoard hide those of that step and later
    that it has from before.

    Args:
        folder: it is made if it is missing.
        step: step that the run goes on from; 0 for a new one.
        agents: whether names of scalars begin with that of the agent.

    Raises:
        ModuleNotFoundError: the package tensorboard is missing.
    """

    def __init__(self, folder: Path, step: int, *, agents: bool) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._agents = agents
        self._writer = EventFileWriter(str(folder))
        if step:
            self._add(step + 1, session_log={"status": "START"})

    def episode(self, row: Episode) -> None:
        """Write the scalars of an episode."""
        self._scalars("training", row, ("episode_return", "length", "epsilon", "loss"))

    def evaluation(self, row: Evaluation) -> None:
        """Write the scalars of an evaluation."""
        self._scalars("evaluation", row, ("mean_return", "lowest_return", "highest_return"))

    def flush(self) -> None:
        """Put what was written on the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _scalars(self, group: str, row: Episode | Evaluation, names: tuple[str, ...]) -> None:
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
