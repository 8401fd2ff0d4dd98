"""What is torch's own: dtypes it can't gather, device objects, tensors in a graph."""

import numpy as np
import pytest
import torch

import trifolium as tri
from trifolium_torch import TorchBackend


@pytest.mark.parametrize("name", ["uint16", "uint32", "uint64"])
def test_dtypes_that_cant_be_gathered_are_refused(name: str) -> None:
    with pytest.raises(tri.BackendError, match="index_select") as caught:
        TorchBackend().zeros((2,), name)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["Tensor", "nn", "float128"])
def test_what_is_no_dtype_is_refused(name: str) -> None:
    with pytest.raises(tri.BackendError, match=name):
        TorchBackend().dtype(name)


def test_device_objects_are_taken() -> None:
    backend = tri.get_backend("torch", device="cpu")
    assert TorchBackend(torch.device("cpu")).device == torch.device("cpu")
    assert tri.get_backend(backend, device=torch.device("cpu")) is backend


def test_a_missing_device_says_why_and_what_is_present() -> None:
    with pytest.raises(tri.BackendError, match="present are: cpu") as caught:
        TorchBackend("cuda:99")
    assert "'cuda:99'" in str(caught.value)


def test_tensors_of_a_graph_come_to_the_host() -> None:
    tensor = torch.ones(2, requires_grad=True) * 2
    assert TorchBackend().to_numpy(tensor).tolist() == [2, 2]
    assert TorchBackend().to_numpy(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32


def test_gradients_leave_the_parameters_outside_the_graph() -> None:
    backend = TorchBackend()
    params = {"w": torch.ones(2)}
    evaluate = backend.value_and_grad(lambda _, p: ((p["w"] ** 2).sum(), p["w"] * 2))
    with torch.no_grad():  # as in a user's own evaluation loop
        loss, aux, grads = evaluate(params)
    assert not any(tensor.requires_grad for tensor in (params["w"], loss, aux, grads["w"]))
    assert grads["w"].tolist() == [2, 2]


def test_writes_are_in_place() -> None:
    backend = TorchBackend()
    storage = backend.zeros((10, 2), "float32")
    assert backend.put(storage, torch.tensor([3]), torch.ones(1, 2)) is storage
    assert storage[3].tolist() == [1, 1]
