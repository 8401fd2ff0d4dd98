"""Tutorials and how-tos: the Python of each page runs from top to bottom, and prints what the page says."""

import importlib.util
import re
from pathlib import Path

import pytest

from .pages import ROOT

PAGES = sorted(
    path.relative_to(ROOT / "docs").as_posix()
    for part in ("tutorials", "howto")
    for path in (ROOT / "docs" / part).glob("*.md")
)
FRAMEWORKS = ("torch", "jax", "flax", "optax", "equinox")
OTHERS = ("gymnasium", "pettingzoo", "pyarrow", "ray", "matplotlib", "tensordict")
SLOW: set[str] = set()  # take more than about five seconds
PRINTS = re.compile(r"(?:^|\s)prints\s*$", re.IGNORECASE)

pytestmark = pytest.mark.filterwarnings("ignore:os.fork")  # JAX's: the processes do not use it


def parts(page: str) -> list[tuple[str, str, str]]:
    """Return the fenced blocks of a page: (text before, language, code)."""
    text = (ROOT / "docs" / page).read_text()
    pieces = re.split(r"^```(.*)\n((?s:.*?))^```$", text, flags=re.MULTILINE)
    return list(zip(pieces[::3], pieces[1::3], pieces[2::3], strict=False))


def imported(page: str, names: tuple[str, ...]) -> list[str]:
    """Return those of ``names`` whose package the Python of a page imports or asks for."""
    code = "\n".join(code for _, language, code in parts(page) if language == "python")
    return [name for name in names if re.search(rf'(import |from |trifolium_|backend="){name}\b', code)]


def marked(page: str) -> object:
    needs = imported(page, FRAMEWORKS)
    marks = [pytest.mark.interop] if needs or imported(page, ("pyarrow", "tensordict")) else []
    return pytest.param(page, marks=[*marks, *([pytest.mark.slow] if page in SLOW else [])])


CASES = [marked(page) for page in PAGES if any(language == "python" for _, language, _ in parts(page))]


def test_there_is_something_to_run() -> None:
    assert len(CASES) > 0
    assert any(PRINTS.search(before) for page in PAGES for before, _, _ in parts(page))


@pytest.mark.parametrize("page", CASES)
def test_page_runs(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in imported(page, FRAMEWORKS + OTHERS):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"runs where {name} is")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    printed = ""
    for number, (before, language, code) in enumerate(parts(page)):
        if language == "python":
            exec(compile(code, f"{page}, block {number}", "exec"), names)
            printed = capsys.readouterr().out
        elif language == "text" and PRINTS.search(before):
            assert printed.split() == code.split(), f"{page}, block {number}"
