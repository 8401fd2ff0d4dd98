"""Python in docs/howto/own_models.md runs, each part with its framework, and prints what it says."""

import re

import pytest

import trifolium as tri

from ..pages import blocks

BLOCKS = blocks("docs/howto/own_models.md")
PRINTED = blocks("docs/howto/own_models.md", "text")


def needed(block: str) -> str | None:
    """Return the backend that a block imports."""
    found = re.search(r"from trifolium_(\w+)", block)
    return found and found.group(1)


def test_there_is_something_to_run() -> None:
    assert [needed(block) for block in BLOCKS] == [None, "torch", "jax", None]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block_runs(block: str, backend: tri.Backend, capsys: pytest.CaptureFixture[str]) -> None:
    if needed(block) not in (None, backend.name):
        pytest.skip(f"runs where {needed(block)} is")
    names: dict[str, object] = {"__name__": "page"}
    exec(block, names)
    assert isinstance(names["model"], tri.BaseModel)
    assert names.get("action", 1) == 1
    assert "loss" not in names or backend.is_array(names["loss"])
    printed = capsys.readouterr().out
    assert printed.split() == (PRINTED[0].split() if "HumanModel" in block else [])
