"""RolloutWorker: acts in a world by the newest policy, and sends the steps to the shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, TypeAlias

import numpy as np

from trifolium.backend import Backend, get_backend
from trifolium.distributed.policy import Policy
from trifolium.distributed.writer import Writer
from trifolium.models import BaseModel
from trifolium.replay import Uniform

if TYPE_CHECKING:  # which loads Gymnasium
    from trifolium.experiment.runners.runner import EpisodeEnd

__all__ = ["POLICY_VERSION", "ActingMemory", "ActingRunner", "MakeRunner", "Rollout", "RolloutWorker"]


POLICY_VERSION = "policy_version"
"""The extra that workers fill with the version of the policy that acted."""


class ActingRunner(Protocol):
    """What a worker asks of a runner; see :class:`trifolium.experiment.runners.runner.Runner`."""

    @property
    def width(self) -> int:
        """Environment steps that a step makes."""
        ...

    @property
    def models(self) -> Mapping[str, BaseModel]:
        """The model by its name; there is one."""
        ...

    def step(self) -> Any:
        """Act once and store the step; return the episodes that ended."""
        ...


MakeRunner: TypeAlias = Callable[["ActingMemory", int], ActingRunner]
"""``make_runner(memory, seed)`` returns the runner of a worker: its model has this memory."""


class ActingMemory(Writer):
    """A writer as the memory of a model that acts and does not learn.

    Give it to the model as ``memory=``. It implements :class:`trifolium.ReplayMemory`, but nothing can
    be drawn from it.
    """

    backend: Backend
    sampler = Uniform()
    drawable = 0
    _keeps_version: bool
    version = -1
    """Of the policy that acts; stored with each step where the memory has the extra for it."""

    @classmethod
    def of(cls, writer: Writer) -> ActingMemory:
        """Return the streams of a writer as such a memory."""
        made = cls.__new__(cls)
        made.__dict__.update(writer.__dict__)
        made.backend = get_backend("numpy")
        made._keeps_version = any(name == POLICY_VERSION for name, _, _ in writer.spec.extras)
        return made

    def __len__(self) -> int:
        """0: its rows are elsewhere."""
        return 0

    def add(self, *steps: Any, **options: Any) -> None:
        """Store a step, as :meth:`Writer.add`, with the policy's version if the memory keeps it."""
        if self._keeps_version:
            stream = options.get("stream")
            lead = () if stream is not None or self.n_streams == 1 else (self.n_streams,)
            options[POLICY_VERSION] = np.full(lead, self.version)
        super().add(*steps, **options)

    def _nothing(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("this model acts in a worker and can't learn: its memory is written to alone")

    sample = draw = update_priorities = _nothing

    def assembler(self) -> Callable[..., Any]:
        """Return a function that raises TypeError: there is nothing to make batches of."""
        return self._nothing


class Rollout(NamedTuple):
    """What a worker did in one call.

    Attributes:
        steps: environment steps that it took.
        ends: the episodes that ended.
        version: of the policy that acted; -1 before it was given one.
    """

    steps: int
    ends: list[EpisodeEnd]
    version: int


class RolloutWorker:
    """Acts in a world, and writes the steps.

    Args:
        make_runner: makes the runner.
        writer: of the worker's streams.
        seed: of its episodes and its model.
    """

    def __init__(self, make_runner: MakeRunner, writer: Writer, seed: int) -> None:
        self._make_runner, self._writer, self._seed = make_runner, writer, seed
        self._runner: ActingRunner | None = None
        self._memory: Any = None
        self._version = -1

    def act(self, steps: int, policy: Policy | None, incarnation: int, wait: bool = False) -> Rollout:
        """Take at least ``steps`` environment steps by a policy, and send them.

        Args:
            steps: how many.
            policy: what to act by; None for the model as it was made.
            incarnation: how often the worker was replaced; its episodes have other seeds each time.
            wait: whether to wait until the steps are stored, so that a draw afterwards may have them.
        """
        runner = self._runner or self._begun(incarnation)
        (model,) = runner.models.values()
        if policy is not None and policy.version != self._version:
            policy.give_to(model)
            self._version = self._memory.version = policy.version
        taken = 0
        ends: list[EpisodeEnd] = []
        while taken < steps:
            ends += runner.step()
            taken += runner.width
        self._writer.flush(wait=wait)
        return Rollout(taken, ends, self._version)

    def _begun(self, incarnation: int) -> ActingRunner:
        """Begin to act, after the end of episodes that one who died left open."""
        memory = ActingMemory.of(self._writer)
        memory.end_episode()
        self._writer = self._memory = memory
        entropy = np.random.SeedSequence([self._seed, incarnation])
        self._runner = self._make_runner(memory, int(entropy.generate_state(1)[0] >> 1))
        return self._runner
