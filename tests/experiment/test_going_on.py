"""Runs that go on with more steps, and runs that learn nothing."""

import pytest

from trifolium.experiment import Experiment
from trifolium.experiment.rows import EpisodeRow, read_rows

from .command import trifolium


@pytest.mark.parametrize("keep_memory", [False, True])
def test_a_finished_run_goes_on_with_more_steps(options, tmp_path, keep_memory):
    Experiment(options(steps=300, keep_memory=keep_memory), tmp_path).train()
    before = (tmp_path / "metrics.csv").read_bytes()
    run = Experiment.resume(tmp_path, steps=600)
    assert run.step == 300
    assert (len(run.models["model"].memory) >= 299) == keep_memory
    run.train()
    assert run.step == 600
    assert (tmp_path / "metrics.csv").read_bytes().startswith(before)
    assert read_rows(tmp_path / "metrics.csv", EpisodeRow)[-1].step > 500
    assert Experiment.resume(tmp_path).options.steps == 600
    with pytest.raises(ValueError, match=r"steps=500; the run in .* has taken 600 already"):
        Experiment.resume(tmp_path, steps=500)


def test_the_command_goes_on_with_more_steps(tmp_path):
    command = ("train", "CartPole-v1", "--model", "random", "--out", "run", "--steps", "60")
    assert trifolium(*command, cwd=tmp_path).returncode == 0
    done = trifolium("train", "--resume", "run", "--steps", "120", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Experiment.load(tmp_path / "run").saved_step == 120


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "chosen", [{"steps": 40, "learning_starts": 200}, {"steps": 60, "train_every": 100}], ids=str
)
def test_a_run_that_learned_nothing_says_so(learner, options, tmp_path, chosen):
    with pytest.warns(RuntimeWarning, match="'model' has learned nothing: no update .* batch_size=16"):
        Experiment(options(**({"learning_starts": 10, "n_step": 3} | chosen)), tmp_path / "a").train()


def test_the_command_says_that_nothing_was_learned_and_its_version(tmp_path):
    command = ("train", "CartPole-v1", "--steps", "60", "--out", "run")
    done = trifolium(*command, cwd=tmp_path)
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert "has learned nothing" in line
    assert trifolium("--version", cwd=tmp_path).stdout.startswith("trifolium 0.")


def test_completion_is_a_script_of_the_shell(tmp_path):
    pytest.importorskip("shtab")
    done = trifolium("completion", "bash", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--checkpoint-every" in done.stdout
