"""TD3 (Fujimoto et al. 2018) in plain PyTorch, with continuous actions, on Pendulum-v1.

Needs: pip install 'trifolium[torch,train]'

The networks, the losses and the loop are the project's own; the lines marked ``# trifolium`` are all
that the replay takes. Pendulum never terminates: every episode is cut off after 200 steps, and the last
step bootstraps from its own last observation, since ``next_obs`` is given with every step.
``Uniform(valid_only=True)`` draws no other rows, so that the losses are plain means.

Exits with an error if the agent does not learn to swing the pendulum up.
"""

import argparse
import copy
import sys

import gymnasium as gym
import numpy as np
import torch
from torch import nn

import trifolium as tri  # trifolium

WARM_UP, BATCH, GAMMA, POLYAK, DELAY = 1_000, 128, 0.99, 0.005, 2
EXPLORATION, SMOOTHING, CLIP = 0.1, 0.2, 0.5  # in parts of the largest action
WANTED = -250.0  # a random policy earns about -1,200


def layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, outputs)
    )


class Actor(nn.Module):
    def __init__(self, obs_size: int, largest: float) -> None:
        super().__init__()
        self.layers, self.largest = layers(obs_size, 1), largest

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.largest * torch.tanh(self.layers(states))


class Critics(nn.Module):
    def __init__(self, obs_size: int) -> None:
        super().__init__()
        self.first, self.second = layers(obs_size + 1, 1), layers(obs_size + 1, 1)

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        both = torch.cat([states, actions], dim=1)
        return self.first(both), self.second(both)


class TD3:
    def __init__(self, obs_size: int, largest: float) -> None:
        self.actor, self.critics = Actor(obs_size, largest), Critics(obs_size)
        self.targets = copy.deepcopy((self.actor, self.critics))
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=1e-3)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), lr=1e-3)
        self.largest, self.updates = largest, 0

    def act(self, obs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.actor(torch.from_numpy(obs)).numpy()

    def learn(self, batch: tri.Batch) -> None:
        states, actions, rewards, next_states, dones, _ = batch  # trifolium
        with torch.no_grad():
            actor, critics = self.targets
            noise = (torch.randn_like(actions) * SMOOTHING).clamp(-CLIP, CLIP) * self.largest
            next_actions = (actor(next_states) + noise).clamp(-self.largest, self.largest)
            values = torch.minimum(*critics(next_states, next_actions))
            targets = rewards + batch.discounts * (1 - dones) * values
        self.descend(
            self.critic_optimizer,
            sum(nn.functional.mse_loss(each, targets) for each in self.critics(states, actions)),
        )
        self.updates += 1
        if self.updates % DELAY == 0:
            self.descend(
                self.actor_optimizer,
                -self.critics.first(torch.cat([states, self.actor(states)], 1)).mean(),
            )
            for target, network in zip(self.targets, (self.actor, self.critics), strict=True):
                with torch.no_grad():
                    for old, new in zip(target.parameters(), network.parameters(), strict=True):
                        old.lerp_(new, POLYAK)

    @staticmethod
    def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def train(steps: int, seed: int) -> list[float]:
    torch.manual_seed(seed)
    rng, env = np.random.default_rng(seed), gym.make("Pendulum-v1")
    largest = float(env.action_space.high[0])
    agent = TD3(3, largest)
    memory = tri.Buffer(  # trifolium
        steps,
        (3,),
        action_shape=(1,),
        action_dtype="float32",
        backend="torch",
        seed=seed,
        gamma=GAMMA,
        sampler=tri.Uniform(valid_only=True),
    )
    returns = [0.0]
    obs, _ = env.reset(seed=seed)
    for step in range(steps):
        if step < WARM_UP:
            action = rng.uniform(-largest, largest, 1)
        else:
            action = agent.act(obs) + rng.normal(0.0, EXPLORATION * largest, 1)
        action = action.clip(-largest, largest).astype(np.float32)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        memory.add(obs, action, reward, terminated, truncated=truncated, next_obs=next_obs)  # trifolium
        returns[-1] += float(reward)
        obs = next_obs
        if terminated or truncated:
            obs, _ = env.reset()
            returns.append(0.0)
        if step >= WARM_UP:
            agent.learn(memory.sample(BATCH))  # trifolium
    return returns[:-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=8_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    mean = np.mean(train(options.steps, options.seed)[-10:])
    print(f"mean return of the last 10 episodes: {mean:.1f} (wanted: {WANTED})")
    return 0 if mean >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
