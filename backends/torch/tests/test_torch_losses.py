"""Losses of a TorchModel, those that only torch has, and that none of them is read by the host."""

import numpy as np
import pytest
import torch

import trifolium as tri
from trifolium.testing import LossSuite
from trifolium.testing.loss_cases import ACCEPTED, returning
from trifolium_torch import TorchBackend, TorchModel


class TestTorchModel(LossSuite):
    base = TorchModel

    def made(self, model, backend):
        return model(4, 2, 100)


def on_graph(value, dtype=torch.float32):
    return torch.tensor(value, dtype=dtype, requires_grad=True) * 1


def in_a_compiled_function():
    step = torch.compile(lambda x: {"q": x, "pi": [2 * x, (3 * x).half()]}, backend="eager")
    return step(torch.tensor(0.5, requires_grad=True))


TORCH = {
    "on the graph": (lambda: on_graph(2.0), 2.0, ()),
    "several on the graph": (lambda: on_graph([1.0, 2.0]), [1.0, 2.0], ()),
    "a leaf": (lambda: torch.ones(2, requires_grad=True), [1.0, 1.0], ()),
    "a parameter": (lambda: {"q": torch.nn.Parameter(torch.tensor(1.5))}, 1.5, ("q",)),
    "bfloat16": (lambda: torch.tensor(0.5, dtype=torch.bfloat16), 0.5, ()),
    "bfloat16 on the graph": (lambda: on_graph(0.5, torch.bfloat16), 0.5, ()),
    "several bfloat16": (lambda: on_graph([0.5, 2.0], torch.bfloat16), [0.5, 2.0], ()),
    "float64 on the graph": (lambda: on_graph(0.5, torch.float64), 0.5, ()),
    "of several dtypes": (
        lambda: [on_graph(0.5, torch.bfloat16), on_graph(0.25), torch.tensor(3), 4],
        [0.5, 0.25, 3.0, 4.0],
        (),
    ),
    "not contiguous": (lambda: on_graph([[1.0, 2.0], [3.0, 4.0]]).T, [1.0, 3.0, 2.0, 4.0], ()),
    "a generator": (lambda: (on_graph(float(k)) for k in (1, 2)), [1.0, 2.0], ()),
    "a mapping": (
        lambda: {"actor": on_graph(1.0), "critic": on_graph([2.0, 3.0])},
        [1.0, 2.0, 3.0],
        ("actor", "critic.0", "critic.1"),
    ),
    "what torch itself names": (lambda: torch.max(on_graph([[0.5, 2.0]]), dim=1), [2.0, 1.0], ()),
    "of a module of losses": (lambda: torch.nn.MSELoss()(on_graph([3.0]), torch.zeros(1)), 9.0, ()),
    "out of a compiled function": (in_a_compiled_function, [0.5, 1.0, 1.5], ("q", "pi.0", "pi.1")),
}

REFUSED = {
    "bool": torch.tensor(True),
    "bools": torch.tensor([True, False]),
    "complex": torch.tensor(1j),
    "a dtype": torch.float32,
    "a module": torch.nn.MSELoss(),
    "nothing": torch.zeros(0),
}


def train_step_of(make, base=tri.BaseModel, **options):
    return returning(base, make)(4, 2, 100, **options)


KINDS = {
    "BaseModel": lambda make: train_step_of(make, backend="torch"),
    "TorchModel": lambda make: train_step_of(make, TorchModel),
    "BaseModel on NumPy": lambda make: train_step_of(make, backend="numpy"),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(("make", "value", "names"), TORCH.values(), ids=TORCH)
def test_accepted(kind, make, value, names):
    model = kind(make)
    loss = model.train_step()
    assert type(loss) is type(model.memory.states)
    assert model.backend.xp.isdtype(loss.dtype, "real floating")
    assert not getattr(loss, "requires_grad", False)
    assert loss.tolist() == value
    assert model.loss_names == names


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("loss", REFUSED.values(), ids=REFUSED)
def test_refused(kind, loss):
    with pytest.raises(tri.LossTypeError, match="train_step returned"):
        kind(lambda: loss).train_step()


def test_the_graph_is_still_there_for_the_user():
    weight = torch.tensor(3.0, requires_grad=True)
    loss = weight**2
    train_step_of(lambda: loss, TorchModel).train_step()
    loss.backward()
    assert weight.grad == 6.0


DECORATORS = {
    "no_grad": torch.no_grad(),
    "inference_mode": torch.inference_mode(),
    "enable_grad": torch.enable_grad(),
    "autocast": torch.autocast("cpu", dtype=torch.bfloat16),
    "compile": torch.compile(backend="eager"),
}


@pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS)
@pytest.mark.parametrize("base", [tri.BaseModel, TorchModel])
def test_decorated(decorator, base):
    class Model(base):
        def take_action(self, state):
            return 0

        @decorator
        def train_step(self):
            return {"q": torch.ones(2, 2, requires_grad=True).mm(torch.ones(2, 1)).sum()}

    model = Model(4, 2, 100, **({} if base is TorchModel else {"backend": "torch"}))
    loss = model.train_step()
    assert isinstance(loss, torch.Tensor)
    assert not loss.requires_grad
    assert (loss.tolist(), model.loss_names) == (4.0, ("q",))


def test_compiled_from_outside():
    class Model(TorchModel):
        def take_action(self, state):
            return 0

        def train_step(self):
            return (torch.ones(2) * self.weight).sum()

    model = Model(4, 2, 100)
    model.weight = torch.nn.Parameter(torch.tensor(0.25))
    loss = torch.compile(model.train_step, backend="eager")()
    assert (loss.tolist(), loss.requires_grad) == (0.5, False)


# Tensors on the device "meta" have a shape and no values: whatever would read one fails.

META = torch.device("meta")


@pytest.mark.parametrize("base", [tri.BaseModel, TorchModel])
@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_nothing_is_read(base, case):
    options = {"device": META} if base is TorchModel else {"backend": TorchBackend(META)}
    backend = TorchBackend(META)
    made = case.make(lambda value, dtype: backend.from_numpy(np.array(value, dtype)))
    loss = train_step_of(lambda: made, base, **options).train_step()
    assert loss.device == META
    assert tuple(loss.shape) == np.shape(case.value)


@pytest.mark.parametrize("kind", [tri.DDQN, tri.IQN])
def test_an_update_never_waits_for_the_device(kind):
    model = kind(4, 2, 200, 1.0, backend="torch", device=META, batch_size=16, n_frames=2, noisy=True)
    for step in range(100):
        model.memory.add([step] * 4, 0, 1.0, step % 9 == 8)
    for _ in range(3):
        loss = model.train_step()
    assert loss.shape == ()
    assert loss.device == META


READERS = {
    "item": torch.Tensor.item,
    "float": float,
    "bool": bool,
    "tolist": torch.Tensor.tolist,
    "numpy": torch.Tensor.numpy,
    "cpu": torch.Tensor.cpu,
    "to": lambda tensor: tensor.to("cpu"),
    "asarray": np.asarray,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_reading_would_fail(read):
    with pytest.raises((RuntimeError, TypeError, NotImplementedError)):
        read(torch.zeros((), device=META))
