"""Figures and tables of docs/ are what their scripts write."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

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
