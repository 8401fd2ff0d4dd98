"""The minibatch that a buffer returns."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from trifolium.array import ArrayT
from trifolium.backend import AnyArray, backend_of, conversion, get_backend

__all__ = ["Batch", "map_tree"]

MadeT = TypeVar("MadeT")


@dataclass(slots=True, eq=False)
class Batch(Generic[ArrayT]):
    """Sampled transitions; unpacks into the first six fields.

    In annotations ``Batch[torch.Tensor]`` is a batch of tensors, and ``Batch[trifolium.Array]`` one of
    any framework's arrays.

    B stands for the batch size, F for the number of frames in a stack. A batch of sequences has a
    time axis after B in every field but ``indices``, which then tells the first row of each.

    Attributes:
        states: [B, F * prod(obs_shape)], or [B, F, *obs_shape] unflattened; oldest frame first. On
            NumPy and torch stacks may share memory with ``next_states``: copy before writing to them.
        actions: [B, 1], or [B, *action_shape].
        rewards: [B, 1] float32, the sum of up to n discounted rewards.
        next_states: as ``states``; the stack that ``discounts`` bootstraps from. It has no meaning
            where ``dones`` is 1.
        dones: [B, 1] float32, 1 where the last step summed terminated the episode.
        valid: [B, 1] float32, 0 where the row must stay out of the loss.
        discounts: [B, 1] float32, gamma ** k for the k rewards summed.
        weights: [B, 1] float32, importance weights; 1 when drawn uniformly.
        indices: [B] int64 on the host; what ``update_priorities`` takes. In a batch of
            :func:`trifolium.replay.sample` they are native, and -1 where no row could be drawn. None in
            the batch of a compiled update.
        extras: name to [B, ...].

    The target of one row is ``rewards + discounts * (1 - dones) * value(next_states)``.

    >>> from trifolium import Buffer
    >>> buffer = Buffer(8, (2,), seed=0)
    >>> for step in range(5):
    ...     buffer.add([step, step], action=0, reward=1.0, done=False)
    >>> states, actions, rewards, next_states, dones, valid = buffer.sample(3)
    >>> states.shape, actions.shape
    ((3, 2), (3, 1))
    """

    states: ArrayT
    actions: ArrayT
    rewards: ArrayT
    next_states: ArrayT
    dones: ArrayT
    valid: ArrayT
    discounts: ArrayT
    weights: ArrayT
    indices: AnyArray
    extras: Mapping[str, ArrayT]

    def __iter__(self) -> Iterator[ArrayT]:
        return iter((self.states, self.actions, self.rewards, self.next_states, self.dones, self.valid))

    def __len__(self) -> int:
        """6, as of the tuple that it unpacks into; :attr:`batch_size` counts rows."""
        return 6

    @overload
    def __getitem__(self, index: int) -> ArrayT: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ArrayT, ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return a field, or fields, of the tuple that it unpacks into."""
        return tuple(self)[index]

    @property
    def batch_size(self) -> int:
        """Rows, or sequences, in the batch."""
        rewards: Any = self.rewards
        return int(rewards.shape[0])

    def to(self, device: Any) -> "Batch[ArrayT]":
        """Return the batch on another device of its framework; ``indices`` stay as they are.

        Args:
            device: a name such as "cuda:0", or the framework's own device object.

        Raises:
            BackendError: the framework has no such device.

        >>> from trifolium import Buffer
        >>> buffer = Buffer(8, (2,), seed=0)
        >>> buffer.add([1.0, 2.0], action=0, reward=1.0, done=True)
        >>> buffer.sample(1).to("cpu").states.tolist()
        [[1.0, 2.0]]
        """
        from array_api_compat import to_device  # here, as it loads what few programs need

        owner = backend_of(self.rewards)
        place = device if owner is None else get_backend(owner.name, device=device).device
        return self.each(lambda array: to_device(array, place))

    def pin_memory(self) -> "Batch[ArrayT]":
        """Return the batch in page-locked memory, which a GPU copies from in the background.

        Only torch has such memory, where there is a GPU; batches of other frameworks are returned as
        they are. A ``DataLoader`` with ``pin_memory=True`` calls it.
        """
        if not hasattr(self.rewards, "pin_memory"):
            return self
        return self.each(lambda array: array.pin_memory())

    def each(self, function: Callable[[Any], MadeT]) -> "Batch[MadeT]":
        """Return a batch with every array but ``indices`` passed through ``function``."""
        nested = isinstance(self.states, dict)
        return Batch(
            map_tree(function, self.states) if nested else function(self.states),
            function(self.actions),
            function(self.rewards),
            map_tree(function, self.next_states) if nested else function(self.next_states),
            function(self.dones),
            function(self.valid),
            function(self.discounts),
            function(self.weights),
            self.indices,
            {name: function(array) for name, array in self.extras.items()},
        )

    def to_tensordict(self) -> Any:
        """Return the batch as a ``tensordict.TensorDict`` of batch size [B].

        Its keys are the names of the attributes; extras are nested under "extras". Tensors are the
        batch's own, arrays of other frameworks are copied to torch's default device.

        Raises:
            ImportError: the package ``tensordict`` is not installed.
        """
        return conversion("to_tensordict")(self)


def map_tree(function: Callable[[AnyArray], AnyArray], tree: Any) -> Any:
    """Return an array, or a nested dict of arrays, with each array passed through ``function``."""
    if isinstance(tree, Mapping):
        return {name: map_tree(function, inner) for name, inner in tree.items()}
    return function(tree)
