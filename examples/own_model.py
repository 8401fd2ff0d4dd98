"""A fixed rule as a model, and a person as one: both play CartPole in the same loop.

Run it with ``python examples/own_model.py``, and with ``--person`` to play yourself.
"""

import sys

import gymnasium as gym
import numpy as np

import trifolium as tri

RANDOM_RETURN = 22.0  # of a random policy on CartPole-v1, on average


class Balance(tri.BaseModel):
    """Pushes to the side to which the pole is falling."""

    def take_action(self, state):
        _, _, angle, angular_velocity = state
        return int(angle + angular_velocity > 0.0)


def play(model: tri.BaseModel, episodes: int) -> list[float]:
    """Return the return of each episode; a person may stop before the last."""
    env = gym.make("CartPole-v1")
    returns = []
    for episode in range(episodes):
        obs, _ = env.reset(seed=episode)
        total, over = 0.0, False
        while not over:
            try:
                action = model.take_action(obs)
            except tri.HumanQuit:
                return returns
            next_obs, reward, terminated, truncated, _ = env.step(action)
            model.memory.add(obs, action, reward, terminated, truncated=truncated, next_obs=next_obs)
            obs, total, over = next_obs, total + float(reward), terminated or truncated
        print(f"episode {episode}: return {total:.0f}")
        returns.append(total)
    return returns


def main() -> None:
    """Let a person play, or the rule, which has to be good at it."""
    if "--person" in sys.argv:
        names = ["left", "right"]
        play(tri.HumanModel(4, 2, memory_size=10_000, action_names=names, keys="ad"), episodes=3)
        return
    found = np.mean(play(Balance(4, 2, memory_size=10_000), episodes=10))
    print(f"mean return {found:.0f}; a random policy gets {RANDOM_RETURN:.0f}")
    if found < 5 * RANDOM_RETURN:
        sys.exit("the rule plays worse than it should")


if __name__ == "__main__":
    main()
