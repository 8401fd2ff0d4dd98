"""The page about a run, read as text; `look_at_report.py` opens it in a browser."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import trifolium as tri
from trifolium.experiment import Experiment
from trifolium.experiment.report import write_report
from trifolium.experiment.report.chart import Series, chart
from trifolium.experiment.rows import EpisodeRow, read_rows

VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """A page taken apart, whose parts must be closed in the order in which they were opened."""

    def __init__(self, text):
        super().__init__()
        self.elements = []  # (name, attributes)
        self.texts = []
        self._open = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def every(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture
def page(options, tmp_path):
    run = Experiment(options(eval_every=100, eval_episodes=2), tmp_path / "run")
    run.train()
    return Page(write_report(tmp_path / "run").read_text())


def test_page_shows_curves_settings_versions_and_pictures(page, tmp_path, backend):
    text = " ".join(page.texts)
    for words in ("of 400 steps", "learning_starts", "CartPole-v1", tri.__version__, backend.version):
        assert words in text
    charts = {attributes["id"] for attributes in page.every("figure") if "id" in attributes}
    assert charts == {"return", "evaluation", "loss", "length", "epsilon"}
    assert 2 <= len(page.every("img")) <= 6
    episodes = read_rows(tmp_path / "run" / "metrics.csv", EpisodeRow)
    assert f"{len(episodes)} episodes" in text


def test_page_asks_for_nothing(page, tmp_path):
    text = (tmp_path / "run" / "report.html").read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert page.every("script") == []
    for _, attributes in page.elements:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")


def test_page_can_be_read_by_those_who_do_not_see_it(page):
    assert page.every("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for attributes in page.every("svg"):
        assert attributes.get("aria-hidden") == "true" or attributes["aria-labelledby"] in ids
    assert all(attributes["alt"] for attributes in page.every("img"))
    assert all("scope" in attributes for attributes in page.every("th"))


def test_names_are_text_whatever_is_in_them(backend, tmp_path):
    options = tri.experiment.TrainOptions(
        env="<script>alert('&')</script>", model="random", backend=backend.name, steps=30
    )

    def world():
        return tri.worlds.gym.make("CartPole-v1")

    Experiment(options, tmp_path / "run", world=world).train()
    page = Page(write_report(tmp_path / "run", tmp_path / "page.html").read_text())
    assert page.every("script") == []
    assert "<script>alert('&')</script>" in "".join(page.texts)
    assert "There are no pictures" in "".join(page.texts)


def test_run_that_has_just_begun_has_a_page(options, tmp_path):
    def fail(progress):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Experiment(options(), tmp_path).train(on_progress=fail)
    page = Page(write_report(tmp_path).read_text())
    assert "without a checkpoint yet" in "".join(page.texts)


def test_several_agents_have_a_line_each(options, tmp_path):
    Experiment(options(env="pettingzoo:classic/rps-v2"), tmp_path).train()
    page = Page(write_report(tmp_path).read_text())
    assert {"player_0: episode", "player_1: episode"} <= set(page.texts)
    assert "".join(page.texts).count("player_0") >= 3


# Charts


def points(svg, kind):
    """Return the coordinates in the first path of a class."""
    path = re.search(rf'class="{kind} s\d" d="([^"]*)"', svg).group(1)
    return np.array(
        [[float(number) for number in point.split()] for point in re.findall(r"[\d.-]+ [\d.-]+", path)]
    )


def test_lines_are_where_the_axes_say():
    x, y = np.array([0.0, 50.0, 100.0]), np.array([-2.0, 0.0, 2.0])
    svg = chart("a", "title", "steps", [Series("line", x, y)])
    drawn = points(svg, "line")
    ticks = {
        float(text.replace(",", "")): float(at)
        for at, text in re.findall(r'<text x="[\d.]+" y="([\d.]+)" text-anchor="end">([^<]+)<', svg)
    }
    assert set(ticks) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    for value, at in zip(y, drawn[:, 1], strict=True):
        assert ticks[value] - 4 == pytest.approx(at, abs=0.1)  # text stands a bit lower than its tick
    assert np.diff(drawn[:, 0]).tolist() == pytest.approx([320.0, 320.0])


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([0.0], [1.0]),
        ([5.0, 6.0], [0.0, 0.0]),
        ([1e9, 2e9], [1e-9, -1e-9]),
        ([1, 2, 3], [np.nan, 1, np.inf]),
    ],
)
def test_odd_series_are_drawn_in_the_frame(x, y):
    svg = chart("a", "title", "steps", [Series("dots", np.array(x), np.array(y), is_line=False)])
    drawn = points(svg, "dots")
    assert len(drawn) == np.isfinite(y).sum()
    assert np.all((drawn >= 0) & (drawn <= [720, 300]))
    assert "nan" not in svg
    assert "inf" not in svg


def test_long_series_keep_their_ends():
    x = np.arange(100_000.0)
    svg = chart("a", "title", "steps", [Series("line", x, np.sin(x / 1e4))])
    drawn = points(svg, "line")
    assert len(drawn) == 600
    assert drawn[[0, -1], 0].tolist() == [64.0, 704.0]
