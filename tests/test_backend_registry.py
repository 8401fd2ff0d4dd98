"""Backends are found through entry points, and one that can't be had says what to do."""

import os
import subprocess
import sys
from dataclasses import astuple
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import trifolium as tri
from trifolium.backend import as_numpy

SHIPPED = ("jax", "numpy", "torch")
ROOT = Path(__file__).parents[1]


def python(code: str, *, missing: str = "", path: Path | None = None) -> str:
    """Return what ``code`` prints in a new process where the package ``missing`` can't be imported."""
    block = f"import sys; sys.modules[{missing!r}] = None\n" if missing else ""
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    command = [sys.executable, "-c", f"{block}import trifolium as tri\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def error_of(name: str, *, missing: str = "", path: Path | None = None) -> str:
    """Return the kind and the text of the error that ``get_backend(name)`` raises."""
    code = (
        f"try:\n    tri.get_backend({name!r})\n"
        "except tri.BackendError as error:\n    print(type(error).__name__, error)"
    )
    return python(code, missing=missing, path=path)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(tri.UnknownBackend, match="'jux' is not known") as caught:
        tri.get_backend("jux")
    assert all(name in str(caught.value) for name in SHIPPED)
    with pytest.raises(tri.UnknownBackend, match="'jux' is not known"):
        tri.Buffer(10, (2,), backend="jux")


@pytest.mark.parametrize("wrong", [None, 3, np, b"numpy"])
def test_what_is_no_backend_is_named(wrong: object) -> None:
    with pytest.raises(tri.BackendError, match="expected a Backend or one of the names"):
        tri.get_backend(wrong)


@pytest.mark.each_environment
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_missing_framework_says_what_to_install(name: str) -> None:
    really_missing = find_spec(name) is None
    message = error_of(name, missing="" if really_missing else name)
    assert message.startswith(f"BackendNotInstalled backend={name!r} needs the package {name!r}")
    assert f"pip install 'trifolium[{name}]'" in message
    ready = message.partition("Ready now: ")[2].strip().split(", ")
    assert "numpy" in ready
    assert name not in ready


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_missing_framework_is_listed_with_the_hint(name: str) -> None:
    info = python(f"print(tri.backends()[{name!r}])", missing=name)
    assert "installed=False" in info
    assert f"pip install 'trifolium[{name}]'" in info


def test_the_backend_of_this_run_is_listed_with_what_it_has(backend: tri.Backend) -> None:
    info = tri.backends()[backend.name]
    assert astuple(info) == (
        *(backend.name, True, backend.version, tuple(backend.devices())),
        *(isinstance(backend, tri.Differentiable), astuple(backend.capabilities), ""),
    )
    assert set(SHIPPED) <= set(tri.backends())


def test_no_framework_is_there_that_the_run_is_not_for(backend: tri.Backend) -> None:
    """Holds where nox made the environment; elsewhere all of them may be installed."""
    if not os.environ.get("NOX_CURRENT_SESSION", "").startswith("tests"):
        pytest.skip("only nox -s tests makes an environment for one backend")
    installed = {name for name, info in tri.backends().items() if info.installed}
    assert installed == {"numpy", backend.name}


def test_same_name_and_device_give_the_same_object(backend: tri.Backend) -> None:
    assert tri.get_backend(backend.name) is tri.get_backend(backend.name)
    device = backend.devices()[0]
    assert tri.get_backend(backend.name, device=device) is tri.get_backend(backend.name, device=device)


def test_an_instance_may_come_with_its_device_by_another_name(backend: tri.Backend) -> None:
    names = [
        name for name in backend.devices() if tri.get_backend(backend.name, device=name) is backend
    ]
    assert tri.get_backend(backend, device=names[0]) is backend


def test_an_instance_with_a_contradicting_device_is_refused() -> None:
    class Elsewhere(type(tri.get_backend("numpy"))):
        def __init__(self, device: str = "here") -> None:
            self.device = device

    elsewhere = Elsewhere()
    assert tri.get_backend(elsewhere, device="here") is elsewhere
    with pytest.raises(tri.BackendError, match="device='there' contradicts backend='numpy'"):
        tri.get_backend(elsewhere, device="there")


def test_arrays_of_the_backend_come_to_the_host(backend: tri.Backend) -> None:
    array = backend.from_numpy(np.arange(3, dtype=np.float32))
    for value in (array, [array, array], np.float32(1), 2, [3, 4]):
        assert type(as_numpy(value)) is np.ndarray
    np.testing.assert_array_equal(as_numpy([array, array]), [[0, 1, 2], [0, 1, 2]])


@pytest.fixture
def third_party(tmp_path: Path) -> Path:
    """Return a folder with two installed plug-ins: one that works, one whose framework is missing."""
    (tmp_path / "clover.py").write_text(
        "from trifolium_numpy import NumpyBackend\n"
        "class CloverBackend(NumpyBackend):\n    name, version = 'clover', '4.0'\n"
    )
    (tmp_path / "thistle.py").write_text("import thistle_framework\n")
    for name, extra in (("clover", ""), ("thistle", "Provides-Extra: thistle\n")):
        info = tmp_path / f"{name}-4.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}-backend\nVersion: 4.0\n{extra}"
        )
        target = f"{name}:{name.title()}Backend"
        (info / "entry_points.txt").write_text(f"[trifolium.backends]\n{name} = {target}\n")
    return tmp_path


def test_a_third_party_adds_a_backend_by_an_entry_point(third_party: Path) -> None:
    code = "print(tri.backends()['clover'].version, tri.Buffer(8, (2,), backend='clover').backend.name)"
    assert python(code, path=third_party) == "4.0 clover\n"


def test_a_third_partys_hint_names_its_distribution(third_party: Path) -> None:
    message = error_of("thistle", path=third_party)
    assert "needs the package 'thistle_framework'" in message
    assert "pip install 'thistle-backend[thistle]'" in message
    assert "clover" in message.partition("Ready now: ")[2]
    blocked = error_of("clover", path=third_party, missing="trifolium_numpy")
    assert "pip install 'clover-backend' installs it" in blocked


ARRAYS = """
import numpy as np
from trifolium.backend import Backend, Capabilities, Differentiable


class Arrays:
    "It inherits from nothing, and has what a replay memory needs."
    name, version, xp, device, default_int = "{name}", "1", np, "cpu", "int64"
    capabilities = Capabilities(compile=False, views=True, float64=True)
    shares_host_memory = True

    def __init__(self, device=None): pass
    @staticmethod
    def devices(): return ["cpu"]
    def dtype(self, name): return np.dtype(name)
    def zeros(self, shape, dtype): return np.zeros(shape, dtype)
    def from_numpy(self, array): return array
    def to_numpy(self, array): return np.array(array)
    def is_array(self, value): return isinstance(value, np.ndarray)
    def take(self, array, rows): return array[rows]
    def put(self, array, rows, values, where=None):
        where = np.ones(len(rows), bool) if where is None else where
        array[rows[where]] = values[where]
        return array
    def compile(self, function, *, donate=(), use_slow_compiler=False): return function


class Forgetful(Backend):
    name, version, xp, device, default_int = "{name}", "1", np, "cpu", "int64"
    def __init__(self, device=None): pass
    @staticmethod
    def devices(): return ["cpu"]


class Halfway(Arrays, Differentiable):
    def detach(self, array): return array
"""


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """Return a folder with three plug-ins: one for arrays alone, and two that lack members."""
    for name in ("arrays", "forgetful", "halfway"):
        (tmp_path / f"plugin_{name}.py").write_text(ARRAYS.replace("{name}", name))
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        entry = f"{name} = plugin_{name}:{name.title()}\n"
        (info / "entry_points.txt").write_text(f"[trifolium.backends]\n{entry}")
    return tmp_path


def test_a_plug_in_for_arrays_has_nothing_to_write_for_learning(plugins: Path) -> None:
    code = """
import numpy as np
import pickle
backend = tri.get_backend("arrays")
assert pickle.loads(pickle.dumps(backend)) is backend
buffer = tri.Buffer(64, (2,), 3, backend=backend, n_step=2, seed=0, sampler=tri.Prioritized())
twin = tri.Buffer(64, (2,), 3, backend="numpy", n_step=2, seed=0, sampler=tri.Prioritized())
for step in range(100):
    for each in (buffer, twin):
        each.add([step, -step], step % 3, step, step % 7 == 6)
for ours, theirs in zip(buffer.sample(16), twin.sample(16), strict=True):
    np.testing.assert_array_equal(ours, theirs)
state = buffer.state()
tri.replay.sample(state, np.random.default_rng(0).integers(2**30, size=(8, 2)))
tri.RandomModel(2, 2, 10, backend=backend).train_step()
try:
    tri.DDQN(2, 2, 1000, backend=backend)
except tri.BackendError as error:
    print(error)
"""
    said = python(code, path=plugins)
    assert said.startswith("backend='arrays' takes no gradients, which DDQN needs: it lacks ")
    assert all(name in said for name in ("value_and_grad", "detach", "convolve", "optimizer", "adopt"))


def test_missing_members_are_named(plugins: Path) -> None:
    forgetful = error_of("forgetful", path=plugins)
    assert forgetful.startswith("BackendError backend='forgetful' (plugin_forgetful.Forgetful) lacks ")
    for name in ("capabilities", "shares_host_memory", "dtype", "zeros", "take", "put", "compile"):
        assert name in forgetful
    assert "devices" not in forgetful
    halfway = error_of("halfway", path=plugins)
    assert "lacks value_and_grad, convolve, optimizer, adopt;" in halfway


def test_members_missing_from_an_instance_are_named() -> None:
    class Half:
        name, version = "half", "1"

    with pytest.raises(tri.BackendError, match=r"is a Half without xp, device.*put, compile"):
        tri.Buffer(8, (2,), backend=Half())


@pytest.mark.parametrize("name", ["jux", "thistle"])
def test_a_test_run_for_a_backend_that_is_not_there_fails(third_party: Path, name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--backend", name]
    environment = os.environ | {"PYTHONPATH": str(third_party)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"backend={name!r}" in done.stderr


def test_a_test_run_says_which_backend_it_is_for(backend: tri.Backend) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "--backend", backend.name, __file__]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    header = f"trifolium backend: {backend.name} {backend.version}"
    assert header in done.stdout
