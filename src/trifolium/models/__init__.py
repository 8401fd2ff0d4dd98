"""Models that choose actions and learn."""

from trifolium.models.algorithm import Algorithm, Randomness
from trifolium.models.base import BaseModel
from trifolium.models.ddqn import DDQN
from trifolium.models.human import HumanModel
from trifolium.models.iqn import IQN
from trifolium.models.learner import Learner
from trifolium.models.memory import ReplayMemory
from trifolium.models.random_model import RandomModel
from trifolium.models.registry import get_model, model_names

__all__ = [
    "DDQN",
    "IQN",
    "Algorithm",
    "BaseModel",
    "HumanModel",
    "Learner",
    "RandomModel",
    "Randomness",
    "ReplayMemory",
    "get_model",
    "model_names",
]
