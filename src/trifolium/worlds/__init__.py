"""Worlds that agents act in."""

from trifolium.worlds.gym_world import GymWorld
from trifolium.worlds.pettingzoo import AECWorld, ParallelWorld
from trifolium.worlds.world import Turn, World

__all__ = ["AECWorld", "GymWorld", "ParallelWorld", "Turn", "World"]
