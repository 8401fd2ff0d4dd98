"""The Python in README.md runs as it stands, on each backend."""

import pytest

import trifolium as tri

from .pages import blocks

BLOCKS = blocks("README.md")


def test_there_is_something_to_run() -> None:
    assert len(BLOCKS) == 2
    assert all('backend="numpy"' in block for block in BLOCKS)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block_runs(block: str, backend: tri.Backend) -> None:
    if "DDQN" in block and not isinstance(backend, tri.Differentiable):
        pytest.skip(f"{backend.name} declares that it takes no gradients")
    names: dict[str, object] = {}
    exec(block.replace('backend="numpy"', f'backend="{backend.name}"'), names)
    found = names.get("states", names.get("loss"))
    assert found is None or backend.is_array(found)
