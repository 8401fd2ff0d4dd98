"""Kinds of worlds: each makes worlds by name and chooses their runner."""

from trifolium.experiment.kinds.kind import Specs, WorldKind
from trifolium.experiment.kinds.registry import kind_named, kind_of, kinds

__all__ = ["Specs", "WorldKind", "kind_named", "kind_of", "kinds"]
