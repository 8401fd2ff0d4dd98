"""The command line, run as a person would: in a process of its own."""

import json
import re
import shutil
import subprocess
import sys

import pytest

import trifolium as tri
from trifolium.cli import main

from .command import check_mistake, trifolium

TRAIN = ("train", "CartPole-v1", "--steps", "300", "--learning-starts", "100")


ELSEWHERE = pytest.mark.slow_on("strict", "torch", "jax")


@pytest.fixture(scope="module")
def run(tmp_path_factory, backend):
    """Return a folder with a finished run in runs/short, and what training printed."""
    folder = tmp_path_factory.mktemp("cli")
    model = "ddqn" if isinstance(backend, tri.Differentiable) else "random"
    done = trifolium(
        *TRAIN, "--backend", backend.name, "--model", model, "--out", "runs/short", cwd=folder
    )
    return folder, done


def test_train_leaves_a_record(run, backend):
    folder, done = run
    assert done.returncode == 0, done.stderr
    assert "mean greedy return" in done.stdout
    assert "over 20 episodes" in done.stdout
    out = folder / "runs" / "short"
    assert {path.name for path in out.iterdir()} == {
        "checkpoint",
        "config.json",
        "learning_curve.png",
        "metrics.csv",
        "model.safetensors",
        "versions.json",
    }
    config = json.loads((out / "config.json").read_text())
    assert (config["env"], config["backend"], config["steps"]) == ("CartPole-v1", backend.name, 300)
    header, *lines = (out / "metrics.csv").read_text().splitlines()
    assert header == "step,episode,episode_return,length,epsilon,loss"
    assert 0 < int(lines[-1].split(",")[0]) <= 300
    assert (out / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_train_learns_as_the_first_tutorial_says(learner, tmp_path):
    command = ("train", "CartPole-v1", "--model", "ddqn", "--steps", "15000", "--seed", "0")
    done = trifolium(*command, "--backend", learner.name, "--out", "runs/first", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    mean = float(re.search(r"mean greedy return ([\d.]+) over 20 episodes", done.stdout)[1])
    assert mean > 120  # random pushes earn 22


@ELSEWHERE
def test_evaluate_repeats_the_final_evaluation(run):
    folder, done = run
    again = trifolium("evaluate", "runs/short", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0] == done.stdout.splitlines()[0]
    fewer = trifolium("evaluate", "runs/short", "--episodes", "3", cwd=folder)
    assert "over 3 episodes" in fewer.stdout


def test_backends_lists_this_one_as_installed(backend, tmp_path):
    done = trifolium("backends", cwd=tmp_path)
    assert done.returncode == 0
    line = next(line for line in done.stdout.splitlines() if line.startswith(backend.name))
    assert backend.version in line
    assert "not installed" not in line


@ELSEWHERE
def test_file_holds_options_and_the_command_line_overrides_them(run, backend):
    folder, _ = run
    (folder / "run.toml").write_text(
        f'env = "CartPole-v1"\nmodel = "random"\nbackend = "{backend.name}"\nsteps = 50\n'
        'out = "runs/file"\nhidden = [8]\ncheckpoint-every = "none"\n'
    )
    done = trifolium(
        "train", "--config", "run.toml", "--steps", "60", "--eval-episodes", "3", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert "over 3 episodes" in done.stdout
    config = json.loads((folder / "runs" / "file" / "config.json").read_text())
    assert (config["steps"], config["hidden"], config["checkpoint_every"]) == (60, [8], None)


@ELSEWHERE
def test_options_can_be_none_and_switched(run, backend):
    folder, _ = run
    arguments = ("--backend", backend.name, "--model", "random", "--steps", "20", "--out", "runs/none")
    none = ("--checkpoint-every", "none", "--epsilon-start", "None", "--no-tensorboard", "--dueling")
    done = trifolium("train", "CartPole-v1", *arguments, *none, cwd=folder)
    assert done.returncode == 0, done.stderr
    config = json.loads((folder / "runs" / "none" / "config.json").read_text())
    chosen = [config[name] for name in ("checkpoint_every", "epsilon_start", "tensorboard", "dueling")]
    assert chosen == [None, None, False, True]


def test_every_option_is_explained(tmp_path):
    done = trifolium("train", "--help", cwd=tmp_path)
    assert done.returncode == 0
    for words in ("--checkpoint-every N", "(default: 10000)", "--no-tensorboard", "--resume DIR"):
        assert words in done.stdout


@ELSEWHERE
def test_resuming_a_finished_run_evaluates_it_again(run):
    folder, done = run
    again = trifolium("train", "--resume", "runs/short", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout


@ELSEWHERE
def test_watch_writes_a_gif(run):
    folder, _ = run
    done = trifolium("watch", "runs/short", "--gif", "played.gif", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "played.gif").read_bytes().startswith(b"GIF89a")


@ELSEWHERE
def test_report_is_one_page(run):
    folder, _ = run
    done = trifolium("report", "runs/short", "--to", "pages/short.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "pages" / "short.html").read_text().startswith("<!doctype html>")


MISTAKES = {
    "no such version": (("train", "CartPole-v9", "--out", "x"), ["CartPole-v9", "v1"]),
    "no such world": (("train", "NoSuchWorld-v0", "--out", "x"), ["NoSuchWorld"]),
    "no such game": (("train", "pettingzoo:classic/go-v99", "--out", "x"), ["classic/go-v99"]),
    "continuous actions": (
        ("train", "Pendulum-v1", "--out", "x"),
        ["Pendulum-v1", "expected Discrete"],
    ),
    "another run's folder": ((*TRAIN, "--out", "runs/short"), ["runs/short", "holds a run"]),
    "out is a file": ((*TRAIN, "--out", "broken.toml"), ["broken.toml", "is a file"]),
    "no such backend": ((*TRAIN, "--out", "x", "--backend", "jux"), ["'jux'", "numpy", "torch", "jax"]),
    "no such model": (
        (*TRAIN, "--out", "x", "--model", "dqqn"),
        ["'dqqn'", "ddqn", "did you mean 'ddqn'?"],
    ),
    "model of one's own": ((*TRAIN, "--out", "x", "--model", "own"), ["'own'", "models="]),
    "no such device": ((*TRAIN, "--out", "x", "--device", "abacus"), ["'abacus'", "cpu"]),
    "no steps": (("train", "CartPole-v1", "--steps", "0", "--out", "x"), ["steps=0", "at least 1"]),
    "no number": (("train", "CartPole-v1", "--steps", "many", "--out", "x"), ["--steps", "many"]),
    "no number or none": ((*TRAIN, "--turns", "few", "--out", "x"), ["--turns", "int or none", "few"]),
    "no such option": (
        ("train", "CartPole-v1", "--stepz", "3", "--out", "x"),
        ["--stepz", "did you mean --steps?"],
    ),
    "no such option, with =": (
        ("train", "CartPole-v1", "--learning-rte=3", "--out", "x"),
        ["--learning-rte", "did you mean --learning-rate?"],
    ),
    "no setting": ((*TRAIN, "--model-option", "x", "--out", "x"), ["--model-option", "NAME=VALUE"]),
    "no such setting": ((*TRAIN, "--model-option", "x=1", "--out", "x"), ["'x'"]),
    "policy of NaN": ((*TRAIN, "--on-nan", "cry", "--out", "x"), ["on_nan='cry'", "'ignore'"]),
    "no out": (("train", "CartPole-v1"), ["--out"]),
    "no world": (("train", "--out", "x"), ["env is missing", "trifolium train ENV"]),
    "corrupt TOML": (("train", "--config", "broken.toml", "--out", "x"), ["broken.toml", "no TOML"]),
    "unknown TOML key": (
        ("train", "CartPole-v1", "--config", "typo.toml", "--out", "x"),
        ["typo.toml", "'lerning_rate'", "did you mean 'learning_rate'?"],
    ),
    "wrong TOML type": (
        ("train", "CartPole-v1", "--config", "types.toml", "--out", "x"),
        ["steps='many'", "expected an integer"],
    ),
    "no TOML file": (("train", "--config", "nowhere.toml", "--out", "x"), ["nowhere.toml"]),
    "resume with options": (
        ("train", "--resume", "runs/short", "--seed", "9"),
        ["give no other option"],
    ),
    "resume with fewer steps": (
        ("train", "--resume", "runs/short", "--steps", "9"),
        ["steps=9", "has taken 300 already"],
    ),
    "nothing to resume": (("train", "--resume", "nowhere"), ["nowhere", "no run"]),
    "nothing to evaluate": (("evaluate", "nowhere"), ["nowhere", "no run"]),
    "no checkpoint yet": (("evaluate", "runs/early"), ["runs/early", "without a checkpoint"]),
    "no episodes": (("evaluate", "runs/short", "--episodes", "0"), ["episodes=0", "at least 1"]),
    "nothing to watch": (("watch", "nowhere", "--gif", "x"), ["nowhere", "no run"]),
    "no text to watch": (("watch", "runs/short", "--text"), ["'ansi'", "rgb_array"]),
    "nothing to report": (("report", "nowhere"), ["nowhere", "no run"]),
    "no command": ((), ["COMMAND"]),
    "no such command": (("tarin",), ["tarin", "did you mean 'train'?"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_end_in_one_line_and_exit_code_2(run, backend, name, capsys, monkeypatch):
    folder, _ = run
    monkeypatch.chdir(folder)
    arguments, words = MISTAKES[name]
    (folder / "broken.toml").write_text("steps = ")
    (folder / "typo.toml").write_text("lerning_rate = 1.0")
    (folder / "types.toml").write_text('steps = "many"')
    early = folder / "runs" / "early"
    early.mkdir(exist_ok=True)
    (early / "config.json").write_bytes((folder / "runs" / "short" / "config.json").read_bytes())
    if arguments[:1] == ("train",) and "--backend" not in arguments and "--resume" not in arguments:
        arguments = (*arguments, "--backend", backend.name)
        if not isinstance(backend, tri.Differentiable) and "--model" not in arguments:
            arguments = (*arguments, "--model", "random")
    check_mistake(called(arguments, capsys), *words)
    assert not (folder / "x").exists()


def called(arguments, capsys):
    """Call the command line in this process, which saves starting one for each mistake."""
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as error:
        code = error.code
    return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())


def test_a_mistake_in_a_process_of_its_own(tmp_path):
    done = trifolium("train", "Pendulum-v1", "--out", "x", cwd=tmp_path)
    check_mistake(done, "Pendulum-v1", "expected Discrete")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("gymnasium", (*TRAIN, "--out", "x"), "train"),
        ("rich", (*TRAIN, "--out", "x"), "train"),
        ("tensorboard", (*TRAIN, "--out", "x", "--tensorboard"), "tensorboard"),
        ("pettingzoo", ("train", "pettingzoo:classic/rps-v2", "--out", "x"), "worlds"),
    ],
)
def test_missing_package_is_named_with_the_extra_that_brings_it(
    backend, tmp_path, package, arguments, extra
):
    # a module that is None in sys.modules is one that can't be found
    (tmp_path / "without.py").write_text(
        f"import sys; sys.modules[{package!r}] = None\n"
        "from trifolium.cli import main; sys.exit(main())\n"
    )
    done = trifolium(
        *arguments,
        *("--backend", backend.name, "--model", "random"),
        cwd=tmp_path,
        program=[sys.executable, "without.py"],
    )
    check_mistake(done, repr(package), f"pip install 'trifolium[{extra}]'")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "name", ["config.json", "checkpoint/manifest.json", "checkpoint/300-final-0-model.safetensors"]
)
@pytest.mark.parametrize("command", ["evaluate", "train --resume"])
@ELSEWHERE
def test_damaged_run_is_reported(run, tmp_path, name, command):
    folder, _ = run
    shutil.copytree(folder / "runs" / "short", tmp_path / "run")
    damaged = tmp_path / "run" / name
    damaged.write_bytes(damaged.read_bytes()[:50])
    check_mistake(trifolium(*command.split(), "run", cwd=tmp_path), name)
