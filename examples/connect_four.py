"""Connect Four against a RandomModel: a mask says which moves are legal, and no other is ever made.

One model learns to play first, another one to play second. The opponent plays legal moves at random.

Needs: pip install 'trifolium[train,worlds]'
"""

import argparse

import trifolium as tri
from trifolium.experiment.runners import WorldRunner
from trifolium.worlds.pettingzoo import make

MASK = "action_mask"


def share_won(runner: WorldRunner, player: str, games: int, learner: tri.DDQN | None = None) -> float:
    """Play ``games``, and return the share that ``player`` wins; a learner makes an update a move."""
    won = over = turns = 0
    while over < games:
        for end in runner.step():
            if end.agent == player:
                over += 1
                won += end.episode_return > 0
        turns += 1
        if learner is not None and turns % 2:  # the other turns are the opponent's
            learner.train_step()
    return won / games


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--game", default="connect_four", choices=["connect_four", "tictactoe"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--games", type=int, default=1_000, help="that each of both models learns from")
    given = parser.parse_args()
    world = make(f"classic/{given.game}-v3")
    names = world.possible_agents
    size, actions = world.structured_spec(names[0]).shape, world.action_spec(names[0]).n

    def chance(seed: int) -> tri.RandomModel:
        return tri.RandomModel(size, actions, 100, action_mask=MASK, seed=seed)

    def runner(player: str, model: tri.BaseModel, seed: int, *, remember: bool) -> WorldRunner:
        models = {name: chance(given.seed + 1) for name in names} | {player: model}
        return WorldRunner(world, models, seed=seed, remember=remember)

    learned, random = [], []
    for player in names:
        model = tri.DDQN(
            size,
            actions,
            20_000,
            epsilon=tri.Linear(1.0, 0.05, 4_000),
            action_mask=MASK,
            hidden=(256, 128),
            learning_rate=3e-4,
            gamma=0.95,
            polyak=0.01,
            seed=given.seed,
        )
        share_won(runner(player, model, given.seed, remember=True), player, given.games, model)
        test_seed = given.seed + 10_000
        with model.greedy():
            learned.append(share_won(runner(player, model, test_seed, remember=False), player, 200))
        model_of_chance = chance(given.seed + 2)
        test = runner(player, model_of_chance, test_seed, remember=False)
        random.append(share_won(test, player, 200))
    shown = [f"{share:.2f}" for share in (*learned, *random)]
    print(
        "share of games won, learned, moves first: {}, second: {}; "
        "at random, moves first: {}, second: {} (wanted 0.65 when learned)".format(*shown)
    )
    if min(learned) < 0.65:
        raise SystemExit("too few games are won")


if __name__ == "__main__":
    main()
