"""All tasks of developers: ``nox`` runs the quick tier, ``nox -t slow`` the slow tier.

CI runs both. ``nox -l`` lists all sessions, ``nox -s NAME`` runs one. A session creates its
environment anew; ``nox -r`` reuses it, ``nox -R`` also skips the installation.
"""

import argparse
import os
import re
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "tests", "together", "build"]

# where this is set, as in some images, every process of a test compiles all that it imports anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# no compilation to bytecode at installation, since most modules are never imported
CONSTRAINED = ("--no-compile", "--constraint", "constraints.txt")
GROUPS = nox.project.load_toml("pyproject.toml")["dependency-groups"]
PYTHONS = ["3.11", "3.12", "3.13"]
BACKENDS = ["numpy", "strict", "torch", "jax"]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # with more threads than idle cores, small matrices are slow
TESTING = ONE_THREAD | {  # XLA has one thread too; conftest.py divides the cache
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_COMPILATION_CACHE_DIR": str(Path(".nox", "jax-cache").absolute()),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
}
QUICK_TO_COMPILE = {  # most of JAX's time is XLA's compiler; the slow tier runs what users run
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    + TESTING["XLA_FLAGS"]
}
TWO_CORES = ("--numprocesses", "2", "--dist", "worksteal")
DOCTESTS = {  # docstrings that are run, and the session that has what they need
    "numpy": ["src/trifolium"],
    "torch": [
        "backends/torch/trifolium_torch",
        # a namespace of torch's own functions, and one that needs the package tensordict
        *(
            f"--ignore=backends/torch/trifolium_torch/{name}.py"
            for name in ("namespace", "tensordicts")
        ),
    ],
    "jax": ["backends/jax/trifolium_jax"],
}
PROGRAMS = ("pytest", "tests/programs.py")
SOAK = ("tests/replay", "-k", "does_what_the_reference_does")
SHORT = "train CartPole-v1 --steps 2000 --seed 0"
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
    """Train DDQN on CartPole, on another backend with ``nox -s quickstart -- --backend torch``."""
    backend, rest = backend_and_rest(session)
    install(session, "train", backend)
    out = "runs/cartpole" if backend == "numpy" else f"runs/cartpole-{backend}"
    session.run("trifolium", *QUICKSTART.split(), "--backend", backend, "--out", out, *rest)


@nox.session
@nox.parametrize("backend", BACKENDS, ids=BACKENDS)
def tests(session: nox.Session, backend: str) -> None:
    """Run the suite on one backend, with no other framework installed: ``nox -s "tests(jax)"``."""
    of_jax = ["gymnax"] if backend == "jax" else []
    install(session, "train", "worlds", "tensorboard", "testing", "fast", backend, *of_jax)
    install_groups(session, "parallel", *(["networks"] if backend == "jax" else []))
    run = ("pytest", "--backend", backend, "-m", "not interop")  # these run in `together`
    environment = TESTING | (QUICK_TO_COMPILE if backend == "jax" else {})
    session.run(*run, *TWO_CORES, *session.posargs, env=environment)
    if not session.posargs and backend in DOCTESTS:
        session.run(*run, "--doctest-modules", *DOCTESTS[backend], env=environment)


@nox.session
def together(session: nox.Session) -> None:
    """Run the programs of tests/programs.py: the type checker, interop and the short examples."""
    install_everything(session)
    session.run(*PROGRAMS, *TWO_CORES, *session.posargs, env=TESTING)


@nox.session
def interop(session: nox.Session) -> None:
    """Run the tests that use several frameworks at once, with all of them installed and no skips."""
    install_everything(session)
    session.run(*PROGRAMS, "-k", "interop", *TWO_CORES, *session.posargs, env=TESTING)


@nox.session
def examples(session: nox.Session) -> None:
    """Run every script of examples/; scripts that train fail if they learn too little."""
    install_everything(session)
    session.run(*PROGRAMS, "-k", "example", "--slow", *TWO_CORES, *session.posargs, env=TESTING)


@nox.session(tags=["slow"])
def slow(session: nox.Session) -> None:
    """Run the slow tier: slow tests, long examples, the site, soak, some mutants, instructions."""
    install_everything(session)
    install_groups(session, "docs")
    for backend in BACKENDS:
        chosen = ["--slow"] if backend == "jax" else ["-m", "slow"]  # all, compiled as for users
        session.run("pytest", "--backend", backend, *chosen, *TWO_CORES, env=TESTING)
    count_instructions(session)
    session.run(*PROGRAMS, "-m", "slow", *TWO_CORES, env=TESTING)
    build_site(session)
    session.run("pytest", *SOAK, env=TESTING | {"TRIFOLIUM_SOAK": "5000"})
    session.run(
        "python", "tests/mutants.py", "--sample", "12", "--allow", "5", "--jobs", "2", env=ONE_THREAD
    )


@nox.session
def distributed(session: nox.Session) -> None:
    """Test shards and actors on Ray, in a network of loopback alone, which must be permitted."""
    install(session, "ray", "torch", "jax", "train", "worlds", "testing")
    install_groups(session, "networks")
    pytest = ("python", "-m", "pytest")  # so that the processes of Ray can import the tests
    loopback = ("python", "tests/loopback.py", *pytest, "tests/distributed", *session.posargs)
    for backend in ("numpy", "torch", "jax"):
        session.run(*loopback, "--backend", backend, "--slow", env=TESTING)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the format and the rules of ruff."""
    install_groups(session, "lint")
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with every framework installed: all by mypy, tests/typing by pyright too."""
    install_everything(session)
    install_groups(session, "pyright")
    session.run("mypy", *session.posargs)
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site in docs/_build/html, and run the code of all pages (``-- --slow README.md``)."""
    install_everything(session)
    install_groups(session, "docs")
    build_site(session, *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel and test it in an environment without other packages."""
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
def release(session: nox.Session) -> None:
    """Rehearse a release: build, check metadata, use the wheel on Python 3.11, 3.12 and 3.13."""
    install_groups(session, "release")
    for old in Path("dist").glob("trifolium-*"):
        old.unlink()
    session.run("python", "-m", "build", "--outdir", "dist")
    built = [str(path) for path in sorted(Path("dist").glob("trifolium-*"))]
    session.run("twine", "check", "--strict", *built)
    (wheel,) = (each for each in built if each.endswith(".whl"))
    for version in PYTHONS:
        room = Path(session.create_tmp()).resolve() / version
        session.run("virtualenv", "--clear", "--python", f"python{version}", str(room))
        programs = room / ("Scripts" if os.name == "nt" else "bin")
        python, trifolium = str(programs / "python"), str(programs / "trifolium")
        session.run(python, "-m", "pip", "install", "--quiet", f"{wheel}[train]", external=True)
        with session.chdir(room):
            session.run(trifolium, "backends", external=True)
            session.run(trifolium, *SHORT.split(), "--out", str(room / "run"), external=True)


@nox.session(python=["3.12", "3.13"])
def versions(session: nox.Session) -> None:
    """Run the suite on NumPy and JAX with newer versions of Python, which choose their packages."""
    session.install("--editable", ".[train,worlds,tensorboard,testing,jax,gymnax]")
    session.install("pytest-xdist", *GROUPS["networks"])
    for backend in ("numpy", "jax"):
        session.run("pytest", "--backend", backend, *TWO_CORES, *session.posargs, env=TESTING)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the suite on NumPy with the lowest versions that pyproject.toml allows."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    used = (extras[name] for name in ("train", "worlds", "tensorboard", "testing"))
    wanted = [*project["dependencies"], *(package for extra in used for package in extra)]
    lowest = [re.sub(r">=([\d.]+)", r"==\1", each) for each in wanted]
    session.install("--no-deps", "--editable", ".")
    session.install(*lowest, "pytest-xdist")
    old = (
        "-W",
        "default::DeprecationWarning",
    )  # of packages that do not know each other's newest versions
    session.run("pytest", "--backend", "numpy", *old, *TWO_CORES, *session.posargs, env=TESTING)


@nox.session
def coverage(session: nox.Session) -> None:
    """Print which lines the suite on NumPy does not reach."""
    install(session, "train", "worlds", "tensorboard", "testing")
    install_groups(session, "parallel", "coverage")
    session.run(
        *("pytest", "--backend", "numpy", "--cov=trifolium", "--cov=trifolium_numpy"),
        *("--cov-report=term:skip-covered", *TWO_CORES, *session.posargs),
        env=TESTING,
    )


@nox.session
def soak(session: nox.Session) -> None:
    """Compare the buffer with its reference over 100,000 steps; learn for 1,000,000 in the same memory.

    Another backend than NumPy is chosen with ``-- --backend jax``.
    """
    backend, rest = backend_and_rest(session)
    install(session, "train", "testing", backend)
    session.run("pytest", "--backend", backend, *SOAK, *rest, env={"TRIFOLIUM_SOAK": "100000"})
    if backend != "strict":  # which has no gradients
        session.run("python", "tests/endurance.py", "--backend", backend, env=ONE_THREAD)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Load 100,000 damaged and hostile files by every loader (``-- --cases 2000 --only model``)."""
    install(session, "train", "testing")
    arguments = session.posargs or ["--cases", "100000"]
    session.run("python", "tests/fuzz.py", *arguments, env=ONE_THREAD)


@nox.session
def mutants(session: nox.Session) -> None:
    """Run mutation tests: change the replay code in small ways; the tests must fail each time."""
    install(session, "train", "testing", "fast")
    session.run("python", "tests/mutants.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Compare replay memories with those of each framework, for reference/speed.md: about half an hour.

    Two runs, so that each ratio is measured twice. Then the measurements for reference/buffer.md,
    howto/functional.md and howto/compiled_training.md.
    """
    install_rivals(session)
    for command in ("measure", "measure", "sweep", "table"):
        session.run("python", "benchmarks/memories.py", command, env=ONE_THREAD)
    for command in ("measure", "table"):
        session.run("python", "benchmarks/footprint.py", command, env=ONE_THREAD)
    session.run("python", "benchmarks/parts.py", env=ONE_THREAD)
    session.run("python", "benchmarks/imports.py")
    for script in ("capacity", "mapped", "functional", "compiled"):
        session.run("python", f"benchmarks/{script}.py", env=ONE_THREAD)


@nox.session(name="bench-train")
def bench_train(session: nox.Session) -> None:
    """Compare steps per second of DDQN with plain loops, twice, for docs/reference/speed.md."""
    install_rivals(session)
    for command in ("measure", "measure", "table"):
        session.run("python", "benchmarks/training.py", command, env=ONE_THREAD)


@nox.session(name="bench-ray")
def bench_ray(session: nox.Session) -> None:
    """Measure shards and actors on Ray for docs/howto/ray.md, beside torchrl's: some minutes."""
    install_rivals(session, "ray")
    loopback = ("python", "tests/loopback.py", "python", "benchmarks/cluster.py")
    for command in ("rates", "parts", "cartpole", "footprint"):
        session.run(*loopback, command, env=ONE_THREAD)


@nox.session(name="bench-instructions")
def bench_instructions(session: nox.Session) -> None:
    """Count bytecodes and calls of add, sample and the rest; fail if some grew (``-- --save``)."""
    install(session, "torch", "jax")
    count_instructions(session)


@nox.session
def report(session: nox.Session) -> None:
    """Open the report of a run in headless Chromium, which must be installed (Debian: chromium)."""
    install(session, "train", "worlds", "testing")
    install_groups(session, "browser")
    session.run("pytest", "tests/experiment/look_at_report.py", *session.posargs, env=ONE_THREAD)


@nox.session(python="3.12")
def sorrel(session: nox.Session) -> None:
    """Test the models in Sorrel, which installs its own versions of all packages (some GB)."""
    session.install("sorrel==1.6.*", "--editable", ".[testing]")
    session.run("pytest", "tests/plugins/sorrel/drive_sorrel.py", *session.posargs, env=ONE_THREAD)


@nox.session
def learning(session: nox.Session) -> None:
    """Train for reference/learning.md, for hours (``-- run --env Acrobot-v1 --jobs 2``)."""
    install(session, "all")
    session.install(
        "--no-deps", "--constraint", "constraints.txt", "minatar"
    )  # its plots aren't needed
    script = ("python", "benchmarks/learning.py")
    session.run(*script, *(session.posargs or ["run"]), env=ONE_THREAD)
    session.run(*script, "table")


@nox.session
def worlds(session: nox.Session) -> None:
    """Train for reference/worlds_results.md, for minutes (``-- run --world Acrobot-v1``)."""
    install(session, "train", "worlds")
    install_groups(session, "games")
    script = ("python", "benchmarks/worlds.py")
    session.run(*script, *(session.posargs or ["run"]), env=ONE_THREAD)
    session.run(*script, "table")


def build_site(session: nox.Session, *arguments: str) -> None:
    sphinx = ("python", "-m", "sphinx", "--fail-on-warning", "--keep-going", "--fresh-env")
    session.run(*sphinx, "--jobs", "2", "docs", "docs/_build/html", env=TESTING)
    pages = [] if any(each.endswith(".md") for each in arguments) else ["docs", "README.md"]
    blocks = ("python", "-m", "pytest", "-p", "tests.blocks", *TWO_CORES, "--dist", "loadfile")
    session.run(*blocks, *pages, *arguments, env=TESTING)


def count_instructions(session: nox.Session) -> None:
    for backend in ("numpy", "torch", "jax"):
        session.run("python", "benchmarks/instructions.py", "--backend", backend, *session.posargs)


def install_everything(session: nox.Session) -> None:
    """Install this checkout with all backends, and the packages that it works with."""
    install(session, "all", "gymnax", "strict", "tensordict", "minari", "fast", "testing")
    install_groups(session, "datasets", "games", "networks", "parallel", "types")


def install_groups(session: nox.Session, *names: str) -> None:
    """Install dependency groups of pyproject.toml, at the tested versions."""
    session.install(*CONSTRAINED, *(package for name in names for package in GROUPS[name]))


def install(session: nox.Session, *extras: str) -> None:
    """Install this checkout with ``extras``, at the tested versions.

    The extra of a backend is its name. NumPy needs none; strict is a distribution of its own.
    """
    plugin = ["--editable", "tests/plugins/strict"] if "strict" in extras else []
    own = ",".join(extra for extra in extras if extra not in ("numpy", "strict"))
    session.install(*CONSTRAINED, "--editable", f".[{own}]", *plugin)


def install_rivals(session: nox.Session, *extras: str) -> None:
    """Install this checkout and the packages it is compared with, which need some older versions."""
    constraint = ("--constraint", "benchmarks/constraints.txt")
    own = ",".join(["torch", "jax", "train", "gymnax", *extras])
    session.install(*constraint, "--editable", f".[{own}]", *GROUPS["rivals"])


def backend_and_rest(session: nox.Session) -> tuple[str, list[str]]:
    """Return the value of ``--backend`` after the ``--``, or "numpy", and the arguments left."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--backend", choices=BACKENDS, default="numpy")
    options, rest = parser.parse_known_args(session.posargs)
    return options.backend, rest
