"""MiniGrid, in which each cell is an object, a colour and a state: all of them as one-hots.

Needs: pip install 'trifolium[train,worlds]'
"""

from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401 (its environments are registered with this)
import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX

import trifolium as tri
from trifolium.agents import ActionSpec, Agent, Joined, OneHot
from trifolium.worlds import GymWorld

CELLS = OneHot((len(OBJECT_TO_IDX), len(COLOR_TO_IDX), len(STATE_TO_IDX)), shape=(7, 7, 3))
SEEN = Joined({"image": CELLS, "direction": OneHot(4)})  # the mission, a text, is left out
ACTIONS = ActionSpec(["left", "right", "forward"])  # picking up and the like is of no use here
EPISODES = 150


def main() -> None:
    world = GymWorld(gym.make("MiniGrid-Empty-5x5-v0"))
    size: dict[str, Any] = {"input_size": SEEN.shape, "action_space": ACTIONS.n, "memory_size": 10_000}
    epsilon = tri.Linear(1.0, 0.05, steps=2_500)
    model = tri.DDQN(**size, epsilon=epsilon, hidden=(64,), n_step=3, learning_rate=1e-3, seed=0)
    by_chance = np.mean(returns(world, tri.RandomModel(**size, seed=0), episodes=20))
    returns(world, model, EPISODES, learn_every=2)
    with model.greedy():
        learned = np.mean(returns(world, model, episodes=20))
    print(f"mean return: {by_chance:.2f} by chance, {learned:.2f} after {EPISODES} episodes")
    if learned < by_chance + 0.3:
        raise SystemExit("nothing was learned")


def returns(
    world: GymWorld, model: tri.BaseModel, episodes: int, learn_every: int | None = None
) -> list[float]:
    """Play, and learn meanwhile if asked to; return what each episode earned."""
    agent, earned = Agent("agent", model, SEEN, ACTIONS), []
    for episode in range(episodes):
        world.reset(seed=episode)
        while not agent.transition(world, remember=learn_every is not None):
            if learn_every and agent.length % learn_every == 0:
                model.train_step()
        earned.append(agent.episode_return)
    return earned


if __name__ == "__main__":
    main()
