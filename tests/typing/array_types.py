"""Arrays as type checkers see them: `Buffer[torch.Tensor]` gives tensors, and mistakes are found."""

from collections.abc import Iterator, Mapping
from typing import Any, assert_type

import jax
import jax.numpy as jnp
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

import trifolium as tri
from trifolium.distributed import ShardedBuffer
from trifolium_jax import JaxBackend, JaxModel
from trifolium_numpy import NumpyBackend
from trifolium_torch import TorchBackend, TorchModel


def arrays(
    host: np.ndarray, exact: NDArray[np.float32], tensor: torch.Tensor, array: jax.Array
) -> None:
    found: tri.Array = host
    found = exact
    found = tensor
    found = array
    print(found)


def mean(batch: tri.Batch[tri.Array]) -> float:
    shape: tuple[int, ...] = batch.rewards.shape
    targets = batch.rewards + batch.discounts * (1 - batch.dones) * batch.next_states[:, :1]
    kept = batch.rewards[(batch.valid > 0) & (batch.weights != 0)]
    return float((targets - kept)[0] / len(shape)) + float(-batch.rewards[0])


# A stated type

memory: tri.Buffer[torch.Tensor] = tri.Buffer(100, (4,), backend="torch", seed=0)
batch = memory.sample(4)
assert_type(batch, tri.Batch[torch.Tensor])
states, actions, rewards, next_states, dones, valid = batch
assert_type(rewards, torch.Tensor)
assert_type(batch[0], torch.Tensor)
assert_type(batch[1:3], tuple[torch.Tensor, ...])
assert_type(batch.to("cpu").extras, Mapping[str, torch.Tensor])
loss: torch.Tensor = functional.mse_loss(batch.rewards, 1 - batch.dones)
for each in memory.as_dataset(4, prefetch=2):
    assert_type(each.states, torch.Tensor)
assert_type(memory.current_state(), torch.Tensor)
assert_type(memory.rewards, torch.Tensor)
loaded: tri.Buffer[torch.Tensor] = tri.Buffer.load("rows")
opened: tri.Buffer[jax.Array] = tri.Buffer.open("folder", backend="jax")
filled: tri.Buffer[np.ndarray] = tri.Buffer.from_arrays(np.zeros((2, 2)), [0, 1], [0, 1], [0, 1])
shards: ShardedBuffer[torch.Tensor] = ShardedBuffer(100, (4,), shards=2, backend="torch")
assert_type(shards.sample(4).rewards, torch.Tensor)
direct = tri.Buffer[jax.Array](100, (4,), backend="jax")
assert_type(jnp.mean(direct.sample(4).rewards), jax.Array)

# Structured observations: states are mappings of arrays

parts: tri.Buffer[Any] = tri.Buffer(100, {"camera": ((8, 8), "uint8"), "speed": 2}, backend="torch")
functional.mse_loss(parts.sample(4).states["speed"], parts.sample(4).rewards)

# A type that follows from a backend's object

assert_type(tri.Buffer(100, (4,), backend=TorchBackend()).sample(4).rewards, torch.Tensor)
assert_type(tri.Buffer(100, (4,), backend=JaxBackend()).sample(4).rewards, jax.Array)
assert_type(tri.Buffer(100, (4,), backend=NumpyBackend()).sample(4).rewards, np.ndarray)


# Models of one's own: a model that states the type of its memory, and one that does not


class Stated(TorchModel):
    memory: tri.Buffer[torch.Tensor]

    def take_action(self, state: object) -> int:
        return 0

    def train_step(self) -> torch.Tensor:
        batch = self.memory.sample(4)
        assert_type(batch.states, torch.Tensor)
        return functional.mse_loss(batch.states, batch.rewards)


class Plain(JaxModel):
    def take_action(self, state: object) -> int:
        return 0

    def train_step(self) -> jax.Array:
        return jnp.mean(self.memory.sample(4).states["speed"])


# No stated type: everything is accepted, and fits a stated type

plain = tri.Buffer(100, (4,), backend="torch")
functional.mse_loss(plain.sample(4).rewards, (1 - plain.sample(4).dones).unsqueeze(0))
stated: tri.Batch[torch.Tensor] = plain.sample(4)
whatever: tri.Buffer = memory
replay: tri.ReplayMemory = memory
tri.DDQN(4, 2, 100, memory=memory)
mean(memory.sample(4))
mean(plain.sample(4))
mean(direct.sample(4))


def batches(memory: tri.Buffer) -> Iterator[tri.Batch]:
    yield memory.sample(4)
    for state in memory.sample(4).states.values():
        yield state.anything


batches(parts)
batches(direct)


# Mistakes


def mistaken(batch: tri.Batch[tri.Array], rewards: tri.Array) -> Any:
    print(batch.state)  # type: ignore[attr-defined]
    print(batch.rewards.shpae)  # type: ignore[attr-defined]
    batch.rewards[0] = 1.0  # type: ignore[index]
    rewards.unsqueeze(0)  # type: ignore[attr-defined]
    functional.mse_loss(batch.rewards, batch.dones)  # type: ignore[arg-type]
    print(rewards << 1)  # type: ignore[operator]


print(memory.sample(4).state)  # type: ignore[attr-defined]
print(plain.sample(4).state)  # type: ignore[attr-defined]
print(memory.sample(4).rewards.shpae)  # type: ignore[attr-defined]
rewards.astype("float32")  # type: ignore[attr-defined]
jnp.mean(batch.rewards)  # type: ignore[arg-type]
numpy_memory: tri.Buffer[np.ndarray] = memory  # type: ignore[assignment]
elsewhere: tri.Buffer[np.ndarray] = tri.Buffer(9, 4, backend=TorchBackend())  # type: ignore[arg-type]
mean([1.0])  # type: ignore[arg-type]
number: tri.Array = 1.0  # type: ignore[assignment]
