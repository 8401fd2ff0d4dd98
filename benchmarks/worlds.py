"""Returns of trained models in a world of each kind, compared with a RandomModel's.

    python benchmarks/worlds.py run [--world CartPole-v1] [--seed 0]
    python benchmarks/worlds.py table

``run`` trains with the command line, or with a script of examples/, where it is asked to (by default in
every world, with seeds 0 and 1), one run after another, and evaluates what was learned. It adds each
result to docs/results/worlds.json; results of the same command are not run again. ``table``
writes the table of docs/reference/worlds_results.md from that file.

Learned and random models play the same number of greedy episodes, which begin with the same seeds. The
return of a team is the mean of its members'. In a game of opponents, in which both have learned, each
is evaluated against a RandomModel.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pages import DOCS, command_line, load, put, save

from trifolium.experiment import Experiment
from trifolium.experiment.evaluation import returns_of
from trifolium.experiment.experiment import EVALUATION_SEED
from trifolium.experiment.making import MakeWorld
from trifolium.experiment.runners import WorldRunner

SEEDS = (0, 1)
EPISODES = 100  # of an evaluation


@dataclass(frozen=True)
class Task:
    """A world and how it is learned in.

    Attributes:
        kind: of world.
        name: of the world.
        train: what trains in it.
        steps: of training.
        options: further options of the training.
        opponents: whether its agents play against each other; else they are a team.
        world: makes the world, where the run's options don't name it.
    """

    kind: str
    name: str
    train: str
    steps: int
    options: str = ""
    opponents: bool = False
    world: MakeWorld | None = None

    @property
    def command(self) -> str:
        """How it is trained, but for the seed and the folder."""
        return f"{self.train} --steps {self.steps} {self.options}".strip()


@dataclass(frozen=True)
class Score:
    """Mean return of a number of episodes, its standard error, and of games the share that is won."""

    mean: float
    error: float
    won: float | None = None

    @classmethod
    def of(cls, returns: np.ndarray, *, is_game: bool = False) -> "Score":
        """Return that of ``returns`` [N]."""
        error = float(returns.std(ddof=1) / len(returns) ** 0.5)
        return cls(float(returns.mean()), error, float((returns > 0).mean()) if is_game else None)

    def __str__(self) -> str:
        won = "" if self.won is None else f", {self.won:.0%} won"
        return f"{self.mean:.2f} ± {self.error:.2f}{won}"


def speaker_and_listener() -> Any:
    from mpe2 import simple_speaker_listener_v4

    return simple_speaker_listener_v4.parallel_env()


TASKS = {
    task.name: task
    for task in (
        Task("Gymnasium", "CartPole-v1", "trifolium train CartPole-v1", 50_000),
        Task("Gymnasium", "Acrobot-v1", "trifolium train Acrobot-v1", 40_000, "--train-every 4"),
        Task(
            "Gymnasium",
            "FrozenLake-v1",
            "trifolium train FrozenLake-v1",
            30_000,
            "--train-every 4 --hidden 64",
        ),
        Task(
            "MiniGrid",
            "MiniGrid-Empty-5x5-v0",
            "trifolium train minigrid:MiniGrid-Empty-5x5-v0",
            12_000,
            "--hidden 64",
        ),
        Task(
            "PettingZoo, parallel",
            "simple_speaker_listener_v4",
            "python examples/speaker_listener.py",
            25_000,
            world=speaker_and_listener,
        ),
        Task(
            "PettingZoo, AEC",
            "tictactoe-v3",
            "trifolium train pettingzoo:classic/tictactoe-v3",
            20_000,
            "--exploration 0.5 --epsilon-end 0.1",
            opponents=True,
        ),
    )
}


def result_of(task: Task, seed: int) -> dict[str, Any]:
    """Train and evaluate once; return what stands in the file of results."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [*task.command.split(), "--seed", str(seed), "--out", str(out)]
        subprocess.run(command, cwd=DOCS.parent, check=True)
        learned = Experiment.load(out, world=task.world)
        options = replace(learned.options, model="random")
        chance = Experiment(options, Path(folder) / "random", world=task.world)
        play = against_chance if task.opponents else as_team
        scores = {"learned": play(learned, chance), "random": play(chance, chance)}
    return {
        "command": task.command,
        "episodes": EPISODES,
        "scores": {
            whose: {player: asdict(score) for player, score in by_player.items()}
            for whose, by_player in scores.items()
        },
    }


def as_team(run: Experiment, _: Experiment) -> dict[str, Score]:
    """Return what the agents of ``run`` earn together, each of which counts as much."""
    returns = run.evaluate(EPISODES)
    return {" and ".join(returns): Score.of(np.mean(list(returns.values()), axis=0))}


def against_chance(run: Experiment, chance: Experiment) -> dict[str, Score]:
    """Return what each agent of ``run`` earns where the others are those of ``chance``."""
    world, _ = run.stage()
    seed = run.options.seed + EVALUATION_SEED
    scores = {}
    for player, model in run.models.items():
        runner = WorldRunner(world, {**chance.models, player: model}, seed=seed, remember=False)
        scores[player] = Score.of(returns_of(runner, EPISODES)[player], is_game=True)
    return scores


def run(options: argparse.Namespace) -> None:
    """Run the selected cases that have no result yet."""
    for name, seed in itertools.product(options.world, options.seed):
        key, task = f"{name} {seed}", TASKS[name]
        if load("worlds").get(key, {}).get("command") == task.command:
            continue
        print(key, flush=True)
        result = result_of(task, seed)
        results = load("worlds") | {key: result}
        save("worlds", results)


def table(_: argparse.Namespace) -> None:
    """Write the table."""
    results, seeds = load("worlds"), [f"seed {seed}" for seed in SEEDS]
    header = ["kind", "world", "command", "steps", *seeds, "RandomModel"]
    lines = ["| " + " | ".join(header) + " |", "|---|---|---|" + "--:|" * (len(seeds) + 2)]
    for name, task in TASKS.items():
        found = [results.get(f"{name} {seed}") for seed in SEEDS]
        if not all(each and each["command"] == task.command for each in found):
            raise SystemExit(f"{name} has no results of `{task.command}` for each seed; run it first")
        scores = [each["scores"] for each in found if each]
        for player in scores[0]["learned"]:
            learned = [str(Score(**score["learned"][player])) for score in scores]
            random = pooled([Score(**score["random"][player]) for score in scores])
            what = f"{name}, {player} against a RandomModel" if task.opponents else name
            cells = [task.kind, what, f"`{task.command}`", f"{task.steps:,}", *learned, str(random)]
            lines.append("| " + " | ".join(cells) + " |")
    put("reference/worlds_results.md", lines)


def pooled(scores: list[Score]) -> Score:
    """Return the score of the episodes of all, each of which has as many."""
    error = sum(score.error**2 for score in scores) ** 0.5 / len(scores)
    won = [score.won for score in scores if score.won is not None]
    mean = statistics.fmean(score.mean for score in scores)
    return Score(mean, error, statistics.fmean(won) if won else None)


def main() -> int:
    parser, commands = command_line(__doc__, table)
    running = commands.add_parser("run")
    running.set_defaults(do=run)
    running.add_argument("--world", nargs="+", choices=TASKS, default=list(TASKS))
    running.add_argument("--seed", nargs="+", type=int, default=list(SEEDS))
    options = parser.parse_args()
    options.do(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
