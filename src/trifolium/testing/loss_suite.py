"""Tests of the losses that models return."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trifolium.backend import Backend
from trifolium.errors import BackendError, LossTypeError
from trifolium.models import BaseModel
from trifolium.testing.loss_cases import (
    ACCEPTED,
    NATIVE_DTYPES,
    REFUSED,
    WAYS,
    LossCase,
    Way,
    returning,
)

__all__ = ["LossSuite"]


class LossSuite:
    """Tests that a loss comes out the same whatever a train_step returns, and however it is written.

    They take the backend from a fixture named ``backend``. For a custom class of models, set
    ``base`` to it and override :meth:`made`.
    """

    base: type[BaseModel] = BaseModel  # type: ignore[type-abstract]

    def made(self, model: type[BaseModel], backend: Backend) -> BaseModel:
        """Return a model of a class derived from ``base``, on ``backend``."""
        return model(4, 2, 100, backend=backend)

    def check(self, backend: Backend, loss: Any, value: Any, names: tuple[str, ...] = ()) -> None:
        """See that a train_step which returns ``loss`` gives ``value`` to its caller."""
        _check(self.made(returning(self.base, lambda: loss), backend), value, names)

    @pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
    def test_accepted(self, backend: Backend, case: LossCase) -> None:
        """All that can be read as losses."""
        self.check(backend, case.make(_put(backend)), case.value, case.names)

    @pytest.mark.parametrize("dtype", NATIVE_DTYPES)
    def test_native_dtypes(self, backend: Backend, dtype: str) -> None:
        """Native arrays of every real dtype that the backend has; floating ones keep theirs."""
        try:
            kept = backend.dtype(dtype)
        except BackendError as error:
            pytest.skip(f"{backend.name} lacks it: {error}")
        for value in (2, [2], [1, 2]):
            array = _put(backend)(value, dtype)
            self.check(backend, array, np.squeeze(value))
            loss = self.made(returning(self.base, lambda: array), backend).train_step()  # noqa: B023
            assert loss.dtype == (kept if "float" in dtype else backend.dtype("float32"))

    @pytest.mark.parametrize(("make", "word"), REFUSED.values(), ids=REFUSED)
    def test_refused(self, backend: Backend, make: Callable[[Any], Any], word: str) -> None:
        """Anything else is an error that names its type."""
        model = self.made(returning(self.base, lambda: make(_put(backend))), backend)
        with pytest.raises(LossTypeError, match=rf"train_step returned .*{word}"):
            model.train_step()

    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    def test_however_it_is_written(self, backend: Backend, way: Way) -> None:
        """A train_step is normalised wherever the class has it from."""
        for loss, names in (({"q": 1.5}, ("q",)), ([1.5], ())):
            _check(self.made(way(self.base, lambda: loss), backend), 1.5, names)  # noqa: B023
        with pytest.raises(LossTypeError, match="str"):
            self.made(way(self.base, lambda: "1.5"), backend).train_step()

    def test_assigned_to_a_model(self, backend: Backend) -> None:
        """A train_step that one model has for itself is normalised, and can be taken away again."""
        model = self.made(returning(self.base, lambda: 1.0), backend)
        before = model.train_step
        model.train_step = lambda: {"q": 2 * before()}  # type: ignore[method-assign]
        _check(model, 2.0, ("q",))
        _check(self.made(type(model), backend), 1.0)
        del model.train_step
        _check(model, 1.0)

    def test_arguments_are_passed_on(self, backend: Backend) -> None:
        """A train_step may take any."""

        class Model(self.base):  # type: ignore[misc, name-defined]
            def take_action(self, state: Any) -> int:  # noqa: ARG002
                return 0

            def train_step(self, scale: float, *, offset: float = 0.0) -> Any:
                return scale + offset

        model: Any = self.made(Model, backend)
        assert float(model.train_step(2.0, offset=0.5)) == 2.5

    @pytest.mark.parametrize("way", ["a method", "inherited", "a mixin", "a property"])
    def test_super_returns_a_loss_like_any(self, backend: Backend, way: str) -> None:
        """What super().train_step() returns can be calculated with and named anew."""
        parent: Any = WAYS[way](self.base, lambda: [1, 2])

        class Derived(parent):  # type: ignore[misc]
            def train_step(self) -> Any:
                loss = super().train_step()
                assert backend.is_array(loss)
                return {"sum": loss[0] + loss[1]}

        _check(self.made(Derived, backend), 3.0, ("sum",))

    def test_names_are_those_of_the_last_loss(self, backend: Backend) -> None:
        """A loss without names leaves none of those before."""
        losses = iter([{"q": 1.0}, 2.0])
        model = self.made(returning(self.base, lambda: next(losses)), backend)
        _check(model, 1.0, ("q",))
        _check(model, 2.0)

    def test_without_a_train_step_it_is_0(self, backend: Backend) -> None:
        """A model that learns nothing has no loss."""
        if self.base.train_step is not BaseModel.train_step:
            pytest.skip(f"{self.base.__name__} learns")
        model = type("Model", (self.base,), {"take_action": lambda self, state: 0})  # noqa: ARG005
        _check(self.made(model, backend), 0.0)

    def test_coroutine_is_refused(self, backend: Backend) -> None:
        """An ``async def`` is a mistake that Python doesn't warn of besides."""

        async def loss() -> float:
            return 1.0

        model = self.made(returning(self.base, loss), backend)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with pytest.raises(LossTypeError, match="coroutine"):
                model.train_step()
        assert not warned

    def test_errors_of_a_train_step_are_its_own(self, backend: Backend) -> None:
        """A TypeError in a train_step, or in a generator that it returned, stays what it is."""
        bad: Any = "x"
        for loss in (lambda: 1 + bad, lambda: (1 + text for text in bad)):
            with pytest.raises(TypeError) as caught:
                self.made(returning(self.base, loss), backend).train_step()
            assert caught.type is TypeError


def _check(model: BaseModel, value: Any, names: tuple[str, ...] = ()) -> None:
    backend = model.backend
    loss = model.train_step()
    assert backend.is_array(loss)
    assert type(loss) is type(model.memory.states)
    assert backend.xp.isdtype(loss.dtype, "real floating")
    assert tuple(loss.shape) == np.shape(value)
    np.testing.assert_array_equal(backend.to_numpy(loss), value)
    assert model.loss_names == names


def _put(backend: Backend) -> Callable[[Any, str], Any]:
    return lambda value, dtype: backend.from_numpy(np.array(value, dtype))
