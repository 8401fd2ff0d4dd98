"""Memories, batches and runs as type checkers see them: right code, and mistakes that they find."""

import numpy as np

import trifolium as tri
from trifolium.distributed import ShardedBuffer
from trifolium.experiment import EpisodeRow, Experiment, Log, TrainOptions
from trifolium.testing import ModelSuite

memory = tri.Buffer(100, {"camera": ((8, 8), "uint8"), "speed": 2}, n_frames={"camera": 4}, seed=0)
memory.add({"camera": np.zeros((8, 8)), "speed": [0.0, 1.0]}, 0, 1.0, False, where=True)
batch: tri.Batch = memory.sample(1, flatten=False)
states, actions, rewards, next_states, dones, valid = batch
rows: int = batch.batch_size
drawn: tri.Buffer = tri.Buffer.load("rows", backend="torch")
sampler: tri.Sampler = tri.Prioritized(beta=tri.Linear(0.4, 1.0, steps=10))
replay: tri.ReplayMemory = memory
options = TrainOptions(env="CartPole-v1", steps=100, hidden=(64,))


class Rule(tri.BaseModel):
    def take_action(self, state: object) -> int:
        return 0


class TestRule(ModelSuite):
    def made(self, seed: int) -> Rule:
        return Rule(4, 2, 100, seed=seed)


class Printed(Log):
    def episode(self, row: EpisodeRow) -> None:
        print(row.episode_return)


Experiment(options, "run", models=Rule(4, 2, 100), logs=[Printed()])

tri.Buffer(100, (4,), n_stream=2)  # type: ignore[call-arg]
tri.Buffer("100", (4,))  # type: ignore[arg-type]
tri.Buffer(100, (4,), gamma="0.9")  # type: ignore[arg-type]
tri.Buffer(100, (4,), sampler=tri.Uniform)  # type: ignore[arg-type]
tri.Buffer(100)  # type: ignore[call-arg]
memory.sample("64")  # type: ignore[arg-type]
memory.sample(64, flat=True)  # type: ignore[call-arg]
memory.sample_sequences(64)  # type: ignore[call-arg]
memory.update_priority([0], [1.0])  # type: ignore[attr-defined]
observed = batch.observations  # type: ignore[attr-defined]
weight = batch.weight  # type: ignore[attr-defined]
tri.Prioritized(0.6, "0.4")  # type: ignore[arg-type]
tri.Linear(1.0, 0.1)  # type: ignore[call-arg]
ShardedBuffer(100, (4,), shard=2)  # type: ignore[call-arg]
TrainOptions(env="CartPole-v1", step=100)  # type: ignore[call-arg]
TrainOptions(env="CartPole-v1", steps="100")  # type: ignore[arg-type]
Experiment(options, "run", logs=Printed())  # type: ignore[arg-type]
tri.BaseModel(4, 2, 100)  # type: ignore[abstract]
tri.get_backend(1)  # type: ignore[arg-type]
row_loss: int = EpisodeRow(1, 1, 1.0, 1, 0.1, 0.5).episode_return  # type: ignore[assignment]
