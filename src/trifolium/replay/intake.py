"""What ``add`` is given, checked and converted before anything is written."""

from collections.abc import Mapping, Set
from typing import Any, TypeAlias

import numpy as np

from trifolium import _checks as checks
from trifolium._checks import Field
from trifolium.replay.ring import TERMINATED, TRUNCATED, UNKNOWN
from trifolium.replay.spec import BufferSpec

__all__ = ["Intake", "Step", "Steps", "check_names"]

_TERMINATED, _TRUNCATED, _CUT = np.array([TERMINATED, TRUNCATED, TRUNCATED | UNKNOWN], np.uint8)
_NO_STREAMS = np.zeros(0, np.int64)


Step: TypeAlias = tuple[int, dict[str, np.ndarray], Any, Any, np.ndarray | None]
"""One step, ready to be written: the mark of its row, "obs" and the extras, each one row, the action,
the reward, and the observation after a truncated step, if it is known. A tuple, as one is made of
every step, and a named one takes longer to make than the row to write."""


Steps: TypeAlias = tuple[
    np.ndarray, dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray | None, np.ndarray
]
"""One step of every stream, ready to be written: likewise, with a leading axis [n_streams]. The
observations after truncated steps are those of some streams only, whose numbers come last."""


class Intake:
    """Checks steps against the options of a buffer.

    Args:
        spec: those options.
    """

    def __init__(self, spec: BufferSpec) -> None:
        self.n_streams = spec.n_streams
        self._columns = {field.name: field for field in spec.columns}
        self._extras = self._columns.keys() - {"obs"}
        self._obs = self._columns["obs"]
        self._next_obs = self._obs.named("next_obs")
        self._action = Field("action", spec.action_shape, spec.action_dtype)
        self._reward = Field("reward", (), "float32")

    def one(
        self,
        obs: Any,
        action: Any,
        reward: Any,
        done: Any,
        truncated: Any,
        next_obs: Any,
        extras: Mapping[str, Any],
    ) -> Step:
        """Return one step; the arguments are those of :meth:`trifolium.Buffer.add`."""
        columns = {"obs": self._obs.row(obs)}
        if extras or len(self._columns) > 1:
            check_names(self._extras, extras)
            columns |= {name: self._columns[name].row(value) for name, value in extras.items()}
        mark, last = 0, None
        if done is not False and checks.flag("done", done):
            mark = TERMINATED
        if truncated is not False and checks.flag("truncated", truncated) and not mark:
            last = None if next_obs is None else self._next_obs.row(next_obs)
            mark = TRUNCATED | UNKNOWN if last is None else TRUNCATED
        return mark, columns, self._action.row(action), self._reward.row(reward), last

    def each(
        self,
        obs: Any,
        action: Any,
        reward: Any,
        done: Any,
        truncated: Any,
        next_obs: Any,
        extras: Mapping[str, Any],
    ) -> Steps:
        """Return one step of every stream."""
        n = self.n_streams
        columns = {"obs": self._obs.rows(obs, n)}
        if extras or len(self._columns) > 1:
            check_names(self._extras, extras)
            columns |= {name: self._columns[name].rows(value, n) for name, value in extras.items()}
        terminated = checks.flags("done", done, n)
        marks = terminated.view(np.uint8) * _TERMINATED
        last, cut = None, _NO_STREAMS
        if truncated is not False:
            if checks.is_single_flag(truncated):
                truncated = [truncated] * n
            is_cut = checks.flags("truncated", truncated, n) & ~terminated
            marks += is_cut * (_CUT if next_obs is None else _TRUNCATED)
            if next_obs is not None:
                cut = np.flatnonzero(is_cut)
                last = self._next_obs.rows(next_obs, n)[cut]
        actions, rewards = self._action.rows(action, n), self._reward.rows(reward, n)
        return marks, columns, actions, rewards, last, cut


def check_names(expected: Set[str], extras: Mapping[str, Any]) -> None:
    """Raise TypeError unless there is a value for each of the ``expected`` extras, and no other."""
    unknown = sorted(extras.keys() - expected)
    missing = sorted(expected - extras.keys())
    if unknown or missing:
        problems = [f"unknown: {', '.join(unknown)}"] * bool(unknown)
        problems += [f"missing: {', '.join(missing)}"] * bool(missing)
        raise TypeError(
            f"extras given to add are wrong ({'; '.join(problems)}); "
            f"this buffer's extras are: {', '.join(sorted(expected)) or 'none'}"
        )
