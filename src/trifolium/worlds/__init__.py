"""Worlds that agents act in."""

from trifolium.agents.world import Turn, World
from trifolium.worlds.gym_world import GymWorld
from trifolium.worlds.pettingzoo import AECWorld, ParallelWorld

__all__ = ["AECWorld", "GymWorld", "ParallelWorld", "Turn", "World"]
