"""Write the table of what works on which backend, in README and the reference, from what is declared.

``python docs/support_table.py`` does so where NumPy, torch and JAX are all installed.
"""

from dataclasses import fields
from pathlib import Path

import trifolium as tri

DOCS = Path(__file__).parent
PAGES = (DOCS.parent / "README.md", DOCS / "reference" / "features.md")
BEGIN, END = "<!-- support table: begin -->", "<!-- support table: end -->"
SHIPPED = ("numpy", "torch", "jax")
HEADINGS = {
    "compile": "updates can be compiled",
    "views": "views of arrays",
    "float64": "64-bit dtypes by default",
}


def header() -> str:
    """Return the first two lines of the table: a column for everything declared."""
    names = [
        "replay memory",
        "gradients: DDQN learns",
        *(HEADINGS[field.name] for field in fields(tri.Capabilities)),
    ]
    return f"| backend | {' | '.join(names)} |\n|---|{':-:|' * len(names)}"


def row(backend: tri.Backend) -> str:
    """Return the line of one backend; every backend supports the replay memory."""
    supported = [True, isinstance(backend, tri.Differentiable)]
    supported += [getattr(backend.capabilities, field.name) for field in fields(tri.Capabilities)]
    return f"| `{backend.name}` | {' | '.join('yes' if each else 'no' for each in supported)} |"


def main() -> None:
    """Replace what is between the two marks on both pages."""
    table = "\n".join([header(), *(row(tri.get_backend(name)) for name in SHIPPED)])
    for page in PAGES:
        before, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
