"""Whole programs that must end well where every framework is installed: ``nox -s together`` runs them.

They are the type checker, the tests that take several frameworks at once, and the scripts of
``examples/``; those that train fail if they have learned too little. Two of them run at a time under
``--numprocesses 2``.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BACKENDS = ("numpy", "strict", "torch", "jax")
LEARNERS = ("numpy", "torch", "jax")
INTEROP = sorted(  # so that the others are not collected
    str(path)
    for path in (ROOT / "tests").rglob("test_*.py")
    if "pytest.mark.interop" in path.read_text()
)
EXCHANGE = "tests/models/test_exchange.py"  # of models that learn
QUICK_ON = "jax"
"""The backend on which an example for each backend runs in the quick tier: it takes least there."""
SLOW = {  # examples that train for a long time
    "connect_four",
    "flax_dqn",
    "hindsight",
    "jax_model",
    "million_steps",
    "offline_dqn",
    "own_world",
    "r2d2_flax",
    "r2d2_torch",
    "speaker_listener",
    "td3_pendulum",
    "torch_dqn",
    "torch_model",
    "two_learners",
    "vector_environment",
}


def programs() -> Iterator[Any]:
    """Yield the arguments of Python for every program; the longest come first."""
    yield pytest.param(["-m", "mypy"], id="types")
    for backend in reversed(BACKENDS):
        run = ["-m", "pytest", "--backend", backend, "--no-skips", "-p", "no:cacheprovider", *INTEROP]
        run += ["-m", "interop", *([] if backend in LEARNERS else ["--deselect", EXCHANGE])]
        yield pytest.param(run, id=f"interop {backend}")
    for path in sorted((ROOT / "examples").glob("*.py")):
        marks = [pytest.mark.slow] if path.stem in SLOW else []
        if '"--backend"' in path.read_text():
            for backend in LEARNERS:
                run = [str(path), "--backend", backend]
                slow = marks or ([] if backend == QUICK_ON else [pytest.mark.slow])
                yield pytest.param(run, id=f"example {path.stem} {backend}", marks=slow)
        else:
            yield pytest.param([str(path)], id=f"example {path.stem}", marks=marks)


@pytest.mark.parametrize("arguments", [*programs()])
def test_program_ends_well(arguments: list[str], record_property: Any) -> None:
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    record_property("last line", (done.stdout.strip().splitlines() or ["no output"])[-1])


def test_every_slow_example_is_there() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} >= SLOW
