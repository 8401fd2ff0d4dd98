"""A trained model at play, as pictures and as text."""

import numpy as np
import pytest
from PIL import Image

import trifolium as tri
from trifolium.experiment import Experiment, showing


@pytest.fixture
def lake(options, tmp_path):
    """Return a short run on FrozenLake, which can be shown in every way."""
    run = Experiment(options(env="FrozenLake-v1", steps=30, turns=6), tmp_path / "run")
    run.train()
    return run


def test_gif_has_a_picture_for_each_step(lake, tmp_path):
    frames = showing.episode_frames(lake)
    assert 1 <= len(frames.pictures) <= 6
    assert frames.per_second == 4.0
    showing.write_gif(tmp_path / "new" / "a.gif", frames)
    with Image.open(tmp_path / "new" / "a.gif") as gif:
        assert gif.n_frames <= len(frames.pictures)  # pictures that are the same are one
        assert gif.info["duration"] % 250 == 0
        shown = np.asarray(gif.convert("RGB"), int)
    assert np.abs(shown - frames.pictures[0]).mean() < 8.0  # a palette has 256 colours


def test_text_is_printed_after_each_step(lake, capsys, monkeypatch):
    waits = []
    monkeypatch.setattr(showing.time, "sleep", waits.append)
    returns = showing.watch(lake, 2, text=True)
    assert len(returns["agent"]) == 2
    assert 2 <= len(waits) <= 12
    assert set(waits) == {0.25}
    assert capsys.readouterr().out.count("  (") == len(waits)  # the direction, above the lake


def test_worlds_that_can_not_be_shown_are_named(options, tmp_path):
    run = Experiment(options(steps=20), tmp_path / "run")
    run.train()
    with pytest.raises(tri.WorldError, match="'CartPole-v1' can't be shown as 'ansi'; it has human"):
        showing.watch(run, 1, text=True)
