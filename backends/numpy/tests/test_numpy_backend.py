"""What is NumPy's own: everything is host memory, and gradients are autograd's."""

import subprocess
import sys

import numpy as np
import pytest

import trifolium as tri
from trifolium_numpy import NumpyBackend


def test_host_arrays_are_taken_as_they_are() -> None:
    host = np.zeros(3)
    assert NumpyBackend().from_numpy(host) is host
    assert not np.shares_memory(NumpyBackend().to_numpy(host), host)


def test_the_one_device_is_the_cpu() -> None:
    assert tri.get_backend("numpy", device="cpu").device == "cpu"
    with pytest.raises(tri.BackendError, match="has only 'cpu'"):
        tri.get_backend("numpy", device="cuda:0")


def test_writes_are_in_place() -> None:
    storage = np.zeros((10, 2))
    assert NumpyBackend().put(storage, np.array([3]), np.ones((1, 2))) is storage
    assert storage[3].tolist() == [1, 1]


def test_a_buffer_has_no_use_for_autograd() -> None:
    code = """
import sys
import trifolium as tri
buffer = tri.Buffer(10, (2,))
buffer.add([1, 2], 0, 1.0, False)
buffer.add([1, 2], 0, 1.0, False)
buffer.sample(1)
print("autograd" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
