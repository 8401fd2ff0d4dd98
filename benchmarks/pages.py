"""What benchmarks share: results in docs/results/, parts of pages in docs/, a command line."""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["DOCS", "command_line", "last_two", "load", "put", "save", "save_run"]

DOCS = Path(__file__).parents[1] / "docs"


def load(name: str) -> dict[str, Any]:
    """Return the results in docs/results/``name``.json; nothing if there are none yet."""
    path = _path(name)
    return json.loads(path.read_text()) if path.exists() else {}


def save(name: str, results: dict[str, Any]) -> None:
    """Write docs/results/``name``.json, a line for each result."""
    _path(name).parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(results.items())]
    _path(name).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def put(page: str, lines: list[str], part: str = "results") -> None:
    """Write ``lines`` between the marks of a ``part`` of docs/``page``, in place of what is there."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    path = DOCS / page
    text = path.read_text()
    before, after = text.split(begin)[0], text.split(end)[1]
    path.write_text("\n".join([before + begin, *lines, end + after]))


def save_run(name: str, found: dict[str, Any]) -> None:
    """Save a run with the previous one, in docs/results/``name``.json."""
    save(name, {"run 1": load(name).get("run 2", found), "run 2": found})


def last_two(name: str) -> list[dict[str, Any]]:
    """Return the runs that :func:`save_run` has kept, the older one first."""
    runs = load(name)
    return [runs["run 1"], runs["run 2"]]


def command_line(
    doc: str, *commands: Callable[[argparse.Namespace], None]
) -> tuple[argparse.ArgumentParser, Any]:
    """Return a parser with ``commands`` by their names, and what takes further ones.

    Its options have the command as ``do``.
    """
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", doc)[0])
    subparsers = parser.add_subparsers(required=True)
    for each in commands:
        subparsers.add_parser(each.__name__).set_defaults(do=each)
    return parser, subparsers


def _path(name: str) -> Path:
    return DOCS / "results" / f"{name}.json"
