"""A run that was interrupted goes on as if it had not been: the same record and model, to the bit."""

import json
import random
import signal
import time

import gymnasium as gym
import numpy as np
import pytest

import trifolium as tri
from trifolium import files
from trifolium.experiment import Experiment
from trifolium.experiment.rows import EpisodeRow, read_rows

from .command import start, trifolium

KINDS = {
    "plain": {},
    "stacked": {"n_frames": 2, "prioritized": True},
    "noisy": {"noisy": True, "dueling": True, "n_step": 2, "n_frames": 2},
    "iqn": {"model": "iqn"},
    "evaluated": {"eval_every": 90, "eval_episodes": 2, "memory_size": 120},
    "vector": {"n_envs": 4},
    "one-hot": {"env": "FrozenLake-v1", "turns": 9},
    "agents": {"env": "pettingzoo:classic/rps-v2"},
    "shared": {"env": "pettingzoo:classic/rps-v2", "shared": True},
    "structured": {"env": "Blackjack-v1", "structured": True, "n_frames": 2},
    "structured vector": {"env": "Blackjack-v1", "structured": True, "n_envs": 4, "model": "iqn"},
    "masked": {"env": "pettingzoo:classic/tictactoe-v3"},
}
ELSEWHERE = pytest.mark.slow_on("strict", "torch", "jax")
ON_NUMPY = ("plain", "iqn", "stacked", "evaluated", "one-hot", "shared", "structured vector", "masked")
COMMAND = ("CartPole-v1", "--learning-starts", "100", "--n-frames", "2", "--prioritized")


@pytest.fixture
def kind(request, options, backend):
    """Return the options of a run that learns early, of the kind that is asked for."""
    chosen = dict(KINDS[request.param])
    if not isinstance(backend, tri.Differentiable):
        chosen["model"] = "random"
    defaults = {"steps": 300, "learning_starts": 60, "train_every": 4, "hidden": (16,)}
    return options(**(defaults | chosen))


def interrupt_at(step, number=signal.SIGINT):
    """Return a progress callback that raises a signal once, when a run is at ``step``."""
    pending = [step]

    def show(progress):
        if pending and progress.step >= pending[0]:
            pending.clear()
            signal.raise_signal(number)

    return show


def contents(out):
    """Return what a finished run has to show for itself: its logs, and its models' arrays."""
    found = {path.name: path.read_bytes() for path in out.glob("*.csv")}
    for path in out.glob("*.safetensors"):
        manifest, arrays = files.read(path, "model")
        found[path.name] = {name: array.tobytes() for name, array in arrays.items()}
        found[f"{path.name} generator"] = manifest["generator"]
    return found


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=[ELSEWHERE] if kind in ON_NUMPY else [],
        )
        for kind in KINDS
    ],
    indirect=True,
)
def test_interrupted_and_resumed_is_the_same_to_the_bit(kind, tmp_path):
    Experiment(kind, tmp_path / "whole").train()
    run = Experiment(kind, tmp_path / "broken")
    for step in (31, 205):
        with pytest.raises(KeyboardInterrupt):
            run.train(on_progress=interrupt_at(step))
        assert step <= run.saved_step < 300
        run = Experiment.resume(tmp_path / "broken")
        assert run.step == run.saved_step
    run.train()
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "whole")) >= 3


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
def test_the_object_that_was_interrupted_can_go_on_itself(kind, tmp_path):
    Experiment(kind, tmp_path / "whole").train()
    run = Experiment(kind, tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        run.train(on_progress=interrupt_at(150))
    run.train()
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("kind", ["plain", "agents"], indirect=True)
def test_an_error_loses_what_came_after_the_checkpoint(kind, tmp_path):
    kind = type(kind)(**(vars(kind) | {"checkpoint_every": 50}))
    Experiment(kind, tmp_path / "whole").train()

    def fail(progress):
        if progress.step >= 130:
            raise RuntimeError("out of luck")

    run = Experiment(kind, tmp_path / "broken")
    with pytest.raises(RuntimeError, match="out of luck"):
        run.train(on_progress=fail)
    with pytest.raises(RuntimeError, match="training failed"):
        run.train()
    run = Experiment.resume(tmp_path / "broken")
    assert 100 <= run.step < 104
    run.train()
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["evaluated"], indirect=True)
def test_a_finished_run_that_is_resumed_stays_as_it_is(kind, tmp_path):
    Experiment(kind, tmp_path).train()
    before = contents(tmp_path)
    run = Experiment.resume(tmp_path)
    assert run.step == 300
    run.train()
    assert contents(tmp_path) == before


def test_own_model_with_a_state_of_its_own_resumes(options, tmp_path, backend):
    class Learning(tri.BaseModel):
        weight = 0.0

        def take_action(self, state):
            return int(self.rng.random() < 0.5 + 0.01 * np.tanh(self.weight))

        def train_step(self):
            self.weight += float(np.mean(tri.backend.as_numpy(self.memory.sample(8).rewards)))
            return self.weight

        def state(self):
            return {"weight": np.array(self.weight)}

        def restore(self, state):
            self.weight = float(state["weight"])

    def new():
        return Learning(4, 2, 100, backend=backend, seed=3)

    Experiment(options(), tmp_path / "whole", models=new()).train()
    run = Experiment(options(), tmp_path / "broken", models=new())
    with pytest.raises(KeyboardInterrupt):
        run.train(on_progress=interrupt_at(250))
    Experiment.resume(tmp_path / "broken", models=new()).train()
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_world_that_does_not_repeat_itself_is_noticed(options, tmp_path):
    class Fickle(gym.ObservationWrapper):
        def observation(self, observation):
            return observation + np.float32(random.random())

    def world():
        return Fickle(gym.make("CartPole-v1"))

    run = Experiment(options(), tmp_path, world=world)
    with pytest.raises(KeyboardInterrupt):
        run.train(on_progress=interrupt_at(100))
    while not run.runner.state().get("actions"):  # an interruption between two episodes has none
        with pytest.raises(KeyboardInterrupt):
            run.train(on_progress=interrupt_at(run.step + 1))
    with pytest.raises(tri.WorldError, match="does not repeat itself"):
        Experiment.resume(tmp_path, world=world)


@ELSEWHERE
def test_terminated_run_is_saved_and_says_143(options, tmp_path):
    run = Experiment(options(), tmp_path)
    with pytest.raises(SystemExit) as caught:
        run.train(on_progress=interrupt_at(150, signal.SIGTERM))
    assert caught.value.code == 143
    assert run.saved_step >= 150


# Processes


@pytest.fixture(scope="module")
def command(backend):
    model = "ddqn" if isinstance(backend, tri.Differentiable) else "random"
    return ("train", *COMMAND, "--backend", backend.name, "--model", model)


@pytest.fixture(scope="module")
def steps(backend):
    """Return how many steps a process takes: one that learns nothing would be over too soon."""
    return 2_000 if isinstance(backend, tri.Differentiable) else 6_000


def wait_for(process, condition):
    """Wait until a file of a run tells that ``condition`` holds; the run must not be over by then."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def lines(out):
    """Return how many lines a run has recorded."""
    path = out / "metrics.csv"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, marks=ELSEWHERE),
    ],
)
def test_process_that_is_interrupted_and_resumed(command, steps, tmp_path, number, code):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = start(*command, "--steps", f"{steps}", "--out", "broken", cwd=tmp_path)
    wait_for(process, lambda: lines(broken) > random.randrange(5, 40))
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    step = json.loads((broken / "checkpoint" / "manifest.json").read_text())["counters"]["step"]
    assert f"trifolium train --resume broken continues from step {step}" in errors
    assert "Traceback" not in errors
    assert 0 < step < steps
    for arguments in (
        (*command, "--steps", f"{steps}", "--out", "whole"),
        ("train", "--resume", "broken"),
    ):
        done = trifolium(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert contents(broken) == contents(whole)


@pytest.mark.slow
def test_process_that_is_killed_loses_at_most_what_follows_its_checkpoint(command, steps, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    often = (*command, "--steps", f"{steps}", "--checkpoint-every", "50")
    arguments = (*often, "--out", "broken")
    for _ in range(2):
        process = start(*arguments, cwd=tmp_path)
        before = lines(broken)
        wait_for(process, lambda before=before: abs(lines(broken) - before) > 8)
        time.sleep(random.random() / 4)
        process.kill()
        process.communicate()
        arguments = ("train", "--resume", "broken")
        recorded = read_rows(broken / "metrics.csv", EpisodeRow)
        assert (broken / "metrics.csv").read_bytes().endswith(b"\n")
        resumed = Experiment.resume(broken)
        assert recorded[-1].step - resumed.step <= 50
        resumed.runner.close()
    for last in (arguments, (*often, "--out", "whole")):
        done = trifolium(*last, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert contents(broken) == contents(whole)
