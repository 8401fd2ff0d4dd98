"""Figures and tables of docs/ are what their scripts write."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from . import mutants

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"


def test_figures_are_up_to_date(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(FIGURES / "draw.py"), str(tmp_path)], check=True)
    drawn = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    there = {path.name: path.read_text() for path in FIGURES.glob("*.svg")}
    assert len(drawn) >= 14
    assert drawn == there, "run python docs/figures/draw.py"


def test_instruction_counts_are_those_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    table = runpy.run_path(str(ROOT / "benchmarks" / "instructions.py"))["table"]()
    page = (ROOT / "docs" / "contributing" / "instructions.md").read_text()
    assert "\n".join(table) in page, "run python benchmarks/instructions.py --save"


def test_explained_mutants_exist() -> None:
    lines = mutants.EXPLAINED.read_text().splitlines()
    names = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    assert len(names) == len(set(names)) > 0
    stale = sorted(set(names) - mutants.existing(names))
    assert not stale, f"docs/contributing/mutants.md explains what is not in the code: {stale}"
