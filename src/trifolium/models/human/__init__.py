"""HumanModel: a person chooses the actions; its display, its keys and its input."""

from trifolium.models.human.model import HumanModel

__all__ = ["HumanModel"]
