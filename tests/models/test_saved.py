"""Models in files: everything is checked, then everything changes."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import trifolium as tri

from .remember import remember

KINDS = {"ddqn": (tri.DDQN, {}), "iqn": (tri.IQN, {"cosines": 4, "noisy": True})}


def made(kind: str, learner: tri.Backend, seed: int = 0, **options: Any) -> Any:
    cls, own = KINDS[kind]
    model = cls(
        4, 3, 200, tri.Linear(0.9, 0.1, 50), backend=learner, seed=seed, batch_size=16, hidden=(6, 5),
        **own | options,
    )  # fmt: skip
    remember(model)
    for _ in range(3):
        model.train_step()
    return model


@pytest.fixture(params=KINDS)
def saved(request: pytest.FixtureRequest, learner: tri.Backend, tmp_path: Path) -> tuple[str, Path]:
    key, path = (learner.name, request.param), tmp_path / "model"
    if key not in FILES:
        model = made(request.param, learner)
        for _ in range(5):
            model.take_action(np.zeros(4))
        model.save(path, memory=True)
        FILES[key] = path.read_bytes()
    path.write_bytes(FILES[key])
    return request.param, path


FILES: dict[tuple[str, str], bytes] = {}
"""Whole files, by backend and kind of model."""


def everything(model: Any) -> dict[str, Any]:
    """Return all that a load may change."""
    return {
        **{name: array.tolist() for name, array in model.state().items()},
        "epsilon": (model.epsilon, model.epsilon_schedule),
        "options": (model.learning_rate, model.batch_size, model.target_update),
        "generator": repr(model.rng.bit_generator.state),
        "memory": (id(model.memory), len(model.memory), repr(model.memory.rng.bit_generator.state)),
    }


def parts(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["trifolium"]), arrays


def rewrite(path: Path, manifest: Any, arrays: dict[str, np.ndarray]) -> None:
    save_file(arrays, path, metadata={"trifolium": json.dumps(manifest)})


WEIGHT = "model.params.head.0.weight"
SQUARE = "model.optimizer.square.head.0.weight"
NEXT = "memory.rows.column.obs"
NAN = np.float32(np.nan)
DAMAGES: dict[str, tuple[tuple[str, ...], Any]] = {
    "epsilon": (("epsilon",), -0.1),
    "epsilon as text": (("epsilon",), "0.5"),
    "no epsilon": (("epsilon",), KeyError),
    "epsilon nan": (("epsilon",), float("nan")),
    "schedule": (("options", "epsilon"), {"linear": {"start": 2.0, "end": 0.1, "steps": 5}}),
    "schedule's end": (("options", "epsilon"), {"linear": {"start": 0.5, "end": -0.1, "steps": 5}}),
    "schedule's steps": (("options", "epsilon"), {"linear": {"start": 1, "end": 0, "steps": 10**400}}),
    "schedule's fields": (("options", "epsilon"), {"linear": {"start": 0.5}}),
    "no schedule": (("options", "epsilon"), [1]),
    "rate": (("options", "learning_rate"), float("inf")),
    "rate as text": (("options", "learning_rate"), "0.1"),
    "batch": (("options", "batch_size"), 10**9),
    "batch of a half": (("options", "batch_size"), 0.5),
    "target": (("options", "target_update"), -1),
    "options": (("options",), "none"),
    "generator": (("generator",), None),
    "generator's kind": (("generator", "bit_generator"), "PCG64"),
    "generator's key": (("generator", "state", "key"), [1]),
    "generator's counter": (("generator", "state", "counter"), [1, 2, 3, -4]),
    "generator's fields": (("generator", "state"), {}),
    "generator's buffer": (("generator", "buffer"), [0, 1, 2, 2**64]),
    "generator's place": (("generator", "buffer_pos"), 5),
    "generator's number": (("generator", "uinteger"), 2**32),
    "generator's flag": (("generator", "has_uint32"), True),
    "memory": (("memory",), 3),
    "memory's options": (("memory", "spec", "n_step"), 2),
    "memory's sampler": (("memory", "sampler"), "Prioritized"),
    "memory's generator": (("memory", "generator", "state", "key"), None),
}  # fmt: skip
ARRAYS: dict[str, tuple[str, Any]] = {
    "updates nan": ("model.updates", np.array(np.nan)),
    "updates below 0": ("model.updates", np.array(-1)),
    "updates of floats": ("model.updates", np.array(3.0)),
    "actions of 1e300": ("model.actions", np.array(1e300)),
    "actions beyond floats": ("model.actions", np.array(2**62)),
    "actions as a row": ("model.actions", np.array([3])),
    "weights nan": (WEIGHT, lambda a: np.where(a == a.max(), NAN, a)),
    "weights inf": (WEIGHT, lambda a: np.where(a == a.max(), np.inf, a).astype(np.float32)),
    "weights too large": (WEIGHT, lambda a: np.where(a == a.max(), 1e300, a.astype(float))),
    "weights of integers": (WEIGHT, lambda a: a.astype(np.int32)),
    "weights of another shape": (WEIGHT, lambda a: a.T.copy()),
    "weights missing": (WEIGHT, None),
    "squares below 0": (SQUARE, lambda a: a - 1),
    "squares nan": (SQUARE, lambda a: a * NAN),
    "steps below 0": ("model.optimizer.step", np.float32(-1).reshape(())),
    "another array": ("model.params.more", np.zeros(3)),
    "memory's cursor": ("memory.rows.written", np.array([2**62])),
    "memory's marks": ("memory.rows.marks", lambda a: a | 128),
    "memory's rows": (NEXT, lambda a: a[:-1]),
    "memory's actions": ("memory.rows.actions", lambda a: a + 3),
}


def damaged(path: Path, damage: str) -> None:
    manifest, arrays = parts(path)
    if damage in ARRAYS:
        name, change = ARRAYS[damage]
        array = change(arrays[name]) if callable(change) else change
        arrays = {key: value for key, value in arrays.items() if key != name}
        if array is not None:
            arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
    else:
        (*upper, last), value = DAMAGES[damage]
        at = manifest
        for key in upper:
            at = at[key]
        if value is KeyError:
            del at[last]
        else:
            at[last] = value
    rewrite(path, manifest, arrays)


@pytest.mark.parametrize("damage", [*DAMAGES, *ARRAYS])
def test_a_model_stays_as_it_is(saved: tuple[str, Path], learner: tri.Backend, damage: str) -> None:
    kind, path = saved
    model = existing(kind, learner)
    before = everything(model)
    damaged(path, damage)
    with pytest.raises(tri.CheckpointError, match="model") as caught:
        model.load(path)
    assert str(path) in str(caught.value)
    if damage in ARRAYS:
        assert ARRAYS[damage][0].rpartition(".")[2].removesuffix("s") in str(caught.value)
    assert everything(model) == before


def existing(kind: str, learner: tri.Backend) -> Any:
    """Return a model of that kind, which no damaged file may change: so it is made once."""
    if (learner.name, kind) not in MODELS:
        MODELS[learner.name, kind] = made(kind, learner, seed=1)
    return MODELS[learner.name, kind]


MODELS: dict[tuple[str, str], Any] = {}


def test_whole_files_change_all(saved: tuple[str, Path], learner: tri.Backend) -> None:
    kind, path = saved
    model, same = (made(kind, learner, seed=seed) for seed in (1, 0))
    before = everything(model)
    for _ in range(5):
        same.take_action(np.zeros(4))
    model.load(path)
    after, wanted = everything(model), everything(same)
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in ("params.head.0.weight", "epsilon", "generator"))
    assert {name: after[name] for name in after if name != "memory"} == {
        name: wanted[name] for name in wanted if name != "memory"
    }


def test_nan_is_loaded_where_it_is_allowed(learner: tri.Backend, tmp_path: Path) -> None:
    made("ddqn", learner).save(tmp_path / "model")
    damaged(tmp_path / "model", "weights nan")
    model = made("ddqn", learner)
    model.load(tmp_path / "model", allow_nan=True)
    assert np.isnan(model.state()["params.head.0.weight"]).sum() == 1


@pytest.mark.parametrize("given", ["ddqn", "iqn"])
def test_a_file_of_another_model_is_named(learner: tri.Backend, tmp_path: Path, given: str) -> None:
    made(given, learner).save(tmp_path / "model")
    other = KINDS["iqn" if given == "ddqn" else "ddqn"][0]
    with pytest.raises(
        tri.CheckpointError, match=f"holds a '{given.upper()}'; expected a '{other.__name__}'"
    ):
        other.from_file(tmp_path / "model")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("memory", "backend"), "abacus"),
        (("memory", "backend"), None),
        (("memory",), []),
        (("options", "hidden"), "wide"),
        (("options", "hidden"), [12_000, 12_000]),
        (("options", "hidden"), [10**9]),
        (("options", "more"), 1),
        (("options", "polyak"), "fast"),
        (("options", "learning_rate"), {"linear": 3}),
        (("memory", "spec", "n_step"), 10**8),
        (("memory", "spec", "n_streams"), 10**8),
        (("memory", "spec", "capacity"), 10**12),
        (("memory", "spec", "obs_shape"), [10**6, 10**6]),
    ],
)
@pytest.mark.parametrize("memory", [False, True])
def test_options_of_no_such_model(
    learner: tri.Backend, tmp_path: Path, path: tuple[str, ...], value: Any, memory: bool
) -> None:
    """A file's own options are its fault, and cost nothing."""
    model = existing("ddqn", learner)
    model.save(tmp_path / "model", memory=memory)
    manifest, arrays = parts(tmp_path / "model")
    at = manifest
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    if path[-1] == "n_streams":
        manifest["memory"]["spec"]["capacity"] = 4 * 10**8
    rewrite(tmp_path / "model", manifest, arrays)
    tracemalloc.start()
    with pytest.raises(tri.CheckpointError, match="model"):
        tri.DDQN.from_file(tmp_path / "model")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


def test_errors_in_changes_are_the_caller_s(learner: tri.Backend, tmp_path: Path) -> None:
    made("ddqn", learner).save(tmp_path / "model")
    with pytest.raises(TypeError, match="batch_size='many'"):
        tri.DDQN.from_file(tmp_path / "model", batch_size="many")
    with pytest.raises(TypeError, match="no option 'lr'"):
        tri.DDQN.from_file(tmp_path / "model", lr=1)


class Halfway(tri.RandomModel):
    """A model whose ``restore`` changes a part before it fails."""

    broken = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.first, self.second = np.zeros(2), np.full(2, -np.inf)

    def state(self) -> dict[str, np.ndarray]:
        return {"first": self.first, "second": self.second}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.first = state["first"]
        if self.broken and state["first"].any():
            raise KeyError("second")
        self.second = state["second"]


def test_names_of_a_model_of_ones_own_mean_nothing(backend: tri.Backend, tmp_path: Path) -> None:
    class Own(Halfway):
        def state(self) -> dict[str, np.ndarray]:
            return {"actions": self.first, "updates": self.first - 2}

        def restore(self, state: dict[str, np.ndarray]) -> None:
            self.first = state["actions"]

    model = Own(4, 3, 20, backend=backend, seed=0)
    model.first = np.array([-1.5, 1e300])
    model.save(tmp_path / "model")
    again = Own(4, 3, 20, backend=backend, seed=0)
    again.load(tmp_path / "model")
    assert again.first.tolist() == [-1.5, 1e300]


def test_a_restore_that_fails_is_undone(backend: tri.Backend, tmp_path: Path) -> None:
    model, other = (Halfway(4, 3, 20, backend=backend, seed=seed, epsilon=0.5) for seed in (0, 1))
    other.first, other.epsilon = np.ones(2), 0.25
    other.save(tmp_path / "model", memory=True)
    model.broken, memory = True, model.memory
    before = repr(model.rng.bit_generator.state)
    with pytest.raises(tri.CheckpointError, match="second"):
        model.load(tmp_path / "model")
    assert model.first.tolist() == [0, 0]
    assert (model.epsilon, model.memory) == (0.5, memory)
    assert repr(model.rng.bit_generator.state) == before
    model.broken = False
    model.load(tmp_path / "model")  # -inf is where the model has it too, as in a mask
    assert (model.first.tolist(), model.epsilon) == ([1, 1], 0.25)
    other.second = np.array([0, np.inf])
    other.save(tmp_path / "model")
    model.second = np.zeros(2)
    with pytest.raises(tri.CheckpointError, match="infinite values in 'second'"):
        model.load(tmp_path / "model")
