"""The tables of README and of the reference say what the backends declare."""

import runpy
from pathlib import Path

import pytest

import trifolium as tri

ROOT = Path(__file__).parents[1]
TABLE = runpy.run_path(str(ROOT / "docs" / "support_table.py"))
PAGES = pytest.mark.parametrize("page", TABLE["PAGES"], ids=lambda page: page.name)


def written(page: Path) -> list[str]:
    text = page.read_text()
    return text.partition(TABLE["BEGIN"])[2].partition(TABLE["END"])[0].strip().splitlines()


@PAGES
def test_the_columns_are_what_backends_declare(page: Path) -> None:
    assert written(page)[:2] == TABLE["header"]().splitlines()
    assert len(written(page)) == 2 + len(TABLE["SHIPPED"])


@PAGES
def test_the_line_of_this_backend_is_true(page: Path, backend: tri.Backend) -> None:
    shipped = backend.name in TABLE["SHIPPED"]
    assert (TABLE["row"](backend) in written(page)) == shipped, "run docs/support_table.py"
