"""Run the code blocks of pages: ``pytest -p tests.blocks docs README.md``, in ``nox -s docs``.

Every fenced block of a page is one item, in the order of the page:

- ``python``: runs. Blocks of a page share their names, as for a reader who copies all of them.
- ``text`` after a line that ends in "prints": what the Python block before it printed.
- ``console`` and ``bash``: commands, run in a folder of the page's own, where ``.venv/bin`` is the
  environment of the tests. Lines without ``$`` in a ``console`` are the output, in which ``...`` stands
  for anything. Commands of pip and nox are not run: extras, packages and sessions must exist. Without
  ``--slow``, a command that has ``--steps`` takes a fiftieth of them, and 1,000 more.
- ``toml``: is parsed.

A block is skipped if the comment before it says so and why, ``<!-- skip: next "why" -->``; with
``if(quick, reason="why")`` it runs with ``--slow`` alone. One marked ``python skip`` takes another
library, and runs where that is installed. Any other language, and indented code, is an error.
"""

import ast
import contextlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from unittest import SkipTest

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser, SkipParser

from tests.commands import check_installation, check_sessions, is_installation

ROOT = Path(__file__).parents[1]
PRINTS = re.compile(r"(?:^|\s)prints:?\s*\Z", re.IGNORECASE)
STEPS = re.compile(r"--steps (\d+)")
FENCE = re.compile(r"^ *(?:`{3,}|:{3,})(.*)$", re.MULTILINE)
LONGEST = 300  # seconds that a command may take
RUN_PYTHON = PythonEvaluator()


class Languages:
    """Finds what no parser would run: fences of unknown languages, and indented code."""

    known = ("python", "python skip", "text", "console", "bash", "toml", "")

    def __call__(self, document: Document) -> Iterable[Region]:
        """Yield a region that fails for each."""
        fenced = False
        empty = False
        position = 0
        for line in document.text.splitlines(keepends=True):
            fence = FENCE.match(line)
            if fence:
                language = fence[1].strip()
                directive = language.startswith("{")
                if not fenced and not directive and language not in self.known:
                    yield Region(position, position + len(line), line.strip(), unknown)
                if line.lstrip().startswith("`"):
                    fenced = not fenced
            elif not fenced and empty and re.match(r" {4,}\S", line):
                yield Region(position, position + len(line), line.strip(), unknown)
            empty = not line.strip()
            position += len(line)


def unknown(example: Example) -> str:
    """Return the error of a block that is not run."""
    return f"{example.parsed!r} begins code that nothing runs; see the top of tests/blocks.py"


def python(example: Example) -> None:
    """Run a block; keep what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        RUN_PYTHON(example)
    example.namespace["printed by the last block"] = printed.getvalue()


def python_of_others(example: Example) -> None:
    """Run a block where everything that it imports is installed."""
    missing = [name for name in imports(str(example.parsed)) if importlib.util.find_spec(name) is None]
    if missing:
        raise SkipTest(f"needs {', '.join(missing)}")
    python(example)


def imports(source: str) -> list[str]:
    """Return the packages that a block imports."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return sorted({name.partition(".")[0] for name in found})


def text(example: Example) -> str | None:
    """Compare a block with what was printed, if the line before it says "prints"."""
    if not PRINTS.search(example.document.text[: example.region.start]):
        return None
    printed = example.namespace["printed by the last block"]
    return None if printed.split() == example.parsed.split() else f"it prints {printed!r}"


def console(example: Example) -> str | None:
    """Run the commands after ``$``, and compare the lines that follow each with its output."""
    for part in re.split(r"^\$ ", str(example.parsed), flags=re.MULTILINE)[1:]:
        command, _, expected = re.sub(r"\\\n *", " ", part).partition("\n")
        output = run(command, example)
        if expected.strip() and output is not None and not fits(output, expected):
            return f"$ {command}\nprints {output!r}"
    return None


def bash(example: Example) -> None:
    """Run every line."""
    for line in re.sub(r"\\\n *", " ", str(example.parsed)).splitlines():
        command = line.partition(" #")[0].strip()
        if command and not command.startswith("#"):
            run(command, example)


def fits(output: str, expected: str) -> bool:
    """Return whether output is what a page shows, in which ``...`` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in " ".join(expected.split()).split("..."))
    return re.fullmatch(pattern, " ".join(output.split())) is not None


def run(line: str, example: Example) -> str | None:
    """Run a command and return its output, or None if it is one that is only checked."""
    output = None
    for command in line.split(" && "):
        words = command.split()
        if is_installation(words):
            check_installation(command)
        elif Path(words[0]).name == "nox":
            check_sessions(words)
        else:
            output = (output or "") + sandboxed(command, example.namespace["sandbox"])
    return output


def sandboxed(command: str, sandbox: Path) -> str:
    """Run a command in the folder of a page; its exit code must be 0."""
    if not Runs.slow:
        command = STEPS.sub(lambda found: f"--steps {1_000 + int(found[1]) // 50}", command)
    environment = {name: each for name, each in os.environ.items() if "PYTEST" not in name}
    environment |= {"HOME": str(sandbox), "MPLBACKEND": "Agg", "SDL_VIDEODRIVER": "dummy"}
    environment["PATH"] = os.pathsep.join([str(sandbox / ".venv" / "bin"), environment["PATH"]])
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=sandbox,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout[-3000:]}"
    return done.stdout


def begin(namespace: dict[str, object]) -> None:
    """Make the folder of a page, and go there."""
    sandbox = Path(tempfile.mkdtemp(prefix="page-"))
    programs = sandbox / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    shim = programs / "trifolium"
    shim.write_text(
        f"#!{sys.executable}\nimport sys\nfrom trifolium.cli import main\nsys.exit(main())\n"
    )
    shim.chmod(0o755)
    for name in ("examples", "benchmarks", "docs", "tests"):
        (sandbox / name).symlink_to(ROOT / name)
    namespace |= {"sandbox": sandbox, "quick": not Runs.slow, "__name__": "page"}
    os.chdir(sandbox)


def end(namespace: dict[str, object]) -> None:
    """Remove the folder of a page."""
    os.chdir(ROOT)
    shutil.rmtree(str(namespace["sandbox"]), ignore_errors=True)


class Runs:
    """What this run is for.

    Attributes:
        slow: whether slow blocks run too.
    """

    slow = False


@cache
def evaluators() -> dict[str, Callable[[Example], str | None]]:
    """Return what runs the blocks of each language."""
    return {
        "python": python,
        "python skip": python_of_others,
        "text": text,
        "console": console,
        "bash": bash,
        "toml": lambda example: tomllib.loads(str(example.parsed)) and None,
    }


pytest_collect_file = Sybil(
    parsers=[
        Languages(),
        SkipParser(),
        *(CodeBlockParser(language=name, evaluator=each) for name, each in evaluators().items()),
    ],
    patterns=["*.md"],
    excludes=["**/_build/**", "CHANGELOG.md", "CONTRIBUTING.md"],
    path=str(ROOT),
    setup=begin,
    teardown=end,
).pytest()


def pytest_configure(config: pytest.Config) -> None:
    """Find out whether slow blocks run."""
    Runs.slow = config.getoption("slow")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow what pages do: environments in processes, which do not use JAX."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore:os.fork"))
