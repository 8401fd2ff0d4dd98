"""The Python in docs/worlds.md runs as it stands, on NumPy."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "worlds.md").read_text()
CORRIDOR, LOOP, VECTOR, GAME = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_blocks_run():
    names = {}
    exec(CORRIDOR, names)
    assert names["walker"].length > 0
    assert compile(LOOP, "loop", "exec")
    exec(VECTOR, names)
    assert len(names["model"].memory) >= 800
    exec(GAME, names)
    assert names["runner"].episodes >= 20
