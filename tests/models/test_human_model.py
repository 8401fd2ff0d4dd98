"""HumanModel: a person is asked, through plain streams and through a terminal."""

import io
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import trifolium as tri
from trifolium.backend import as_numpy

from ..terminal import Terminal
from .person import person, said


@pytest.mark.parametrize("bad", ["x", "3", "-1", "01", "1.0", "", "ad", "\x1b[A\x1b[A", "9" * 5000])
def test_bad_key_is_asked_again_with_the_good_ones(bad):
    model = person(f"{bad}\nd\n", action_names=["stay", "left", "right"], keys={"a": 1, "d": 2})
    assert model.take_action(np.zeros(4)) == 2
    complaint = said(model).splitlines()[-2]
    assert f"{bad!r:.40} is no action" in complaint
    assert "0: stay, 1 or a: left, 2 or d: right; q to quit" in complaint
    assert said(model).count("action: ") == 2


@pytest.mark.parametrize("word", ["quit", "QUIT", "q", " quit "])
def test_quit(word):
    model = person(f"x\n{word}\n1\n")
    with pytest.raises(tri.HumanQuit, match="quit"):
        model.take_action(np.zeros(4))
    assert model.take_action(np.zeros(4)) == 1  # and it can go on


def test_q_is_a_key_if_it_is_given_to_an_action():
    model = person("q\nquit\n", keys={"q": 1})
    assert model.take_action(np.zeros(4)) == 1
    with pytest.raises(tri.HumanQuit):
        model.take_action(np.zeros(4))
    assert "; quit to quit" in said(model)


@pytest.mark.parametrize("typed", ["", "x\n", "x"])
def test_end_of_input(typed):
    with pytest.raises(tri.HumanQuit, match="has ended"):
        person(typed).take_action(np.zeros(4))


def test_input_that_is_closed():
    model = person("")
    model._input.close()
    with pytest.raises(tri.HumanQuit, match="closed"):
        model.take_action(np.zeros(4))


def test_what_is_no_text_is_a_bad_key():
    stream = io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8")
    with pytest.raises(tri.HumanQuit, match="has ended"):
        person("", input=stream).take_action(np.zeros(4))


def test_quitting_can_be_caught_as_the_end_of_a_file():
    with pytest.raises(EOFError):
        person("quit\n").take_action(np.zeros(4))


def test_standard_streams_are_those_of_the_call(monkeypatch, capsys):
    model = tri.HumanModel(2, 2, 100)
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n"))
    assert model.take_action(np.zeros(2)) == 1
    assert "0, 1; q to quit\naction: " in capsys.readouterr().out


# As a model


def test_is_a_model_like_any_other(backend, tmp_path):
    model = person("1\n2\n", backend, seed=0)
    assert model.model_name == "HumanModel"
    for state in np.zeros((2, 4), "float32"):
        action = model.take_action(model.backend.from_numpy(state))
        model.memory.add(state, action, 1.0, False)
    assert as_numpy(model.memory.actions)[:2].reshape(-1).tolist() == [1, 2]
    assert float(model.train_step()) == 0.0
    model.save(tmp_path / "person")
    person("", backend).load(tmp_path / "person")


# Through a terminal

PLAY = """
import sys

import numpy as np
import trifolium as tri

model = tri.HumanModel(2, 2, 10, backend=sys.argv[1], action_names=["left", "right"], keys="ad")
state = model.backend.from_numpy(np.array([0.25, -1.5], "float32"))
print("ready", flush=True)
while True:
    try:
        print("took", model.take_action(state), flush=True)
    except tri.HumanQuit as quit:
        print("ended:", quit, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        break
"""


@pytest.fixture
def terminal(backend):
    opened = Terminal(sys.executable, "-c", PLAY, backend.name)
    yield opened
    opened.close()


@pytest.mark.slow_on("strict", "torch", "jax")
def test_playing_in_a_terminal(terminal):
    terminal.wait_for("ready")
    first = terminal.wait_for("action: ")
    assert "0.25 -1.5" in first
    assert "0 or a: left, 1 or d: right; q to quit" in first
    terminal.type(b"d\n")
    terminal.wait_for("took 1")

    terminal.wait_for("action: ")
    terminal.type(b"x\n")
    assert (
        "'x' is no action here. Good are: 0 or a: left, 1 or d: right; q to quit"
        in terminal.wait_for("action: ")
    )
    terminal.type(b"\xff\n")
    assert "no action here" in terminal.wait_for("action: ")
    terminal.type(b"\x1b[D\n")
    terminal.wait_for("took 0")

    terminal.wait_for("action: ")
    terminal.type(b"quit\n")
    terminal.wait_for("ended: the person at the keys quit")

    terminal.wait_for("action: ")
    terminal.type(b"\x04")
    terminal.wait_for("ended: the input has ended")

    terminal.wait_for("action: ")
    terminal.type(b"\x03")
    terminal.wait_for("interrupted")
    assert terminal.end()[0] == 0


@pytest.mark.slow_on("strict", "torch", "jax")
def test_waiting_for_a_key_takes_no_time_of_the_processor(terminal):
    terminal.wait_for("action: ")
    status = Path(f"/proc/{terminal.program.pid}/stat")
    if not status.exists():
        pytest.skip("this system does not tell it under /proc")

    def used():
        return sum(map(int, status.read_text().rpartition(")")[2].split()[11:13]))

    before = used()
    time.sleep(0.5)
    assert used() - before <= 10  # hundredths of a second, in half a second


def test_a_person_needs_no_memory(backend):
    assert tri.HumanModel(2, 2, 1, backend=backend).memory.capacity == 2
    assert tri.HumanModel(2, 2, 1, n_frames=3, n_streams=2, backend=backend).memory.capacity == 8
    with pytest.raises(ValueError, match="memory_size=0 is too small"):
        tri.HumanModel(2, 2, 0, backend=backend)
