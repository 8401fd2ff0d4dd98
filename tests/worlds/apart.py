"""The diary with its entries taken apart, as structured observations."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

import trifolium as tri
from trifolium.backend import as_numpy

from .diary import GAMMA, N_ACTIONS, Clockwork, DiaryEnv
from .diary_games import DiaryParallel, DiaryTurns

SPACE = gym.spaces.Dict(
    {
        "who": gym.spaces.Box(-1, 1000, (2,), np.float32),
        "when": gym.spaces.Tuple((gym.spaces.Box(-1, 1000, (1,), np.float64), gym.spaces.Text(9))),
    }
)
SHAPE = {"when": {"0": ((1,), "float32")}, "who": ((2,), "float32")}


def taken_apart(entry: np.ndarray) -> dict[str, Any]:
    """Return an entry as an observation of SPACE; its arrays are views of the entry."""
    return {"who": entry[..., :2], "when": (entry[..., 2:], "text")}


def joined(structured: Any) -> np.ndarray:
    """Return observations of SHAPE as entries [..., 3]."""
    return np.concatenate([as_numpy(structured["who"]), as_numpy(structured["when"]["0"])], axis=-1)


class ClockworkApart(Clockwork):
    """Does what the diary says, of entries that are taken apart."""

    def take_action(self, state: Any) -> int:
        return super().take_action(joined(state))


def clockwork_apart(backend: tri.Backend, n_frames: Any, n_step: int, **options: Any) -> ClockworkApart:
    return ClockworkApart(
        SHAPE,
        N_ACTIONS,
        memory_size=600,
        backend=backend,
        seed=0,
        n_frames=n_frames,
        n_step=n_step,
        gamma=GAMMA,
        **({"boundary": "pad"} | options),
    )


class Whole:
    """A memory of entries that are taken apart, read as one of whole entries."""

    def __init__(self, memory: tri.Buffer) -> None:
        self.memory = memory
        self.spec, self.n_frames, self.drawable = memory.spec, memory.n_frames, memory.drawable

    def __getitem__(self, index: Any) -> Any:
        obs, *rest = self.memory[index]
        return (joined(obs), *rest)

    def sample(self, batch_size: int, *, flatten: bool) -> tri.Batch:
        batch = self.memory.sample(batch_size, flatten=flatten)
        return replace(batch, states=joined(batch.states), next_states=joined(batch.next_states))


class EnvApart(DiaryEnv):
    """The diary of one writer, taken apart."""

    def __init__(self, writer: int = 0, *, overwrites: bool = True) -> None:
        super().__init__(writer, overwrites=overwrites)
        self.observation_space = SPACE

    def _entry(self) -> Any:
        return taken_apart(super()._entry())


class _Game:
    def observation_space(self, agent: str) -> gym.Space[Any]:
        return SPACE

    def observe(self, agent: str) -> Any:
        return taken_apart(super().observe(agent))  # type: ignore[misc]


class ParallelApart(_Game, DiaryParallel):
    """All write at the same time."""


class TurnsApart(_Game, DiaryTurns):
    """They write in turns."""
