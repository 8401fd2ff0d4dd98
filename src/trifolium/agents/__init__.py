"""Agents: what a model sees of a world, what it can do there, and the step that joins both."""

from trifolium.agents.action import ActionSpec
from trifolium.agents.agent import Agent
from trifolium.agents.observation import Flat, Image, Joined, ObservationSpec, OneHot, Passthrough

__all__ = [
    "ActionSpec",
    "Agent",
    "Flat",
    "Image",
    "Joined",
    "ObservationSpec",
    "OneHot",
    "Passthrough",
]
