"""R2D2 (Kapturowski et al. 2019) in plain PyTorch: stored recurrent states and burn-in.

Needs: pip install 'trifolium[torch]'

The memory stores the recurrent state of the network before each step as an extra. Sequences within an
episode are drawn by the priority of their first row. The network starts from the stored state, reads
the first steps without learning from them (burn-in), and learns from the rest: double Q-learning with
rescaled values and importance weights. The lines marked ``# trifolium`` are all that the replay takes.

Deviations from the paper: one process, a GRU, one-step targets.

Exits with an error if the agent does not learn the task, or if it learns it without a recurrent state.
"""

import argparse
import copy
import sys

import numpy as np
import torch
from recall import ACTIONS, OBS_SIZE, Recall
from torch import nn

import trifolium as tri  # trifolium

CORRIDORS, HIDDEN, BATCH, POLYAK, GAMMA = 16, 32, 32, 0.02, 0.97
BURN_IN, SEQUENCE = 4, 12  # steps of a sequence, of which the first are not learned from
ETA = 0.9  # share of the largest error in the priority of a sequence, beside the mean
WANTED, CHANCE = 0.95, 0.65


class QNetwork(nn.Module):
    """Action values of sequences: a GRU, or the same without its memory."""

    def __init__(self, has_memory: bool) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(OBS_SIZE, HIDDEN), nn.Linear(HIDDEN, ACTIONS)
        self.has_memory = has_memory

    def forward(self, states: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the values [T, B, A] of states [T, B, n], and the recurrent state [B, H] after."""
        if self.has_memory:
            outputs, last = self.gru(states, hidden[None])
        else:  # every step is the first one
            outputs = self.gru(states.reshape(1, -1, OBS_SIZE))[0].reshape(*states.shape[:2], HIDDEN)
            last = torch.zeros_like(hidden)[None]
        return self.head(outputs), last[0]


def rescaled(values: torch.Tensor) -> torch.Tensor:
    return values.sign() * ((values.abs() + 1).sqrt() - 1) + 1e-3 * values


def unscaled(values: torch.Tensor) -> torch.Tensor:
    root = (1 + 4e-3 * (values.abs() + 1 + 1e-3)).sqrt()
    return values.sign() * (((root - 1) / 2e-3) ** 2 - 1)


def learn(
    network: QNetwork, target: QNetwork, optimizer: torch.optim.Optimizer, memory: tri.Buffer
) -> None:
    batch = memory.sample_sequences(BATCH, SEQUENCE, within_episode=True)  # trifolium
    states = torch.cat([batch.states, batch.next_states[:, -1:]], dim=1).transpose(0, 1)
    start, rest = batch.extras["hidden"][:, 0], states[BURN_IN:]
    with torch.no_grad():
        _, hidden = network(states[:BURN_IN], start)
        _, target_hidden = target(states[:BURN_IN], start)
        next_values = target(rest, target_hidden)[0][1:]
    values, _ = network(rest, hidden)
    actions, rewards, dones, discounts = (
        each.transpose(0, 1)[BURN_IN:]
        for each in (batch.actions, batch.rewards, batch.dones, batch.discounts)
    )
    best = values[1:].argmax(dim=-1, keepdim=True)
    next_value = unscaled(next_values.gather(-1, best))
    targets = rescaled(rewards + discounts * (1 - dones) * next_value)
    errors = values[:-1].gather(-1, actions) - targets
    loss = (batch.weights[:, 0] * errors.square().mean(dim=0)).mean()  # trifolium
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    size = errors.detach().abs()[..., 0]
    memory.update_priorities(batch.indices, ETA * size.amax(0) + (1 - ETA) * size.mean(0))  # trifolium
    with torch.no_grad():
        for old, new in zip(target.parameters(), network.parameters(), strict=True):
            old.lerp_(new, POLYAK)


def train(episodes: int, seed: int, has_memory: bool) -> float:
    """Return the share of right turns in the last tenth of the episodes."""
    torch.manual_seed(seed)
    rng, world = np.random.default_rng(seed), Recall(CORRIDORS, seed)
    network = QNetwork(has_memory)
    target, optimizer = copy.deepcopy(network), torch.optim.Adam(network.parameters(), lr=3e-3)
    memory = tri.Buffer(  # trifolium
        CORRIDORS * 2_000,
        (OBS_SIZE,),
        backend="torch",
        seed=seed,
        gamma=GAMMA,
        n_streams=CORRIDORS,
        extras={"hidden": ((HIDDEN,), "float32")},
        sampler=tri.Prioritized(alpha=0.9, beta=0.6),
    )
    successes = []
    for episode in range(episodes):
        epsilon = max(0.02, 1 - 2 * episode / episodes)
        obs, hidden, over = world.reset(), torch.zeros(CORRIDORS, HIDDEN), False
        while not over:
            with torch.no_grad():
                values, after = network(torch.from_numpy(obs)[None], hidden)
            explores = rng.random(CORRIDORS) < epsilon
            actions = np.where(explores, rng.integers(ACTIONS, size=CORRIDORS), values[0].argmax(-1))
            next_obs, rewards, over = world.step(actions)
            memory.add(obs, actions, rewards, [over] * CORRIDORS, hidden=hidden)  # trifolium
            obs, hidden = next_obs, after
            if episode >= 2:
                learn(network, target, optimizer, memory)
        successes.append(rewards.mean())
    return float(np.mean(successes[-max(episodes // 10, 1) :]))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=80, help="of all corridors together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = [train(options.episodes, options.seed, has_memory) for has_memory in (True, False)]
    print(f"success: {found[0]:.2f}, without a recurrent state: {found[1]:.2f} (wanted: {WANTED})")
    return 0 if found[0] >= WANTED and found[1] <= CHANCE else 1


if __name__ == "__main__":
    sys.exit(main())
