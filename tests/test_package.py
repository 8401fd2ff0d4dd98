"""What the package says of itself is true."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import distribution, requires
from importlib.resources import files
from types import ModuleType

import pytest

import trifolium as tri
from trifolium import errors

MODULES = [found.name for found in pkgutil.walk_packages(tri.__path__, "trifolium.")]


def public_names(module: ModuleType) -> set[str]:
    names = {name for name in vars(module) if not name.startswith("_")}
    return {name for name in names if not inspect.ismodule(getattr(module, name))}


def test_all_is_complete() -> None:
    assert len(set(tri.__all__)) == len(tri.__all__)
    assert public_names(tri) - {"TYPE_CHECKING"} <= set(tri.__all__)
    assert all(hasattr(tri, name) for name in tri.__all__)
    assert set(tri.__all__) <= set(dir(tri))


@pytest.mark.each_environment
@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_is_public(name: str) -> None:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    assert module.__doc__
    assert public or not public_names(module)
    assert all(hasattr(module, name) for name in public)
    assert len(set(public)) == len(public)


@pytest.mark.parametrize("name", tri.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(tri, name))


def test_every_error_is_exported() -> None:
    assert set(errors.__all__) <= set(tri.__all__)


def test_the_tree_of_errors_is_as_drawn() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"^    ((?:[│ ]   )*(?:[├└]── )?)(\w+)", errors.__doc__, re.MULTILINE)
    assert drawn == list(tree(tri.TrifoliumError))


def tree(cls: type, indent: str = "", knot: str = "") -> list[tuple[str, str]]:
    """Return (the lines before the name, the name) for a class and all that derive from it."""
    below = cls.__subclasses__()
    lines = [(indent + knot, cls.__name__)]
    if knot:
        indent += "    " if knot == "└── " else "│   "
    for child in below:
        lines += tree(child, indent, "└── " if child is below[-1] else "├── ")
    return lines


@pytest.mark.parametrize("name", sorted(set(errors.__all__) - {"TrifoliumError"}))
def test_errors_can_be_caught_as_built_in_ones(name: str) -> None:
    built_in = (ValueError, TypeError, ImportError, EOFError, OSError, ArithmeticError)
    assert issubclass(getattr(errors, name), built_in)


def test_the_version_is_that_of_the_distribution() -> None:
    assert tri.__version__ == distribution("trifolium").version


def test_types_are_shipped() -> None:
    assert files("trifolium").joinpath("py.typed").is_file()
    assert files("trifolium_numpy").joinpath("py.typed").is_file()


def test_a_bare_install_brings_no_framework() -> None:
    bare = [line for line in requires("trifolium") or [] if "extra ==" not in line]
    names = {re.split(r"[<>=~!;\[ ]", line)[0] for line in bare}
    assert names == {"numpy", "array-api-compat", "autograd", "safetensors"}


def test_the_import_loads_nothing_slow() -> None:
    """Modules that take milliseconds to import are loaded when they are used."""
    code = "import sys, numpy; before = set(sys.modules); import trifolium; "
    code += "print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {"numpy.random", "queue", "uuid", "urllib.parse", "difflib", "hashlib", "safetensors.numpy"}
    assert not slow & set(done.stdout.split())
    assert "trifolium.models" not in done.stdout.split()  # a replay memory needs none


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="'Bufer'"):
        tri.Bufer  # noqa: B018
