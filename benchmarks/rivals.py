"""The replay memories that are compared: trifolium on each backend, and those made for one framework.

Each takes the steps that an environment gives (NumPy observations, an int, a float, flags) and hands
out minibatches in its framework's arrays. Whatever a library asks of its user to get from the one to
the other is part of its cost. Each is set up the way its own documentation advises for speed: flashbax
is jitted with donated state, torchrl without the wrappers that its plain buffer can do without.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, ClassVar

import numpy as np

import trifolium as tri
from trifolium.replay.host import kernels
from trifolium.replay.host.kernels import Kernels

__all__ = ["CASES", "CONTENDERS", "MANY", "Case", "Contender", "TorchRL", "with_kernels"]

MANY = 64  # rows in one call
SEVERAL = 1_024  # consecutive rows that are stored together
CHUNK = 1_000  # rows at a time while a memory is filled
EPISODE = 200  # steps


@dataclass(frozen=True)
class Case:
    """What is stored and drawn."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    capacity: int
    n_frames: int = 1
    batch: int = 256

    def rows(self, count: int) -> dict[str, np.ndarray]:
        """Return ``count`` consecutive steps."""
        rng = np.random.default_rng(0)
        obs = rng.integers(0, 255, (count + 1, *self.shape)).astype(self.dtype)
        ended = np.arange(1, count + 1) % EPISODE == 0
        return {
            "obs": obs[:-1],
            "action": rng.integers(0, 4, count),
            "reward": rng.normal(size=count).astype(np.float32),
            "done": ended,
            "next_obs": obs[1:],
        }


CASES = {
    case.name: case
    for case in (
        Case("vec", (4,), "float32", 1_000_000),
        Case("image", (10, 10, 6), "uint8", 100_000),
        Case("stack", (84, 84), "uint8", 20_000, n_frames=4),
    )
}


def there_and_back(rows: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return ``rows``, and rows from their next observations back to the first ones.

    One after the other they are two steps of as many environments: the observation of each step is the
    next one of the step before.
    """
    return rows, rows | {"obs": rows["next_obs"], "next_obs": rows["obs"]}


class Contender(ABC):
    """A replay memory of one case.

    Args:
        case: what it is for.
        streams: how many rows each of its steps has; libraries with one environment for each row of an
            ``add`` have to be made for that.
    """

    name: ClassVar[str]
    framework: ClassVar[str]
    cases: ClassVar[tuple[str, ...]] = ("vec", "image")
    buffer: Any

    def __init__(self, case: Case, streams: int = 1) -> None:
        self.case = case
        self.streams = streams
        self.make()

    @abstractmethod
    def make(self) -> None:
        """Make the empty memory, :attr:`buffer`."""

    @abstractmethod
    def add(self, step: Any) -> Any:
        """Store one step: (obs, action, reward, done, next_obs)."""

    @abstractmethod
    def add_rows(self, rows: dict[str, np.ndarray]) -> Any:
        """Store a step of every stream, or consecutive steps where the library takes them."""

    def sample(self) -> Any:
        """Return a minibatch."""
        return self.buffer.sample(self.case.batch)

    def add_each(self, rows: dict[str, np.ndarray]) -> None:
        """Store consecutive steps one by one."""
        for step in zip(*rows.values(), strict=True):
            self.add(step)

    def fill(self) -> None:
        """Store as many rows as there is room for, and a few more."""
        size = self.streams if self.streams > 1 else CHUNK
        steps = itertools.cycle(there_and_back(self.case.rows(size)))
        for _ in range(self.case.capacity // size + 2):
            self.add_rows(next(steps))

    @cached_property
    def adding(self) -> Callable[[], Any]:
        """Return a function that stores one step after another."""
        rows = self.case.rows(CHUNK)
        values = (
            list(rows["obs"]),
            rows["action"].tolist(),
            rows["reward"].astype(float).tolist(),
            rows["done"].tolist(),
            list(rows["next_obs"]),
        )
        steps: Iterator[Any] = itertools.cycle(zip(*values, strict=True))
        return lambda: self.add(next(steps))

    @cached_property
    def adding_many(self) -> Callable[[], Any]:
        """Return a function that stores MANY rows in one call."""
        steps = itertools.cycle(there_and_back(self.case.rows(MANY)))
        return lambda: self.add_rows(next(steps))

    @cached_property
    def extending(self) -> Callable[[], Any]:
        """Return a function that stores SEVERAL consecutive rows."""
        rows = self.case.rows(SEVERAL)
        return lambda: self.add_rows(rows)


class Trifolium(Contender):
    """``trifolium.Buffer``."""

    name = "trifolium"
    cases = ("vec", "image", "stack")

    def make(self) -> None:
        case = self.case
        capacity = case.capacity // self.streams * self.streams
        self.buffer = tri.Buffer(
            capacity,
            case.shape,
            case.n_frames,
            obs_dtype=case.dtype,
            backend=self.framework,
            n_streams=self.streams,
            seed=0,
        )

    def add(self, step: Any) -> None:
        obs, action, reward, done, next_obs = step
        self.buffer.add(obs, action, reward, done, truncated=False, next_obs=next_obs)

    def add_rows(self, rows: dict[str, np.ndarray]) -> None:
        if self.streams > 1:
            self.buffer.add(
                rows["obs"], rows["action"], rows["reward"], rows["done"], next_obs=rows["next_obs"]
            )
        else:
            self.buffer.extend(rows["obs"], rows["action"], rows["reward"], rows["done"])


class OnNumPy(Trifolium):
    """``trifolium.Buffer`` on NumPy."""

    framework = "numpy"


class OnTorch(Trifolium):
    """``trifolium.Buffer`` on torch."""

    framework = "torch"


class OnJax(Trifolium):
    """``trifolium.Buffer`` on JAX."""

    framework = "jax"


@cache
def fast_kernels() -> Kernels | None:
    """Return trifolium's compiled kernels, which others do not use meanwhile."""
    kernels.use_kernels()
    found = kernels.kernels()
    kernels.use_kernels(False)
    return found


def with_kernels(call: Callable[[], Any]) -> Callable[[], Any]:
    """Return ``call`` with trifolium's compiled kernels, which are set for each call."""
    fast = fast_kernels()

    def fast_call() -> Any:
        kernels._active = fast
        found = call()
        kernels._active = None
        return found

    return fast_call


class FastOnNumPy(OnNumPy):
    """The same with compiled kernels."""

    name = "trifolium fast"

    @cached_property
    def sample(self) -> Callable[[], Any]:
        return with_kernels(super().sample)


class FastOnTorch(FastOnNumPy):
    """The same on torch."""

    framework = "torch"


class FastOnJax(FastOnNumPy):
    """The same on JAX."""

    framework = "jax"


class Cpprb(Contender):
    """``cpprb.ReplayBuffer``."""

    name = "cpprb"
    framework = "numpy"

    def make(self) -> None:
        from cpprb import ReplayBuffer

        observation = {"shape": self.case.shape, "dtype": np.dtype(self.case.dtype)}
        columns = {
            "obs": observation,
            "act": {"dtype": np.int64},
            "rew": {"dtype": np.float32},
            "next_obs": observation,
            "done": {"dtype": np.float32},
        }
        self.buffer = ReplayBuffer(self.case.capacity, columns)

    def add(self, step: Any) -> None:
        obs, action, reward, done, next_obs = step
        self.buffer.add(obs=obs, act=action, rew=reward, next_obs=next_obs, done=done)

    def add_rows(self, rows: dict[str, np.ndarray]) -> None:
        self.buffer.add(
            obs=rows["obs"],
            act=rows["action"],
            rew=rows["reward"],
            next_obs=rows["next_obs"],
            done=rows["done"],
        )


class StableBaselines(Contender):
    """``stable_baselines3``'s ReplayBuffer: stored by NumPy, drawn as tensors without a copy."""

    name = "SB3"
    framework = "numpy"

    def make(self) -> None:
        from gymnasium.spaces import Box, Discrete
        from stable_baselines3.common.buffers import ReplayBuffer

        high = 255 if self.case.dtype == "uint8" else np.inf
        space = Box(0, high, self.case.shape, np.dtype(self.case.dtype).type)
        self.buffer = ReplayBuffer(
            self.case.capacity, space, Discrete(4), device="cpu", n_envs=self.streams
        )
        self.infos: list[dict[str, Any]] = [{} for _ in range(self.streams)]

    def add(self, step: Any) -> None:
        obs, action, reward, done, next_obs = step
        self.buffer.add(
            obs[None],
            next_obs[None],
            np.array([action]),
            np.array([reward]),
            np.array([done]),
            self.infos,
        )

    def add_rows(self, rows: dict[str, np.ndarray]) -> None:
        if self.streams > 1:
            self.buffer.add(
                rows["obs"],
                rows["next_obs"],
                rows["action"],
                rows["reward"],
                rows["done"],
                self.infos,
            )
        else:
            self.add_each(rows)


class Tianshou(Contender):
    """``tianshou.data.ReplayBuffer``, with its own stacking of frames where there are some."""

    name = "tianshou"
    framework = "numpy"
    cases = ("vec", "image", "stack")

    def make(self) -> None:
        from tianshou.data import Batch, ReplayBuffer, VectorReplayBuffer

        self.batch = Batch
        stacks = self.case.n_frames > 1
        options = {"stack_num": self.case.n_frames, "ignore_obs_next": stacks}
        self.buffer = (
            VectorReplayBuffer(self.case.capacity, self.streams, **options)
            if self.streams > 1
            else ReplayBuffer(self.case.capacity, **options)
        )
        self.streams_all = np.arange(self.streams)

    def add(self, step: Any) -> None:
        obs, action, reward, done, next_obs = step
        self.buffer.add(
            self.batch(
                obs=obs, act=action, rew=reward, terminated=done, truncated=False, obs_next=next_obs
            )
        )

    def add_rows(self, rows: dict[str, np.ndarray]) -> None:
        if self.streams == 1:
            self.add_each(rows)
            return
        batch = self.batch(
            obs=rows["obs"],
            act=rows["action"],
            rew=rows["reward"],
            terminated=rows["done"],
            truncated=np.zeros(self.streams, bool),
            obs_next=rows["next_obs"],
        )
        self.buffer.add(batch, buffer_ids=self.streams_all)


class TorchRL(Contender):
    """``torchrl.data.ReplayBuffer`` over a LazyTensorStorage."""

    name = "torchrl"
    framework = "torch"

    def make(self) -> None:
        import torch
        from tensordict import TensorDict
        from torchrl.data import LazyTensorStorage, ReplayBuffer

        self.torch, self.tensordict = torch, TensorDict
        self.buffer = ReplayBuffer(
            storage=LazyTensorStorage(self.case.capacity), batch_size=self.case.batch
        )

    def add(self, step: Any) -> None:
        torch = self.torch
        obs, action, reward, done, next_obs = step
        values = {
            "obs": torch.from_numpy(obs),
            "action": torch.tensor(action),
            "reward": torch.tensor(reward),
            "done": torch.tensor(done),
            "next_obs": torch.from_numpy(next_obs),
        }
        self.buffer.add(self.tensordict(values, batch_size=[]))

    def add_rows(self, rows: dict[str, np.ndarray]) -> None:
        values = {name: self.torch.from_numpy(value) for name, value in rows.items()}
        self.buffer.extend(self.tensordict(values, batch_size=[len(rows["obs"])]))

    def sample(self) -> Any:
        return self.buffer.sample()

    def ahead(self, batches: int) -> Callable[[], Any]:
        """Return a function that samples, where threads draw some ``batches`` ahead."""
        from torchrl.data import ReplayBuffer

        buffer = ReplayBuffer(storage=self.buffer.storage, batch_size=self.case.batch, prefetch=batches)
        return partial(ReplayBuffer.sample, buffer)


class Flashbax(Contender):
    """``flashbax.make_flat_buffer``: pairs of consecutive steps."""

    name = "flashbax flat"
    framework = "jax"

    def make(self) -> None:
        import jax

        self.buffer = self._buffer()
        row = {name: value[0] for name, value in self._columns(self.case.rows(1)).items()}
        self.state = self.buffer.init(row)
        self.key = jax.random.key(0)
        self._add = jax.jit(self.buffer.add, donate_argnums=0)

        def sample(state: Any, key: Any) -> tuple[Any, Any]:
            key, now = jax.random.split(key)
            return self.buffer.sample(state, now), key

        self._sample = jax.jit(sample)

    def _buffer(self) -> Any:
        import flashbax

        return flashbax.make_flat_buffer(
            self.case.capacity, self.case.batch, self.case.batch, add_sequences=True
        )

    def _columns(self, rows: dict[str, Any]) -> dict[str, Any]:
        columns = {name: value for name, value in rows.items() if name != "next_obs"}
        return columns | {"action": np.asarray(rows["action"], np.int32)}

    def add(self, step: Any) -> Any:
        obs, action, reward, done, next_obs = step
        rows = {
            "obs": obs[None],
            "action": np.array([action]),
            "reward": np.array([reward], np.float32),
            "done": np.array([done]),
            "next_obs": next_obs[None],
        }
        return self.add_rows(rows)

    def add_rows(self, rows: dict[str, np.ndarray]) -> Any:
        self.state = self._add(self.state, self._columns(rows))
        return self.state

    def sample(self) -> Any:
        batch, self.key = self._sample(self.state, self.key)
        return batch


class FlashbaxItems(Flashbax):
    """``flashbax.make_item_buffer``: whole transitions."""

    name = "flashbax item"

    def _buffer(self) -> Any:
        import flashbax

        return flashbax.make_item_buffer(
            self.case.capacity, self.case.batch, self.case.batch, add_sequences=True
        )

    def _columns(self, rows: dict[str, Any]) -> dict[str, Any]:
        return rows | {"action": np.asarray(rows["action"], np.int32)}


CONTENDERS: tuple[type[Contender], ...] = (
    OnNumPy,
    FastOnNumPy,
    Cpprb,
    StableBaselines,
    Tianshou,
    OnTorch,
    FastOnTorch,
    TorchRL,
    OnJax,
    FastOnJax,
    Flashbax,
    FlashbaxItems,
)
