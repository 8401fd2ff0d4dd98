"""The page about a run in headless Chromium: ``nox -s report``.

It is no part of the suite, since a browser has to be installed. Without one it fails.
"""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from trifolium.experiment import Experiment, TrainOptions
from trifolium.experiment.report import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail(f"none of {', '.join(BROWSERS)} is installed, and one is needed (Debian: chromium)")
    with sync_playwright() as playwright:
        # no sandbox, so that root can run it in a container; the page is our own
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    options = TrainOptions(
        env="CartPole-v1", steps=2000, learning_starts=200, eval_every=500, eval_episodes=3
    )
    Experiment(options, out).train()
    return write_report(out)


@pytest.fixture
def opened(browser, report):
    """Return a function that opens a page and returns it with the requests that it made."""
    contexts = []

    def open_page(path=report, **options):
        context = browser.new_context(viewport={"width": 900, "height": 900}, **options)
        contexts.append(context)
        page, requests, complaints = context.new_page(), [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri(), wait_until="networkidle")
        return page, requests, complaints

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_request_leaves_the_page(opened, report, scheme):
    page, requests, complaints = opened(color_scheme=scheme)
    page.locator("summary").click()
    page.mouse.wheel(0, 10_000)
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert complaints == []


def test_a_request_would_be_seen(opened, report, tmp_path):
    planted = tmp_path / "planted.html"
    text = report.read_text().replace("</main>", '<img src="http://127.0.0.1:9/a.png" alt="a"></main>')
    planted.write_text(text)
    _, _, complaints = opened(planted)
    assert any("Content Security Policy" in complaint for complaint in complaints)
    policy = '<meta http-equiv="Content-Security-Policy"'
    planted.write_text(text.replace(policy, "<meta"))
    _, requests, _ = opened(planted)
    assert "http://127.0.0.1:9/a.png" in requests


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("chart", ["return", "evaluation", "loss", "length", "epsilon"])
def test_curves_are_visible(opened, scheme, chart):
    page, _, _ = opened(color_scheme=scheme)
    line = page.locator(f"#{chart} svg .line").first
    line.scroll_into_view_if_needed()
    inner, outer = line.bounding_box(), page.locator(f"#{chart} > svg").bounding_box()
    assert inner["width"] > outer["width"] / 3
    assert inner["height"] > outer["height"] / 8
    assert outer["x"] <= inner["x"]
    assert inner["x"] + inner["width"] <= outer["x"] + outer["width"]
    stroke = color(page, line, "stroke")
    background = color(page, page.locator("body"), "backgroundColor")
    assert contrast(stroke, background) >= 3.0
    picture = np.asarray(
        Image.open(io.BytesIO(page.locator(f"#{chart} > svg").screenshot())).convert("RGB"), int
    )
    drawn = np.abs(picture - stroke).max(axis=2) <= 8
    assert drawn.sum() > inner["width"]  # pixels of that very colour, over all the line's width
    assert np.ptp(np.flatnonzero(drawn.any(axis=0))) > 0.9 * inner["width"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_can_be_read(opened, scheme):
    page, _, _ = opened(color_scheme=scheme)
    background = color(page, page.locator("body"), "backgroundColor")
    for selector, name in (
        ("h1", "color"),
        ("td", "color"),
        ("figcaption", "color"),
        ("svg text", "fill"),
    ):
        assert contrast(color(page, page.locator(selector).first, name), background) >= 4.5, selector
    luminances = [luminance(background), luminance(color(page, page.locator("h1"), "color"))]
    assert (luminances[0] > luminances[1]) == (scheme == "light")


def test_pictures_of_an_episode_are_shown(opened):
    page, _, _ = opened()
    widths = page.locator(".pictures img").evaluate_all("images => images.map(i => i.naturalWidth)")
    assert len(widths) >= 2
    assert all(width > 100 for width in widths)


def test_it_prints_dark_on_white_and_fits_a_narrow_screen(opened):
    page, _, _ = opened(color_scheme="dark")
    page.emulate_media(media="print")
    assert luminance(color(page, page.locator("body"), "backgroundColor")) == 1.0
    assert contrast(color(page, page.locator("#return > svg .line"), "stroke"), (255, 255, 255)) >= 3.0
    assert page.pdf().startswith(b"%PDF")
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_screen_readers_hear_what_the_curves_show(opened):
    page, _, _ = opened()
    heard = page.locator("main").aria_snapshot()
    assert 'img "Return of the training episodes, against environment steps"' in heard
    assert 'heading "Curves" [level=2]' in heard
    assert 'rowheader "learning_starts"' in heard


def color(page, locator, name):
    """Return a computed colour as three numbers up to 255."""
    text = locator.evaluate(f"element => getComputedStyle(element).{name}")
    return np.array([int(number) for number in text[text.index("(") + 1 : -1].split(",")[:3]])


def luminance(rgb):
    """Return the relative luminance of a colour, as WCAG 2 defines it."""
    part = np.asarray(rgb) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, two):
    """Return the contrast of two colours, as WCAG 2 defines it: 1 to 21."""
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)
