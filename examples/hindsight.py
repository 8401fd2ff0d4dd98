"""Bit flipping (Andrychowicz et al. 2017): DQN does not learn it, DQN with hindsight does.

Needs: pip install 'trifolium[train]', and torch or jax for their backends

An episode has a row of random bits and another one as its goal. Every action flips one bit. The reward
is -1 until the row equals the goal; with many bits, random actions see no other reward. ``Hindsight``
gives most of the drawn steps a goal that their episode reached later. Observations have the three parts
of Gymnasium-Robotics.

Exits with an error if the goal is not reached with hindsight, or is reached without.
"""

import argparse
import sys

import gymnasium as gym
import numpy as np

import trifolium as tri

EPISODES = 100  # of the evaluation
WANTED, CHANCE = 0.9, 0.1


class BitFlip(gym.Env):
    """Flip bits until they equal the goal; an episode is truncated after as many steps as bits."""

    def __init__(self, bits: int) -> None:
        bit_row = gym.spaces.MultiBinary(bits)
        parts = ("observation", "achieved_goal", "desired_goal")
        self.observation_space = gym.spaces.Dict(dict.fromkeys(parts, bit_row))
        self.action_space = gym.spaces.Discrete(bits)
        self.bits, self.steps = bits, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.goal = self.np_random.integers(2, size=(2, self.bits), dtype=np.int8)
        self.steps = 0
        return self.observe(), {}

    def step(self, action):
        self.state[action] ^= 1
        self.steps += 1
        reward = float(self.compute_reward(self.state[None], self.goal[None], {})[0])
        return self.observe(), reward, False, self.steps == self.bits, {"is_success": reward == 0.0}

    def observe(self):
        state = self.state.copy()
        return {"observation": state, "achieved_goal": state, "desired_goal": self.goal.copy()}

    def compute_reward(self, achieved, desired, info):
        """Return the rewards [N] of goals [N, bits]."""
        return (achieved == desired).all(axis=1).astype(np.float32) - 1.0


def train(options: argparse.Namespace, sampler: tri.Sampler) -> float:
    """Return the share of greedy episodes that reach their goal after training."""
    env = BitFlip(options.bits)
    model = tri.DDQN.from_env(
        env,
        50_000,
        epsilon=0.2,
        double=False,
        hidden=(128,),
        batch_size=128,
        gamma=0.95,
        polyak=0.05,
        n_step=1,
        sampler=sampler,
        backend=options.backend,
        seed=options.seed,
    )
    obs, _ = env.reset(seed=options.seed)
    for step in range(options.episodes * options.bits):
        action = model.take_action(obs)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        model.memory.add(obs, action, reward, terminated, truncated=truncated, next_obs=next_obs)
        obs = env.reset()[0] if truncated else next_obs
        if step % 2:
            model.train_step()
    return evaluate(env, model)


def evaluate(env: BitFlip, model: tri.DDQN) -> float:
    successes = 0
    with model.greedy():
        for episode in range(EPISODES):
            (obs, _), over = env.reset(seed=10_000 + episode), False
            while not over:
                obs, _, _, truncated, info = env.step(model.take_action(obs))
                successes += info["is_success"]
                over = truncated or info["is_success"]
    return successes / EPISODES


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--bits", type=int, default=12)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    hindsight = train(options, tri.Hindsight(BitFlip(options.bits).compute_reward))
    without = train(options, tri.Uniform())
    print(f"goals reached: {hindsight:.2f}, without hindsight: {without:.2f} (wanted: {WANTED})")
    return 0 if hindsight >= WANTED and without <= CHANCE else 1


if __name__ == "__main__":
    sys.exit(main())
