"""Tic-tac-toe between two learners, each with a model of its own; then each against chance.

The game is PettingZoo's. What a player sees holds a mask of the moves that are legal, and one that is
not loses the game: so the players learn the rules too.

Needs: pip install 'trifolium[train,worlds]'
"""

import numpy as np

import trifolium as tri
from trifolium.experiment.runners import WorldRunner
from trifolium.worlds import AECWorld, ParallelWorld
from trifolium.worlds.pettingzoo import make

GAMES = 2_500


def main() -> None:
    world = make("classic/tictactoe-v3")
    first, second = world.possible_agents
    learners = {name: learner(world, name, seed) for seed, name in enumerate((first, second))}
    chance = {name: by_chance(world, name, seed) for seed, name in enumerate((first, second))}

    runner = WorldRunner(world, learners, seed=0)
    while runner.episodes < GAMES:
        for end in runner.step():
            for _ in range(end.length):
                learners[end.agent].train_step()

    for name, other in ((first, second), (second, first)):
        before = mean_return(world, {name: chance[name], other: chance[other]}, name)
        after = mean_return(world, {name: learners[name], other: chance[other]}, name)
        print(f"{name} against chance: mean return {before:.2f} by chance, {after:.2f} after learning")
        if after < before + 0.3:
            raise SystemExit(f"{name} has not learned")


def learner(world: AECWorld | ParallelWorld, name: str, seed: int) -> tri.BaseModel:
    return tri.DDQN(
        world.observation_spec(name).shape,
        world.action_spec(name).n,
        memory_size=20_000,
        epsilon=tri.Linear(1.0, 0.1, steps=6_000),
        batch_size=64,
        hidden=(64, 64),
        learning_rate=1e-3,
        target_update=250,
        huber_delta=1.0,
        seed=seed,
    )


def by_chance(world: AECWorld | ParallelWorld, name: str, seed: int) -> tri.BaseModel:
    size = world.observation_spec(name).shape
    return tri.RandomModel(size, world.action_spec(name).n, memory_size=100, seed=seed)


def mean_return(world: AECWorld | ParallelWorld, players: dict[str, tri.BaseModel], name: str) -> float:
    runner, returns = WorldRunner(world, players, seed=1, remember=False), []
    with players[name].greedy():
        while runner.episodes < 200:
            returns += [end.episode_return for end in runner.step() if end.agent == name]
    return float(np.mean(returns))


if __name__ == "__main__":
    main()
