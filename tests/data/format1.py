"""Files of format 1, of every kind, and the values that they must give after loading.

The folder ``format1/`` holds the files as version 0.1.0 wrote them at commit 594a0ee. They show that
later versions still read them, so they are never written again. A new format gets a new script and a
new folder. ``python -m tests.data.format1`` wrote them, from a checkout of that commit with all
backends, ``strict`` and gymnax installed; it refuses to replace a file.

- ``buffers/BACKEND-KIND.safetensors``: a buffer for each of :data:`BUFFERS`
- ``models/BACKEND-KIND.safetensors``: a model for each of :data:`MODELS`, and each of :data:`OWN`
- ``runs/BACKEND-KIND/``: the folder of an interrupted or a finished run for each of :data:`RUNS`
- ``expected/``: what :func:`use_buffer` and :func:`use_model` return for them, and the results of the
  interrupted runs had they not been interrupted
"""

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import trifolium as tri
from trifolium.experiment import Experiment, TrainOptions

FOLDER = Path(__file__).parent / "format1"
BACKENDS = ("numpy", "torch", "jax")

# Buffers

BUFFERS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "empty": dict,
    "frames": lambda: {"n_frames": 3},
    "padded": lambda: {"n_frames": 3, "boundary": "pad"},
    "streams": lambda: {"n_streams": 4},
    "n-step": lambda: {"n_step": 3, "gamma": 0.5},
    "images": lambda: {"obs_shape": (3, 4, 2), "obs_dtype": "uint8", "n_frames": 2},
    "actions": lambda: {"action_shape": (3,), "action_dtype": "float32"},
    "extras": lambda: {"extras": {"tag": "int32", "place": ((2,), "float32"), "seen": "bool"}},
    "replacement": lambda: {"sampler": tri.Uniform(replacement=True)},
    "prioritized": lambda: {"sampler": tri.Prioritized(0.7, 0.5, epsilon=0.01)},
    "unread": lambda: {"sampler": tri.Prioritized()},  # priorities are made by the first draw
    "all": lambda: {
        "obs_shape": (2, 3, 2),
        "obs_dtype": "uint8",
        "n_frames": 2,
        "boundary": "pad",
        "n_step": 3,
        "n_streams": 4,
        "action_shape": (3,),
        "action_dtype": "float32",
        "extras": {"place": ((2,), "float32")},
        "sampler": tri.Prioritized(),
    },
}


def make_buffer(kind: str, backend: str) -> tri.Buffer:
    """Return the buffer of that kind as it is saved: full and wrapped, but for the empty one."""
    options = {"action_dtype": "int32"} | BUFFERS[kind]()
    buffer = tri.Buffer(**({"capacity": 32, "obs_shape": (2,), "seed": 7} | options), backend=backend)
    if kind != "empty":
        add_steps(buffer, 50, seed=0)
    if kind in ("prioritized", "all"):
        buffer.update_priorities(buffer.sample(6).indices, np.arange(6.0))
    return buffer


def add_steps(buffer: tri.Buffer, steps: int, seed: int) -> None:
    """Add steps that follow from ``seed``; episodes end in every way."""
    rng = np.random.default_rng(seed)
    streams = (buffer.n_streams,) if buffer.n_streams > 1 else ()
    spec = buffer.spec

    def values(shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return rng.integers(0, 2 if dtype == "bool" else 100, (*streams, *shape)).astype(dtype)

    for _ in range(steps):
        obs, final = (values(spec.obs_shape, spec.obs_dtype) for _ in range(2))
        end = rng.choice(["", "", "", "", "", "terminated", "truncated", "cut", "empty"])
        buffer.add(
            obs,
            values(spec.action_shape, spec.action_dtype),
            values((), "float32"),
            np.full(streams, end == "terminated"),
            truncated=np.full(streams, end in ("truncated", "cut")),
            next_obs=final if end == "truncated" else None,
            **{name: values(shape, dtype) for name, shape, dtype in spec.extras},
        )
        if end == "empty":
            buffer.add_empty()


def use_buffer(
    buffer: tri.Buffer, drawn: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Draw from a buffer, write to it, and return everything drawn, by name.

    Args:
        buffer: the buffer.
        drawn: what another version returned. The rows that it drew are fetched, as how rows are drawn
            may change from one version to another.
    """
    found = {"length": np.array(len(buffer))}
    for part in range(3):
        if buffer.drawable >= 5:
            if drawn is not None:
                batches = {"sample": buffer.fetch(drawn[f"{part}/sample/indices"])}
            else:
                batches = {"sample": buffer.sample(5), "sequences": buffer.sample_sequences(4, 3)}
            for name, batch in batches.items():
                found |= {f"{part}/{name}/{key}": value for key, value in arrays_of(buffer, batch)}
        add_steps(buffer, 9, seed=part + 1)
    return found


def arrays_of(buffer: tri.Buffer, batch: tri.Batch) -> list[tuple[str, np.ndarray]]:
    """Return the arrays of a batch on the host, with their names."""
    names = ("states", "actions", "rewards", "next_states", "dones", "valid", "discounts", "weights")
    arrays = {name: getattr(batch, name) for name in names} | dict(batch.extras)
    on_host = [(name, buffer.backend.to_numpy(array)) for name, array in arrays.items()]
    return [("indices", np.asarray(batch.indices)), *on_host]


# Models


def own_schedule(count: int) -> float:
    """Return a schedule's value: no file holds it, so it is given again on loading."""
    return 0.5 / (1 + count)


def with_all_options() -> dict[str, Any]:
    """Return options of a learner that leave no default."""
    return {
        "epsilon": tri.Linear(0.9, 0.1, steps=100),
        "learning_rate": tri.Linear(1e-2, 1e-3, steps=20),
        "hidden": (12, 10),
        "input_scale": 0.5,
        "noisy": True,
        "adam_epsilon": 1e-6,
        "max_grad_norm": 0.5,
        "batch_size": 8,
        "gamma": 0.9,
        "polyak": 0.05,
        "n_frames": 2,
        "n_step": 3,
        "boundary": "pad",
        "sampler": tri.Prioritized(0.7, 0.5, epsilon=0.01),
    }


SMALL = {"hidden": (12,), "batch_size": 8, "target_update": 3}
MODELS: dict[str, tuple[type[tri.BaseModel], Callable[[], dict[str, Any]]]] = {
    "ddqn": (tri.DDQN, lambda: SMALL),
    "ddqn without memory": (tri.DDQN, lambda: SMALL),
    "ddqn all": (tri.DDQN, lambda: with_all_options() | {"dueling": True, "huber_delta": 0.5}),
    "ddqn own schedules": (
        tri.DDQN,
        lambda: SMALL | {"epsilon": own_schedule, "learning_rate": own_schedule},
    ),
    "ddqn images": (
        tri.DDQN,
        lambda: (
            SMALL
            | {"input_size": (6, 5, 2), "convolutions": ((4, 3, 1), (3, 2, 2)), "obs_dtype": "uint8"}
            | {"input_scale": 1 / 255, "n_frames": 2}
        ),
    ),
    "iqn": (tri.IQN, lambda: SMALL),
    "iqn all": (
        tri.IQN,
        lambda: (
            with_all_options()
            | {"quantiles": 3, "target_quantiles": 4, "action_quantiles": 5, "cosines": 6}
            | {"kappa": 0.5, "double": True}
        ),
    ),
    "random": (tri.RandomModel, lambda: {"action_dtype": "int32"}),
}


def make_model(kind: str, backend: str, network: Any = None) -> tri.BaseModel:
    """Return the model of that kind as it is saved: with a memory, and some steps of training."""
    cls, options = MODELS[kind]
    sizes = {"input_size": 4, "action_space": 3, "memory_size": 64, "seed": 5}
    own = {} if network is None else {"network": network}
    model = cls(**(sizes | options() | own), backend=backend)
    add_experience(model)
    for state in states_of(model)[:20]:
        model.take_action(state)
    for _ in range(5):
        model.train_step()
    return model


def load_model(kind: str, path: Path, backend: Any, network: Any = None) -> tri.BaseModel:
    """Return the model of that kind that ``path`` holds."""
    cls, options = MODELS[kind]
    if cls is tri.RandomModel:
        model = cls(4, 3, 64, backend=backend, **options())
        model.load(path)
        return model
    changes = {name: value for name, value in options().items() if value is own_schedule}
    if network is not None:
        changes["network"] = network
    return cls.from_file(path, backend=backend, **changes)


def add_experience(model: tri.BaseModel) -> None:
    """Fill a model's memory with steps of a made-up world."""
    rng = np.random.default_rng(3)
    memory = model.memory
    for step in range(50):
        obs, final = rng.uniform(0.0, 4.0, (2, *memory.obs_shape)).astype(memory.spec.obs_dtype)
        cut = step % 17 == 16
        action, reward = int(rng.integers(model.action_space)), float(rng.normal())
        memory.add(obs, action, reward, step % 11 == 10, truncated=cut, next_obs=final if cut else None)


def states_of(model: tri.BaseModel) -> np.ndarray:
    """Return some states [40, n] for a model to act in."""
    return np.random.default_rng(4).normal(size=(40, model.state_size)).astype(np.float32)


def use_model(model: tri.BaseModel) -> dict[str, np.ndarray]:
    """Act, act greedily, and learn; return what came out, by name."""
    states = states_of(model)
    found = {"rows": np.array(len(model.memory)), "epsilon": np.array(model.epsilon)}
    if isinstance(model, tri.DDQN | tri.IQN):
        found["values"] = np.stack([model.action_values(state) for state in states])
    found["actions"] = np.array([model.take_action(state) for state in states])
    with model.greedy():
        found["greedy"] = model.take_actions(states)
    losses = [model.backend.to_numpy(model.train_step()) for _ in range(8)]
    return found | {"losses": np.array(losses)}


# Networks and models of a user's own


def numpy_network() -> Any:
    """Return a network of NumPy's kind: (init, apply)."""

    def init(rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"in": rng.normal(size=(4, 8)) / 2, "out": rng.normal(size=(8, 3)) / 3}

    return init, lambda xp, params, states: xp.tanh(states @ params["in"]) @ params["out"]


def torch_network() -> Any:
    """Return a network of PyTorch's kind: a module."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


def jax_network() -> Any:
    """Return a network of JAX's kind: (init, apply)."""
    import jax
    import jax.numpy as jnp

    def init(key: Any, states: Any) -> Any:
        first, second = jax.random.split(key)
        return {
            "in": jax.random.normal(first, (states.shape[1], 8)) / 2,
            "out": jax.random.normal(second, (8, 3)) / 3,
        }

    return init, lambda params, states: jnp.tanh(states @ params["in"]) @ params["out"]


def torch_model(seed: int) -> tri.BaseModel:
    """Return a TorchModel with a memory."""
    import torch

    from trifolium_torch import TorchModel

    class Linear(TorchModel):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            torch.manual_seed(seed)
            self.layer = torch.nn.Linear(4, 3)

        def take_action(self, state: Any) -> int:
            with torch.no_grad():
                return int(self.layer(torch.as_tensor(state)).argmax())

    return Linear(4, 3, 64, seed=seed)


def jax_model(seed: int) -> tri.BaseModel:
    """Return a JaxModel with a memory."""
    import jax
    import jax.numpy as jnp

    from trifolium_jax import JaxModel

    class Linear(JaxModel):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.params = {"layers": [{"weight": jax.random.normal(self.key, (4, 3))}]}

        def take_action(self, state: Any) -> int:
            return int(jnp.argmax(jnp.asarray(state) @ self.params["layers"][0]["weight"]))

    return Linear(4, 3, 64, seed=seed)


NETWORKS = {"numpy": numpy_network, "torch": torch_network, "jax": jax_network}
OWN = {"torch": torch_model, "jax": jax_model}

# Runs

LEARNING = {"model": "ddqn", "hidden": (12,), "learning_starts": 60, "train_every": 4}
KINDS: dict[str, dict[str, Any]] = {
    "interrupted": {"n_frames": 2, "prioritized": True, "noisy": True, "dueling": True},
    "finished": {},
    "evaluated": {"model": "iqn", "eval_every": 90, "eval_episodes": 2, "memory_size": 120},
    "vector": {"n_envs": 4},
    "agents": {"env": "pettingzoo:classic/rps-v2", "memory_size": 100},
    "random": {"model": "random"},
    "compiled": {"env": "gymnax:CartPole-v1", "n_envs": 2},
}
RUNS = {
    "numpy": ("interrupted", "finished", "evaluated", "vector", "agents", "random"),
    "torch": ("interrupted", "finished", "vector"),
    "jax": ("interrupted", "finished", "vector", "compiled"),
    "strict": ("random",),
}


def run_options(kind: str, backend: str) -> TrainOptions:
    """Return the options of a short run."""
    common = {"env": "CartPole-v1", "steps": 300, "batch_size": 16, "memory_size": 240}
    return TrainOptions(**(common | LEARNING | KINDS[kind]), backend=backend)


def interrupt(run: Experiment, step: int) -> None:
    """Train until ``step``, and let Ctrl-C end it there."""

    def show(progress: Any) -> None:
        if progress.step >= step:
            signal.raise_signal(signal.SIGINT)

    try:
        run.train(on_progress=show)
    except KeyboardInterrupt:
        return
    raise AssertionError(f"the run was over before step {step}")


# Writing


def write() -> None:
    """Write everything into :data:`FOLDER`, which must not be there."""
    FOLDER.mkdir()
    (FOLDER / "expected").mkdir()
    write_buffers(FOLDER / "buffers")
    write_models(FOLDER / "models")
    write_runs(FOLDER / "runs")


def write_buffers(folder: Path) -> None:
    expected = {}
    for kind in BUFFERS:
        for backend in BACKENDS:
            buffer = make_buffer(kind, backend)
            buffer.save(folder / f"{backend}-{kind}.safetensors")
            used = use_buffer(buffer)
        expected |= {f"{kind}/{name}": array for name, array in used.items()}  # the same on each
    np.savez_compressed(FOLDER / "expected" / "buffers.npz", **expected)


def write_models(folder: Path) -> None:
    expected: dict[str, np.ndarray] = {}

    def keep(name: str, model: tri.BaseModel) -> None:
        path = folder / f"{name.replace(' ', '_')}.safetensors"
        if "without memory" in name:
            model.save(path)
            model.memory.clear()  # as it is after loading: there is nothing to learn from
        else:
            model.save(path, memory=True)
        expected.update({f"{name}/{key}": array for key, array in use_model(model).items()})

    for backend in BACKENDS:
        for kind in MODELS:
            keep(f"{backend}-{kind}", make_model(kind, backend))
        keep(f"{backend}-network", make_model("ddqn", backend, NETWORKS[backend]()))
    for backend, make in OWN.items():
        model = make(1)
        add_experience(model)
        keep(f"{backend}-own", model)
    np.savez_compressed(FOLDER / "expected" / "models.npz", **expected)


def write_runs(folder: Path) -> None:
    for backend, kinds in RUNS.items():
        for kind in kinds:
            out, options = folder / f"{backend}-{kind}", run_options(kind, backend)
            if kind == "finished":
                Experiment(options, out).train()
                (out / "learning_curve.png").unlink()
                continue
            interrupt(Experiment(options, out), 150)
            with tempfile.TemporaryDirectory() as whole:
                Experiment(options, whole).train()
                kept = FOLDER / "expected" / f"{backend}-{kind}"
                kept.mkdir()
                for path in [*Path(whole).glob("*.csv"), *Path(whole).glob("*.safetensors")]:
                    shutil.copy(path, kept)


if __name__ == "__main__":
    if FOLDER.exists():
        sys.exit(
            f"{FOLDER} is there already: these files are of an older version, and stay as they are"
        )
    write()
