"""Files that landed versions wrote are read, and give what they gave then; see tests/data."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium import files
from trifolium.experiment import Experiment

from .data import format1, format2

BUFFERS = [f"{writer}-{kind}" for kind in format1.BUFFERS for writer in format1.BACKENDS]
MODELS = [f"{writer}-{kind}" for kind in format1.MODELS for writer in format1.BACKENDS]


NEWER_BUFFERS = [f"{writer}-{kind}" for kind in format2.BUFFERS for writer in format2.BACKENDS]
NEWER_MODELS = [f"{writer}-{kind}" for kind in format2.MODELS for writer in format2.LEARNERS]


def expected(file: str, name: str, folder: Path = format1.FOLDER) -> dict[str, np.ndarray]:
    with np.load(folder / "expected" / file) as arrays:
        prefix = f"{name}/"
        return {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}


def check_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], rtol: float) -> None:
    """Check arrays by name: integers and flags are equal, floats as close as ``rtol``."""
    assert found.keys() == wanted.keys() != set()
    for name, array in wanted.items():
        assert found[name].shape == array.shape, name
        if array.dtype.kind == "f":
            np.testing.assert_allclose(found[name], array, rtol, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], array, err_msg=name)


def check_rows(use: Any, buffer: tri.Buffer, wanted: dict[str, np.ndarray]) -> None:
    """Check the rows that were drawn when the file was written, also after more steps.

    How rows are drawn, and the weights and sequences that follow from it, is in no file. The next
    states of terminated steps and of rows that are not valid have no meaning.
    """
    found = use(buffer, wanted)
    fetched = [name for name in wanted if "/sequences/" not in name and not name.endswith("/weights")]
    for name in fetched:
        before, is_next, _ = name.partition("next_states")
        if is_next:
            goes_on = (wanted[f"{before}valid"] * (1 - wanted[f"{before}dones"]))[:, 0] == 1
            found[name], wanted[name] = found[name][goes_on], wanted[name][goes_on]
    check_same({name: found[name] for name in fetched}, {name: wanted[name] for name in fetched}, 1e-6)


@pytest.mark.parametrize("name", BUFFERS)
def test_a_buffer_gives_the_same_rows(backend: tri.Backend, name: str) -> None:
    path = format1.FOLDER / "buffers" / f"{name}.safetensors"
    buffer = tri.Buffer.load(path, backend=backend)
    kind = name.partition("-")[2]
    check_rows(format1.use_buffer, buffer, expected("buffers.npz", kind))


@pytest.mark.each_environment
@pytest.mark.parametrize("name", format1.BACKENDS)
def test_a_buffer_is_loaded_on_the_backend_that_wrote_it(name: str) -> None:
    path = format1.FOLDER / "buffers" / f"{name}-all.safetensors"
    if not tri.backends()[name].installed:
        with pytest.raises(tri.BackendError, match=f"trifolium\\[{name}\\]"):
            tri.Buffer.load(path)
    else:
        assert tri.Buffer.load(path).backend.name == name


@pytest.mark.slow_on("torch", "jax")
@pytest.mark.parametrize("name", [name for name in MODELS if "random" not in name])
def test_a_learner_acts_and_learns_as_it_did(learner: tri.Backend, name: str) -> None:
    check_model(name, format1.load_model(name.partition("-")[2], model_path(name), learner))


@pytest.mark.parametrize("name", [name for name in MODELS if "random" in name])
def test_a_model_that_does_not_learn_acts_as_it_did(backend: tri.Backend, name: str) -> None:
    check_model(name, format1.load_model(name.partition("-")[2], model_path(name), backend))


def test_a_learner_with_a_network_of_ones_own(learner: tri.Backend) -> None:
    name = f"{learner.name}-network"
    network = format1.NETWORKS[learner.name]()
    check_model(name, format1.load_model("ddqn", model_path(name), learner, network))


@pytest.mark.parametrize("name", format1.OWN)
def test_a_model_of_ones_own(backend: tri.Backend, name: str) -> None:
    if name != backend.name:
        pytest.skip(f"a model of {name} is for runs of that backend")
    model = format1.OWN[name](2)
    assert len(model.memory) == 0
    model.load(model_path(f"{name}-own"))
    check_model(f"{name}-own", model)


def model_path(name: str) -> Path:
    return format1.FOLDER / "models" / f"{name.replace(' ', '_')}.safetensors"


def check_model(name: str, model: tri.BaseModel) -> None:
    check_learner(model, name, format1.FOLDER)


def check_learner(model: tri.BaseModel, name: str, folder: Path) -> None:
    """Check what a model does as it did then; its losses follow from rows that are drawn today."""
    wanted = expected("models.npz", name, folder) | expected("losses.npz", name, folder)
    check_same(format1.use_model(model), wanted, rtol=1e-3)


@pytest.fixture
def run(request: pytest.FixtureRequest, backend: tri.Backend, tmp_path: Path) -> Path:
    """Return a copy of the folder of a run of that kind, if there is one of the backend."""
    if request.param not in format1.RUNS[backend.name]:
        pytest.skip(f"no run of this kind was written on {backend.name}")
    name = f"{backend.name}-{request.param}"
    return Path(shutil.copytree(format1.FOLDER / "runs" / name, tmp_path / name))


INTERRUPTED = [
    pytest.param(kind, marks=[pytest.mark.slow_on("jax")] if kind == "compiled" else [])
    for kind in format1.KINDS
    if kind != "finished"
]


@pytest.mark.slow_on("torch", "jax")
@pytest.mark.parametrize("run", INTERRUPTED, indirect=True)
def test_an_interrupted_run_is_resumed(run: Path) -> None:
    """It ends where it would have ended.

    What it learns in between is not the same: since these files were written, a terminated step can be
    drawn at once.
    """
    before = (run / "metrics.csv").read_bytes()
    again = Path(shutil.copytree(run, run.with_name("again")))
    for folder in (run, again):
        resumed = Experiment.resume(folder)
        assert 150 <= resumed.step < 200
        resumed.train()
        assert resumed.step == resumed.options.steps
    whole = format1.FOLDER / "expected" / run.name
    for path in whole.glob("*.csv"):
        found = columns(run / path.name)
        assert found.keys() == columns(path).keys()
        check_same(columns(again / path.name), found, rtol=1e-3)
    assert (run / "metrics.csv").read_bytes().startswith(before)
    for path in whole.glob("*.safetensors"):
        found, wanted = (files.read(each, "model") for each in (run / path.name, path))
        assert found[1].keys() == wanted[1].keys()


@pytest.mark.parametrize("run", ["finished"], indirect=True)
def test_a_finished_run_is_evaluated(learner: tri.Backend, run: Path) -> None:
    loaded = Experiment.load(run)
    assert loaded.saved_step == 300
    assert loaded.evaluate(episodes=2)["agent"].shape == (2,)
    model = tri.DDQN.from_file(run / "model.safetensors")
    states = np.random.default_rng(0).normal(size=(20, 4))
    values = [model.action_values(state) for state in states]
    np.testing.assert_array_equal(
        [next(iter(loaded.models.values())).action_values(state) for state in states], values
    )


def columns(path: Path) -> dict[str, Any]:
    """Return the columns of a CSV file, numbers as numbers."""
    found = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8", ndmin=1)
    return {name: found[name] for name in found.dtype.names}


# Format 2


@pytest.mark.parametrize("name", NEWER_BUFFERS)
def test_a_buffer_of_format_2_gives_the_same_rows(backend: tri.Backend, name: str) -> None:
    path = format2.FOLDER / "buffers" / f"{name}.safetensors"
    buffer = tri.Buffer.load(path, backend=backend)
    wanted = expected("buffers.npz", name.partition("-")[2], format2.FOLDER)
    check_rows(format2.use_buffer, buffer, wanted)


@pytest.mark.parametrize("name", format2.BACKENDS)
def test_a_folder_of_format_2_gives_the_same_rows(
    backend: tri.Backend, name: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(format2.FOLDER / "folders" / name, tmp_path / "rows")
    buffer = tri.Buffer.open(folder, backend=backend)
    wanted = expected("buffers.npz", "successors", format2.FOLDER)
    check_rows(format2.use_buffer, buffer, wanted)


def test_files_between_the_formats_have_successors_too(backend: tri.Backend, tmp_path: Path) -> None:
    """They were numbered 1 before the number was raised."""
    newer = format2.FOLDER / "buffers" / "numpy-successors.safetensors"
    content = newer.read_bytes()
    assert content.count(rb"{\"format\": 2,") == 1
    (tmp_path / "between").write_bytes(content.replace(rb"{\"format\": 2,", rb"{\"format\": 1,"))
    buffer = tri.Buffer.load(tmp_path / "between", backend=backend)
    wanted = expected("buffers.npz", "successors", format2.FOLDER)
    check_rows(format2.use_buffer, buffer, wanted)


@pytest.mark.slow_on("torch", "jax")
@pytest.mark.parametrize("name", NEWER_MODELS)
def test_a_learner_of_format_2_acts_and_learns_as_it_did(learner: tri.Backend, name: str) -> None:
    cls, _ = format2.MODELS[name.partition("-")[2]]
    model = cls.from_file(format2.FOLDER / "models" / f"{name}.safetensors", backend=learner)  # type: ignore[attr-defined]
    check_learner(model, name, format2.FOLDER)


def test_a_run_of_format_2_is_resumed(learner: tri.Backend, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(format2.FOLDER / "runs" / learner.name, tmp_path / "run"))
    before = (folder / "metrics.csv").read_bytes()
    resumed = Experiment.resume(folder)
    assert 150 <= resumed.step < 200
    resumed.train()
    assert resumed.step == resumed.options.steps
    assert (folder / "metrics.csv").read_bytes().startswith(before)


@pytest.mark.parametrize("path", ["buffers/numpy-valid.safetensors", "folders/numpy"])
def test_a_newer_format_is_refused_by_its_number(tmp_path: Path, path: str) -> None:
    source, target = format2.FOLDER / path, tmp_path / "newer"
    (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    file = target / "buffer.safetensors" if source.is_dir() else target
    content = file.read_bytes()
    file.write_bytes(content.replace(rb"{\"format\": 2,", rb"{\"format\": 3,"))
    with pytest.raises(tri.CheckpointError, match=r"format 3; this trifolium reads 1 to 2.*upgrade"):
        (tri.Buffer.open if source.is_dir() else tri.Buffer.load)(target)
