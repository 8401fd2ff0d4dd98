"""The Python in docs/experiments.md runs as it stands, on each backend."""

import re
from pathlib import Path

import pytest

BLOCKS = re.findall(
    r"```python\n(.*?)```",
    (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(),
    flags=re.DOTALL,
)


def test_there_is_something_to_run():
    assert len(BLOCKS) == 2
    assert 'backend="numpy"' in BLOCKS[1]


@pytest.mark.parametrize("number", [0, 1])
def test_block_runs(number, learner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    on_this = f'backend="{learner.name}"'
    block = BLOCKS[number].replace('backend="numpy"', on_this)
    exec(block.replace('env="CartPole-v1"', f'env="CartPole-v1", {on_this}'), {})
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "model.safetensors").is_file()
