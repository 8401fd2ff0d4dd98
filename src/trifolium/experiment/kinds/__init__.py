"""Kinds of worlds: how a world is made by its name, and which runner drives it."""

from trifolium.experiment.kinds.kind import Specs, WorldKind
from trifolium.experiment.kinds.registry import kind_named, kind_of, kinds

__all__ = ["Specs", "WorldKind", "kind_named", "kind_of", "kinds"]
