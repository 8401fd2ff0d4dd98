"""Cases of valid and invalid results of a train_step, and of ways to write one."""

from abc import abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, partialmethod, wraps
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from trifolium.backend import AnyArray
from trifolium.models import BaseModel

__all__ = ["ACCEPTED", "NATIVE_DTYPES", "REFUSED", "WAYS", "LossCase", "returning"]

Put: TypeAlias = Callable[[Any, str], AnyArray]
"""Makes a native array of a value and the name of a dtype."""


@dataclass(frozen=True)
class LossCase:
    """Something that a train_step returns, and what its caller gets.

    Attributes:
        make: makes it, given a function that makes native arrays.
        value: of what the caller gets, a number or a list.
        names: what ``loss_names`` is then.
    """

    make: Callable[[Put], Any]
    value: Any
    names: tuple[str, ...] = ()


class ActorCritic(NamedTuple):
    """A named tuple is a sequence: its fields are no names."""

    actor: Any
    critic: Any


NATIVE_DTYPES = ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64")

ACCEPTED = {
    "None": LossCase(lambda put: None, 0.0),
    "int": LossCase(lambda put: 2, 2.0),
    "int below 0": LossCase(lambda put: -3, -3.0),
    "float": LossCase(lambda put: 0.5, 0.5),
    "nan": LossCase(lambda put: float("nan"), float("nan")),
    "infinity": LossCase(lambda put: float("-inf"), float("-inf")),
    "float beyond float32": LossCase(lambda put: 1e300, float("inf")),
    "numpy int64": LossCase(lambda put: np.int64(3), 3.0),
    "numpy uint8": LossCase(lambda put: np.uint8(3), 3.0),
    "numpy float16": LossCase(lambda put: np.float16(0.5), 0.5),
    "numpy float32": LossCase(lambda put: np.float32(0.5), 0.5),
    "numpy float64": LossCase(lambda put: np.float64(0.5), 0.5),
    "numpy 0-d": LossCase(lambda put: np.array(0.5), 0.5),
    "numpy 1-d": LossCase(lambda put: np.array([0.5, 2.0]), [0.5, 2.0]),
    "numpy 1-d of one": LossCase(lambda put: np.array([0.5]), 0.5),
    "numpy 2-d": LossCase(lambda put: np.array([[0.5, 1.0], [2.0, 4.0]]), [0.5, 1.0, 2.0, 4.0]),
    "numpy 2-d of one": LossCase(lambda put: np.array([[0.5]]), 0.5),
    "numpy 1-d float16": LossCase(lambda put: np.array([0.5, 2.0], "float16"), [0.5, 2.0]),
    "numpy 1-d float32": LossCase(lambda put: np.array([0.5, 2.0], "float32"), [0.5, 2.0]),
    "numpy 1-d integers": LossCase(lambda put: np.array([1, 2]), [1.0, 2.0]),
    "numpy read-only": LossCase(lambda put: np.broadcast_to(np.float32(0.5), (2,)), [0.5, 0.5]),
    "native, of no elements, beside one": LossCase(
        lambda put: [put([], "float32"), put(0.5, "float32")], 0.5
    ),
    "native 0-d": LossCase(lambda put: put(0.5, "float32"), 0.5),
    "native 1-d": LossCase(lambda put: put([0.5, 2.0], "float32"), [0.5, 2.0]),
    "native 1-d of one": LossCase(lambda put: put([0.5], "float32"), 0.5),
    "native 2-d": LossCase(lambda put: put([[0.5, 1.0]], "float32"), [0.5, 1.0]),
    "native integer": LossCase(lambda put: put(2, "int32"), 2.0),
    "native integers": LossCase(lambda put: put([1, 2], "int32"), [1.0, 2.0]),
    "list": LossCase(lambda put: [0.5, np.float32(2)], [0.5, 2.0]),
    "list of one": LossCase(lambda put: [0.5], 0.5),
    "list of native arrays": LossCase(
        lambda put: [put(0.5, "float32"), put([1, 2], "int32")], [0.5, 1.0, 2.0]
    ),
    "tuple": LossCase(lambda put: (put(0.5, "float32"), 2), [0.5, 2.0]),
    "named tuple": LossCase(lambda put: ActorCritic(1.0, put(2, "float32")), [1.0, 2.0]),
    "deque": LossCase(lambda put: deque([1.0, 2.0]), [1.0, 2.0]),
    "range": LossCase(lambda put: range(1, 4), [1.0, 2.0, 3.0]),
    "nested": LossCase(
        lambda put: [1, (2, [3, np.array([4.0, 5.0])]), None], [1.0, 2.0, 3.0, 4.0, 5.0, 0.0]
    ),
    "generator": LossCase(lambda put: (put(number, "float32") for number in (1, 2)), [1.0, 2.0]),
    "generator in a list": LossCase(lambda put: [(number for number in (1, 2)), 3], [1.0, 2.0, 3.0]),
    "iterator": LossCase(lambda put: iter([1.5]), 1.5),
    "map": LossCase(lambda put: map(float, "12"), [1.0, 2.0]),
    "values of a mapping": LossCase(lambda put: {"b": 1.0, "a": 2.0}.values(), [1.0, 2.0]),
    "mapping": LossCase(lambda put: {"actor": 1.0, "critic": 2.0}, [1.0, 2.0], ("actor", "critic")),
    "mapping of one": LossCase(lambda put: {"q": put(0.5, "float32")}, 0.5, ("q",)),
    "mapping in another order": LossCase(lambda put: OrderedDict(b=1, a=2), [1.0, 2.0], ("b", "a")),
    "mapping that is no dict": LossCase(lambda put: MappingProxyType({"q": 1}), 1.0, ("q",)),
    "mapping from numbers": LossCase(lambda put: {0: 1.0, 1: 2.0}, [1.0, 2.0], ("0", "1")),
    "mapping of several": LossCase(
        lambda put: {"q": put([1.0, 2.0], "float32")}, [1.0, 2.0], ("q.0", "q.1")
    ),
    "nested mapping": LossCase(
        lambda put: {"actor": {"pi": 1, "entropy": None}, "critic": [2, put(3, "float32")]},
        [1.0, 0.0, 2.0, 3.0],
        ("actor.pi", "actor.entropy", "critic.0", "critic.1"),
    ),
    "mapping in a list": LossCase(lambda put: [{"q": 1.0}, 2.0], [1.0, 2.0]),
}

REFUSED: dict[str, tuple[Callable[[Put], Any], str]] = {
    "text": (lambda put: "0.5", "str"),
    "bytes": (lambda put: b"\x01", "bytes"),
    "array of bytes": (lambda put: bytearray(b"\x01"), "bytearray"),
    "bool": (lambda put: True, "bool"),
    "numpy bool": (lambda put: np.True_, "bool"),
    "numpy bools": (lambda put: np.array([True]), "bool"),
    "native bool": (lambda put: put(True, "bool"), "bool"),
    "native bools": (lambda put: put([True, False], "bool"), "bool"),
    "complex": (lambda put: 1j, "complex"),
    "numpy complex": (lambda put: np.array([1j]), "complex"),
    "numpy text": (lambda put: np.array(["0.5"]), "U3"),
    "numpy objects": (lambda put: np.array([object()]), "object"),
    "a span of time": (lambda put: np.timedelta64(1, "s"), "timedelta"),
    "an int beyond float": (lambda put: 10**400, "int"),
    "set": (lambda put: {1.0, 2.0}, "set"),
    "object": (lambda put: object(), "object"),
    "function": (lambda put: len, "builtin_function_or_method"),
    "class": (lambda put: float, "type"),
    "empty list": (lambda put: [], "no loss"),
    "empty mapping": (lambda put: {}, "no loss"),
    "empty generator": (lambda put: iter(()), "no loss"),
    "no elements": (lambda put: np.zeros((0,)), "no loss"),
    "text in a list": (lambda put: [1.0, "x"], "str"),
    "bool in a list": (lambda put: [1.0, True], "bool"),
    "text in a mapping": (lambda put: {"q": "x"}, "str"),
    "object in a generator": (lambda put: (thing for thing in (1.0, object())), "object"),
}
"""What is refused, and a word of the message, which names the type."""

Way: TypeAlias = Callable[[type[BaseModel], Callable[[], Any]], type[BaseModel]]
"""Makes a model class, on top of the class given, whose train_step returns what the function does."""


def returning(base: type[BaseModel], loss: Callable[[], Any]) -> type[BaseModel]:
    """Return a model class whose train_step, a method, returns what ``loss()`` does."""
    return _derived(base, train_step=lambda self: loss())


def _derived(base: type[BaseModel], *mixins: type, **members: Any) -> type[BaseModel]:
    acting = {"take_action": lambda self, state: 0}
    return type("Model", (*mixins, base), acting | members)


def _assigned(base: type[BaseModel], loss: Callable[[], Any]) -> type[BaseModel]:
    model = _derived(base)
    model.train_step = lambda self: loss()  # type: ignore[method-assign]
    return model


def _mixed_in(base: type[BaseModel], loss: Callable[[], Any]) -> type[BaseModel]:
    class Mixin:
        def train_step(self) -> Any:
            return loss()

    return _derived(base, Mixin)


def _mixed_in_over_another(base: type[BaseModel], loss: Callable[[], Any]) -> type[BaseModel]:
    return _mixed_in(returning(base, lambda: -1.0), loss)


def _calling_super(base: type[BaseModel], loss: Callable[[], Any]) -> type[BaseModel]:
    class Child(returning(base, loss)):  # type: ignore[misc]
        def train_step(self) -> Any:
            return super().train_step()

    return Child


def _decorated(base: type[BaseModel], loss: Callable[[], Any]) -> type[BaseModel]:
    parent = returning(base, lambda: -1.0)

    def decorator(train_step: Any) -> Any:
        @wraps(train_step)
        def decorated(self: Any) -> Any:
            train_step(self)
            return loss()

        return decorated

    return _derived(parent, train_step=decorator(parent.train_step))


def _abstract_between(base: type[BaseModel], loss: Callable[[], Any]) -> type[BaseModel]:
    abstract: Any = abstractmethod(lambda self: None)
    return returning(_derived(base, train_step=abstract), loss)


class _Callable:
    """An object that is called, without being told on which model."""

    def __init__(self, loss: Callable[[], Any]) -> None:
        self.loss = loss

    def __call__(self) -> Any:
        return self.loss()


def _with_parameter(self: Any, loss: Callable[[], Any]) -> Any:
    return loss()


WAYS: dict[str, Way] = {
    "a method": returning,
    "a method of a subclass of a subclass": lambda base, loss: returning(
        _derived(returning(base, lambda: -1.0)), loss
    ),
    "inherited": lambda base, loss: _derived(returning(base, loss)),
    "one that calls super": _calling_super,
    "a mixin": _mixed_in,
    "a mixin over another": _mixed_in_over_another,
    "inherited from a mixin": lambda base, loss: _derived(_mixed_in(base, loss)),
    "assigned to the class": _assigned,
    "inherited from what was assigned": lambda base, loss: _derived(_assigned(base, loss)),
    "a decorator around the parent's": _decorated,
    "below an abstract one": _abstract_between,
    "a static method": lambda base, loss: _derived(base, train_step=staticmethod(loss)),
    "a class method": lambda base, loss: _derived(base, train_step=classmethod(lambda cls: loss())),
    "a partial method": lambda base, loss: _derived(
        base, train_step=partialmethod(_with_parameter, loss)
    ),
    "a static partial": lambda base, loss: _derived(
        base, train_step=staticmethod(partial(_with_parameter, None, loss))
    ),
    "a property": lambda base, loss: _derived(base, train_step=property(lambda self: loss)),
    "a callable object": lambda base, loss: _derived(base, train_step=_Callable(loss)),
}
