"""What a person is shown: text, numbers, images in the terminal and in a window."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from trifolium.models.human import drawing

from .person import person, said


def shown(state, **options):
    """Return what is written above the list of keys."""
    model = person("0\n", **options)
    model.take_action(state)
    return said(model).rpartition("\n0 ")[0]


def test_vector_is_numbers(backend):
    state = backend.from_numpy(np.array([0.5, -1.25, 3.0, 100.0], "float32"))
    assert shown(state, backend=backend).split() == ["0.5", "-1.25", "3.", "100."]


def test_stacked_vectors_are_rows_oldest_first(backend):
    state = backend.from_numpy(np.arange(6, dtype="float32"))
    lines = shown(state, backend=backend, input_size=2, n_frames=3).splitlines()
    assert [line.split() for line in lines] == [["0.", "1."], ["2.", "3."], ["4.", "5."]]


TEXTS = {
    "a string": ("#.#\n.@.", "#.#\n.@."),
    "characters": (np.array([list("#.#"), list(".@.")]), "#.#\n.@."),
    "objects": (np.array([list("#.#"), list(".@.")], object), "#.#\n.@."),
    "bytes": (np.array([[b"S", b"F"], [b"H", b"G"]]), "SF\nHG"),
    "lines": (["#.#", ".@."], "#.#\n.@."),
    "words": (np.array([["wall", "me"], ["", "food"]], object), "wall me\n     food"),
    "something": ({"food": 3}, "{'food': 3}"),
}


@pytest.mark.parametrize("draw", ["auto", "numbers", "image"])
@pytest.mark.parametrize(("state", "text"), TEXTS.values(), ids=TEXTS)
def test_text_is_printed_as_it_is(state, text, draw):
    assert shown(state, draw=draw) == text


def test_view_takes_the_place_of_the_state():
    seen = []
    model = person(
        "0\n0\n", view=lambda state: seen.append(state) or ("the world" if len(seen) == 1 else None)
    )
    state = np.zeros(4)
    model.take_action(state)
    model.take_action(state)
    assert seen[0] is state
    assert said(model) == "the world\n" + 2 * "0 to 2; q to quit\naction: "


def test_nothing_is_drawn():
    assert shown(np.zeros(4), draw="nothing") == ""


GREY = np.zeros((8, 8), "uint8")
GREY[1, 2] = 255
IMAGES = {
    "grey": GREY,
    "grey with an axis": GREY[..., np.newaxis],
    "coloured": np.repeat(GREY[..., np.newaxis], 3, axis=-1),
    "coloured, channels first": np.repeat(GREY[np.newaxis], 3, axis=0),
    "truth values": GREY > 0,
    "0 and 1": GREY // 255,
    "floats": GREY / np.float32(255),
    "large floats": GREY.astype("float32"),
    "frames of which the newest counts": np.stack([GREY.T, GREY.T, GREY.T, GREY]),
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_image_is_shades_where_there_are_no_colours(backend, image, monkeypatch):
    monkeypatch.setenv("COLUMNS", "16")
    monkeypatch.setenv("LINES", "16")
    state = backend.from_numpy(image.copy())
    lines = shown(state, backend=backend, input_size=image.shape).split("\n")
    assert lines == ["", "    @@", *[""] * 6]


def test_of_stacked_images_the_newest_is_drawn(monkeypatch):
    monkeypatch.setenv("COLUMNS", "16")
    monkeypatch.setenv("LINES", "16")
    state = np.stack([GREY.T, GREY])
    lines = shown(state.reshape(1, -1), input_size=(8, 8), n_frames=2).split("\n")
    assert lines == ["", "    @@", *[""] * 6]


def test_layers_have_colours_of_their_own():
    layers = np.zeros((8, 8, 4), bool)
    layers[0, 0, 0] = layers[1, 1, 1] = layers[2, 2, 3] = layers[2, 2, 0] = True
    dots = drawing.picture(layers)
    colours = [tuple(dots[i, i]) for i in range(4)]
    assert len(set(colours)) == 4
    assert colours[3] == (0, 0, 0)
    assert np.count_nonzero(dots.any(axis=-1)) == 3


def test_small_arrays_are_numbers_unless_an_image_is_asked_for(monkeypatch):
    monkeypatch.setenv("COLUMNS", "8")
    monkeypatch.setenv("LINES", "12")
    board = np.array([[0, 1], [1, 0]])
    assert shown(board, input_size=(2, 2)).split() == ["0", "1", "1", "0"]
    assert shown(board, input_size=(2, 2), draw="image").split("\n")[0].strip() == "@@@@"
    assert "." in shown(np.linspace(0, 1, 64).reshape(8, 8), input_size=(8, 8), draw="numbers")


@pytest.mark.parametrize("shape", [(210, 160, 3), (3, 400), (1000,), (64, 64)])
def test_images_fit_the_terminal(shape, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "30")
    lines = shown(np.full(shape, 200, "uint8"), input_size=shape, draw="image").split("\n")
    assert 0 < len(lines) <= 22
    assert 0 < max(map(len, lines)) <= 60


def test_shrinking_takes_means(monkeypatch):
    monkeypatch.setenv("COLUMNS", "16")
    monkeypatch.setenv("LINES", "16")
    stripes = np.zeros((16, 16), "uint8")
    stripes[:, ::2] = 254
    assert set(shown(stripes, input_size=(16, 16))) == {"=", "\n"}  # 127 of 255


def test_what_has_too_many_axes_is_no_image():
    with pytest.raises(ValueError, match=r"\(2, 8, 8, 3\) can't be drawn"):
        shown(np.zeros((2, 8, 8, 3)), draw="image")


def test_terminal_with_colours_gets_half_blocks(monkeypatch):
    monkeypatch.setenv("COLUMNS", "8")
    monkeypatch.setenv("LINES", "12")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    image = np.zeros((8, 8, 3), "uint8")
    image[2, 3], image[3, 3] = (1, 2, 3), (200, 100, 50)
    lines = shown(image, input_size=image.shape).split("\n")
    assert [line.count("▀") for line in lines] == [8] * 4
    cell = re.findall(r"\x1b\[([\d;]+)m▀", lines[1])[3]
    assert cell == "38;2;1;2;3;48;2;200;100;50"


def test_without_rich_there_are_shades(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setitem(sys.modules, "rich.console", None)  # which makes its import fail
    assert "@@" in shown(GREY, input_size=(8, 8))


def test_window_that_can_not_be_opened_is_an_error(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    with pytest.raises(RuntimeError, match=r'draw="window".*agg.*draw="image"'):
        shown(np.zeros((8, 8)), draw="window")


LOOK = """
import io
import numpy as np
import trifolium as tri
from matplotlib import pyplot

def seen():
    dots = np.asarray(pyplot.figure("HumanModel").canvas.buffer_rgba())[..., :3].reshape(-1, 3)
    return {tuple(map(int, dot)) for dot in dots}

keys = io.StringIO("0\\n" * 3)
model = tri.HumanModel((8, 8, 3), 2, 10, draw="window", input=keys, output=io.StringIO())
red, blue = np.zeros((2, 8, 8, 3), "uint8")
red[..., 0], blue[..., 2] = 201, 77
model.take_action(red)
assert (201, 0, 0) in seen()
model.take_action(blue)
assert (0, 0, 77) in seen() and (201, 0, 0) not in seen()
pyplot.close("all")
model.take_action(red)  # opens it again
assert (201, 0, 0) in seen()
"""


def test_window_shows_the_image():
    pytest.importorskip("tkinter")
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb, a screen that nobody sees")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as screen:
        os.close(write)
        with open(read) as told:
            display = f":{told.readline().strip()}"
        settings = os.environ | {"DISPLAY": display, "MPLBACKEND": "tkagg"}
        looking = [sys.executable, "-c", LOOK]
        looked = subprocess.run(looking, env=settings, check=False, capture_output=True, text=True)
        screen.terminate()
    assert looked.returncode == 0, looked.stderr
