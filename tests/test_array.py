"""Array, and the type parameter of memories and batches, at run time; tests/typing has the rest."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

import trifolium as tri


def members() -> list[str]:
    def is_stated(value: object) -> bool:
        return isinstance(value, property) or getattr(value, "__module__", "") == "trifolium.array"

    return [name for name, value in vars(tri.Array).items() if is_stated(value)]


@pytest.mark.parametrize("name", members())
def test_arrays_of_every_backend_have_the_members(backend: tri.Backend, name: str) -> None:
    assert hasattr(backend.zeros((2, 3), "float32"), name)


def test_a_memory_may_be_made_with_the_type_of_its_arrays() -> None:
    memory = tri.Buffer[np.ndarray](10, (2,), seed=0)
    memory.add([0.0, 1.0], 0, 1.0, True)
    again = pickle.loads(pickle.dumps(memory))
    assert type(again) is tri.Buffer
    assert isinstance(again.sample(1), tri.Batch)


def test_a_memory_of_ones_own_may_state_the_type_of_its_arrays() -> None:
    class Own(tri.Buffer[np.ndarray]):
        pass

    assert len(Own(10, (2,), seed=0)) == 0


def test_a_batch_has_no_dict() -> None:
    memory = tri.Buffer(10, (2,), seed=0)
    memory.add([0.0, 1.0], 0, 1.0, True)
    assert not hasattr(memory.sample(1), "__dict__")


def test_no_package_of_types_is_imported() -> None:
    code = "import sys; sys.modules['typing_extensions'] = None; import trifolium.distributed"
    subprocess.run([sys.executable, "-c", code], check=True)
