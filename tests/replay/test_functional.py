"""The suite of the functional form that trifolium.testing exports, run on the backend of this run."""

import pytest

from trifolium.backend import Backend
from trifolium.testing import FunctionalSuite, Functions


class TestFunctional(FunctionalSuite):
    @pytest.mark.slow_on("strict", "jax")
    def test_does_what_the_reference_does(self, backend: Backend, functions: Functions) -> None:
        super().test_does_what_the_reference_does(backend, functions)
