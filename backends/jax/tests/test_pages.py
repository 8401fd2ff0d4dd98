"""The Python for JAX in the documentation runs as it stands."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
BLOCKS = {
    f"{page}-{number}": block
    for page in ("functional", "interop", "compiled_training")
    for number, block in enumerate(
        re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), flags=re.DOTALL)
    )
    if "import jax" in block or "trifolium_jax" in block
}


def test_there_is_something_to_run() -> None:
    assert len(BLOCKS) == 4


CASES = [pytest.param(name, marks=[pytest.mark.slow] if "training" in name else []) for name in BLOCKS]


@pytest.mark.parametrize("name", CASES)
def test_block_runs(name: str) -> None:
    exec(BLOCKS[name], {})
