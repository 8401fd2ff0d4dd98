"""The backend of this run passes the conformance tests."""

import pytest

import trifolium as tri
from trifolium.testing import BackendSuite, DifferentiableSuite


class TestBackend(BackendSuite):
    """The fixture ``backend`` is the run's."""


class TestDifferentiable(DifferentiableSuite):
    """Backends that take no gradients are skipped."""

    @pytest.fixture
    def backend(self, learner: tri.Differentiable) -> tri.Differentiable:
        return learner
