from pathlib import Path

import pytest

import trifolium as tri
from trifolium.experiment import TrainOptions


@pytest.hookimpl(tryfirst=True)  # before the slow ones are left out
def pytest_collection_modifyitems(items):
    """Allow short runs that learn nothing: one test checks the warning.

    On PyTorch and JAX, resuming and the command alone are not slow; on strict, all is.
    """
    ignored = pytest.mark.filterwarnings("ignore:the model .* has learned nothing:RuntimeWarning")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(ignored)
            on_all = item.path.stem in ("test_resume", "test_cli")
            item.add_marker(pytest.mark.slow_on("strict", *(() if on_all else ("torch", "jax"))))


@pytest.fixture
def options(backend):
    """Return a function that makes the options of a short run on the backend of the tests."""

    def make(**chosen):
        model = "ddqn" if isinstance(backend, tri.Differentiable) else "random"
        defaults = {"steps": 400, "learning_starts": 200, "batch_size": 16, "memory_size": 500}
        return TrainOptions(
            **({"env": "CartPole-v1", "model": model, "backend": backend.name} | defaults | chosen)
        )

    return make
