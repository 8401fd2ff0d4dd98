"""Models that choose actions and learn."""

from trifolium.models.base import BaseModel
from trifolium.models.ddqn import DDQN
from trifolium.models.human import HumanModel
from trifolium.models.iqn import IQN
from trifolium.models.random_model import RandomModel

__all__ = ["DDQN", "IQN", "BaseModel", "HumanModel", "RandomModel"]
