"""CartPole, eight at a time: one call of the model, of the vector and of the memory for all of them.

Needs: pip install 'trifolium[train]'
"""

import gymnasium as gym
import numpy as np

import trifolium as tri
from trifolium.experiment.runners import GymRunner, VectorRunner
from trifolium.worlds.gym import make_vector

N_ENVS = 8
STEPS = 40_000


def main() -> None:
    epsilon = tri.Linear(1.0, 0.05, steps=STEPS // 2)
    model = tri.DDQN(
        input_size=4,
        action_space=2,
        memory_size=STEPS,
        n_streams=N_ENVS,
        n_step=3,
        epsilon=epsilon,
        learning_rate=1e-3,
        huber_delta=1.0,
        hidden=(128, 128),
        batch_size=64,
        target_update=100,
        seed=0,
    )
    runner = VectorRunner(make_vector("CartPole-v1", N_ENVS), model, seed=0)
    ends = []
    for _ in range(STEPS // N_ENVS):
        ends += runner.step()
        for _ in range(2):  # an update for every four steps
            model.train_step()
    first = np.mean([end.episode_return for end in ends[:50]])
    learned = greedy_return(model)
    print(f"mean return: {first:.0f} in the first episodes, {learned:.0f} after {STEPS} steps")
    if learned < first + 150:
        raise SystemExit("nothing was learned")


def greedy_return(model: tri.BaseModel) -> float:
    evaluation = GymRunner(gym.make("CartPole-v1"), model, seed=1, remember=False)
    ends = []
    with model.greedy():
        while len(ends) < 10:
            ends += evaluation.step()
    return float(np.mean([end.episode_return for end in ends]))


if __name__ == "__main__":
    main()
