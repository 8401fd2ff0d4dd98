"""A TorchModel of ten lines in an ordinary PyTorch training script: double deep Q-learning on CartPole.

The network, the optimizer, the loss and the loop are the script's own. trifolium brings the replay
memory, whose minibatches are tensors, epsilon and the generator.
"""

import copy
import sys

import gymnasium as gym
import torch
from torch import nn

from trifolium.experiment import evaluate
from trifolium_torch import TorchModel

STEPS = 20_000
RANDOM_RETURN = 22.0  # of a random policy on CartPole-v1, on average


def network() -> nn.Module:
    hidden = nn.Sequential(nn.Linear(4, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU())
    return nn.Sequential(hidden, nn.Linear(84, 2))


class QNetwork(TorchModel):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.layers = network()

    def take_action(self, state):
        if self.rng.random() < self.epsilon:
            return int(self.rng.integers(self.action_space))
        with torch.no_grad():
            return int(self.layers(torch.as_tensor(state)).argmax())


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    env = gym.make("CartPole-v1")
    model = QNetwork(input_size=4, action_space=2, memory_size=STEPS, epsilon=1.0, seed=0, n_step=3)
    target = copy.deepcopy(model.layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)

    obs, _ = env.reset(seed=0)
    for step in range(STEPS):
        model.set_epsilon(max(0.05, 1.0 - 2.0 * step / STEPS))
        action = model.take_action(obs)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        model.memory.add(obs, action, reward, terminated, truncated=truncated, next_obs=next_obs)
        obs = env.reset()[0] if terminated or truncated else next_obs

        if step >= 1_000 and step % 2 == 0:
            batch = model.memory.sample(128)
            with torch.no_grad():
                best = model.layers(batch.next_states).argmax(dim=1, keepdim=True)
                following = target(batch.next_states).gather(1, best)
                wanted = batch.rewards + batch.discounts * (1 - batch.dones) * following
            values = model.layers(batch.states).gather(1, batch.actions)
            losses = nn.functional.smooth_l1_loss(values, wanted, reduction="none")
            loss = (losses * batch.valid).sum() / batch.valid.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if step % 500 == 0:
            target.load_state_dict(model.layers.state_dict())

    found = evaluate(model, gym.make("CartPole-v1"), episodes=20, seed=1_000).mean()
    print(f"mean greedy return {found:.0f}; a random policy gets {RANDOM_RETURN:.0f}")
    if found < 4 * RANDOM_RETURN:
        sys.exit("it has learned less than it should")


if __name__ == "__main__":
    main()
