"""One run of the suite is for one backend: ``pytest --backend jax``.

A backend that was asked for and can't be used ends the run with an error: nothing is skipped for the
lack of it. The tests in ``backends/`` are those of one backend each, and belong to its runs alone.

Tests that use no backend run with ``--backend numpy`` alone. Those marked ``slow``, or ``slow_on`` the
backend of the run, are left out unless ``--slow`` or ``-m slow`` is given. CONTRIBUTING.md has more.
"""

import gc
import os
from pathlib import Path

import pytest

import trifolium as tri

pytest.register_assert_rewrite("trifolium.testing")

BACKENDS = Path(__file__).parent / "backends"
SHARED = Path(__file__).parent / "tests"
CACHE = "JAX_COMPILATION_CACHE_DIR"
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER and os.environ.get(CACHE) and Path(os.environ[CACHE]).name != WORKER:
    # each process that tests has one: JAX writes to a shared cache without a lock, or waits for it
    os.environ[CACHE] = str(Path(os.environ[CACHE], WORKER))
ONCE = "numpy"
"""The backend whose runs hold the tests that need not be repeated on each backend."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="numpy", help="the backend that this run is for")
    parser.addoption("--device", help="its device, such as cuda; its default if not given")
    parser.addoption("--no-skips", action="store_true", help="fail if a test is skipped")
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def chosen(config: pytest.Config) -> tri.Backend:
    """Return the backend that the run is for, on the device that it is for."""
    return tri.get_backend(config.getoption("backend"), device=config.getoption("device"))


def pytest_configure(config: pytest.Config) -> None:
    try:
        chosen(config)
    except tri.BackendError as error:
        raise pytest.UsageError(f"--backend: {error}") from None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if BACKENDS not in collection_path.parents:
        return None
    return collection_path.relative_to(BACKENDS).parts[0] != config.getoption("backend") or None


def pytest_collection_finish() -> None:
    """Look for garbage less often, which saves a twentieth of the time of a run."""
    gc.set_threshold(20_000, 20, 50)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    backend = config.getoption("backend")
    wants_slow = config.getoption("slow") or "slow" in config.option.markexpr
    kept, left_out = [], []
    for item in items:
        if any(backend in mark.args for mark in item.iter_markers("slow_on")):
            item.add_marker("slow")
        belongs = wants_slow or not item.get_closest_marker("slow")
        belongs = belongs and (backend == ONCE or not runs_once(item))
        (kept if belongs else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def runs_once(item: pytest.Item) -> bool:
    """Return whether a test need not be repeated on each backend."""
    if SHARED not in item.path.parents or item.get_closest_marker("each_environment"):
        return False
    return "backend" not in getattr(item, "fixturenames", ())


def pytest_report_header(config: pytest.Config) -> str:
    backend = chosen(config)
    return (
        f"trifolium backend: {backend.name} {backend.version} "
        f"on {backend.device}, supports: {backend.capabilities}"
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> tri.Backend:
    """Return the backend that this run is for."""
    return chosen(request.config)


@pytest.fixture
def learner(backend: tri.Backend) -> tri.Backend:
    """Return the backend of the run, if it takes gradients."""
    if not isinstance(backend, tri.Differentiable):
        pytest.skip(f"{backend.name} takes no gradients")
    return backend


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value} ({report.nodeid})")
