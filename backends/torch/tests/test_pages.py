"""The Python for torch in the documentation runs as it stands."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
BLOCKS = [
    block
    for block in re.findall(r"```python\n(.*?)```", (DOCS / "interop.md").read_text(), flags=re.DOTALL)
    if "import torch" in block
]


def test_there_is_something_to_run() -> None:
    assert len(BLOCKS) == 1


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block_runs(block: str) -> None:
    exec(block, {})
