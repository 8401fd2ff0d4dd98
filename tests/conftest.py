"""One run of the suite is for one backend: ``pytest --backend jax``.

A backend that was asked for and can't be used ends the run with an error: nothing is skipped for the
lack of it.
"""

import pytest

import trifolium as tri


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="numpy", help="the backend that this run is for")


def pytest_configure(config: pytest.Config) -> None:
    try:
        tri.get_backend(config.getoption("backend"))
    except tri.BackendError as error:
        raise pytest.UsageError(f"--backend: {error}") from None


def pytest_report_header(config: pytest.Config) -> str:
    backend = tri.get_backend(config.getoption("backend"))
    return (
        f"trifolium backend: {backend.name} ({backend.framework} {backend.version}) "
        f"on {backend.device}, can: {backend.capabilities}"
    )


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> tri.Backend:
    """Return the backend that this run is for."""
    return tri.get_backend(request.config.getoption("backend"))
