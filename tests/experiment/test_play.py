"""A person at play: through a pseudo-terminal, as a person would, and through text streams."""

import io

import pytest

import trifolium as tri
from trifolium.experiment.play import PlayOptions, play

from ..terminal import Terminal
from .command import COMMAND, check_mistake, trifolium

LAKE = ("play", "FrozenLake-v1", "--keys", "asdw", "--turns", "3")
ASK = "action: "


@pytest.fixture
def terminal():
    opened = Terminal(*COMMAND, *LAKE)
    yield opened
    opened.close()


def test_good_keys_act_and_bad_ones_are_asked_again(terminal):
    assert "0 or a, 1 or s, 2 or d, 3 or w" in terminal.wait_for(ASK)
    terminal.type("d\n")
    assert "(Right)" in terminal.wait_for(ASK)
    terminal.type("x\n")
    shown = terminal.wait_for(ASK)
    assert "'x' is no action here" in shown
    assert "FFFH" not in shown  # nothing happened, so nothing is shown again
    terminal.type("1\n")
    assert "(Down)" in terminal.end()[1]  # which leads into a hole


def test_quit_ends_the_game(terminal):
    terminal.wait_for(ASK)
    terminal.type("quit\n")
    code, shown = terminal.end()
    assert (code, "quit" in shown, "Traceback" in shown) == (0, True, False)


def test_end_of_input_ends_the_game(terminal):
    terminal.wait_for(ASK)
    terminal.type("\x04")
    code, shown = terminal.end()
    assert (code, "the input has ended" in shown, "Traceback" in shown) == (0, True, False)


def test_ctrl_c_interrupts(terminal):
    terminal.wait_for(ASK)
    terminal.type("\x03")
    code, shown = terminal.end()
    assert (code, "interrupted" in shown, "Traceback" in shown) == (130, True, False)


def test_whole_game_tells_what_it_earned(terminal):
    for _ in range(3):
        terminal.wait_for(ASK)
        terminal.type("w\n")
    code, shown = terminal.end()
    assert (code, "episode 1 is over; it earned 0" in shown) == (0, True)
    assert shown.index("(Up)") < shown.index("episode")  # the last state is shown too


# Without a terminal


def played(options, typed):
    output = io.StringIO()
    returns = play(options, input=io.StringIO(typed), output=output)
    return returns, output.getvalue()


def test_numbers_are_shown_of_what_has_no_text():
    returns, shown = played(
        PlayOptions(env="CartPole-v1", show="numbers", turns=3, episodes=2), "0\n" * 6
    )
    assert returns == [3.0, 3.0]
    assert shown.count("action: ") == 6
    assert "episode 2 is over; it earned 3" in shown


def test_parts_of_an_observation_are_shown_by_name():
    options = PlayOptions(env="minigrid:MiniGrid-Empty-5x5-v0", show="numbers", turns=1)
    _, shown = played(options, "0\n")
    assert shown.startswith("direction:\n 1. 0. 0. 0.\nimage:\n")
    assert "mission" not in shown


def test_picture_is_drawn_in_the_terminal():
    with pytest.raises(tri.HumanQuit):
        play(PlayOptions(env="CartPole-v1"), input=io.StringIO(""), output=(output := io.StringIO()))
    assert len(output.getvalue().splitlines()) > 8


def test_actions_have_the_names_that_the_world_gives_them():
    options = PlayOptions(env="minigrid:MiniGrid-Empty-5x5-v0")
    with pytest.raises(tri.HumanQuit):
        play(options, input=io.StringIO(""), output=(output := io.StringIO()))
    assert "forward" in output.getvalue()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["env is missing"]),
        (("NoSuchWorld-v0",), ["NoSuchWorld"]),
        (("Pendulum-v1",), ["Pendulum-v1", "expected Discrete"]),
        (("CartPole-v1", "--show", "text"), ["can't be shown as text", "picture, window, numbers"]),
        (("CartPole-v1", "--show", "smoke"), ["show='smoke'", "picture"]),
        (("CartPole-v1", "--keys", "abc"), ["keys='abc'", "2"]),
        (("CartPole-v1", "--episodes", "0"), ["episodes=0"]),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(tmp_path, arguments, words):
    check_mistake(trifolium("play", *arguments, cwd=tmp_path), *words)
