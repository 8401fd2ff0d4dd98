"""The backend that this run is for keeps the promises of the protocol."""

from trifolium.testing.backend_suite import BackendSuite


class TestBackend(BackendSuite):
    """The fixture ``backend`` is the run's."""
