"""TorchModel: base class of custom models in PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch

from trifolium.models import BaseModel

__all__ = ["TorchModel"]


class TorchModel(torch.nn.Module, BaseModel):
    """A :class:`trifolium.BaseModel` that is a ``torch.nn.Module`` too.

    Build layers in ``__init__`` as in any module, after ``super().__init__``; override ``take_action``
    and, if it learns, ``train_step``. ``parameters()``, ``to()``, ``state_dict()``, ``train()`` and
    ``eval()`` are the module's. :meth:`save` writes the ``state_dict``. Where the
    memory holds float32, ``take_action`` gets float64 arrays of NumPy in float32: code that stacks
    frames with NumPy makes float64 of them, which layers of float32 refuse.

    Args:
        input_size: shape of one observation; an int n means (n,). For structured observations a
            mapping, as for :class:`trifolium.BaseModel`.
        action_space: number of actions.
        memory_size: capacity of the replay memory.
        epsilon: probability of a random action, for models that use it.
        device: device of the memory's batches; move the layers there yourself.
        seed: of the model's generator and its memory; torch's own generator is not touched.
        n_frames, **memory_options: as for :class:`trifolium.BaseModel`.

    >>> class Linear(TorchModel):
    ...     def __init__(self, *args, **options):
    ...         super().__init__(*args, **options)
    ...         self.layer = torch.nn.Linear(4, 2)
    ...
    ...     def take_action(self, state):
    ...         with torch.no_grad():
    ...             return int(self.layer(torch.as_tensor(state)).argmax())
    >>> model = Linear(input_size=4, action_space=2, memory_size=100)
    >>> model.take_action(np.zeros(4, "float32")) in (0, 1), len(list(model.parameters()))
    (True, 2)
    """

    def __init__(
        self,
        input_size: int | Sequence[int] | Mapping[str, Any],
        action_space: int,
        memory_size: int,
        epsilon: float = 0.0,
        *,
        device: Any = None,
        seed: int | None = None,
        n_frames: int | Mapping[str, int] = 1,
        **memory_options: Any,
    ) -> None:
        torch.nn.Module.__init__(self)
        BaseModel.__init__(
            self,
            input_size,
            action_space,
            memory_size,
            epsilon,
            backend="torch",
            device=device,
            seed=seed,
            n_frames=n_frames,
            **memory_options,
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("take_action", "take_actions"):
            if name in vars(cls):
                setattr(cls, name, _in_single_precision(vars(cls)[name]))

    def state(self) -> dict[str, np.ndarray]:
        """Return the module's ``state_dict`` as host arrays.

        Raises:
            TypeError: a module has an extra state that is not a tensor, which a file can't hold.
        """
        found = {}
        for name, value in self.state_dict().items():
            if not isinstance(value, torch.Tensor):
                raise TypeError(
                    f"{name} of {self.model_name} is a {type(value).__name__}; expected a tensor, as "
                    "files hold no other objects. Return a tensor from get_extra_state, or override "
                    "state() and restore()"
                )
            found[name] = self.backend.to_numpy(value)
        return found

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Load what :meth:`state` returned into the module, each value in its own dtype and place."""
        self.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})


def _in_single_precision(act: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``act`` with float64 states converted to float32 where the memory holds float32."""

    @wraps(act)
    def acting(model: Any, states: Any, *args: Any, **options: Any) -> Any:
        return act(model, _narrowed(states, model.memory.spec.obs_dtype), *args, **options)

    return acting


def _narrowed(states: Any, dtypes: Any) -> Any:
    """Return states with arrays of float64 in float32 where ``dtypes``, the memory's, say so."""
    if isinstance(dtypes, Mapping):
        if not isinstance(states, Mapping):
            return states
        return {name: _narrowed(part, dtypes.get(name)) for name, part in states.items()}
    is_double = isinstance(states, np.ndarray) and states.dtype == np.float64
    return states.astype(np.float32) if is_double and dtypes == "float32" else states
