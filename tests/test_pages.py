"""The Python of pages that need no more than to run: each block by itself, on each backend."""

from pathlib import Path

import pytest

import trifolium as tri

from .pages import blocks

PAGES = (
    "howto/ray",
    "howto/functional",
    "howto/interop",
    "howto/compiled_training",
)
BLOCKS = {
    f"{page}-{number}": block
    for page in PAGES
    for number, block in enumerate(blocks(f"docs/{page}.md"))
}


def needed(block: str) -> str | None:
    """Return the backend whose framework a block needs."""
    for name in ("torch", "jax"):
        if f"import {name}" in block or f"trifolium_{name}" in block:
            return name
    return None


def test_there_is_something_to_run() -> None:
    found = [needed(block) for block in BLOCKS.values()]
    assert (found.count("torch"), found.count("jax")) == (1, 4)


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a block's test."""
    of_another_library = [pytest.mark.interop] if "import pyarrow" in BLOCKS[name] else []
    return of_another_library + ([pytest.mark.slow] if "training" in name else [])


CASES = [pytest.param(name, marks=marks_of(name)) for name in BLOCKS]


@pytest.mark.parametrize("name", CASES)
def test_block_runs(
    name: str, backend: tri.Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "import pyarrow" in BLOCKS[name]:
        pytest.importorskip("pyarrow")
    if needed(BLOCKS[name]) not in (None, backend.name):
        pytest.skip(f"runs where {needed(BLOCKS[name])} is")
    exec(BLOCKS[name].replace('backend="numpy"', f'backend="{backend.name}"'), {})
