"""A world written from scratch, and an agent that learns to find its way in it.

Needs nothing but trifolium: pip install trifolium
"""

import numpy as np

import trifolium as tri
from trifolium.agents import ActionSpec, Agent
from trifolium.schedules import Linear
from trifolium.worlds import Turn

ACTIONS = ActionSpec(["up", "down", "left", "right"], values=[(-1, 0), (1, 0), (0, -1), (0, 1)])


class Meadow:
    """A rabbit looks for the clover. It sees where it is and where the clover is."""

    agents = ("rabbit",)

    def reset(self, seed: int | None = None) -> None:
        places = np.random.default_rng(seed).choice(25, 2, replace=False)
        self.rabbit, self.clover = (np.array(divmod(place, 5)) for place in places)
        self.steps = 0

    def turn(self, agent: str) -> Turn:
        found = np.array_equal(self.rabbit, self.clover)
        observation = np.concatenate((self.rabbit, self.clover)) / 4
        return Turn(observation, float(found), terminated=found, truncated=self.steps == 15)

    def act(self, agent: str, action: tuple[int, int]) -> None:
        self.rabbit = np.clip(self.rabbit + action, 0, 4)
        self.steps += 1


def main() -> None:
    world = Meadow()
    epsilon = Linear(1.0, 0.05, steps=8_000)
    model = tri.DDQN(
        4, ACTIONS.n, 20_000, epsilon=epsilon, learning_rate=1e-3, target_update=200, seed=0
    )
    rabbit = Agent("rabbit", model, action_spec=ACTIONS)
    before = mean_return(world, tri.RandomModel(4, ACTIONS.n, 100, seed=0))
    for episode in range(1_200):
        world.reset(seed=episode)
        while not rabbit.transition(world):
            model.train_step()
    with model.greedy():
        after = mean_return(world, model)
    print(f"the clover is found in {before:.0%} of episodes by chance, in {after:.0%} after learning")
    if after < 0.7 or before > 0.4:
        raise SystemExit("the rabbit has not learned to find the clover")


def mean_return(world: Meadow, model: tri.BaseModel, episodes: int = 50) -> float:
    rabbit, returns = Agent("rabbit", model, action_spec=ACTIONS), []
    for episode in range(episodes):
        world.reset(seed=1_000_000 + episode)
        while not rabbit.transition(world, remember=False):
            pass
        returns.append(rabbit.episode_return)
    return float(np.mean(returns))


if __name__ == "__main__":
    main()
