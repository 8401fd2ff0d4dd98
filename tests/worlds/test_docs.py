"""The Python in docs/howto/worlds.md runs as it stands, on NumPy."""

from ..pages import blocks

CORRIDOR, LOOP, STRUCTURED, VECTOR, GAME, MASKS = blocks("docs/howto/worlds.md")


def test_blocks_run():
    names = {}
    exec(CORRIDOR, names)
    assert names["walker"].length > 0
    assert compile(LOOP, "loop", "exec")
    exec(STRUCTURED, names)
    shapes = {name: part.shape for name, part in names["states"].items()}
    assert shapes == {"camera": (32, 3, 12, 12, 3), "joints": (32, 1, 7)}
    assert names["spec"].shape == {"camera": ((12, 12, 3), "uint8"), "joints": ((7,), "float32")}
    exec(VECTOR, names)
    assert len(names["model"].memory) >= 800
    exec(GAME, names)
    assert names["runner"].episodes >= 20
    exec(MASKS, names)
    assert {model.mask is not None for model in names["masked"].values()} == {True}
    assert names["runner"].episodes == 20
