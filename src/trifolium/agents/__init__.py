"""Agents: the observations and actions of a model in a world, and the step that connects both."""

from trifolium.agents.action import ActionSpec
from trifolium.agents.agent import Agent
from trifolium.agents.observation import (
    Flat,
    Image,
    Joined,
    ObservationSpec,
    OneHot,
    Passthrough,
    Structured,
)

__all__ = [
    "ActionSpec",
    "Agent",
    "Flat",
    "Image",
    "Joined",
    "ObservationSpec",
    "OneHot",
    "Passthrough",
    "Structured",
]
