"""The bytes of memory of one transition, compared with the replay memories of each framework.

    python benchmarks/footprint.py measure
    python benchmarks/footprint.py table     # writes section "Bytes" of docs/speed.md

Each memory is filled in its own process, after a small one that loads and compiles the code. The result
is the growth of the largest resident size of the process, divided by the rows.
"""

import argparse
import dataclasses
import resource
import subprocess
import sys
import warnings

import numpy as np
from pages import command_line, load, put, save
from rivals import CASES, CONTENDERS

SMALL = 4_000  # rows of the memory that comes first


def needed(case_name: str) -> int:
    """Return the bytes of an observation, an action of 64 bits, a reward, and a byte of flags."""
    case = CASES[case_name]
    return int(np.prod(case.shape)) * np.dtype(case.dtype).itemsize + 8 + 4 + 1


def largest_size() -> int:
    """Return the largest resident size that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one(options: argparse.Namespace) -> None:
    """Print the bytes of one transition in one memory."""
    kind = next(each for each in CONTENDERS if each.__name__ == options.kind)
    case = CASES[options.case]
    small = kind(dataclasses.replace(case, capacity=SMALL))
    small.fill()
    small.sample()
    before = largest_size()
    memory = kind(case)
    memory.fill()
    memory.sample()
    print((largest_size() - before) / case.capacity)


def measure(_: argparse.Namespace) -> None:
    """Measure all memories."""
    found: dict[str, dict[str, float]] = {}
    for case in ("vec", "image"):
        for kind in CONTENDERS:
            command = [sys.executable, "-W", "ignore", __file__, "one", kind.__name__, case]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            figures = found.setdefault(f"{kind.framework} {kind.name}", {})
            figures[case] = round(float(printed.splitlines()[-1]), 1)
            print(kind.framework, kind.name, case, figures[case], flush=True)
    save("footprint", found)


def table(_: argparse.Namespace) -> None:
    """Write the table."""
    lines = [
        "| memory | vec, bytes | over needed | image, bytes | over needed |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, figures in load("footprint").items():
        cells = [f"{figures[case]:,.1f} | {figures[case] / needed(case):.2f}" for case in figures]
        framework, rival = name.split(" ", 1)
        lines.append(f"| {rival}, {framework} | {' | '.join(cells)} |")
    put("speed.md", lines, "bytes")


def main() -> None:
    warnings.simplefilter("ignore")  # of rivals
    parser, commands = command_line(__doc__, measure, table)
    alone = commands.add_parser("one")
    alone.set_defaults(do=one)
    alone.add_argument("kind")
    alone.add_argument("case", choices=list(CASES))
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
