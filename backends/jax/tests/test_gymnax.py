"""gymnax's environments: compiled runs from the command line, and as Gymnasium environments."""

import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from PIL import Image

import trifolium as tri
from trifolium import files
from trifolium.cli import main
from trifolium.experiment import Experiment, TrainOptions
from trifolium.experiment.rows import EpisodeRow, read_rows
from trifolium.experiment.runners import GymRunner
from trifolium_jax import gymnax
from trifolium_jax.runner import CompiledRunner

pytestmark = pytest.mark.filterwarnings("ignore:the model .* has learned nothing:RuntimeWarning")

COMMAND = ("train", "gymnax:CartPole-v1", "--backend", "jax")


def options(**chosen: Any) -> TrainOptions:
    defaults = {"env": "gymnax:CartPole-v1", "backend": "jax", "hidden": (16,), "steps": 800}
    return TrainOptions(**(defaults | {"learning_starts": 100, "train_every": 4} | chosen))


def contents(out: Path) -> dict[str, Any]:
    """Return what a finished run has to show for itself: its logs, and its model's arrays."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in out.glob("*.csv")}
    _, arrays = files.read(out / "model.safetensors", "model")
    return found | {name: array.tobytes() for name, array in arrays.items()}


@pytest.mark.slow
def test_train_learns_and_leaves_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main([*COMMAND, "--steps", "20000", "--eval-every", "10000", "--out", str(out)]) == 0
    rows = read_rows(out / "metrics.csv", EpisodeRow)
    assert [row.episode for row in rows] == list(range(1, len(rows) + 1))
    np.testing.assert_array_equal(np.diff([row.step for row in rows]), [row.length for row in rows][1:])
    assert np.mean([row.episode_return for row in rows[-10:]]) > 100  # a random policy earns 22
    assert np.isnan(rows[0].loss)
    assert np.isfinite([row.loss for row in rows[-10:]]).all()
    assert rows[0].epsilon > rows[-1].epsilon == pytest.approx(0.05)
    assert len((out / "evaluations.csv").read_text().splitlines()) == 3
    assert (out / "learning_curve.png").is_file()
    capsys.readouterr()
    assert main(["evaluate", str(out), "--episodes", "3"]) == 0
    assert float(re.findall(r"return (\S+) over", capsys.readouterr().out)[0]) > 100


@pytest.mark.slow
def test_watch_shows_the_model(tmp_path: Path) -> None:
    out, gif = tmp_path / "run", tmp_path / "pole.gif"
    assert main([*COMMAND, "--steps", "200", "--turns", "4", "--out", str(out)]) == 0
    assert main(["watch", str(out), "--gif", str(gif)]) == 0
    with Image.open(gif) as picture:
        assert picture.n_frames > 1  # type: ignore[attr-defined]


MANY = {"n_envs": 4, "prioritized": True}


@pytest.mark.parametrize("chosen", [{}, MANY], ids=["plain", "many"])
@pytest.mark.slow
def test_a_run_that_was_interrupted_goes_on_to_the_bit(chosen: dict[str, Any], tmp_path: Path) -> None:
    whole = Experiment(options(**chosen), tmp_path / "whole")
    assert isinstance(whole.runner, CompiledRunner)
    whole.train()
    broken = Experiment(options(**chosen), tmp_path / "broken")
    pending = [400]

    def interrupt(progress: Any) -> None:
        if pending and progress.step >= pending[0]:
            pending.clear()
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        broken.train(interrupt)
    assert 400 <= broken.saved_step < 800
    resumed = Experiment.resume(tmp_path / "broken")
    assert resumed.step == broken.saved_step
    resumed.train()
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_a_model_that_is_not_compiled_learns_step_by_step(tmp_path: Path) -> None:
    run = Experiment(options(backend="numpy", steps=150), tmp_path / "run")
    assert isinstance(run.runner, GymRunner)
    run.train()
    assert run.evaluate(1)["agent"] > 0


def test_steps_that_are_no_rounds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steps=801; a compiled run takes a multiple of 4"):
        Experiment(options(steps=801), tmp_path / "run")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("gymnax:CartPole-v9", "CartPole-v9.*Known are: CartPole-v1, "),
        ("gymnax:Pendulum-v1", "env='gymnax:Pendulum-v1' is not supported: the action space Box"),
    ],
)
def test_environments_that_cannot_be_had(env: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(tri.errors.WorldError, match=message):
        Experiment(options(env=env), tmp_path / "run")


# As environments of Gymnasium


@pytest.mark.filterwarnings("ignore:.*render")  # gymnax draws with matplotlib: it takes seconds
def test_passes_the_checker_of_gymnasium() -> None:
    check_env(gymnax.make("Acrobot-v1"), skip_render_check=True)


def test_a_truncated_episode_ends_with_its_own_observation() -> None:
    env = gymnax.make("CartPole-v1", max_steps=3)
    obs, _ = env.reset(seed=0)
    for action in (0, 1, 0):
        before = obs
        obs, reward, terminated, truncated, _ = env.step(action)
    assert (reward, terminated, truncated) == (1.0, False, True)
    moved = np.asarray(obs - before)
    assert moved[0] == pytest.approx(0.02 * before[1], abs=1e-6)  # of one step of 0.02 seconds


def test_a_picture_is_drawn_where_one_is_asked_for() -> None:
    env = gymnax.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    picture: Any = env.render()
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.std() > 1
    silent = gymnax.make("CartPole-v1")
    silent.reset(seed=0)
    assert silent.render() is None
