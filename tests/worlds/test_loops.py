"""The loops of the documentation, copied, in environments that count: every successor is the true one.

The quick runs overwrite the memory several times; the slow ones hold 15,000 rows on NumPy, and a
fifth of them elsewhere.
"""

from typing import Any

import gymnasium as gym
import pytest

import trifolium as tri

from ..pages import blocks, changed
from .counting import NAME, CountingEnv, check_successors

gym.register(NAME, CountingEnv)

README = blocks("README.md")[0]
ONE = blocks("docs/howto/truncation.md")[0]
NEXT_STEP, SAME_STEP, DISABLED = blocks("docs/howto/vector_environments.md")
CLEANRL = blocks("docs/howto/from_cleanrl.md")[0]
VECTORS = {"next_step": NEXT_STEP, "same_step": SAME_STEP, "disabled": DISABLED}

QUICK = {"range(500)": "range({})", "memory_size=10_000": "memory_size=640"}
MANY = {"range(500)": "range({})", "memory_size=10_000": "memory_size=80_000"}
SIZES = [pytest.param(False, id="quick"), pytest.param(True, id="many", marks=pytest.mark.slow)]

pytestmark = pytest.mark.filterwarnings("ignore:os.fork")  # JAX's: the processes do not use it


def run(block: str, steps: int, changes: dict[str, str]) -> dict[str, Any]:
    """Run a block for ``steps`` steps in the counting environment."""
    adapted = changed(block, changes | {"CartPole-v1": NAME})
    names: dict[str, Any] = {}
    exec(adapted.replace("range({})", f"range({steps})"), names)
    return names


def steps_on(backend: tri.Backend, many: int) -> int:
    return many if backend.name == "numpy" else many // 5


def on(backend: tri.Backend, many: bool) -> dict[str, str]:
    return (MANY if many else QUICK) | {'backend="numpy"': f'backend="{backend.name}"'}


@pytest.mark.slow_on("torch", "jax")
@pytest.mark.parametrize("many", SIZES)
@pytest.mark.parametrize("block", [README, ONE], ids=["README", "page"])
def test_one_environment(learner: tri.Backend, block: str, many: bool) -> None:
    steps = steps_on(learner, 15_000) if many else 1_000
    memory = run(block, steps, on(learner, many))["model"].memory
    # a row more for the successor of each truncated step
    assert check_successors(memory) > (0.96 * steps if many else 400)


@pytest.mark.slow_on("torch", "jax")
@pytest.mark.parametrize("many", SIZES)
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("mode", VECTORS)
def test_vector(learner: tri.Backend, mode: str, kind: str, many: bool) -> None:
    steps = steps_on(learner, 2_000) if many else 150
    changes = on(learner, many) | {'mode="sync"': f'mode="{kind}"'}
    memory = run(VECTORS[mode], steps, changes)["model"].memory
    assert check_successors(memory) > (6.25 * steps if many else 400)


WRONG = {
    "resets are stored": (NEXT_STEP, {", where=is_step": ""}),
    "resets are successors": (SAME_STEP, {"next_obs=successors": "next_obs=next_obs"}),
    "no truncation is told": (
        DISABLED,
        {"truncated=truncated, next_obs=next_obs": "truncated=False"},
    ),
    "no end is told": (ONE, {"truncated=truncated, next_obs=next_obs": "truncated=False"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loop_is_found(name: str) -> None:
    block, mistake = WRONG[name]
    changes = {"range(500)": "range({})"} | mistake
    memory = run(block, 100, changes)["model"].memory
    with pytest.raises(AssertionError):
        check_successors(memory)


@pytest.mark.parametrize("many", SIZES)
def test_cleanrl(backend: tri.Backend, many: bool) -> None:
    if backend.name != "torch":
        pytest.skip("CleanRL is a torch project")
    steps = 8_000 if many else 300
    changes = {"range(500)": "range({})", "10_000": "80_000" if many else "640"}
    names = run(CLEANRL, steps, changes)
    assert check_successors(names["rb"]) > (25_000 if many else 400)
    assert float(names["loss"].detach()) > 0
