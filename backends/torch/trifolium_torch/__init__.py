"""trifolium on PyTorch tensors."""

from trifolium_torch.backend import TorchBackend
from trifolium_torch.dataset import BatchDataset
from trifolium_torch.model import TorchModel

__all__ = ["BatchDataset", "TorchBackend", "TorchModel"]
