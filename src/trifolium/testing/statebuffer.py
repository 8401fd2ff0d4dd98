"""The functional form behind the methods of a Buffer, so that it can be held to the same reference."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trifolium import replay
from trifolium.backend import Array
from trifolium.errors import NotEnoughTransitions
from trifolium.replay import Batch, Buffer, State
from trifolium.testing.twin import Options, Twin

__all__ = ["Functions", "StateBuffer", "StateTwin", "plainly"]

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Functions:
    """The functional form, perhaps compiled.

    Attributes:
        add: ``add(state, steps, stream)``, where ``steps`` are the arguments by name.
        sample: ``sample(state, bits)``.
        update_priorities: as :func:`trifolium.replay.update_priorities`.
        current_state: as :func:`trifolium.replay.current_state`.
    """

    add: Callable[[State, Mapping[str, Any], Any], State]
    sample: Callable[[State, Array], Batch]
    update_priorities: Callable[[State, Array, Array], State]
    current_state: Callable[[State], Array]
