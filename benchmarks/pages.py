"""Where benchmarks keep their results: files in docs/results/, and a part of a page in docs/."""

import json
from pathlib import Path
from typing import Any

__all__ = ["DOCS", "load", "put", "save"]

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


def _path(name: str) -> Path:
    return DOCS / "results" / f"{name}.json"
