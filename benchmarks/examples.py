"""What the examples that train with a replay memory learn, with three seeds.

    python benchmarks/examples.py run [--example hindsight] [--seed 0]
    python benchmarks/examples.py table

``run`` runs scripts of examples/ (by default all, with seeds 0, 1 and 2), one after another, and adds
the numbers of their last line to docs/results/examples.json. A command that has a result is not run
again. ``table`` writes the table of docs/reference/examples.md from that file.
"""

import argparse
import itertools
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from pages import DOCS, command_line, load, put, save

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Example:
    """A script and what it shows.

    Attributes:
        script: its name in examples/.
        options: its further arguments.
        figures: what the numbers of its last line are.
    """

    script: str
    options: str
    figures: str

    @property
    def command(self) -> str:
        """How it is run, but for the seed."""
        return f"python examples/{self.script}.py {self.options}".strip()


PENDULUM = "mean return of the last 10 episodes"
GOALS = "goals reached with hindsight / without"
RECALL = "success with a recurrent state / without"
OFFLINE = "mean return of what was learned / of the data"
EXAMPLES = [
    Example("td3_pendulum", "", PENDULUM),
    Example("hindsight", "--bits 12", GOALS),
    Example("hindsight", "--bits 15 --episodes 1500", GOALS),
    Example("hindsight", "--bits 12 --backend torch", GOALS),
    Example("hindsight", "--bits 12 --backend jax", GOALS),
    Example("r2d2_torch", "", RECALL),
    Example("r2d2_flax", "", RECALL),
    Example("offline_dqn", "", OFFLINE),
    Example("offline_dqn", "--backend torch", OFFLINE),
    Example("offline_dqn", "--backend jax", OFFLINE),
]


def result_of(example: Example, seed: int) -> dict[str, Any]:
    """Run an example; return what stands in the file of results."""
    command = [sys.executable, *example.command.split()[1:], "--seed", str(seed)]
    done = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True, check=False)
    last = (done.stdout.splitlines() or [done.stderr])[-1]
    figures = re.findall(r": (-?\d+\.?\d*)", last.split(" (wanted")[0])
    return {"figures": figures, "learned": done.returncode == 0}


def run(options: argparse.Namespace) -> None:
    """Run the selected examples that have no result yet."""
    for example, seed in itertools.product(EXAMPLES, options.seed):
        key = f"{example.command} --seed {seed}"
        if example.script in options.example and key not in load("examples"):
            result = result_of(example, seed)
            print(key, result, flush=True)
            save("examples", load("examples") | {key: result})


def table(_: argparse.Namespace) -> None:
    """Write the table."""
    seeds = [f"seed {seed}" for seed in SEEDS]
    lines = ["| command | figures | " + " | ".join(seeds) + " |", "|---|---|" + "--:|" * len(seeds)]
    for example in EXAMPLES:
        found = [load("examples")[f"{example.command} --seed {seed}"] for seed in SEEDS]
        cells = [" / ".join(each["figures"]) for each in found]
        lines.append(f"| `{example.command}` | {example.figures} | {' | '.join(cells)} |")
    put("reference/examples.md", lines)


def main() -> None:
    parser, commands = command_line(__doc__, table)
    running = commands.add_parser("run")
    running.set_defaults(do=run)
    names = list(dict.fromkeys(example.script for example in EXAMPLES))
    running.add_argument("--example", nargs="+", choices=names, default=names)
    running.add_argument("--seed", nargs="+", type=int, default=list(SEEDS))
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
