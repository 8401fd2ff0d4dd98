"""Runs whose files were changed: a CheckpointError that names the file, one line for the command."""

import json
import shutil
import tracemalloc
import warnings

import numpy as np
import pytest

import trifolium as tri
from trifolium.experiment import Experiment

from .command import check_mistake, trifolium
from .test_resume import interrupt_at

ELSEWHERE = pytest.mark.slow_on("strict", "torch", "jax")
DEEP = "[" * 100_000
CONFIG, MANIFEST = "config.json", "checkpoint/manifest.json"
CHANGES = [
    (CONFIG, ("backend",), "abacus"),
    (CONFIG, ("backend",), 3),
    (CONFIG, ("device",), {}),
    (CONFIG, ("env",), "Nowhere-v0"),
    (CONFIG, ("n_envs",), 10**6),
    (CONFIG, ("n_step",), 10**8),
    (CONFIG, ("n_frames",), 10**6),
    (CONFIG, ("memory_size",), 10**15),
    (CONFIG, ("memory_size",), 10**30),
    (CONFIG, ("steps",), 20),
    (CONFIG, ("gamma",), 10**400),
    (CONFIG, ("model_options",), {"hidden": [12_000, 12_000]}),
    (CONFIG, ("hidden",), [12_000, 12_000]),
    (MANIFEST, ("counters", "step"), "40"),
    (MANIFEST, ("counters", "epoch"), -1),
    (MANIFEST, ("counters", "epoch"), 2.0),
    (MANIFEST, ("counters", "epoch_is_open"), 1),
    (MANIFEST, ("counters", "evaluated"), None),
    (MANIFEST, ("counters", "episodes"), []),
    (MANIFEST, ("counters", "episodes"), {"agent": "many"}),
    (MANIFEST, ("counters", "losses"), {"model": ["1.0"]}),
    (MANIFEST, ("counters", "losses"), {"model": [float("nan")]}),
    (MANIFEST, ("counters", "losses"), 3),
    (MANIFEST, ("counters", "more"), 3),
    (MANIFEST, ("runner", "episodes"), -1),
    (MANIFEST, ("runner", "episodes"), 1e300),
    (MANIFEST, ("runner", "actions"), [0.5]),
    (MANIFEST, ("runner", "actions"), [99]),
    (MANIFEST, ("runner", "actions"), 7),
    (MANIFEST, ("models",), {"model": 1}),
    (MANIFEST, ("models",), {"model": "\x1b[31m"}),
    (MANIFEST, ("format",), 99),
]


@pytest.fixture(scope="module")
def interrupted(backend, tmp_path_factory):
    """Return the folder of a run that was interrupted in an episode."""
    from trifolium.experiment import TrainOptions

    model = "ddqn" if isinstance(backend, tri.Differentiable) else "random"
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = TrainOptions(
        env="CartPole-v1", model=model, backend=backend.name, steps=200, learning_starts=500,
        memory_size=100, batch_size=16, hidden=(8,),
    )  # fmt: skip
    run = Experiment(options, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(KeyboardInterrupt):
            run.train(on_progress=interrupt_at(25))
    return folder


@pytest.fixture
def run(interrupted, tmp_path):
    return shutil.copytree(interrupted, tmp_path / "run")


def change(run, name, path, value):
    document = json.loads((run / name).read_text())
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    (run / name).write_text(json.dumps(document))


@ELSEWHERE
@pytest.mark.parametrize(("name", "path", "value"), CHANGES, ids=str)
def test_a_changed_field_is_refused(run, backend, name, path, value):
    if path == ("hidden",) and not isinstance(backend, tri.Differentiable):
        pytest.skip("no layers")
    assert Experiment.resume(run).step > 0
    change(run, name, path, value)
    tracemalloc.start()
    with pytest.raises((tri.CheckpointError, tri.WorldError)) as caught:
        Experiment.resume(run)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if value != "Nowhere-v0":
        assert isinstance(caught.value, tri.CheckpointError)
        assert str(run) in str(caught.value)
    assert peak < 16 << 20


@pytest.mark.parametrize("name", [CONFIG, MANIFEST])
@pytest.mark.parametrize("content", [DEEP, b"\xff", b"", b"7", b'{"format": 1' + b"0" * 5000 + b"}"])
def test_a_file_of_other_content_is_refused(run, name, content):
    (run / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(tri.CheckpointError, match=name):
        Experiment.resume(run)


@ELSEWHERE
def test_the_command_tells_in_one_line(run):
    for (name, path, value), command in ((CHANGES[0], "evaluate"), (CHANGES[14], "train --resume")):
        before = (run / name).read_bytes()
        change(run, name, path, value)
        check_mistake(trifolium(*command.split(), "run", cwd=run.parent), name.partition("/")[0])
        (run / name).write_bytes(before)
    (run / CONFIG).write_text(DEEP)
    check_mistake(trifolium("evaluate", "run", cwd=run.parent), CONFIG)
    (run / CONFIG).unlink()
    (run / CONFIG).mkdir()
    done = trifolium("train", "--resume", "run", cwd=run.parent)
    check_mistake(done, "run")


def test_nan_is_resumed_where_the_run_ignores_it(run, backend):
    if not isinstance(backend, tri.Differentiable):
        pytest.skip("no weights")
    experiment = Experiment.resume(run)
    (model,) = experiment.models.values()
    state = model.state()
    name = next(name for name in state if name.startswith("params."))
    model.restore(state | {name: np.full_like(state[name], np.nan)})
    (path,) = (run / "checkpoint").glob("*.safetensors")
    model.save(path, memory=True)
    with pytest.raises(tri.CheckpointError, match="NaN"):
        Experiment.resume(run)
    change(run, CONFIG, ("on_nan",), "ignore")
    (model,) = Experiment.resume(run).models.values()
    assert np.isnan(model.state()[name]).all()
