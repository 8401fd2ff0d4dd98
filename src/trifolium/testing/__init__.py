"""The conformance suites, for authors of backends and of models.

``pip install 'trifolium[testing]'`` brings what it needs: pytest and hypothesis. A test module that
runs all of it::

    import pytest
    from my_package import MyBackend
    from trifolium.testing import BackendSuite, BufferSuite, FunctionalSuite


    @pytest.fixture
    def backend():
        return MyBackend()


    class TestBackend(BackendSuite):
        pass


    class TestBuffer(BufferSuite):
        pass


    class TestFunctional(FunctionalSuite):
        pass

A backend that takes gradients also runs ``DifferentiableSuite``. A user's own model runs
``ModelSuite``.
``pytest.register_assert_rewrite("trifolium.testing")`` in conftest.py makes failures tell their values.
"""

from trifolium.testing.backend_suite import BackendSuite, DifferentiableSuite
from trifolium.testing.buffer_suite import BufferSuite
from trifolium.testing.functional_suite import FunctionalSuite
from trifolium.testing.loss_suite import LossSuite
from trifolium.testing.machine import run_machine
from trifolium.testing.model_suite import ModelSuite
from trifolium.testing.priorities import ReferencePriorities
from trifolium.testing.reference import ReferenceBuffer
from trifolium.testing.statetwin import Functions, StateTwin
from trifolium.testing.twin import Options, Twin

__all__ = [
    "BackendSuite",
    "BufferSuite",
    "DifferentiableSuite",
    "FunctionalSuite",
    "Functions",
    "LossSuite",
    "ModelSuite",
    "Options",
    "ReferenceBuffer",
    "ReferencePriorities",
    "StateTwin",
    "Twin",
    "run_machine",
]
