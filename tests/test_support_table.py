"""README's table says what the backends declare."""

import runpy
from pathlib import Path

import trifolium as tri

ROOT = Path(__file__).parents[1]
TABLE = runpy.run_path(str(ROOT / "docs" / "support_table.py"))


def written() -> list[str]:
    readme = (ROOT / "README.md").read_text()
    return readme.partition(TABLE["BEGIN"])[2].partition(TABLE["END"])[0].strip().splitlines()


def test_the_columns_are_what_backends_declare() -> None:
    assert written()[:2] == TABLE["header"]().splitlines()
    assert len(written()) == 2 + len(TABLE["SHIPPED"])


def test_the_line_of_this_backend_is_true(backend: tri.Backend) -> None:
    shipped = backend.name in TABLE["SHIPPED"]
    assert (TABLE["row"](backend) in written()) == shipped, "run docs/support_table.py"
