"""The command line, run as a person would: in a process of its own."""

import json
import subprocess
import sys

import pytest

TRAIN = ("train", "CartPole-v1", "--steps", "300", "--learning-starts", "100")


def trifolium(*arguments, cwd):
    command = [sys.executable, "-c", "import sys; from trifolium.cli import main; sys.exit(main())"]
    return subprocess.run([*command, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory, backend):
    """Return a folder with a finished run in runs/short, and what training printed."""
    folder = tmp_path_factory.mktemp("cli")
    model = "ddqn" if backend.capabilities.train else "random"
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
        "config.json",
        "metrics.csv",
        "learning_curve.png",
        "checkpoint.safetensors",
    }
    config = json.loads((out / "config.json").read_text())
    assert (config["env"], config["backend"], config["steps"]) == ("CartPole-v1", backend.name, 300)
    header, *lines = (out / "metrics.csv").read_text().splitlines()
    assert header == "step,episode,episode_return,length,epsilon,loss"
    assert 0 < int(lines[-1].split(",")[0]) <= 300
    assert (out / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "CartPole-v9", "--out", "x"), ["CartPole-v9", "v1"]),
        (("train", "NoSuchWorld-v0", "--out", "x"), ["NoSuchWorld"]),
        (("train", "Pendulum-v1", "--out", "x"), ["Pendulum-v1", "expected Discrete"]),
        ((*TRAIN, "--out", "runs/short"), ["runs/short", "holds a run"]),
        ((*TRAIN, "--out", "x", "--backend", "jux"), ["'jux'", "numpy", "torch", "jax"]),
        ((*TRAIN, "--out", "x", "--model", "dqqn"), ["'dqqn'", "ddqn"]),
        ((*TRAIN, "--out", "x", "--device", "abacus"), ["'abacus'", "cpu"]),
        (("train", "CartPole-v1", "--steps", "0", "--out", "x"), ["steps=0", "at least 1"]),
        (("train", "CartPole-v1", "--steps", "many", "--out", "x"), ["--steps", "many"]),
        (("train", "CartPole-v1", "--stepz", "3", "--out", "x"), ["--stepz"]),
        (("train", "CartPole-v1"), ["--out"]),
        (("evaluate", "nowhere"), ["nowhere", "no run"]),
        (("evaluate", "runs/short", "--episodes", "0"), ["episodes=0", "at least 1"]),
        ((), ["COMMAND"]),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(run, backend, arguments, words):
    folder, _ = run
    if arguments[:1] == ("train",) and "--backend" not in arguments:
        arguments = (*arguments, "--backend", backend.name)
        if not backend.capabilities.train and "--model" not in arguments:
            arguments = (*arguments, "--model", "random")
    done = trifolium(*arguments, cwd=folder)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr.splitlines()[-1]
    assert not (folder / "x").exists()


@pytest.mark.parametrize("name", ["config.json", "checkpoint.safetensors"])
def test_damaged_run_is_reported(run, tmp_path, name):
    folder, _ = run
    for path in (folder / "runs" / "short").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damaged = tmp_path / name
    damaged.write_bytes(damaged.read_bytes()[:50])
    done = trifolium("evaluate", str(tmp_path), cwd=folder)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert name in done.stderr
