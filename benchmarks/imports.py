"""Time of ``import trifolium`` and ``import numpy``: medians of processes that take turns.

    python benchmarks/imports.py

Bytecode is written to a folder of its own first, as it is when a package is installed.
"""

import os
import subprocess
import sys
import tempfile
from functools import partial

from turns import medians

ROUNDS = 25


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def run(code: str) -> None:
            subprocess.run([sys.executable, "-c", code], env=environment, check=True)

        codes = {"python": "pass", "numpy": "import numpy", "trifolium": "import trifolium"}
        seconds = medians({name: partial(run, code) for name, code in codes.items()}, rounds=ROUNDS)
    for name, each in seconds.items():
        print(f"{name:10} {each * 1e3:6.1f} ms")
    print(f"trifolium over numpy: {seconds['trifolium'] / seconds['numpy']:.2f}")


if __name__ == "__main__":
    main()
