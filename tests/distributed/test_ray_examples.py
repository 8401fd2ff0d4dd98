"""The example projects whose players are processes of Ray: they fail if they learn too little."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "ray").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_learns(path: Path) -> None:
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-5000:]


def test_there_are_examples() -> None:
    assert [path.stem for path in EXAMPLES] == ["flax_dqn", "torch_dqn"]
