"""A DQN project in plain PyTorch whose replay buffer is trifolium's.

Needs: pip install 'trifolium[torch,train]'

The network, the loss and the loop are the project's own. The lines marked ``# trifolium`` replace a
deque and a function that stacks its tuples to tensors. They also bootstrap correctly at time limits: a
truncated step is followed by its own last observation.

Exits with an error if the agent does not learn to balance the pole.
"""

import sys

import gymnasium as gym
import numpy as np
import torch
from torch import nn

import trifolium as tri  # trifolium

STEPS, WARM_UP, BATCH, LEARN_EVERY = 25_000, 500, 64, 2
GAMMA, POLYAK, WANTED = 0.99, 0.01, 60.0  # a random policy earns 22


class QNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 2)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.layers(states)


def greedy(network: QNetwork, obs: np.ndarray) -> int:
    with torch.no_grad():
        return int(network(torch.from_numpy(obs)).argmax())


def learn(
    network: QNetwork, target: QNetwork, optimizer: torch.optim.Optimizer, memory: tri.Buffer
) -> None:
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


def train(seed: int) -> list[float]:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    env = gym.make("CartPole-v1")
    network, target = QNetwork(), QNetwork()
    target.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    memory = tri.Buffer(STEPS, (4,), backend="torch", seed=seed, gamma=GAMMA)  # trifolium
    returns = [0.0]
    obs, _ = env.reset(seed=seed)
    for step in range(STEPS):
        explores = rng.random() < max(0.05, 1 - step / 5000)
        action = int(rng.integers(2)) if explores else greedy(network, obs)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        memory.add(obs, action, reward, terminated, truncated=truncated, next_obs=next_obs)  # trifolium
        returns[-1] += float(reward)
        obs = next_obs
        if terminated or truncated:
            obs, _ = env.reset()
            returns.append(0.0)
        if step >= WARM_UP and step % LEARN_EVERY == 0:
            learn(network, target, optimizer, memory)
    return returns


def main() -> int:
    torch.set_num_threads(1)
    mean = np.mean(train(seed=1)[-21:-1])
    print(f"mean return of the last 20 episodes: {mean:.1f} (wanted: {WANTED})")
    return 0 if mean >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
