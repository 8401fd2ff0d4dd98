"""A train_step may return a loss of any type; its caller gets one type."""

from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import trifolium as tri
from trifolium.backend import as_numpy

Losses = namedtuple("Losses", ["actor", "critic"])

ACCEPTED = {
    "None": (lambda put: None, 0.0, ()),
    "int": (lambda put: 2, 2.0, ()),
    "float": (lambda put: 0.5, 0.5, ()),
    "nan": (lambda put: float("nan"), float("nan"), ()),
    "numpy int64": (lambda put: np.int64(3), 3.0, ()),
    "numpy float16": (lambda put: np.float16(0.5), 0.5, ()),
    "numpy float32": (lambda put: np.float32(0.5), 0.5, ()),
    "numpy float64": (lambda put: np.float64(0.5), 0.5, ()),
    "numpy 0-d": (lambda put: np.array(0.5), 0.5, ()),
    "numpy 1-d": (lambda put: np.array([0.5, 2.0]), [0.5, 2.0], ()),
    "numpy 1-d of one": (lambda put: np.array([0.5]), 0.5, ()),
    "numpy 2-d of one": (lambda put: np.array([[0.5]]), 0.5, ()),
    "native float32": (lambda put: put(0.5, "float32"), 0.5, ()),
    "native float16": (lambda put: put(0.5, "float16"), 0.5, ()),
    "native integers": (lambda put: put([1, 2], "int32"), [1.0, 2.0], ()),
    "list": (lambda put: [0.5, np.float32(2)], [0.5, 2.0], ()),
    "list of one": (lambda put: [0.5], 0.5, ()),
    "tuple with an array": (lambda put: (put(0.5, "float32"), 2), [0.5, 2.0], ()),
    "nested": (lambda put: [1, (2, [3, np.array([4.0, 5.0])])], [1.0, 2.0, 3.0, 4.0, 5.0], ()),
    "generator": (lambda put: (number for number in (1, 2)), [1.0, 2.0], ()),
    "iterator": (lambda put: iter([1.5]), 1.5, ()),
    "named tuple": (lambda put: Losses(1.0, 2.0), [1.0, 2.0], ()),
    "mapping": (lambda put: {"actor": 1.0, "critic": 2.0}, [1.0, 2.0], ("actor", "critic")),
    "mapping of one": (lambda put: {"q": put(0.5, "float32")}, 0.5, ("q",)),
    "ordered mapping": (lambda put: OrderedDict(b=1, a=2), [1.0, 2.0], ("b", "a")),
    "nested mapping": (
        lambda put: {"actor": {"pi": 1, "entropy": None}, "critic": [2, 3]},
        [1.0, 0.0, 2.0, 3.0],
        ("actor.pi", "actor.entropy", "critic.0", "critic.1"),
    ),
}

REFUSED = {
    "text": "0.5",
    "bool": True,
    "numpy bool": np.True_,
    "complex": 1j,
    "complex array": np.array([1j]),
    "bool array": np.array([True]),
    "object array": np.array([object()]),
    "set": {1.0, 2.0},
    "nothing in a list": [],
    "object": object(),
    "text in a list": [1.0, "x"],
    "text in a mapping": {"q": "x"},
}


def model_that_returns(loss, backend):
    class Model(tri.BaseModel):
        def take_action(self, state):
            return 0

        def train_step(self):
            return loss

    return Model(4, 2, 100, backend=backend)


@pytest.fixture
def put(backend):
    if backend.name == "strict":  # the standard has no float16
        return lambda value, dtype: backend.from_numpy(np.array(value, dtype.replace("16", "32")))
    return lambda value, dtype: backend.from_numpy(np.array(value, dtype))


@pytest.mark.parametrize(("make", "value", "names"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(backend, put, make, value, names):
    model = model_that_returns(make(put), backend)
    loss = model.train_step()
    assert backend.is_array(loss)
    assert type(loss) is type(model.memory.states)
    assert backend.xp.isdtype(loss.dtype, "real floating")
    assert tuple(loss.shape) == np.shape(value)
    np.testing.assert_array_equal(as_numpy(loss), value)
    assert model.loss_names == names


@pytest.mark.parametrize("loss", REFUSED.values(), ids=REFUSED)
def test_refused(backend, loss):
    with pytest.raises(tri.LossTypeError, match=r"train_step returned"):
        model_that_returns(loss, backend).train_step()


def test_refusal_names_the_type(backend):
    with pytest.raises(tri.LossTypeError, match="a str"):
        model_that_returns("0.5", backend).train_step()


def test_train_step_of_a_subclass_of_a_subclass(backend):
    parent = type(model_that_returns(1.5, backend))

    class Child(parent):
        def train_step(self):
            return {"twice": 2 * super().train_step()}

    model = Child(4, 2, 100, backend=backend)
    assert float(model.train_step()) == 3.0
    assert model.loss_names == ("twice",)


def test_names_are_those_of_the_last_loss(backend):
    model = model_that_returns(None, backend)
    losses = iter([{"q": 1.0}, 2.0])
    type(model).train_step = tri.models.base._normalising(lambda self: next(losses))
    model.train_step()
    assert model.loss_names == ("q",)
    model.train_step()
    assert model.loss_names == ()
