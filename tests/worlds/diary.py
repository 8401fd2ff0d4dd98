"""Worlds whose true values are known, and what a memory of them must hold.

An observation is a diary's entry, [writer + 1, episode + 1, step]: who sees it, and when. A writer is
an environment of a vector, or an agent. How long an episode lasts, how it ends and what a step pays
follow from these numbers, and so does what `Clockwork`, the model, does. So the memory of a run can be
foretold without the run.
"""

from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np

import trifolium as tri

N_ACTIONS = 5
GAMMA = 0.9
Entry = tuple[int, int, int]


def length(writer: int, episode: int) -> int:
    return 2 + (3 * writer + 2 * episode) % 5


def ending(writer: int, episode: int) -> str:
    return ("terminated", "truncated", "both")[(writer + episode) % 3]


def action_at(writer: int, episode: int, step: int) -> int:
    return (7 * writer + 3 * episode + step) % N_ACTIONS


def reward_at(writer: int, episode: int, step: int) -> float:
    return 100.0 * writer + 10.0 * episode + step + action_at(writer, episode, step) / 8


def entry(writer: int, episode: int, step: int) -> np.ndarray:
    return np.array([writer + 1, episode + 1, step], np.float32)


def who_and_when(observation: np.ndarray) -> Entry:
    writer, episode, step = (int(number) for number in observation)
    return writer - 1, episode - 1, step


class Clockwork(tri.BaseModel):
    """Does what the diary says, and sees to it that the state is what it must be."""

    def take_action(self, state: Any) -> int:
        n_frames = self.memory.n_frames
        frames = np.asarray(state).reshape(n_frames, 3)
        writer, episode, step = who_and_when(frames[-1])
        assert frames.tolist() == expected_frames(writer, episode, step, n_frames)
        return action_at(writer, episode, step)


class Watchful(tri.BaseModel):
    """Does what follows from every frame of the state and from chance."""

    def take_action(self, state: Any) -> int:
        frames = np.asarray(state, np.float64).reshape(-1)
        seen = int(1e6 * (frames * np.arange(1, len(frames) + 1)).sum())
        return (seen + int(self.rng.integers(2))) % self.action_space


def expected_frames(writer: int, episode: int, step: int, n_frames: int) -> list[list[float]]:
    places = range(step - n_frames + 1, step + 1)
    return [entry(writer, episode, p).tolist() if p >= 0 else [0.0, 0.0, 0.0] for p in places]


def clockwork(backend: tri.Backend, n_frames: int, n_step: int, **options: Any) -> Clockwork:
    return Clockwork(
        3,
        N_ACTIONS,
        memory_size=options.pop("memory_size", 600),
        backend=backend,
        seed=0,
        n_frames=n_frames,
        n_step=n_step,
        gamma=GAMMA,
        **({"boundary": "pad"} | options),
    )


class DiaryEnv(gym.Env[np.ndarray, np.int64]):
    """The diary of one writer; each reset begins the next episode.

    Args:
        writer: whose.
        overwrites: whether each observation is written over the one before, as some environments do.
    """

    def __init__(self, writer: int = 0, *, overwrites: bool = True) -> None:
        self.observation_space = gym.spaces.Box(-1, 1000, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(N_ACTIONS, start=1)
        self.writer, self.episode, self.steps = writer, -1, 0
        self.overwrites = overwrites
        self.page = np.zeros(3, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, Any]:
        super().reset(seed=seed)
        self.episode += 1
        self.steps = 0
        return self._entry(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, Any]:
        now = (self.writer, self.episode, self.steps)
        assert action == 1 + action_at(*now), f"{now}: {action}"
        self.steps += 1
        over = self.steps == length(self.writer, self.episode)
        terminated = over and ending(self.writer, self.episode) in ("terminated", "both")
        truncated = over and ending(self.writer, self.episode) in ("truncated", "both")
        return self._entry(), reward_at(*now), terminated, truncated, {}

    def _entry(self) -> np.ndarray:
        self.page[:] = entry(self.writer, self.episode, self.steps)
        return self.page if self.overwrites else self.page.copy()


@dataclass(frozen=True)
class Episode:
    """What a memory is to hold of one episode.

    Attributes:
        writer, episode: whose, and which.
        steps: stored steps.
        end: "terminated", "truncated", or "open".
        is_newest: whether it is the last of its stream.
    """

    writer: int
    episode: int
    steps: int
    end: str
    is_newest: bool = False

    @property
    def known(self) -> int:
        """How many steps can be drawn: the newest row of an open episode has no successor yet."""
        return self.steps - (self.is_newest and self.end == "open")


def episodes_of(writer: int, steps: int) -> list[Episode]:
    """Return the episodes of the first ``steps`` of a writer."""
    found = []
    while steps > 0:
        played = min(steps, length(writer, len(found)))
        steps -= played
        end = ending(writer, len(found)).replace("both", "terminated")
        is_over = played == length(writer, len(found))
        found.append(Episode(writer, len(found), played, end if is_over else "open"))
    return found


def check_memory(memory: tri.Buffer, streams: list[list[Episode]]) -> None:
    """See that ``memory`` holds ``streams``, and hands out what is true of them."""
    check_rows(memory, streams)
    newest = [replace(stream[-1], is_newest=True) for stream in streams]
    check_samples(memory, [each for stream in streams for each in stream[:-1]] + newest)


def check_rows(memory: tri.Buffer, streams: list[list[Episode]]) -> None:
    """See that the rows are these steps, in this order, with a last observation after a truncation."""
    expected = []
    for stream in streams:
        for each in stream:
            now = [(each.writer, each.episode, step) for step in range(each.steps)]
            done = [each.end == "terminated" and step == each.steps - 1 for step in range(each.steps)]
            expected += [
                (entry(*when).tolist(), action_at(*when), reward_at(*when), float(over))
                for when, over in zip(now, done, strict=True)
            ]
            if each.end == "truncated":
                expected.append((entry(each.writer, each.episode, each.steps).tolist(), 0, 0.0, 0.0))
    columns = [tri.backend.as_numpy(column).tolist() for column in memory[:]]
    assert list(zip(*columns, strict=True)) == expected


def check_samples(memory: tri.Buffer, episodes: list[Episode]) -> None:
    """Draw everything that can be drawn, and compare each row with the truth."""
    by_name = {(each.writer, each.episode): each for each in episodes}
    batch = memory.sample(memory.drawable, flatten=False)
    columns = [tri.backend.as_numpy(column) for column in (*batch, batch.discounts)]
    met = set()
    for states, action, reward, next_states, done, valid, discount in zip(*columns, strict=True):
        now = who_and_when(states[-1])
        each = by_name[now[:2]]
        assert valid[0] == is_valid(memory, each, now[2]), now
        if not valid[0]:
            continue
        met.add(now)
        found = (states.tolist(), int(action[0]), float(done[0]), float(discount[0]))
        rewards, done_now, after = tail(memory, each, now[2])
        frames = expected_frames(*now, memory.n_frames)
        assert found == (frames, action_at(*now), done_now, np.float32(GAMMA ** len(rewards)))
        total = sum(GAMMA**k * earned for k, earned in enumerate(rewards))
        assert reward[0] == np.float32(total)
        if not done_now:
            assert next_states.tolist() == expected_frames(*now[:2], after, memory.n_frames)
    assert met == {
        (each.writer, each.episode, step)
        for each in episodes
        for step in range(each.known)
        if is_valid(memory, each, step)
    }


def is_valid(memory: tri.Buffer, each: Episode, step: int) -> bool:
    is_step = step < each.steps
    return is_step and (memory.spec.boundary == "pad" or step >= memory.n_frames - 1)


def tail(memory: tri.Buffer, each: Episode, step: int) -> tuple[list[float], float, int]:
    """Return the rewards summed from ``step`` on, whether they end there, and where they lead."""
    after = min(step + memory.spec.n_step, each.known)
    rewards = [reward_at(each.writer, each.episode, now) for now in range(step, after)]
    return rewards, float(each.end == "terminated" and after == each.steps), after
