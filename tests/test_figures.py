"""The figures of docs/ are what their scripts draw."""

import subprocess
import sys
from pathlib import Path

FIGURES = Path(__file__).parents[1] / "docs" / "figures"


def test_figures_are_up_to_date(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(FIGURES / "draw.py"), str(tmp_path)], check=True)
    drawn = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    there = {path.name: path.read_text() for path in FIGURES.glob("*.svg")}
    assert len(drawn) >= 14
    assert drawn == there, "run python docs/figures/draw.py"
