"""WorldKind: base class of kinds of worlds, which make worlds and their runners."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from trifolium.agents import ActionSpec, ObservationSpec
from trifolium.experiment.options import TrainOptions
from trifolium.experiment.runners import BlockRunner, Runner
from trifolium.models import BaseModel

__all__ = ["Specs", "WorldKind"]

Specs: TypeAlias = tuple[ObservationSpec, ActionSpec]
"""The specs of an agent's observations and actions."""


class WorldKind(ABC):
    """A kind of worlds, registered in the entry-point group ``trifolium.worlds``.

    The name of its entry point is the prefix of its worlds' names: ``"pettingzoo:classic/rps-v2"`` is
    the world ``"classic/rps-v2"`` of the kind ``pettingzoo``. A new kind is one class in one file.

    Attributes:
        one_agent: whether its worlds have one agent, and so take one model.
        shows_masks: whether a part "action_mask" of an agent's observation says which actions are
            legal; models that can then use it unless told otherwise.
    """

    one_agent: bool = False
    shows_masks: bool = False

    @abstractmethod
    def make(self, name: str, *, render_mode: str | None = None, turns: int | None = None) -> Any:
        """Return a new world.

        Args:
            name: the name after the prefix.
            render_mode: how the world is to be shown, as for ``gymnasium.make``; None for not at all.
            turns: number of steps after which an episode is cut off; None for the world's own limit.

        Raises:
            WorldError: there is no world of that name, or models can't act in it.
        """

    @abstractmethod
    def adopt(self, made: Any, turns: int | None) -> Any:
        """Return a user's own world as this kind drives it, or None if it is of another kind.

        Args:
            made: the result of the user's function.
            turns: as for :meth:`make`.
        """

    @abstractmethod
    def specs(self, world: Any) -> Mapping[str, Specs]:
        """Return the specs of each agent of ``world``.

        Raises:
            WorldError: the world has no specs.
        """

    def structured_specs(self, world: Any) -> Mapping[str, Specs]:  # noqa: ARG002
        """Return the specs of each agent of ``world``, where observations keep their structure.

        A runner uses these where a model has structured observations.

        Raises:
            ValueError: worlds of this kind have no structured observations, the default.
        """
        raise ValueError(
            f"worlds of the kind {type(self).__name__} have no structured observations; expected "
            "structured=False, and action_mask='auto' or 'none'"
        )

    @abstractmethod
    def runner(
        self,
        world: Any,
        models: BaseModel | Mapping[str, BaseModel],
        options: TrainOptions,
        *,
        seed: int,
        remember: bool,
    ) -> Runner:
        """Return the runner of ``models`` in ``world``.

        Args:
            world: as :meth:`make` or :meth:`adopt` returned it.
            models: one model for all agents, or models by the agents' names.
            options: of the run; ``turns`` and ``on_nan`` concern the runner.
            seed: for the seeds of its episodes.
            remember: whether steps go into the models' memories.
        """

    def vector(self, make: Callable[[], Any], count: int) -> Any:  # noqa: ARG002
        """Return ``count`` worlds of ``make`` that step together.

        Raises:
            ValueError: worlds of this kind can't step together, the default.
        """
        raise ValueError(
            f"n_envs={count}; worlds of the kind {type(self).__name__} do not step together; expected 1"
        )

    def width(self, world: Any) -> int:  # noqa: ARG002
        """Return how many environments of ``world`` step together: streams that a memory needs."""
        return 1

    def training(
        self, world: Any, models: BaseModel | Mapping[str, BaseModel], options: TrainOptions
    ) -> Runner | BlockRunner:
        """Return the runner that trains; unless overridden it is the one of :meth:`runner`."""
        return self.runner(world, models, options, seed=options.seed, remember=True)

    def names_code(self, name: str) -> bool:  # noqa: ARG002
        """Return whether making the world ``name`` imports a module that the name gives.

        Such a name in a file is used only if the user trusts the file.
        """
        return False
