"""Write README's table of what works on which backend, from what the backends declare.

``python docs/support_table.py`` does so where NumPy, torch and JAX are all installed.
"""

from dataclasses import fields
from pathlib import Path

import trifolium as tri

README = Path(__file__).parents[1] / "README.md"
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
    """Replace what is between the two marks in README.md."""
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    table = "\n".join([header(), *(row(tri.get_backend(name)) for name in SHIPPED)])
    README.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


if __name__ == "__main__":
    main()
