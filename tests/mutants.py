"""Break the replay code in many small ways, one at a time, and see that the quick tests notice each.

``python tests/mutants.py`` ends with an error if a mutant survives that docs/contributing/mutants.md
does not explain. ``--module windows store`` takes two modules, ``--match TEXT`` the mutants whose name
holds a text, ``--sample 50`` that many of them, ``--jobs 2`` two at a time; ``--allow 5`` is no error
while no more than five survive unexplained. First the tests must pass on the code as it is;
``--skip-unbroken`` leaves that out. No file is written: a mutant lives in a process of its own.

Two changes are not made, as they are none to NumPy, on which the tests run: -2 for -1 in a shape, which
it takes for "whatever is left" too, and ``copy=True`` for ``copy=False``, which costs time alone.
"""

import argparse
import ast
import os
import random
import resource
import signal
import sys
from collections.abc import Iterable, Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
REPLAY = ROOT / "src" / "trifolium" / "replay"
FOLDERS = ("rules", "host", "graph")
EXPLAINED = ROOT / "docs" / "contributing" / "mutants.md"
CPU_SECONDS = 120
WALL_SECONDS = 600
NO_TESTS = 5  # what pytest ends with where all are skipped: those of kernels need numba
QUICK_THREADS = ["tests/replay/test_prefetch.py", "tests/replay/test_threads.py"]
QUICK_SUMS = [
    "tests/replay/test_sumtree.py",
    "tests/replay/test_kernels.py::test_trees_are_the_same",
    "tests/test_golden.py",
]
QUICK_GRAPH = [
    "tests/replay/test_steps.py",
    "tests/replay/test_states.py",
    "tests/replay/test_widetree.py",
    "tests/replay/test_functional.py",
    "tests/replay/test_structured.py",
    "tests/replay/test_error_options.py",
    "tests/replay/test_inputs.py",
]
QUICK = [  # the quickest to notice first
    "tests/replay/test_steps.py",
    "tests/replay/test_windows.py",
    "tests/replay/test_planted_bugs.py::test_nothing_is_noticed_without_one",
    "tests/replay/test_ring.py",
    "tests/replay/test_reading.py",
    "tests/test_golden.py",
    "tests/replay/test_bad_input.py",
    "tests/replay/test_structured.py",
    "tests/replay/test_sequences.py",
    "tests/replay/test_hindsight.py",
    "tests/replay/test_files.py",
    "tests/replay/test_conformance.py",
]

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.RShift: ast.LShift,
    ast.LShift: ast.RShift,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
KEYWORDS_TO_LEAVE = ("copy=False", "strict=True")
"""What changes nothing that could be seen: of what is zipped the lengths are equal."""
NAMES = {
    "maximum": "minimum",
    "minimum": "maximum",
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
}
NAMES |= {"left": "right", "right": "left", "ones": "zeros", "zeros": "ones", "ones_like": "zeros_like"}


def targets() -> dict[str, Path]:
    """Return the modules to break by name: those of the rules, the host and the graph."""
    below = (path for name in FOLDERS for path in sorted((REPLAY / name).glob("*.py")))
    found = [*(path for path in below if path.stem != "__init__"), REPLAY / "functional.py"]
    stems = [path.stem for path in found]
    return {
        path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}.{path.stem}": path
        for path in found
    }


TARGETS = targets()


def quick_tests(module: str) -> list[str]:
    """Return the tests for mutants of a module, those that notice most of them first."""
    folder = TARGETS[module].parent.name
    if TARGETS[module].stem == "kernels":
        return ["tests/replay/test_kernels.py"]
    if module == "sumtree":
        return QUICK_SUMS
    if TARGETS[module].stem in ("ahead", "locks"):
        return [*QUICK_THREADS, "tests/replay/test_processes.py"]
    if module == "columns":
        return ["tests/replay/test_device_columns.py", *QUICK]
    if folder == "host":
        return QUICK
    return list(dict.fromkeys([*QUICK, *QUICK_GRAPH])) if folder == "rules" else QUICK_GRAPH


class Mutant(NamedTuple):
    """A changed module, and the tests that are to notice: what was changed where is its name."""

    module: str
    name: str
    tree: ast.Module
    tests: list[str]


def mutants(module: str) -> Iterator[Mutant]:
    """Return every mutant of a module."""
    for where, difference, tree in changed(TARGETS[module].read_text()):
        yield Mutant(module, f"{module}{where}: {difference}", tree, quick_tests(module))


def changed(source: str) -> Iterator[tuple[str, str, ast.Module]]:
    """Return (where, difference, tree) of every change of a text."""
    original = ast.unparse(ast.parse(source))
    seen = {original}
    for at, (where, *_, node) in enumerate(list(places(ast.parse(source)))):
        for variant in range(len(list(changes(node)))):
            tree = ast.parse(source)
            _, parent, field, index, node = list(places(tree))[at]
            put(parent, field, index, list(changes(node))[variant])
            text = ast.unparse(ast.fix_missing_locations(tree))
            if text not in seen:
                seen.add(text)
                yield where, difference(original, text), tree


def existing(names: Iterable[str]) -> set[str]:
    """Return those of ``names`` that mutants have now. Only functions that are named are changed."""
    found: set[str] = set()
    for place in {name.partition(":")[0] for name in names}:
        module = max(
            (name for name in TARGETS if f"{place}.".startswith(f"{name}.")), key=len, default=""
        )
        source = part(ast.parse(TARGETS[module].read_text()), place[len(module) :]) if module else ""
        found |= {f"{place}: {difference}" for _, difference, _ in changed(source)}
    return found.intersection(names)


def part(tree: Any, where: str) -> str:
    """Return the text of the function of this name, or of a class or module without its functions."""
    named = ast.FunctionDef | ast.ClassDef
    for name in where.split(".")[1:]:
        inside = (node for node in ast.walk(tree) if isinstance(node, named) and node.name == name)
        tree = next(inside, ast.Module([], []))
    if isinstance(tree, ast.FunctionDef):
        return ast.unparse(tree)
    return "\n".join(ast.unparse(node) for node in tree.body if not isinstance(node, named))


def unbroken(modules: list[str]) -> Mutant:
    """Return a mutant that is none, for all the tests that these modules need."""
    tests = dict.fromkeys(test for module in modules for test in quick_tests(module))
    tree = ast.parse(TARGETS[modules[0]].read_text())
    return Mutant(modules[0], "unbroken", tree, list(tests))


def difference(original: str, changed: str) -> str:
    """Return the line that differs, before and after."""
    pairs = zip(original.splitlines(), changed.splitlines(), strict=True)
    before, after = next(pair for pair in pairs if pair[0] != pair[1])
    return f"`{before.strip()}` -> `{after.strip()}`"


def places(tree: ast.Module) -> Iterator[tuple[str, ast.AST, str, int | None, Any]]:
    """Return (qualified name, parent, field, index, node) of whatever can be changed."""

    def walk(parent: ast.AST, where: str, *, is_index: bool = False) -> Iterator[Any]:
        if isinstance(parent, ast.FunctionDef | ast.ClassDef):
            where = f"{where}.{parent.name}"
        for field, value in ast.iter_fields(parent):
            if field in ("annotation", "returns", "decorator_list", "exc", "bases"):
                continue
            for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if not isinstance(node, ast.AST) or is_text(node):
                    continue
                text = ast.unparse(node)
                if isinstance(parent, ast.keyword) and f"{parent.arg}={text}" in KEYWORDS_TO_LEAVE:
                    continue
                yield where, parent, field, index, node
                shapes = isinstance(parent, ast.Call) and ast.unparse(parent.func).endswith(".reshape")
                shapes |= isinstance(parent, ast.Tuple) and not is_index
                if not shapes or text != "-1":
                    yield from walk(node, where, is_index=field == "slice")

    return walk(tree, "")


def is_text(node: ast.AST) -> bool:
    """Return whether a node is a docstring, an import, or a list of names to export."""
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return True
    documents = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return documents or isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr)


def changes(node: Any) -> Iterator[ast.AST]:
    """Return what may stand in the place of a node."""
    match node:
        case ast.BinOp(left, operator, right) if type(operator) in SWAPS:
            yield ast.BinOp(left, SWAPS[type(operator)](), right)
        case ast.AugAssign(target, operator, value):
            yield ast.AugAssign(target, SWAPS[type(operator)](), value)
            yield ast.Pass()
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(SWAPS[type(operator)](), values)
        case ast.Compare(left, [operator], [right]) if type(operator) in SWAPS:
            yield ast.Compare(left, [SWAPS[type(operator)]()], [right])
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() as value):
            yield ast.Constant(value + 1)
            if value:
                yield ast.Constant(value - 1)
        case ast.Constant(float() as value):
            yield ast.Constant(value + 1.0)
        case ast.IfExp(test, body, otherwise):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), test), body, otherwise)
        case ast.If(test, body, otherwise):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, otherwise)
        case ast.Assign([ast.Subscript() | ast.Attribute()]) | ast.Expr(ast.Call()):
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Attribute(value, name) if name in NAMES:
            yield ast.Attribute(value, NAMES[name], node.ctx)
        case ast.Name(name) if name in NAMES:
            yield ast.Name(NAMES[name], node.ctx)
        case ast.Constant("left" | "right" as side):
            yield ast.Constant(NAMES[side])


def put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


class Planted(MetaPathFinder):
    """Gives out a changed module in the place of the one in the file."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        path = TARGETS[module]
        self.name = ".".join(path.relative_to(REPLAY.parents[1]).with_suffix("").parts)
        self.path = str(path)
        self.code = compile(tree, self.path, "exec")

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        loader = Changed(name, self.path)
        loader.changed = self.code
        return spec_from_file_location(name, self.path, loader=loader)


class Changed(SourceFileLoader):
    changed: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.changed


def survivors(chosen: list[Mutant], jobs: int) -> Iterator[str]:
    """Run the quick tests on each mutant, and return the names of those that they don't notice.

    Every fiftieth is named on the way, so that one sees how far a long run is.
    """
    waiting = list(reversed(chosen))
    running: dict[int, str] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            child = os.fork()
            if not child:
                run_quick_tests(mutant)
            running[child] = mutant.name
            if (started := len(chosen) - len(waiting)) % 50 == 0:
                print(f"mutant {started} of {len(chosen)}: {mutant.name}", file=sys.stderr, flush=True)
        child, status = os.wait()
        name = running.pop(child)
        if os.waitstatus_to_exitcode(status) in (0, NO_TESTS):
            yield name


def run_quick_tests(mutant: Mutant) -> None:
    status = 1
    try:
        import pytest

        # one that hangs is ended, and so noticed; a machine that is slow or paused changes nothing
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        signal.alarm(WALL_SECONDS)  # a mutant of a lock waits for ever, and uses no processor

        # numba would keep what it compiles on the disk, and not tell a mutant from what it was made of:
        # kernels run as Python instead, but for mutants of how they are compiled
        if "_compiled" not in mutant.name:
            os.environ["NUMBA_DISABLE_JIT"] = "1"

        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        sys.meta_path.insert(0, Planted(mutant.module, mutant.tree))
        status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *mutant.tests])
    finally:
        os._exit(int(status))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--module", choices=TARGETS, nargs="+", default=list(TARGETS))
    parser.add_argument("--match", default="")
    parser.add_argument("--sample", type=int, help="take only so many, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--allow", type=int, default=0, help="how many may survive unexplained")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--skip-unbroken", action="store_true", help="trust that the tests pass")
    parser.add_argument("--list", action="store_true", help="name the mutants, and run none")
    options = parser.parse_args()
    os.chdir(ROOT)
    # once, before each mutant's process copies this one; plugins of pytest must not be among them
    import numpy  # noqa: F401
    import pytest  # noqa: F401

    every = (mutant for module in options.module for mutant in mutants(module))
    chosen = [mutant for mutant in every if options.match in mutant.name]
    if options.sample is not None and options.sample < len(chosen):
        chosen = random.Random(options.seed).sample(chosen, options.sample)
    if options.list:
        print(*(mutant.name for mutant in chosen), sep="\n")
        return 0
    if not options.skip_unbroken and not list(survivors([unbroken(options.module)], 1)):
        print("the quick tests fail on the code as it is: nothing can be told about mutants")
        return 2
    explained = EXPLAINED.read_text() if EXPLAINED.exists() else ""
    alive, unexplained = [], []
    for name in survivors(chosen, options.jobs):
        (alive if name in explained else unexplained).append(name)
        print(f"survived, {'explained' if name in explained else 'UNEXPLAINED'}: {name}", flush=True)
    print(f"{len(chosen)} mutants; survived and explained: {len(alive)}, not: {len(unexplained)}")
    return 1 if len(unexplained) > options.allow else 0


if __name__ == "__main__":
    sys.exit(main())
