"""The bytes of memory of one transition, compared with the replay memories of each framework.

    python benchmarks/footprint.py measure
    python benchmarks/footprint.py table     # writes section "Bytes" of docs/reference/speed.md
    python benchmarks/footprint.py structured   # measures an image and a vector, and writes a table

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
from memories import FRAMEWORKS
from pages import command_line, load, put, save
from rivals import CASES, CONTENDERS

import trifolium as tri

SMALL = 4_000  # rows of the memory that comes first
ROWS = 10_000  # of structured memories
PARTS = {"image": ((84, 84, 3), "uint8"), "vector": ((7,), "float32")}


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
    put("reference/speed.md", lines, "bytes")


def fill_structured(backend: str, rows: int) -> tri.Buffer:
    """Return a full buffer of an image and a vector, from which a batch was drawn."""
    buffer = tri.Buffer(rows, PARTS, backend=backend, seed=0)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (84, 84, 3)).astype(np.uint8)
    for step in range(rows):
        vector = np.full(7, step, np.float32)
        buffer.add({"image": image, "vector": vector}, step % 4, 1.0, step % 100 == 99)
    buffer.sample(256)
    return buffer


def structured_one(options: argparse.Namespace) -> None:
    """Print the bytes of one row of a structured memory."""
    first = fill_structured(options.backend, SMALL // 10)  # kept, so that its memory is not used again
    before = largest_size()
    buffer = fill_structured(options.backend, ROWS)
    print((largest_size() - before) / buffer.capacity)
    del first


def structured(_: argparse.Namespace) -> None:
    """Measure structured memories, and write their table."""
    sizes = [int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in PARTS.values()]
    needed = sum(sizes) + 8 + 4 + 1
    found = {}
    for backend in FRAMEWORKS:
        command = [sys.executable, "-W", "ignore", __file__, "structured_one", backend]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[backend] = round(float(printed.splitlines()[-1]), 1)
    save("structured_rows", found | {"needed": needed})
    lines = ["| | bytes a row | over needed |", "|---|--:|--:|"]
    lines += [f"| {name} | {size:,.1f} | {size / needed:.3f} |" for name, size in found.items()]
    put("reference/speed.md", lines, "structured")


def main() -> None:
    warnings.simplefilter("ignore")  # of rivals
    parser, commands = command_line(__doc__, measure, table, structured)
    alone = commands.add_parser("one")
    alone.set_defaults(do=one)
    alone.add_argument("kind")
    alone.add_argument("case", choices=list(CASES))
    structured_alone = commands.add_parser("structured_one")
    structured_alone.set_defaults(do=structured_one)
    structured_alone.add_argument("backend", choices=list(FRAMEWORKS))
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
