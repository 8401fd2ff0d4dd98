"""Files of format 2, and the values that they must give after loading.

The folder ``format2/`` holds the files as the version that introduced the format wrote them. Like those
of ``format1.py`` they are never written again. ``python -m tests.data.format2`` wrote them, with all
backends and ``strict`` installed; it refuses to replace a file.

- ``buffers/BACKEND-KIND.safetensors``: a buffer for each of :data:`BUFFERS`
- ``folders/BACKEND``: the folder of a mapped buffer
- ``models/BACKEND-KIND.safetensors``: a model for each of :data:`MODELS`
- ``runs/BACKEND``: an interrupted run
- ``expected/``: what :func:`use_buffer` and ``format1.use_model`` return for them
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import trifolium as tri
from trifolium.experiment import Experiment
from trifolium.replay.schema import nested

from . import format1

FOLDER = Path(__file__).parent / "format2"
BACKENDS = ("numpy", "strict", "torch", "jax")
LEARNERS = ("numpy", "torch", "jax")
PARTS = {"image": ((3, 2), "uint8"), "arm": {"angle": (2,), "touch": ((), "bool")}}

BUFFERS: dict[str, Callable[[], dict[str, Any]]] = {
    "successors": lambda: {"n_streams": 2, "n_step": 2},
    "structured": lambda: {"obs_shape": PARTS, "n_frames": {"image": 2}, "boundary": "pad"},
    "valid": lambda: {"n_frames": 2, "sampler": tri.Uniform(valid_only=True)},
    "prioritized": lambda: {
        "n_streams": 2,
        "extras": {"tag": "int32"},
        "sampler": tri.Prioritized(0.7, tri.Linear(0.4, 1.0, steps=10)),
    },
}
MODELS: dict[str, tuple[type[tri.BaseModel], Callable[[], dict[str, Any]]]] = {
    "ddqn": (tri.DDQN, lambda: {"hidden": (6,), "batch_size": 8, "double": False, "polyak": 0.1}),
    "iqn": (tri.IQN, lambda: {"hidden": (6,), "batch_size": 8, "cosines": 4, "quantiles": 3}),
}


def make_buffer(kind: str, backend: str, path: Path | None = None) -> tri.Buffer:
    """Return the buffer of that kind as it is saved: full, with successors that wait for a row."""
    options = {"capacity": 24, "obs_shape": (2,), "action_dtype": "int32", "seed": 7}
    buffer = tri.Buffer(**(options | BUFFERS[kind]()), backend=backend, path=path)  # type: ignore[arg-type]
    add_steps(buffer, 40, seed=0)
    if kind == "prioritized":
        buffer.update_priorities(buffer.sample(6).indices, np.arange(6.0))
    assert buffer._store.successors.any
    return buffer


def add_steps(buffer: tri.Buffer, steps: int, seed: int) -> None:
    """Add steps that follow from ``seed``, each with its successor, which often differs."""
    rng, spec = np.random.default_rng(seed), buffer.spec
    streams = (buffer.n_streams,) if buffer.n_streams > 1 else ()

    def values(shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return rng.integers(0, 2 if dtype == "bool" else 50, (*streams, *shape)).astype(dtype)

    def observed() -> Any:
        return nested(spec.leaves, [values(leaf.shape, leaf.dtype) for leaf in spec.leaves])

    obs = observed()
    for step in range(steps):
        ends, following = rng.random((2, *streams)) < 0.15, observed()
        last = step + 1 == steps
        buffer.add(
            obs,
            values(spec.action_shape, spec.action_dtype),
            values((), "float32"),
            ends[0] & (not last),
            truncated=ends[1] & (not last),
            next_obs=following,
            **{name: values(shape, dtype) for name, shape, dtype in spec.extras},
        )
        obs = observed() if rng.random() < 0.3 else following


def use_buffer(
    buffer: tri.Buffer, drawn: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Draw from a buffer, write to it, and return everything drawn, by name.

    With ``drawn``, what another version returned, the rows that it drew are fetched.
    """
    found = {"length": np.array(len(buffer))}
    for part in range(2):
        batch = buffer.sample(4) if drawn is None else buffer.fetch(drawn[f"{part}/indices"])
        names = ("actions", "rewards", "dones", "valid", "discounts", "weights")
        arrays = {name: getattr(batch, name) for name in names} | dict(batch.extras)
        for name, tree in (("states", batch.states), ("next_states", batch.next_states)):
            arrays |= {f"{name}{path}": leaf for path, leaf in leaves(tree)}
        host = {f"{part}/{name}": buffer.backend.to_numpy(each) for name, each in arrays.items()}
        found |= host | {f"{part}/indices": np.asarray(batch.indices)}
        add_steps(buffer, 7, seed=part + 1)
    return found


def leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return the arrays of an observation, with the keys that lead to them."""
    if not isinstance(tree, dict):
        return [(path, tree)]
    return [found for key, inner in tree.items() for found in leaves(inner, f"{path}.{key}")]


def make_model(kind: str, backend: str) -> tri.BaseModel:
    """Return the model of that kind as it is saved: with a memory, and some steps of training."""
    cls, options = MODELS[kind]
    sizes: dict[str, Any] = {"input_size": 4, "action_space": 3, "memory_size": 64, "seed": 5}
    model = cls(**(sizes | options()), backend=backend)
    format1.add_experience(model)
    for state in format1.states_of(model)[:20]:
        model.take_action(state)
    for _ in range(5):
        model.train_step()
    return model


def write() -> None:
    """Write everything into :data:`FOLDER`, which must not be there."""
    (FOLDER / "expected").mkdir(parents=True)
    buffers: dict[str, np.ndarray] = {}
    models: dict[str, np.ndarray] = {}
    for backend in BACKENDS:
        for kind in BUFFERS:
            buffer = make_buffer(kind, backend)
            buffer.save(FOLDER / "buffers" / f"{backend}-{kind}.safetensors")
            buffers |= {f"{kind}/{name}": array for name, array in use_buffer(buffer).items()}
        make_buffer("successors", backend, FOLDER / "folders" / backend).flush()
    for backend in LEARNERS:
        for kind in MODELS:
            model = make_model(kind, backend)
            model.save(FOLDER / "models" / f"{backend}-{kind}.safetensors", memory=True)
            used = format1.use_model(model)
            models |= {f"{backend}-{kind}/{name}": array for name, array in used.items()}
        options = format1.run_options("interrupted", backend)
        format1.interrupt(Experiment(options, FOLDER / "runs" / backend), 150)
    np.savez_compressed(FOLDER / "expected" / "buffers.npz", **buffers)
    np.savez_compressed(FOLDER / "expected" / "models.npz", **models)


if __name__ == "__main__":
    if FOLDER.exists():
        sys.exit(f"{FOLDER} is there already: these files stay as they are")
    write()
