"""A DQN project in plain PyTorch whose players, and whose replay memory, are processes of Ray.

Needs: pip install 'trifolium[torch,train,ray]'

The network, the loss, the players and the loop are the project's own. The lines marked ``# trifolium``
are all that the memory takes: two shards of it, a writer for each player, and minibatches in tensors.
Several minibatches come with each call of a shard; players act while the learner learns.

``--address local``, the default, starts Ray on this machine; ``--address auto`` joins its cluster.
Exits with an error if the agent does not learn to balance the pole.
"""

import argparse
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from trifolium.distributed import ShardedBuffer, Writer  # trifolium

STEPS, WARM_UP, BATCH, LEARN_EVERY = 25_000, 500, 64, 2
PLAYERS, CHUNK = 2, 32  # steps that a player takes between two policies
GAMMA, POLYAK, WANTED = 0.99, 0.01, 60.0  # a random policy earns 22


class QNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 2)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.layers(states)


class Player:
    """Plays CartPole in a process of its own, and writes the steps to the shards."""

    def __init__(self, writer: Writer, seed: int) -> None:
        torch.set_num_threads(1)
        self.writer, self.rng = writer, np.random.default_rng(seed)
        self.env, self.network = gym.make("CartPole-v1"), QNetwork()
        self.obs, _ = self.env.reset(seed=seed)
        self.earned = 0.0

    def play(self, weights: dict[str, torch.Tensor], steps: int, epsilon: float) -> list[float]:
        """Take steps by these weights; return what the episodes that ended returned."""
        self.network.load_state_dict(weights)
        ended = []
        for _ in range(steps):
            action = int(self.rng.integers(2)) if self.rng.random() < epsilon else self.best()
            next_obs, reward, terminated, truncated, _ = self.env.step(action)
            self.writer.add(  # trifolium
                self.obs, action, reward, terminated, truncated=truncated, next_obs=next_obs
            )
            self.earned += float(reward)
            self.obs = next_obs
            if terminated or truncated:
                self.obs, _ = self.env.reset()
                ended.append(self.earned)
                self.earned = 0.0
        self.writer.flush(wait=False)  # trifolium
        return ended

    def best(self) -> int:
        with torch.no_grad():
            return int(self.network(torch.from_numpy(self.obs)).argmax())


def learn(network: QNetwork, target: QNetwork, optimizer: Any, memory: ShardedBuffer) -> None:
    batch = memory.sample(BATCH)  # trifolium
    states, actions, rewards, next_states, dones, valid = batch  # trifolium
    with torch.no_grad():
        best = network(next_states).argmax(dim=1, keepdim=True)
        targets = rewards + batch.discounts * (1 - dones) * target(next_states).gather(1, best)
    errors = network(states).gather(1, actions) - targets
    loss = (
        valid * nn.functional.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none")
    ).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for old, new in zip(target.parameters(), network.parameters(), strict=True):
            old.lerp_(new, POLYAK)


def train(seed: int, address: str) -> list[float]:
    import ray

    torch.manual_seed(seed)
    network, target = QNetwork(), QNetwork()
    target.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    returns, steps = [], 0
    sizes = {"shards": 2, "n_streams": PLAYERS, "prefetch": 16}
    with ShardedBuffer(  # trifolium
        STEPS, (4,), **sizes, backend="torch", seed=seed, gamma=GAMMA, address=address
    ) as memory:
        remote = ray.remote(num_cpus=0)(Player)
        players = [remote.remote(memory.writer(1), seed + i) for i in range(PLAYERS)]  # trifolium
        while steps < STEPS:
            weights = ray.put(network.state_dict())
            epsilon = max(0.05, 1 - steps / 5000)
            playing = [player.play.remote(weights, CHUNK, epsilon) for player in players]
            if steps >= WARM_UP:  # meanwhile
                for _ in range(PLAYERS * CHUNK // LEARN_EVERY):
                    learn(network, target, optimizer, memory)
            returns += [earned for ended in ray.get(playing) for earned in ended]
            steps += PLAYERS * CHUNK
    return returns


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="local", help="of the Ray cluster (default: local)")
    torch.set_num_threads(1)
    mean = np.mean(train(seed=1, address=parser.parse_args().address)[-20:])
    print(f"mean return of the last 20 episodes: {mean:.1f} (wanted: {WANTED})")
    return 0 if mean >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
