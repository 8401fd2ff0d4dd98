"""trifolium on PyTorch tensors."""

from trifolium_torch.backend import TorchBackend

__all__ = ["TorchBackend"]
