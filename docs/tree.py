"""Write CONTRIBUTING's tree of the packages, a line a file, from the first lines of the modules.

``python docs/tree.py`` does so; run it after a module is added, moved or described anew.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- tree: begin -->", "<!-- tree: end -->"
BACKENDS = ("numpy", "torch", "jax")
PACKAGES = ("src/trifolium", *(f"backends/{name}/trifolium_{name}" for name in BACKENDS))
COLUMN = 34  # where the descriptions begin


def tree() -> str:
    """Return the lines of all packages, as a block of code."""
    return "\n".join(["```text", *(line for name in PACKAGES for line in lines(ROOT / name, 0)), "```"])


def lines(folder: Path, depth: int) -> Iterator[str]:
    """Yield the line of a package, those of its modules, and those of the packages in it."""
    name = f"{folder.name if depth else folder.relative_to(ROOT)}/"
    yield line(name, described(folder / "__init__.py"), depth)
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            yield line(path.name, described(path), depth + 1)
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").is_file():
            yield from lines(path, depth + 1)


def line(name: str, text: str, depth: int) -> str:
    """Return one line: the name, indented, and what it is."""
    return f"{'  ' * depth}{name}".ljust(COLUMN) + text


def described(path: Path) -> str:
    """Return the first line of a module's docstring, without the name that it begins with."""
    document = ast.get_docstring(ast.parse(path.read_text()))
    if not document:
        raise SystemExit(f"{path.relative_to(ROOT)} has no docstring; its first line is for the tree")
    return document.splitlines()[0].replace("``", "`").rstrip(".")


def main() -> None:
    """Replace what is between the two marks in CONTRIBUTING.md."""
    before, _, rest = CONTRIBUTING.read_text().partition(BEGIN)
    CONTRIBUTING.write_text(f"{before}{BEGIN}\n{tree()}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
