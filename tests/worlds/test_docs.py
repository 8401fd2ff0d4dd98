"""The Python in docs/worlds.md runs as it stands, on NumPy."""

from ..pages import blocks

CORRIDOR, LOOP, VECTOR, GAME = blocks("docs/worlds.md")


def test_blocks_run():
    names = {}
    exec(CORRIDOR, names)
    assert names["walker"].length > 0
    assert compile(LOOP, "loop", "exec")
    exec(VECTOR, names)
    assert len(names["model"].memory) >= 800
    exec(GAME, names)
    assert names["runner"].episodes >= 20
