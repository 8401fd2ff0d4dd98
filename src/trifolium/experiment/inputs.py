"""What the models of a run see and can do: structured or not, with an action mask or without."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from trifolium.agents import ActionSpec, ObservationSpec
from trifolium.experiment.kinds import WorldKind
from trifolium.experiment.modelnames import parameters
from trifolium.experiment.options import AUTO, NO_MASK, OWN, TrainOptions
from trifolium.models import RandomModel, get_model
from trifolium.models.learner import Learner
from trifolium.worlds.pettingzoo import ACTION_MASK

__all__ = ["ModelInputs", "inputs_of"]


class ModelInputs(NamedTuple):
    """What a model is made for.

    Attributes:
        observations: the spec of an agent's observations.
        actions: the spec of its actions.
        mask: the part of the observations that says which actions are legal; None for none.
    """

    observations: ObservationSpec
    actions: ActionSpec
    mask: str | None = None


def inputs_of(kind: WorldKind, world: Any, options: TrainOptions) -> Mapping[str, ModelInputs]:
    """Return what the model of each agent of ``world`` is made for.

    Raises:
        ValueError: the model has no ``action_mask``, or the world no structured observations.
        WorldError: the world has no specs.
    """
    if options.model == OWN:
        raise ValueError(
            f"model={OWN!r} is the name of a custom model; give models=... to the experiment"
        )
    made = get_model(options.model)
    can_mask = "action_mask" in parameters(made)
    if options.action_mask not in (AUTO, NO_MASK):
        if not can_mask:
            raise ValueError(
                f"action_mask={options.action_mask!r} is no option of model={options.model!r}"
            )
        specs = kind.structured_specs(world)
        return {agent: ModelInputs(*spec, options.action_mask) for agent, spec in specs.items()}
    # a model of another package may expect arrays
    uses_mask = options.action_mask == AUTO and can_mask and issubclass(made, Learner | RandomModel)
    if options.structured:
        specs = kind.structured_specs(world)
        return {
            agent: ModelInputs(*spec, ACTION_MASK if uses_mask and _has_mask(*spec) else None)
            for agent, spec in specs.items()
        }
    found = {agent: ModelInputs(*spec) for agent, spec in kind.specs(world).items()}
    if uses_mask and kind.shows_masks:
        structured = kind.structured_specs(world).items()
        found |= {a: ModelInputs(*spec, ACTION_MASK) for a, spec in structured if _has_mask(*spec)}
    return found


def _has_mask(observations: ObservationSpec, actions: ActionSpec) -> bool:
    shown = observations.shape.get(ACTION_MASK) if observations.is_structured else None
    return shown in [((actions.n,), dtype) for dtype in ("bool", "int8", "uint8")]
