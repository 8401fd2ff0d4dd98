"""The suite of the functional form that trifolium.testing exports, run on the backend of this run."""

from trifolium.testing import FunctionalSuite


class TestFunctional(FunctionalSuite):
    pass
