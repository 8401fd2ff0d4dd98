"""The Python in docs/howto/experiments.md runs as it stands, on each backend."""

import pytest

from ..pages import blocks

BLOCKS = blocks("docs/howto/experiments.md")


RUNS = [number for number, block in enumerate(BLOCKS) if "Experiment(" in block]


def test_there_is_something_to_run():
    assert (len(BLOCKS), len(RUNS)) == (2, 2)
    assert sum('backend="numpy"' in block for block in BLOCKS) == 1


@pytest.mark.parametrize("number", range(2))
def test_block_runs(number, learner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    on_this = f'backend="{learner.name}"'
    block = BLOCKS[number].replace('backend="numpy"', on_this)
    exec(block.replace('env="CartPole-v1"', f'env="CartPole-v1", {on_this}'), {})
    if number in RUNS:
        (run,) = (tmp_path / "runs").iterdir()
        assert (run / "model.safetensors").is_file()
