"""The replay buffer in plain Python: slow, short, the reference for :class:`trifolium.Buffer`.

It knows no rings, no marks and no arrays. A stream is a list of rows in order of age, and each row
knows its episode and its place in it; all else follows from that.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

__all__ = ["Obs", "ReferenceBuffer", "Row", "Transition", "is_unbroken"]

Obs = tuple[float, ...]


@dataclass
class Row:
    """One row as it was written.

    Attributes:
        index: a number that no other row has, before or after it.
        kind: "step"; "boundary", the observation after a truncated step; "blank", one of the zeros
            that an episode begins with after add_empty.
        episode: a number that the rows of one episode share.
        place: of the row in its episode, from 0.
        obs, action, reward, tag: as given; a tag is an extra.
        end: how the step ended its episode: "done", "truncated" (with next_obs), "unknown"
            (without), or "" if it did not.
    """

    index: int
    kind: str
    episode: int
    place: int
    obs: Obs
    action: int = 0
    reward: float = 0.0
    tag: int = 0
    end: str = ""

    @property
    def is_last(self) -> bool:
        """Whether the next row begins another episode."""
        return self.end in ("done", "unknown") or self.kind == "boundary"


@dataclass
class Transition:
    """What ``sample`` returns for one row; states are lists of frames, oldest first."""

    row: Row
    states: list[Obs]
    reward: float
    discount: float
    done: bool
    next_states: list[Obs]
    valid: bool


class ReferenceBuffer:
    """Every argument means what it means for :class:`trifolium.Buffer`, and every method does."""

    def __init__(
        self,
        capacity: int,
        obs_size: int,
        n_frames: int = 1,
        *,
        n_streams: int = 1,
        n_step: int = 1,
        gamma: float = 0.99,
        boundary: str = "mask",
    ) -> None:
        self.length = capacity // n_streams
        self.zeros: Obs = (0.0,) * obs_size
        self.n_frames = n_frames
        self.n_streams = n_streams
        self.n_step = n_step
        self.gamma = gamma
        self.pad = boundary == "pad"
        self.streams: list[list[Row]] = [[] for _ in range(n_streams)]
        self.written = [0] * n_streams
        self.given: list[Obs | None] = [None] * n_streams  # the next_obs of each newest step
        self._episodes = count()

    def __len__(self) -> int:
        return sum(map(len, self.streams))

    # Writing

    def add(
        self,
        stream: int,
        obs: Obs,
        action: int,
        reward: float,
        tag: int,
        end: str,
        next_obs: Obs | None,
    ) -> None:
        """Store a step; a truncated one is followed by a row for the observation after it.

        A step that was given another successor than ``obs`` counts as truncated.
        """
        if self.given[stream] not in (None, obs):
            self._truncate(stream)
        self.given[stream] = None
        row = Row(0, "step", *self._next_place(stream), obs, action, reward, tag, end)
        self._append(stream, row)
        if end in ("", "truncated"):
            self.given[stream] = next_obs
        if end == "truncated":
            self._truncate(stream)

    def extend(self, stream: int, steps: Sequence[tuple[Any, ...]]) -> None:
        """Store steps one by one."""
        for step in steps:
            self.add(stream, *step)

    def end_episode(self, stream: int) -> None:
        """End the episode that is open; blank rows stay, and begin the next one."""
        rows = self.streams[stream]
        if self.given[stream] is not None:
            self._truncate(stream)
        elif rows and rows[-1].kind == "step" and not rows[-1].is_last:
            rows[-1].end = "unknown"

    def add_empty(self, stream: int) -> None:
        """End the episode; the next one begins with n_frames - 1 rows of zeros."""
        self.end_episode(stream)
        for _ in range(self.n_frames - 1):
            self._append(stream, Row(0, "blank", *self._next_place(stream), self.zeros))

    def add_from_buffer(self, other: "ReferenceBuffer") -> None:
        """Append the other's rows; the episodes open in either end there."""
        for source, rows in enumerate(other.streams):
            stream = source if self.n_streams > 1 else 0
            episodes: dict[int, int] = defaultdict(self._episodes.__next__)
            if rows:
                self.end_episode(stream)
                for row in rows[-self.length :]:
                    self._append(stream, replace(row, episode=episodes[row.episode]))
                self.given[stream] = other.given[source]
                self.end_episode(stream)

    def clear(self) -> None:
        """Remove all rows; the next one is written to the first place of its ring."""
        for stream in range(self.n_streams):
            self.streams[stream] = []
            self.given[stream] = None
            self.written[stream] += -self.written[stream] % self.length

    def _truncate(self, stream: int) -> None:
        """End the episode after its newest step, with a row for the successor that was given."""
        row, successor = self.streams[stream][-1], self.given[stream]
        assert successor is not None
        row.end = "truncated"
        self._append(stream, Row(0, "boundary", row.episode, row.place + 1, successor))
        self.given[stream] = None

    def _next_place(self, stream: int) -> tuple[int, int]:
        rows = self.streams[stream]
        if not rows or rows[-1].is_last:
            return next(self._episodes), 0
        return rows[-1].episode, rows[-1].place + 1

    def _append(self, stream: int, row: Row) -> None:
        row.index = self.written[stream] * self.n_streams + stream
        self.written[stream] += 1
        self.streams[stream] = [*self.streams[stream], row][-self.length :]

    # Reading

    def transitions(self) -> dict[int, Transition]:
        """Return every transition that can be drawn, by index: each is equally likely."""
        return {found.row.index: found for [found] in self.sequences(1)}

    def sequences(self, length: int) -> list[list[Transition]]:
        """Return every run of ``length`` that can be drawn.

        The newest row is not drawn, as its successor is not stored, unless it needs none; nor are, in
        "mask", the oldest, as frames before them are not stored.
        """
        first = 0 if self.pad else self.n_frames - 1
        return [
            [self._transition(rows, start + step) for step in range(length)]
            for rows in self.streams
            for start in range(first, len(rows) - length + bool(rows and rows[-1].end == "done"))
        ]

    def current_state(self, stream: int) -> list[Obs]:
        """Return the n_frames - 1 frames before the next observation."""
        rows = self.streams[stream]
        if not rows or rows[-1].is_last:
            return [self.zeros] * (self.n_frames - 1)
        return self._stack(rows, rows[-1])[0][1:]

    def last_transition(self, offset: int, stream: int) -> tuple[int, float, bool] | None:
        """Return (action, reward, done) of the step ``offset`` steps before the newest."""
        steps = [row for row in self.streams[stream] if row.kind == "step"]
        if offset >= len(steps):
            return None
        row = steps[-1 - offset]
        return row.action, row.reward, row.end == "done"

    def _transition(self, rows: list[Row], at: int) -> Transition:
        row = rows[at]
        steps = [row]
        while len(steps) < self.n_step and not steps[-1].end:
            following = rows[at + len(steps)]
            is_newest = following is rows[-1] and following.end != "done"
            if is_newest or following.end == "unknown":
                break  # its successor is not known
            steps.append(following)
        states, whole = self._stack(rows, row)
        next_states, _ = self._stack(rows, rows[min(at + len(steps), len(rows) - 1)])
        return Transition(
            row=row,
            states=states,
            reward=sum(self.gamma**k * step.reward for k, step in enumerate(steps)),
            discount=self.gamma ** len(steps),
            done=steps[-1].end == "done",
            next_states=next_states,
            valid=whole and row.kind == "step" and row.end != "unknown",
        )

    def _stack(self, rows: list[Row], newest: Row) -> tuple[list[Obs], bool]:
        """Return the frames up to ``newest``, and whether they are what was seen while acting."""
        stored = {row.place: row.obs for row in rows if row.episode == newest.episode}
        places = range(newest.place - self.n_frames + 1, newest.place + 1)
        whole = all(place in stored or (place < 0 and self.pad) for place in places)
        return [stored.get(place, self.zeros) for place in places], whole


def is_unbroken(rows: Sequence[Row]) -> bool:
    """Return whether a run of rows lies in one episode, and every row of it is a step."""
    return len({row.episode for row in rows}) == 1 and all(row.kind == "step" for row in rows)
