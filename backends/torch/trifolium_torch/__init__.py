"""trifolium on PyTorch tensors."""

from trifolium_torch.backend import TorchBackend
from trifolium_torch.model import TorchModel

__all__ = ["TorchBackend", "TorchModel"]
