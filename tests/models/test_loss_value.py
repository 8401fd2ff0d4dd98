"""A train_step may return a loss of any type; its caller gets one type."""

import pytest

import trifolium as tri
from trifolium.testing import LossSuite
from trifolium.testing.loss_cases import returning


class TestBaseModel(LossSuite):
    pass


def test_a_learner_may_be_extended(learner):
    class Model(tri.DDQN):
        def train_step(self):
            return {"q": super().train_step(), "step": 1}

    model = Model(4, 2, 100, backend=learner, batch_size=2)
    for step in range(4):
        model.memory.add([step] * 4, 0, 1.0, False)
    assert model.train_step().shape == (2,)
    assert model.loss_names == ("q", "step")


def test_assigned_to_the_class_of_a_model_that_is_there(backend):
    """The next model of the class makes it good for all."""
    model = returning(tri.BaseModel, lambda: 1.0)
    first = model(4, 2, 100, backend=backend)
    model.train_step = lambda self: {"q": 2.0}
    model(4, 2, 100, backend=backend)
    assert backend.is_array(first.train_step())
    assert first.loss_names == ("q",)


def test_a_long_loss_is_cut_in_the_error(backend):
    model = returning(tri.BaseModel, lambda: "x" * 1000)(4, 2, 100, backend=backend)
    with pytest.raises(tri.LossTypeError) as caught:
        model.train_step()
    assert len(str(caught.value)) < 300
