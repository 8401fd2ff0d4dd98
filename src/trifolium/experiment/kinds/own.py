"""Custom worlds: objects with the methods of a World."""

from collections.abc import Mapping
from typing import Any

from trifolium.errors import WorldError
from trifolium.experiment.kinds.kind import Specs, WorldKind
from trifolium.experiment.options import STOP, TrainOptions
from trifolium.experiment.runners import Runner, WorldRunner
from trifolium.models import BaseModel

__all__ = ["OwnKind"]


class OwnKind(WorldKind):
    """Objects with the methods reset, turn and act; they have no names."""

    def make(self, name: str, *, render_mode: str | None = None, turns: int | None = None) -> Any:  # noqa: ARG002
        """Raise WorldError: such a world comes from the user's function."""
        raise WorldError(f"env={name!r} can't be made by its name; give world=lambda: ...")

    def adopt(self, made: Any, turns: int | None) -> Any:  # noqa: ARG002 (WorldRunner cuts off)
        """Return an object that has the methods."""
        methods = ("reset", "turn", "act")
        return made if all(callable(getattr(made, each, None)) for each in methods) else None

    def specs(self, world: Any) -> Mapping[str, Specs]:
        """Return the specs from the world's methods."""
        return self._specs(world, "observation_spec")

    def structured_specs(self, world: Any) -> Mapping[str, Specs]:
        """Return the specs from the world's methods, from ``structured_spec`` if it has that."""
        return self._specs(
            world, "structured_spec" if hasattr(world, "structured_spec") else "observation_spec"
        )

    def _specs(self, world: Any, method: str) -> Mapping[str, Specs]:
        agents = tuple(getattr(world, "possible_agents", ()) or getattr(world, "agents", ()))
        if not agents or not hasattr(world, method) or not hasattr(world, "action_spec"):
            raise WorldError(
                f"the world {type(world).__name__} does not define its agents and "
                "their specs (possible_agents, observation_spec, action_spec); give models=..."
            )
        seen = getattr(world, method)
        return {agent: (seen(agent), world.action_spec(agent)) for agent in agents}

    def runner(
        self,
        world: Any,
        models: BaseModel | Mapping[str, BaseModel],
        options: TrainOptions,
        *,
        seed: int,
        remember: bool,
    ) -> Runner:
        """Return a WorldRunner."""
        stop = options.on_nan == STOP
        return WorldRunner(
            world, models, seed=seed, turns=options.turns, remember=remember, check_nan=stop
        )
