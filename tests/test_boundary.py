"""Who may import whom: the core knows no framework, and no backend knows another."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BACKENDS = ("numpy", "torch", "jax")
BLADES = {f"trifolium_{name}" for name in BACKENDS}
FRAMEWORKS = {"torch", "jax", "jaxlib", "optax", "flax", "equinox"}
ON_FRAMEWORKS = {"gymnax", "tensordict"}  # packages that import one
SLOW_TO_IMPORT = FRAMEWORKS | {"autograd", "gymnasium", "matplotlib", "pytest", "rich", "safetensors"}
ASKS = r"is_(numpy|torch|jax|cupy|dask|ndonnx|pydata_sparse)_(array|namespace)"
OWN_FRAMEWORKS = {"numpy": set(), "torch": {"torch", "tensordict"}, "jax": {"jax", "jaxlib"}}


def imported_names(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a module imports, wherever in it, in any way."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Name(id="__import__") | ast.Attribute(attr="import_module"), args=args
            ):
                yield from (str(arg.value) for arg in args if isinstance(arg, ast.Constant))


def trespasses(folder: Path, forbidden: set[str]) -> list[str]:
    """Return "file imports name" for every import of something forbidden under ``folder``."""
    modules = sorted(folder.rglob("*.py"))
    assert modules, f"no modules under {folder}"
    return [
        f"{path.relative_to(folder)} imports {name}"
        for path in modules
        for name in imported_names(path)
        if not name.startswith("trifolium.") and forbidden & set(name.split("."))
    ]


def test_nothing_reads_or_writes_pickle() -> None:
    """The conformance suite pickles, but no file: it tests that backends can be passed to processes."""
    formats = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    found = trespasses(ROOT / "src", formats) + trespasses(ROOT / "backends", formats)
    assert {each for each in found if "/tests/" not in each} == {
        "trifolium/testing/backend_suite.py imports pickle"
    }


def forbidden_to(backend: str) -> set[str]:
    return (BLADES | FRAMEWORKS) - {f"trifolium_{backend}"} - OWN_FRAMEWORKS[backend]


def test_the_core_imports_no_framework_and_no_backend() -> None:
    assert trespasses(ROOT / "src", BLADES | FRAMEWORKS) == []


def test_the_core_imports_no_package_that_imports_a_framework() -> None:
    assert trespasses(ROOT / "src", ON_FRAMEWORKS) == []


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_imports_no_other(name: str) -> None:
    assert trespasses(ROOT / "backends" / name / f"trifolium_{name}", forbidden_to(name)) == []


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_folder_is_no_package(name: str) -> None:
    assert not (ROOT / "backends" / name / "__init__.py").exists(), "it would shadow the framework"


def probes(path: Path) -> Iterator[str]:
    """Yield every place where a module asks which framework it computes with.

    That is an attribute of an array namespace that may not be there, the name of a namespace, a
    question such as ``is_torch_array``, or the name of a framework as a value.
    """
    tree = ast.parse(path.read_text())
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name("getattr" | "hasattr"), args=[namespace, *_]):
                if is_namespace(namespace):
                    yield ast.unparse(node)
            case ast.Attribute(value=namespace, attr="__name__" | "__dict__"):
                if is_namespace(namespace):
                    yield ast.unparse(node)
            case ast.Name(name) | ast.Attribute(attr=name) if re.fullmatch(ASKS, name):
                yield ast.unparse(node)
            case ast.Constant(str() as value) if value in FRAMEWORKS | ON_FRAMEWORKS:
                if id(node) not in documents:
                    yield ast.unparse(node)


def is_namespace(node: ast.AST) -> bool:
    return ast.unparse(node).rpartition(".")[2] in ("xp", "_xp", "namespace")


def test_the_core_does_not_ask_for_a_framework() -> None:
    core = ROOT / "src"
    registry = core / "trifolium" / "backend.py"  # which finds the backend of an array
    modules = [path for path in sorted(core.rglob("*.py")) if path != registry]
    found = {path.relative_to(core): list(probes(path)) for path in modules}
    assert {path: places for path, places in found.items() if places} == {}


@pytest.mark.parametrize(
    "line",
    [
        "relu = getattr(xp, 'relu', None)",
        "fast = hasattr(self.backend.xp, 'compile')",
        "name = xp.__name__",
        "if array_api_compat.is_torch_array(x): pass",
        "if is_jax_namespace(xp): pass",
        "if backend.framework == 'torch': pass",
        "loaded = sys.modules.get('jax')",
    ],
)
def test_a_planted_question_for_a_framework_is_found(tmp_path: Path, line: str) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""A module about torch."""\n\nx = xp.sum(x)\n')
    assert list(probes(module)) == []
    with module.open("a") as file:
        file.write(f"{line}\n")
    assert len(list(probes(module))) == 1


PLANTED = {
    "import torch": "torch",
    "def late():\n    import jax.numpy as jnp": "jax.numpy",
    "if False:\n    from jax import numpy": "jax.numpy",
    "from array_api_compat import torch as xp": "array_api_compat.torch",
    "from trifolium_jax import JaxBackend": "trifolium_jax.JaxBackend",
    "import importlib\nimportlib.import_module('trifolium_torch')": "trifolium_torch",
}


@pytest.mark.slow
@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_import_is_found_in_the_core(tmp_path: Path, planted: str) -> None:
    shutil.copytree(ROOT / "src", tmp_path, dirs_exist_ok=True)
    with (tmp_path / "trifolium" / "errors.py").open("a") as module:
        module.write(f"\n{planted}\n")
    expected = [f"trifolium/errors.py imports {PLANTED[planted]}"]
    assert trespasses(tmp_path, BLADES | FRAMEWORKS) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKENDS)
def test_a_planted_import_is_found_in_a_backend(tmp_path: Path, name: str) -> None:
    shutil.copytree(ROOT / "backends" / name / f"trifolium_{name}", tmp_path, dirs_exist_ok=True)
    other = "torch" if name == "jax" else "jax"
    with (tmp_path / "backend.py").open("a") as module:
        module.write(f"\ndef late():\n    import {other}\n    import trifolium_{other}\n")
    expected = [f"backend.py imports {other}", f"backend.py imports trifolium_{other}"]
    assert trespasses(tmp_path, forbidden_to(name)) == expected


@pytest.mark.each_environment
def test_importing_trifolium_loads_nothing_slow() -> None:
    assert loaded_by("import trifolium") & SLOW_TO_IMPORT == set()


def test_what_is_loaded_would_be_seen() -> None:
    assert "safetensors" in loaded_by("import trifolium, safetensors")


def loaded_by(code: str) -> set[str]:
    """Return the top-level names of what Python imports to run ``code``."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in report.splitlines()}
