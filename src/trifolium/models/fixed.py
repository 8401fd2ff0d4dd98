"""Fixed: an attribute that is set once."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")

__all__ = ["Fixed"]


class Fixed(Generic[T]):
    """An option that is compiled into a model: a later assignment raises an error.

    >>> class Model:
    ...     kappa = Fixed[float]()
    >>> model = Model()
    >>> model.kappa = 1.0
    >>> model.kappa = 2.0
    Traceback (most recent call last):
    AttributeError: kappa=1.0 is compiled into the Model; make a new one with kappa=2.0
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Fixed[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Fixed[T] | T:
        if instance is None:
            return self
        try:
            value: T = instance.__dict__[self._name]
        except KeyError:
            raise AttributeError(f"{type(instance).__name__} has no {self._name} yet") from None
        return value

    def __set__(self, instance: Any, value: T) -> None:
        if self._name in instance.__dict__:
            raise AttributeError(
                f"{self._name}={instance.__dict__[self._name]!r} is compiled into the "
                f"{type(instance).__name__}; make a new one with {self._name}={value!r}"
            )
        instance.__dict__[self._name] = value
