"""Every task of a developer: ``nox`` runs what CI runs, ``nox -l`` lists all, ``nox -s NAME`` runs one.

A session's environment is made anew each time; ``nox -r`` keeps it, ``nox -R`` also skips installing.
"""

import argparse
import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["tests", "interop", "lint", "types", "build"]

GROUPS = nox.project.load_toml("pyproject.toml")["dependency-groups"]
BACKENDS = ["numpy", "strict", "torch", "jax"]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # threads that wait for a busy core make small matrices slow
EXAMPLES = {  # docstrings that are run, and the session that has what they need
    "numpy": "src/trifolium",
    "torch": "backends/torch/trifolium_torch",
    "jax": "backends/jax/trifolium_jax",
}
QUICKSTART = "train CartPole-v1 --model ddqn --steps 50000 --seed 0"

LISTING = """
import trifolium as tri
found = tri.backends()
print(*found.values(), sep="\\n")
assert sorted(found) == ["jax", "numpy", "torch"], sorted(found)
assert found["numpy"].installed
for name in ("torch", "jax"):
    assert not found[name].installed, name
    assert f"pip install 'trifolium[{name}]'" in found[name].hint, found[name].hint
"""


@nox.session
def quickstart(session: nox.Session) -> None:
    """Train DDQN on CartPole; ``nox -s quickstart -- --backend torch`` does it on another backend."""
    backend, rest = backend_and_rest(session)
    install(session, "train", backend)
    out = "runs/cartpole" if backend == "numpy" else f"runs/cartpole-{backend}"
    session.run("trifolium", *QUICKSTART.split(), "--backend", backend, "--out", out, *rest)


@nox.session
@nox.parametrize("backend", BACKENDS, ids=BACKENDS)
def tests(session: nox.Session, backend: str) -> None:
    """Run the suite on one backend, with no other framework installed: ``nox -s "tests(jax)"``."""
    install(session, "train", "testing", backend)
    session.run("pytest", "--backend", backend, *session.posargs, env=ONE_THREAD)
    if not session.posargs and backend in EXAMPLES:
        session.run("pytest", "--backend", backend, "--doctest-modules", EXAMPLES[backend])


@nox.session
def interop(session: nox.Session) -> None:
    """Run what takes several frameworks at once, with all of them installed and no skips."""
    install(session, "all", "testing", "strict", "tensordict", "minari")
    files = [f"tests/replay/test_{name}.py" for name in ("datasets", "files", "inputs")]
    for backend in BACKENDS:
        session.run("pytest", "--backend", backend, "--no-skips", *files, env=ONE_THREAD)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the format and the rules of ruff."""
    session.install("--constraint", "constraints.txt", *GROUPS["lint"])
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the core and of the backends, with every framework installed."""
    install(session, "all", "testing")
    session.install("--constraint", "constraints.txt", *GROUPS["types"])
    session.run("mypy")


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel and look at what it brings to an environment that has nothing else."""
    room = Path(session.create_tmp())
    session.run("python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(room), ".")
    wheel = max(room.glob("trifolium-*.whl"), key=os.path.getmtime)
    session.run("python", "-m", "venv", "--clear", str(room / "clean"))
    programs = room / "clean" / ("Scripts" if os.name == "nt" else "bin")
    python, trifolium = str(programs / "python"), str(programs / "trifolium")
    pip_install = (python, "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt")
    session.run(*pip_install, str(wheel), external=True)
    session.run(python, "-I", "-c", LISTING, external=True)
    session.run(trifolium, "backends", external=True)


@nox.session
def soak(session: nox.Session) -> None:
    """Compare the buffer with its reference over 100,000 random steps (``-- --backend jax``)."""
    backend, rest = backend_and_rest(session)
    install(session, "train", "testing", backend)
    run = ("pytest", "--backend", backend, "tests/replay", "-k", "does_what_the_reference_does")
    session.run(*run, *rest, env={"TRIFOLIUM_SOAK": "100000"})


@nox.session
def mutants(session: nox.Session) -> None:
    """Break the replay code in many small ways and see that the tests notice each."""
    install(session, "train", "testing")
    session.run("python", "tests/mutants.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Print what a row costs, in time and in bytes (``-- --backend jax``)."""
    backend, rest = backend_and_rest(session)
    install(session, backend)
    session.run("python", "benchmarks/capacity.py", "--backend", backend, *rest)
    if backend == "jax":
        session.run("python", "benchmarks/functional.py")


def install(session: nox.Session, *extras: str) -> None:
    """Install this checkout with ``extras``, at the tested versions.

    The extra of a backend is its name. NumPy needs none; strict is a distribution of its own.
    """
    plugin = ["--editable", "tests/plugins/strict"] if "strict" in extras else []
    own = ",".join(extra for extra in extras if extra not in ("numpy", "strict"))
    session.install("--constraint", "constraints.txt", "--editable", f".[{own}]", *plugin)


def backend_and_rest(session: nox.Session) -> tuple[str, list[str]]:
    """Return the value of ``--backend`` after the ``--``, or "numpy", and the arguments left."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--backend", choices=BACKENDS, default="numpy")
    options, rest = parser.parse_known_args(session.posargs)
    return options.backend, rest
