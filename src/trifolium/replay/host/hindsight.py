"""Hindsight: goals that were reached replace those that were wanted (Andrychowicz et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trifolium._checks import fraction, vector
from trifolium.replay.host.ring import Ring
from trifolium.replay.host.samplers import Draw, Drawable, draw_accepted
from trifolium.replay.host.store import Store
from trifolium.replay.rules.assemble import ACHIEVED, Plan
from trifolium.replay.rules.marks import BOUNDARY, ENDED

__all__ = ["Hindsight"]

PARTS = ("observation", "achieved_goal", "desired_goal")


class Hindsight:
    """Hindsight experience replay: a share of the rows is given a goal that its episode reached later.

    Valid rows are drawn, each equally likely. In ``round(ratio * B)`` of them the desired goal of state
    and next state is replaced by the achieved goal after a step from the row's own to the last known of
    its episode, each equally likely ("future" of Andrychowicz et al. 2017, section 4.5), and the reward
    by that of the new goal.

    The buffer's observations are structured, with the names of Gymnasium-Robotics at the top level:
    "observation", "achieved_goal" and "desired_goal". Rewards of several steps can't be given anew, so
    the buffer has ``n_step=1``.

    Args:
        reward: called with (achieved [N, *shape], desired [N, *shape], info) as NumPy arrays, returns
            [N] rewards: ``env.unwrapped.compute_reward`` of Gymnasium-Robotics is one. ``info`` is a
            dict of the rows' extras, each [N, ...].
        ratio: share of the rows that get another goal, in [0, 1].
        strategy: "future".

    Raises:
        ValueError, TypeError: an argument is wrong; the message names it.

    >>> from trifolium import Buffer
    >>> def reward(achieved, desired, info):
    ...     return (achieved == desired).all(axis=1) - 1.0
    >>> shape = {"observation": (2,), "achieved_goal": (1,), "desired_goal": (1,)}
    >>> buffer = Buffer(100, shape, seed=0, sampler=Hindsight(reward))
    >>> for step in range(10):
    ...     obs = {"observation": [step, 0], "achieved_goal": [step], "desired_goal": [99]}
    ...     buffer.add(obs, action=0, reward=-1.0, done=False)
    >>> batch = buffer.sample(5)
    >>> int((batch.states["desired_goal"] != 99).sum())
    4
    """

    def __init__(
        self,
        reward: Callable[[np.ndarray, np.ndarray, dict[str, np.ndarray]], Any],
        *,
        ratio: float = 0.8,
        strategy: str = "future",
    ) -> None:
        if not callable(reward):
            raise TypeError(
                f"reward={reward!r:.80} is a {type(reward).__name__}; expected a function of "
                "(achieved, desired, info), such as env.unwrapped.compute_reward"
            )
        if strategy != "future":
            raise ValueError(f"strategy={strategy!r}; expected 'future'")
        self.reward = reward
        self.ratio = fraction("ratio", ratio)
        self.strategy = strategy
        self._ring: Ring | None = None
        self._known_to = np.zeros(0, np.int64)  # serials of each stream whose marks were looked at
        self._ends: list[np.ndarray] = []  # serials of the last steps of episodes, by stream

    def check(self, spec: Any) -> None:
        """Raise ValueError if a buffer with these options can't be drawn from in hindsight."""
        names = {leaf.path[0] for leaf in spec.leaves if leaf.path}
        missing = [name for name in PARTS if name not in names]
        if missing:
            raise ValueError(
                f"sampler=Hindsight(...) needs observations with the parts {', '.join(PARTS)}; "
                f"obs_shape={spec.obs_shape!r} lacks {', '.join(missing)}"
            )
        by_name = {leaf.path[0]: leaf for leaf in spec.leaves}
        goals = [by_name[name] for name in PARTS[1:]]
        if any(len(goal.path) > 1 for goal in goals) or goals[0][1:3] != goals[1][1:3]:
            raise ValueError(
                f"achieved_goal and desired_goal are {goals[0][1:3]} and {goals[1][1:3]}; "
                "expected two arrays of the same shape and dtype"
            )
        if spec.n_step != 1:
            raise ValueError(f"n_step={spec.n_step} with sampler=Hindsight(...); expected n_step=1")

    def draw(self, source: Drawable, rng: np.random.Generator, batch_size: int) -> Draw:
        return Draw(*draw_accepted(source.ring, rng, batch_size, source.valid_rows))

    def relabel(
        self,
        store: Store,
        rng: np.random.Generator,
        plan: Plan,
        streams: np.ndarray,
        serials: np.ndarray,
    ) -> Plan:
        """Return the plan of a batch with other goals, and their rewards, for a share of its rows.

        A step that terminated its episode keeps its goal: nothing is reached after it.
        """
        ring, size = store.ring, len(serials)
        last = self._last_observations(ring, streams, serials)
        places = np.sort(rng.permutation(size)[: round(self.ratio * size)])
        chosen = serials + 1 + rng.integers(0, np.maximum(last - serials, 1))
        places = places[last[places] > serials[places]]
        goals = ring.rows(streams, np.minimum(chosen, last))
        is_given = np.zeros(size, bool)
        is_given[places] = True
        rows = ring.rows(streams[places], serials[places])
        after = ring.rows(streams[places], serials[places] + 1)
        read = store.columns.read
        info = {name: read(name, rows) for name, _, _ in store.spec.extras}
        rewards = self.reward(read(ACHIEVED, after), read(ACHIEVED, goals[places]), info)
        plan.scalars[0, places, 0] = vector("reward(achieved, desired, info)", rewards, "float32")
        return plan._replace(goals=(is_given, goals))

    def update(self, source: Drawable, rows: np.ndarray, priorities: np.ndarray) -> None:  # noqa: ARG002
        raise TypeError("update_priorities: this buffer draws in hindsight; give it Prioritized()")

    def clear(self) -> None:
        self._ring = None

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, source: Drawable, state: Mapping[str, np.ndarray]) -> None:
        pass

    def _last_observations(self, ring: Ring, streams: np.ndarray, serials: np.ndarray) -> np.ndarray:
        """Return the serials of the newest observations of the episodes of rows: [N].

        A terminated step whose final observation is not stored is the last itself.
        """
        self._find_ends(ring)
        last = np.empty_like(serials)
        for stream in np.unique(streams).tolist():
            mine, ends = streams == stream, self._ends[stream]
            place = np.searchsorted(ends, serials[mine])
            newest = int(ring.written[stream]) - 1
            last[mine] = np.append(ends, newest)[place]
        return last

    def _find_ends(self, ring: Ring) -> None:
        """Look at the marks of the rows that are new since the last draw."""
        if self._ring is not ring:
            self._ring, self._known_to = ring, np.zeros(ring.n_streams, np.int64)
            self._ends = [np.zeros(0, np.int64) for _ in range(ring.n_streams)]
        oldest = ring.written - ring.sizes
        for stream in range(ring.n_streams):
            start = max(int(self._known_to[stream]) - 1, int(oldest[stream]))
            fresh = np.arange(start, int(ring.written[stream]))
            marks = ring.marks[ring.rows(stream, fresh)]
            ended = fresh[(marks & ENDED) != 0]
            followed = ring.marks[ring.rows(stream, np.minimum(ended + 1, ring.written[stream] - 1))]
            is_boundary = ((followed & BOUNDARY) != 0) & (ended + 1 < ring.written[stream])
            known = self._ends[stream]
            known = known[(known >= oldest[stream]) & (known < start)]
            self._ends[stream] = np.concatenate([known, np.unique(ended[~is_boundary])])
            self._known_to[stream] = int(ring.written[stream])
