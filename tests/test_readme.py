"""The Python in README.md runs as it stands, on each backend; its table says what was measured."""

import json
import re

import pytest

import trifolium as tri

from .pages import ROOT, blocks

BLOCKS = blocks("README.md")


def test_there_is_something_to_run() -> None:
    assert len(BLOCKS) == 2
    assert all('backend="numpy"' in block for block in BLOCKS)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block_runs(block: str, backend: tri.Backend) -> None:
    if "DDQN" in block and not isinstance(backend, tri.Differentiable):
        pytest.skip(f"{backend.name} declares that it takes no gradients")
    names: dict[str, object] = {}
    exec(block.replace('backend="numpy"', f'backend="{backend.name}"'), names)
    assert backend.is_array(names["states"] if "states" in names else names["loss"])


def test_bytes_of_images_are_those_measured() -> None:
    needed = 10 * 10 * 6 + 8 + 4 + 1  # an observation, an action, a reward, flags
    measured: dict[str, list[float]] = {}
    for name, case in json.loads((ROOT / "docs/results/footprint.json").read_text()).items():
        measured.setdefault(name.split()[1], []).append(round(case["image"] / needed, 2))
    header, *lines = re.findall(r"^\|.*\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    (line,) = (each for each in lines if each.startswith("| bytes a row of images"))
    names = [cell.split()[0].replace("Stable-Baselines3", "SB3") for cell in cells(header)[1:]]
    assert set(names) == set(measured)
    for name, cell in zip(names, cells(line)[1:], strict=True):
        shown = [float(number) for number in re.split("\N{EN DASH}", cell)]
        assert shown in ([min(measured[name]), max(measured[name])], [*set(measured[name])]), name


def cells(line: str) -> list[str]:
    """Return the cells of a line of a table; the first may be empty."""
    return [cell.strip() for cell in line.strip("|").split("|")]
