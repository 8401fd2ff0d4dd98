"""The page on networks of one's own: its code runs, each framework's in the runs of that framework."""

from ..pages import ROOT, blocks_of

PAGE = ROOT / "docs" / "howto" / "own_networks.md"


def test_code_of_the_page_runs(learner):
    text = PAGE.read_text().split(f"\n## {learner.name}\n")[1].split("\n## ")[0]
    (code,) = blocks_of(text)
    names = {}
    exec(code, names)
    model = names["model"]
    assert model.backend.name == learner.name
    for step in range(200):
        model.memory.add([step / 200] * 4, step % 2, 1.0, step % 20 == 19)
    assert float(model.train_step()) > 0
    assert model.take_action([0, 0, 0, 0]) in (0, 1)
