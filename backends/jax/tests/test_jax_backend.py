"""What is JAX's own: 64 bits on request, and device objects."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import trifolium as tri
from trifolium_jax import JaxBackend


@pytest.mark.parametrize("name", ["int64", "uint64", "float64", "complex128"])
def test_64_bits_are_refused_with_the_way_to_enable_them(name: str) -> None:
    with pytest.raises(tri.BackendError, match="jax_enable_x64") as caught:
        JaxBackend().zeros((2,), name)
    assert name in str(caught.value)
    with pytest.raises(tri.BackendError, match="jax_enable_x64"):
        JaxBackend().from_numpy(np.zeros(2, name))


def test_64_bits_once_enabled() -> None:
    code = """
import trifolium as tri
backend = tri.get_backend("jax")
assert backend.capabilities.float64
assert backend.default_int == "int64"
print(backend.zeros((2,), "int64").dtype, backend.zeros((2,), "float64").dtype)
"""
    environment = os.environ | {"JAX_ENABLE_X64": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["int64", "float64"]


def test_device_objects_and_platforms_are_taken() -> None:
    device = jax.devices()[0]
    assert JaxBackend(device).device is device
    assert JaxBackend(device.platform).device == device
    backend = tri.get_backend("jax")
    assert tri.get_backend(backend, device=JaxBackend.devices()[0]) is backend


def test_bfloat16_comes_back_as_float32() -> None:
    backend = JaxBackend()
    assert backend.to_numpy(backend.zeros((2,), "bfloat16")).dtype == np.float32


def test_devices_are_listed_without_a_change_of_jaxs_own_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the default is no CPU, those of the host come after it."""
    jaxs = jax.local_devices()
    before = [*jaxs]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda **_: jaxs)
    assert len(tri.get_backend("jax").devices()) == len(tri.get_backend("jax").devices())
    assert jaxs == before
