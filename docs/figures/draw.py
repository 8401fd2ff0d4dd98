"""Draw the figures of docs/: ``python docs/figures/draw.py`` writes all of them."""

import sys
from collections.abc import Callable
from pathlib import Path

import flows
import memory
from svg import FOLDER, Picture, write

FIGURES: dict[str, tuple[int, int, Callable[[Picture], None]]] = {
    "ring": (730, 190, memory.ring),
    "window": (560, 230, memory.window),
    "crossing_window": (382, 218, memory.crossing),
    "valid_and_pad": (640, 226, memory.padding),
    "n_step": (730, 330, memory.n_step),
    "update": (800, 330, flows.update),
    "actors": (760, 370, flows.actors),
}


def main(folder: Path = FOLDER) -> None:
    """Write every figure to ``folder``."""
    for name, (width, height, draw) in FIGURES.items():
        write(name, width, height, draw, folder)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
