"""Algorithm: the loss of a learner, as pure functions over the array API."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from trifolium.backend import AnyArray, Params
from trifolium.models.layers import Random
from trifolium.models.networks import Network
from trifolium.replay import Batch

__all__ = ["Algorithm", "Randomness"]


class Randomness(NamedTuple):
    """The random numbers of one update.

    Attributes:
        noise: [evaluations, size], the noise of noisy layers for each evaluation of the network that
            the algorithm declares; None without noisy layers.
        drawn: what :meth:`Algorithm.draw` returned.
    """

    noise: AnyArray | None = None
    drawn: tuple[AnyArray, ...] = ()

    def noise_of(self, evaluation: int) -> AnyArray | None:
        """Return the noise [size] of one evaluation, from 0; None without noisy layers."""
        return None if self.noise is None else self.noise[evaluation, :]


class Algorithm(Protocol):
    """The targets and the loss of a learner, as pure functions over the array API.

    They may be traced and compiled, so they compute with ``xp`` alone and have no effects. B is the
    batch size, A the number of actions. ``params`` are those of the network; a batch has states and
    next states [B, n] float32, and all other columns [B, 1]. Where observations are structured, states
    are mappings of such arrays. A frozen data class with a field ``network`` is the usual form;
    docs/howto/add_algorithm.md shows one. One with a field ``mask`` supports ``action_mask``.
    """

    @property
    def network(self) -> Network:
        """The network that is trained."""
        ...

    @property
    def evaluations(self) -> int:
        """How many evaluations of the network in an update have noise of their own.

        :meth:`Randomness.noise_of` takes numbers below it.
        """
        ...

    def draw(self, rng: Random, batch_size: int) -> tuple[AnyArray, ...]:
        """Draw the random numbers of one update, without noise; ``()`` if there are none."""
        ...

    def action_values(self, xp: Any, params: Params, noise: AnyArray | None, states: Any) -> AnyArray:
        """Return the action values [B, A] of ``states``, for acting."""
        ...

    def targets(
        self, xp: Any, params: Params, target_params: Params, batch: Batch, random: Randomness
    ) -> AnyArray:
        """Return the targets of the network, of any shape [B, ...]; no gradient is taken of them."""
        ...

    def losses(
        self, xp: Any, params: Params, batch: Batch, targets: AnyArray, random: Randomness
    ) -> tuple[AnyArray, AnyArray]:
        """Return the loss and the temporal-difference error of each row, both [B, 1].

        The learner minimises the mean of the losses over the valid rows, times importance weights; the
        errors are the priorities of the rows.
        """
        ...
