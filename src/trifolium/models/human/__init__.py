"""A person as a model: what is shown, what can be typed, and how it is asked."""

from trifolium.models.human.model import HumanModel

__all__ = ["HumanModel"]
