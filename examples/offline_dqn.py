"""Offline reinforcement learning: DDQN from the arrays of a data set, without an environment.

Needs: pip install 'trifolium[train]', and torch or jax for their backends

The data set has the layout of D4RL: observations, actions, rewards, terminals, timeouts, and the next
observations (without them a step at a time limit would be invalid). It comes from a simple rule for
CartPole that takes a random action most of the time. ``Buffer.from_arrays`` stores it, and
``DDQN(memory=...)`` learns from it. The environment is used again for the evaluation only.

Exits with an error if the learned policy is not better than the one that collected the data.
"""

import argparse
import sys

import gymnasium as gym
import numpy as np

import trifolium as tri

RANDOM, EPISODES = 0.8, 20  # share of random actions in the data; episodes of the evaluation
WANTED = 3.0  # times the return of the behaviour


def collect(steps: int, seed: int) -> dict[str, np.ndarray]:
    """Return steps of the behaviour policy, in the layout of D4RL."""
    env, rng = gym.make("CartPole-v1"), np.random.default_rng(seed)
    columns: dict[str, list] = {name: [] for name in NAMES}
    obs, _ = env.reset(seed=seed)
    for _ in range(steps):
        leaning = obs[2] + obs[3] > 0.0  # of the pole, and its speed
        action = int(rng.integers(2)) if rng.random() < RANDOM else int(leaning)
        next_obs, reward, terminal, timeout, _ = env.step(action)
        step = (obs, action, reward, terminal, timeout, next_obs)
        for column, value in zip(columns.values(), step, strict=True):
            column.append(value)
        obs = env.reset()[0] if terminal or timeout else next_obs
    return {name: np.array(column) for name, column in columns.items()}


NAMES = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations")


def learn(data: dict[str, np.ndarray], updates: int, backend: str, seed: int) -> tri.DDQN:
    memory = tri.Buffer.from_arrays(*data.values(), backend=backend, seed=seed)
    model = tri.DDQN(
        4,
        2,
        memory.capacity,
        memory=memory,
        polyak=0.01,
        learning_rate=tri.Linear(1e-3, 1e-5, updates),
        seed=seed,
    )
    for _ in range(updates):
        model.train_step()
    return model


def evaluate(model: tri.DDQN) -> float:
    """Return the mean return of greedy episodes."""
    env, total = gym.make("CartPole-v1"), 0.0
    with model.greedy():
        for episode in range(EPISODES):
            (obs, _), over = env.reset(seed=10_000 + episode), False
            while not over:
                obs, reward, terminated, truncated, _ = env.step(model.take_action(obs))
                total, over = total + float(reward), terminated or truncated
    return total / EPISODES


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--steps", type=int, default=10_000, help="of the data set")
    parser.add_argument("--updates", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = collect(options.steps, options.seed)
    behaviour = options.steps / max(data["terminals"].sum() + data["timeouts"].sum(), 1)
    learned = evaluate(learn(data, options.updates, options.backend, options.seed))
    print(f"mean return: {learned:.0f}, of the data: {behaviour:.0f} (wanted: {WANTED} times that)")
    return 0 if learned >= WANTED * behaviour else 1


if __name__ == "__main__":
    sys.exit(main())
