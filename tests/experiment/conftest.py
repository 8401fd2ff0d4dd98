import pytest

import trifolium as tri
from trifolium.experiment import TrainOptions


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
