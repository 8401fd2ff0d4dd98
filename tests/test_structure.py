"""The shape of the packages: what a reader may rely on before opening a file.

CONTRIBUTING.md states these rules; ``tests/test_boundary.py`` has those about other packages.
"""

import ast
import graphlib
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

import trifolium as tri

ROOT = Path(__file__).parents[1]
PACKAGES = [
    ROOT / "src" / "trifolium",
    *(ROOT / "backends" / name / f"trifolium_{name}" for name in ("numpy", "torch", "jax")),
]
REPLAY = ROOT / "src" / "trifolium" / "replay"


def modules_of(package: Path) -> dict[str, Path]:
    """Return the modules of a package by their full names."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    assert found, f"no modules in {package}"
    return found


def import_graph(package: Path) -> dict[str, set[str]]:
    """Return which modules of a package each of its modules imports.

    Imports anywhere in a module count: those inside functions and those for type checkers alone too.
    ``from package import name`` imports the module of that name, or else the package itself.
    """
    modules = modules_of(package)
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        inside = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        names = {
            name if name in modules else name.rpartition(".")[0]
            for name in imports(ast.parse(path.read_text()), inside)
        }
        graph[module] = names & modules.keys()
    return graph


def imports(tree: ast.Module, inside: list[str]) -> Iterator[str]:
    """Yield the full name of everything that a module in the package ``inside`` imports."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                upper = inside[: len(inside) - level + 1] if level else []
                start = ".".join([*upper, *([module] if module else [])])
                yield from (f"{start}.{alias.name}" for alias in names)


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of a circle of imports, or an empty list."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_no_circle_of_imports(package: Path) -> None:
    assert circle_in(import_graph(package)) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pack.second",
        "from pack import second",
        "from . import second",
        "from .second import name",
        "from pack.second import name",
        "def late():\n    import pack.second",
        "if TYPE_CHECKING:\n    from pack.second import Name",
    ],
)
def test_a_planted_circle_is_found(tmp_path: Path, line: str) -> None:
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("from pack.first import name\n")
    (package / "first.py").write_text("import ast\n")
    (package / "second.py").write_text("from pack.first import name\n")
    assert circle_in(import_graph(package)) == []
    (package / "first.py").write_text(f"{line}\n")
    assert set(circle_in(import_graph(package))) == {"pack.first", "pack.second"}


def test_no_class_name_is_used_twice() -> None:
    places: dict[str, list[str]] = {}
    for package in PACKAGES:
        for module, path in modules_of(package).items():
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(module)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_replay_has_few_entries() -> None:
    entries = sorted(path.name for path in REPLAY.iterdir() if path.name != "__pycache__")
    assert len(entries) <= 9, entries


@pytest.mark.parametrize("name", ["Backend", "Differentiable"])
def test_a_backend_needs_few_members(name: str) -> None:
    protocol = getattr(tri, name)
    named = vars(protocol).keys() | protocol.__annotations__.keys()
    members = sorted(member for member in named if not member.startswith("_"))
    assert 4 <= len(members) <= 16, members


def test_contributing_has_the_tree_with_a_line_a_file() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "tree.py"))
    written = page["CONTRIBUTING"].read_text().partition(page["BEGIN"])[2].partition(page["END"])[0]
    assert written.strip() == page["tree"](), "run python docs/tree.py"
    for package in PACKAGES:
        for path in modules_of(package).values():
            name = f"{path.parent.name}/" if path.name == "__init__.py" else f"{path.name} "
            assert name in written
