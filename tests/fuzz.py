"""Load damaged and hostile files by every loader, use what loads, and report what must not be.

``python tests/fuzz.py --cases 100000`` makes that many files from sound ones, on NumPy; ``--backend``
takes another backend, ``--seed`` other files, ``--only model`` one loader. Each file is a sound
one with one or a few changes: bits, bytes, a shorter or longer file, fields of the manifest, arrays,
values in them, arrays swapped, JSON that costs much. A case fails if

- an error is no CheckpointError, or an error that shows no damage (`ALLOWED`),
- the target of the load has changed,
- what was loaded can't be sampled, added to or trained, or returns rows that were not stored,
- it takes more than 8 s of a processor, or more memory than twice its size and `ALLOWANCE`.

Failures are printed with the numbers that make them again: ``--seed S --case N``. The end is a count of
what was refused and what was loaded, by loader.
"""

import argparse
import contextlib
import copy
import gc
import json
import random
import shutil
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

import trifolium as tri
from trifolium.experiment import Experiment, TrainOptions
from trifolium.models import BaseModel
from trifolium.testing.cases import fill

SECONDS = 8.0
ALLOWANCE = 64 << 20
"""Bytes that the process may grow by in one case, besides twice the file: most of it is the use."""

ALLOWED = (tri.CheckpointError, tri.NotEnoughTransitions)
KEY = "trifolium"
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 0.5, -0.5, 1e300, float("nan"), float("inf")),
    *(10**4, 10**6, 10**8, 10**12, 2**31, 2**53, 2**62, 2**63, 2**64, 10**30, 10**400),
    *("", "x", "1", "numpy", "abacus", "Prioritized", "\x1b[31m", "../../x", "x" * 10_000, "é"),
    *([], [1], [0] * 4, [[]], [[1, 2], "int8"], {}, {"a": 1}, {"linear": {}}, {"of your own": "f"}),
    *([12_000, 12_000], {"linear": {"start": 1, "end": -3, "steps": 2}}),
)
DTYPES = (
    "float32",
    "float64",
    "int8",
    "uint8",
    "int32",
    "int64",
    "uint64",
    "bool",
    "float16",
    "complex64",
)

Content = dict[str, bytes]
"""The files of a case by their names in its folder."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="the number of one case to make again")
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--only", choices=LOADERS, help="one loader")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        only = None if arguments.only is None else [arguments.only]
        fuzzer = Fuzzer(arguments.backend, Path(folder), arguments.seed, only)
        numbers = range(arguments.cases) if arguments.case is None else [arguments.case]
        failures = fuzzer.run(numbers, show=arguments.case is not None)
    for name, counts in sorted(fuzzer.counts.items()):
        print(f"{name}: {', '.join(f'{count} {what}' for what, count in sorted(counts.items()))}")
    print(f"slowest {fuzzer.slowest:.2f} s, most memory {fuzzer.most / 2**20:.0f} MB")
    print(f"{len(numbers)} cases, {len(failures)} failures")
    sys.exit(bool(failures))


class Fuzzer:
    """Makes cases by their numbers, and runs them.

    Args:
        backend: name of the backend.
        folder: an empty folder.
        seed: of the cases.
        only: names of loaders; None for all.
    """

    def __init__(
        self, backend: str, folder: Path, seed: int, only: Collection[str] | None = None
    ) -> None:
        warnings.simplefilter("ignore")  # numbers overflow
        self.counts: dict[str, Counter[str]] = {}
        self.slowest, self.most = 0.0, 0
        self._folder, self._seed = folder, seed
        chosen = [kind for name, kind in LOADERS.items() if only is None or name in only]
        self._loaders = [kind(backend, folder / "sound") for kind in chosen]
        for loader in self._loaders:  # what is compiled or imported counts for no case
            for content in loader.sound:
                self._write(content)
                loader.use(self._folder / "case", content)

    def run(self, numbers: Any, *, show: bool = False) -> list[str]:
        """Run the cases with these numbers; return the failures, which are printed too."""
        failures = []
        for number in numbers:
            failure = self._case(number, show=show)
            if failure is not None:
                failures.append(failure)
                print(f"--seed {self._seed} --case {number}: {failure}", flush=True)
        return failures

    def _case(self, number: int, *, show: bool) -> str | None:
        rng = random.Random(f"{self._seed} {number}")
        loader = self._loaders[number % len(self._loaders)]
        base = rng.choice(loader.sound)
        content, what = mutated(base, rng)
        self._write(content)
        size = sum(map(len, content.values()))
        before, started = begin_peak(), time.process_time()
        result, failure = "loaded", None
        try:
            loader.use(self._folder / "case", base)
        except loader.allowed as error:
            result = type(error).__name__
            if show:
                traceback.print_exc()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is to be reported)
            failure = f"{loader.name}, {what}: {type(error).__name__}: {str(error)[:300]}"
            if show:
                traceback.print_exc()
        seconds, memory = time.process_time() - started, peak() - before
        self.slowest, self.most = max(self.slowest, seconds), max(self.most, memory)
        self.counts.setdefault(loader.name, Counter())[result if failure is None else "failed"] += 1
        if failure is None and seconds > SECONDS:
            failure = f"{loader.name}, {what}: {result} after {seconds:.1f} s"
        if failure is None and memory > 2 * size + ALLOWANCE:
            failure = f"{loader.name}, {what}: {result} with {memory / 2**20:.0f} MB, {size} bytes"
        return failure

    def _write(self, content: Content) -> None:
        case = self._folder / "case"
        shutil.rmtree(case, ignore_errors=True)
        for name, each in content.items():
            (case / name).parent.mkdir(parents=True, exist_ok=True)
            (case / name).write_bytes(each)


# Memory


def begin_peak() -> int:
    """Let the peak of the process's memory begin anew; return what it has now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return peak()


def peak() -> int:
    """Return the largest memory that the process had; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


# Changes


def mutated(content: Content, rng: random.Random) -> tuple[Content, str]:
    """Return a damaged copy of the files of a case, and what was done."""
    content = dict(content)
    done = []
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        name = rng.choice(sorted(content))
        data = content[name]
        kind = "safetensors" if is_safetensors(data) else "json" if name.endswith("json") else "bytes"
        changes = [*CHANGES["bytes"], *4 * CHANGES[kind]]
        change = rng.choice(changes)
        try:
            content[name] = change(data, rng)
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError, struct.error):
            content[name] = flip_bits(data, rng)  # a change before made it too different
        done.append(f"{change.__name__} of {name}")
    return content, ", ".join(done)


def is_safetensors(data: bytes) -> bool:
    return len(data) > 9 and data[8:9] == b"{"


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 8]) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_header(data: bytes, rng: random.Random) -> bytes:
    length = min(int.from_bytes(data[:8], "little") + 8, len(data))
    return flip_bits(data[:length], rng) + data[length:]


def set_bytes(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    junk = rng.choice([b"\0", b"\xff", b"[", b'"', rng.randbytes(8)]) * rng.choice([1, 8, 100])
    return data[:start] + junk + data[start + len(junk) :]


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def lengthen(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.choice([1, 8, 1000]))


def replace(data: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        [b"", b"{}", b"[]", b"null", b"\x80\x04N.", b"PK\3\4", bytes(1000), b"[" * 200_000]
    )


def change_json(data: bytes, rng: random.Random) -> bytes:
    return json.dumps(changed_value(json.loads(data), rng)).encode()


def json_bomb(data: bytes, rng: random.Random) -> bytes:
    return json.dumps(bombed(json.loads(data), rng)).encode().replace(b'"BOMB"', bomb(rng))


def change_manifest(data: bytes, rng: random.Random) -> bytes:
    manifest, arrays = parts(data)
    return packed(changed_value(manifest, rng), arrays)


def manifest_bomb(data: bytes, rng: random.Random) -> bytes:
    manifest, arrays = parts(data)
    text = json.dumps(bombed(manifest, rng)).replace('"BOMB"', bomb(rng).decode())
    return save(arrays, metadata={KEY: text})


def change_header(data: bytes, rng: random.Random) -> bytes:
    """Change a field of the header itself: a dtype, a shape, an offset."""
    length = int.from_bytes(data[:8], "little")
    text = json.dumps(changed_value(json.loads(data[8 : 8 + length]), rng)).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def change_values(data: bytes, rng: random.Random) -> bytes:
    """Set some values of an array to ones that are far from sound."""
    manifest, arrays = parts(data)
    name = rng.choice(sorted(arrays))
    array = np.array(arrays[name])
    flat = array.reshape(-1)
    if not len(flat):
        raise ValueError
    places = [rng.randrange(len(flat)) for _ in range(rng.choice([1, 3, len(flat)]))]
    limits: Any = np.finfo if array.dtype.kind == "f" else np.iinfo
    if array.dtype.kind == "b":
        flat[places] = ~flat[places]
    else:
        low, high = limits(array.dtype).min, limits(array.dtype).max
        around: list[Any] = [low, high, high // 2 + 1, -1, 0, 1, 2, 3, 8, 127, 128, 255]
        if array.dtype.kind == "f":
            around = [low, high, np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-30, 1e30, 1.0]
        chosen = rng.choice(
            [value for value in around if array.dtype.kind == "f" or low <= value <= high]
        )
        flat[places] = chosen
    return packed(manifest, arrays | {name: array})


def change_array(data: bytes, rng: random.Random) -> bytes:
    """Give an array another shape, dtype or length, or take it away."""
    manifest, arrays = parts(data)
    name = rng.choice(sorted(arrays))
    array = arrays.pop(name)
    kind = rng.choice(["none", "dtype", "shorter", "longer", "flat", "axis", "empty", "name"])
    flat = array.reshape(-1)
    others = {
        "dtype": lambda: array.astype(rng.choice(DTYPES)),
        "shorter": lambda: array[:-1],
        "longer": lambda: np.concatenate([array, array]),
        "flat": lambda: flat,
        "axis": lambda: array[None],
        "empty": lambda: flat[:0],
        "name": lambda: array,
    }
    if kind != "none":
        arrays[name + "x" * (kind == "name")] = others[kind]()
    return packed(manifest, arrays)


def swap_arrays(data: bytes, rng: random.Random) -> bytes:
    manifest, arrays = parts(data)
    one, other = rng.sample(sorted(arrays), 2)
    arrays[one], arrays[other] = arrays[other], arrays[one]
    return packed(manifest, arrays)


CHANGES: dict[str, list[Callable[[bytes, random.Random], bytes]]] = {
    "bytes": [flip_bits, set_bytes, cut, lengthen, replace],
    "json": [change_json, change_json, json_bomb],
    "safetensors": [
        *(change_manifest, change_manifest, change_manifest, manifest_bomb, change_header, flip_header),
        *(change_values, change_values, change_values, change_array, swap_arrays),
    ],
}


def parts(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """Return (manifest, arrays) of a safetensors file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            with safe_open(file.name, framework="numpy") as opened:
                arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
                return json.loads((opened.metadata() or {})[KEY]), arrays
        except Exception as error:  # the library's errors have no common base
            raise ValueError from error


def packed(manifest: Any, arrays: dict[str, np.ndarray]) -> bytes:
    plain = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    return save(plain, metadata={KEY: json.dumps(manifest)})


def changed_value(value: Any, rng: random.Random) -> Any:
    """Return a copy of a JSON value in which one inner value is another one, or is gone."""
    value = copy.deepcopy(value)
    places = list(inner_places(value))
    if not places:
        return rng.choice(JUNK)
    at, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.15:
        del at[key]
    elif kind < 0.3 and isinstance(at[key], int | float) and not isinstance(at[key], bool):
        at[key] = rng.choice([at[key] + 1, at[key] - 1, -at[key], at[key] * 2, float(at[key])])
    elif kind < 0.4:
        other_at, other_key = rng.choice(places)
        at[key] = copy.deepcopy(other_at[other_key])
    else:
        at[key] = rng.choice(JUNK)
    return value


def bombed(value: Any, rng: random.Random) -> Any:
    value = copy.deepcopy(value)
    at, key = rng.choice(list(inner_places(value)))
    at[key] = "BOMB"
    return value


def bomb(rng: random.Random) -> bytes:
    count = rng.choice([500, 10_000, 10**6])
    kinds = [b"[" * count + b"]" * count, b"[" + b"[]," * count + b"0]"]
    kinds += [b"[" + b"1e9," * count + b"0]", b'{"a":' * count + b"0" + b"}" * count]
    return rng.choice(kinds)


def inner_places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every value in nested dicts and lists."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from inner_places(value[key])


# Loaders


class Loader:
    """Loads the files of a case and uses what was loaded.

    Args:
        backend: name of the backend.
        folder: where sound files are made.

    Attributes:
        sound: the files of sound cases.
        allowed: errors that say what is wrong with a file.
    """

    name = ""
    allowed: tuple[type[Exception], ...] = ALLOWED
    sound: list[Content]

    def __init__(self, backend: str, folder: Path) -> None:
        self.backend = backend
        self.sound = [contents(path) for path in self.make(folder / self.name)]

    def make(self, folder: Path) -> Iterator[Path]:
        """Yield folders with the files of sound cases."""
        raise NotImplementedError

    def use(self, case: Path, base: Content) -> None:
        """Load a case, and use it."""
        raise NotImplementedError


def contents(folder: Path) -> Content:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


BUFFERS: tuple[dict[str, Any], ...] = (
    {},
    {"n_frames": 3, "boundary": "pad"},
    {"n_streams": 3, "n_step": 3, "extras": {"tag": "int32", "seen": "bool"}},
    {"n_frames": 2, "sampler": tri.Prioritized},
    {
        "n_streams": 2,
        "sampler": lambda: tri.Prioritized(beta=tri.Linear(0.4, 1.0, 9)),
        "boundary": "pad",
    },
    {"sampler": lambda: tri.Uniform(valid_only=True)},
    {"obs_shape": {"a": ((2,), "uint8"), "b": {"c": ()}}, "n_frames": {"a": 2}},
)


def made(backend: str, options: dict[str, Any], path: Path | None = None) -> tri.Buffer:
    """Return a buffer that has wrapped around and was drawn from."""
    chosen = {"capacity": 30, "obs_shape": (2,), "seed": 0, "action_dtype": "int32"} | options
    if "sampler" in chosen:
        chosen["sampler"] = chosen["sampler"]()
    buffer = tri.Buffer(**chosen, backend=backend, path=path)
    for part in range(2):
        add(buffer, 25, part)
        batch = buffer.sample(4)
        if isinstance(buffer.sampler, tri.Prioritized):
            buffer.update_priorities(batch.indices, np.arange(4.0))
    return buffer


def add(buffer: tri.Buffer, steps: int, seed: int) -> None:
    """Add steps, and at the end one with a successor that waits."""
    spec = buffer.spec
    if spec.is_structured:
        for step in range(steps):
            buffer.add(observed(spec, step), 0, 1.0, step % 7 == 6, next_obs=observed(spec, step + 1))
        return
    fill(buffer, steps, seed=seed)
    streams = (spec.n_streams,) if spec.n_streams > 1 else ()
    obs = np.zeros((*streams, *spec.obs_shape), spec.obs_dtype)
    extras = {name: np.zeros((*streams, *shape), dtype) for name, shape, dtype in spec.extras}
    action = np.zeros((*streams, *spec.action_shape), spec.action_dtype)
    flags = np.zeros(streams, bool)
    buffer.add(obs, action, np.zeros(streams), flags, next_obs=obs, **extras)


def observed(spec: Any, step: int) -> Any:
    from trifolium.replay.schema import nested

    return nested(spec.leaves, [np.full(leaf.shape, step, leaf.dtype) for leaf in spec.leaves])


def use_buffer(buffer: tri.Buffer) -> None:
    """Draw and add, in turn; what is drawn must be stored."""
    for part in range(2):
        store = buffer._store
        stored = {
            int(index)
            for stream in range(buffer.n_streams)
            for index in store.ring.indices(
                np.full(int(store.ring.sizes[stream]), stream),
                np.arange(
                    store.ring.written[stream] - store.ring.sizes[stream], store.ring.written[stream]
                ),
            )
        }
        if buffer.drawable:
            try:
                batch = buffer.sample(min(4, buffer.drawable))
            except tri.NotEnoughTransitions:  # no row is valid
                batch = None
            if batch is not None:
                assert set(np.asarray(batch.indices).tolist()) <= stored, "rows that are not stored"
                weights = buffer.backend.to_numpy(batch.weights)
                assert np.isfinite(weights).all(), "weights that are not finite"
                again = buffer.fetch(batch.indices)
                assert again.batch_size == batch.batch_size
                if isinstance(buffer.sampler, tri.Prioritized):
                    buffer.update_priorities(batch.indices, np.ones(batch.batch_size))
            with contextlib.suppress(tri.NotEnoughTransitions):
                buffer.sample_sequences(2, 2)
        if buffer.capacity * sum(field.nbytes for field in buffer.spec.columns) < 1 << 24:
            add(buffer, 6, part)
            assert len(buffer) > 0


class BufferLoad(Loader):
    name = "buffer"

    def make(self, folder: Path) -> Iterator[Path]:
        for number, options in enumerate(BUFFERS):
            made(self.backend, options).save(folder / str(number) / "buffer")
            yield folder / str(number)
        tri.Buffer(8, 2, backend=self.backend).save(folder / "empty" / "buffer")
        yield folder / "empty"

    def use(self, case: Path, base: Content) -> None:
        use_buffer(tri.Buffer.load(case / "buffer", backend=self.backend))


class BufferOpen(Loader):
    name = "folder"

    def make(self, folder: Path) -> Iterator[Path]:
        for number, options in enumerate(BUFFERS):
            made(self.backend, options, folder / str(number)).flush()
            yield folder / str(number)

    def use(self, case: Path, base: Content) -> None:
        before = contents(case)
        try:
            buffer = tri.Buffer.open(case, backend=self.backend)
        except tri.CheckpointError:
            assert contents(case) == before, "the folder has changed"
            raise
        use_buffer(buffer)
        buffer.flush()
        del buffer
        gc.collect()
        tri.Buffer.open(case, backend=self.backend)


class FromState(Loader):
    """States in memory, of which arrays are changed; as files they have no other header."""

    name = "state"

    def make(self, folder: Path) -> Iterator[Path]:
        self._states = {}
        for number, options in enumerate(BUFFERS):
            state = made(self.backend, options).state()
            arrays = {f"column.{name}": each for name, each in state.columns.items()}
            arrays |= {f"successor.{name}": each for name, each in state.successors.items()}
            names = ("actions", "rewards", "marks", "written", "sizes", "has_successor")
            arrays |= {name: getattr(state, name) for name in names}
            if state.priorities is not None:
                arrays |= state.priorities._asdict()
            host = {name: state.backend.to_numpy(each) for name, each in arrays.items()}
            (folder / str(number)).mkdir(parents=True)
            (folder / str(number) / "state").write_bytes(packed(number, host))
            self._states[number] = state
            yield folder / str(number)

    def use(self, case: Path, base: Content) -> None:
        from dataclasses import replace as replaced

        number, _ = parts(base["state"])
        state: Any = self._states[number]
        try:
            _, arrays = parts((case / "state").read_bytes())
            native = {name: state.backend.from_numpy(each.copy()) for name, each in arrays.items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise tri.CheckpointError("no safetensors file") from None  # nothing that a loader sees
        names = ("actions", "rewards", "marks", "written", "sizes", "has_successor")
        fields = {name: native[name] for name in names if name in native}
        for group in ("column", "successor"):
            old = getattr(state, f"{group}s")
            fields[f"{group}s"] = {
                name: native.get(f"{group}.{name}", each) for name, each in old.items()
            }
        if state.priorities is not None:
            old = state.priorities._asdict()
            fields["priorities"] = type(state.priorities)(
                **{n: native.get(n, v) for n, v in old.items()}
            )
        try:
            buffer = tri.Buffer.from_state(replaced(state, **fields), seed=0)
        except ValueError as error:
            if "state has cursors of shape" in str(error):  # the error for many states in one
                raise tri.CheckpointError(str(error)) from error
            raise
        use_buffer(buffer)


MODELS: tuple[tuple[type[BaseModel], dict[str, Any], bool], ...] = (
    (tri.DDQN, {}, True),
    (tri.DDQN, {"dueling": True, "sampler": tri.Prioritized, "n_streams": 2, "polyak": 0.1}, True),
    (tri.DDQN, {"epsilon": tri.Linear(0.9, 0.1, 50), "learning_rate": tri.Linear(1e-3, 0.0, 9)}, False),
    (tri.IQN, {"noisy": True, "cosines": 4, "quantiles": 3}, True),
    (tri.RandomModel, {}, True),
)


def made_model(backend: str, number: int, seed: int) -> Any:
    cls, options, _ = MODELS[number]
    chosen: dict[str, Any] = {"seed": seed, "action_dtype": "int32"} | options
    if cls is not tri.RandomModel:
        chosen |= {"hidden": (6, 5), "batch_size": 8}
    if "sampler" in chosen:
        chosen["sampler"] = chosen["sampler"]()
    model = cls(3, 2, 60, backend=backend, **chosen)
    for step in range(30):
        obs = np.full((model.memory.n_streams, 3), step, np.float32)
        action, reward = np.full(len(obs), step % 2), np.ones(len(obs))
        model.memory.extend(
            obs[None] if len(obs) > 1 else obs,
            action[None] if len(obs) > 1 else action,
            reward[None] if len(obs) > 1 else reward,
            np.full((1, len(obs)) if len(obs) > 1 else 1, step % 9 == 8),
        )
    model.take_action(np.zeros(3))
    model.train_step()
    return model


def everything(model: Any) -> dict[str, Any]:
    """Return all that a load may change."""
    names = ("epsilon", "epsilon_schedule", "learning_rate", "batch_size", "target_update")
    return {
        **{name: array.tobytes() for name, array in model.state().items()},
        **{name: getattr(model, name, None) for name in names},
        "rng": repr(model.rng.bit_generator.state),
        "memory": (id(model.memory), len(model.memory), repr(model.memory.rng.bit_generator.state)),
    }


def use_model(model: Any) -> None:
    """Act, add and learn."""
    model.take_action(np.zeros(3))
    with model.greedy():
        model.take_action(np.ones(3))
    memory = model.memory
    obs = np.zeros((memory.n_streams, 3), np.float32) if memory.n_streams > 1 else np.zeros(3)
    zeros = np.zeros(memory.n_streams, np.int32) if memory.n_streams > 1 else 0
    for _ in range(3):
        memory.add(obs, zeros, zeros, zeros)
    for _ in range(2):
        try:
            loss = model.backend.to_numpy(model.train_step())
        except ValueError as error:  # finite weights so large that the errors are not
            if "td holds values that are not finite" not in str(error):
                raise
        else:
            assert loss.shape == ()


class ModelLoad(Loader):
    """Loads into a model that is there, which must stay as it is if the file is refused."""

    name = "model"

    def make(self, folder: Path) -> Iterator[Path]:
        self._targets: dict[int, Any] = {}
        for number, (_, _, memory) in enumerate(MODELS):
            path = folder / str(number) / f"model-{number}"
            made_model(self.backend, number, 0).save(path, memory=memory)
            yield folder / str(number)

    def use(self, case: Path, base: Content) -> None:
        (name,) = base
        number = int(name[-1])
        target = self._targets.pop(number, None) or made_model(self.backend, number, 1)
        before = everything(target)
        try:
            target.load(case / name)
        except tri.CheckpointError:
            after = everything(target)
            changed = [key for key in before if before[key] != after.get(key)]
            assert not changed, f"the model has changed: {changed}"
            self._targets[number] = target  # it is as it was
            raise
        use_model(target)


class FromFile(ModelLoad):
    name = "from_file"

    def use(self, case: Path, base: Content) -> None:
        (name,) = base
        cls: Any = MODELS[int(name[-1])][0]
        if cls is tri.RandomModel:
            super().use(case, base)
            return
        try:
            model = cls.from_file(case / name, backend=self.backend)
        except ValueError as error:  # an option of the user's own is to be given again
            if "was saved with" in str(error) and "again" in str(error):
                raise tri.CheckpointError(str(error)) from error
            raise
        use_model(model)


class Resume(Loader):
    """Folders of runs: config.json, the manifest, and the model."""

    name = "run"
    # the environment repeats other actions than those of the file; a device is not on this machine
    allowed = (*ALLOWED, tri.WorldError, tri.BackendError)

    def make(self, folder: Path) -> Iterator[Path]:
        common = {"env": "CartPole-v1", "batch_size": 8, "memory_size": 60, "learning_starts": 20}
        kinds = ({"model": "ddqn", "hidden": (6,)}, {"model": "iqn", "hidden": (6,), "cosines": 4})
        for number, kind in enumerate((*kinds, {"model": "random", "n_envs": 2})):
            options = TrainOptions(
                **(common | kind), backend=self.backend, steps=120, checkpoint_every=50
            )
            interrupt(Experiment(options, folder / str(number)), 60)
            yield folder / str(number)

    def use(self, case: Path, base: Content) -> None:
        try:
            run = Experiment.resume(case)
        except FileNotFoundError:
            raise tri.CheckpointError("config.json was renamed") from None
        except ModuleNotFoundError as error:  # actors and shards, where Ray is not installed
            if "trifolium[ray]" in str(error):
                raise tri.CheckpointError(str(error)) from error
            raise
        try:
            for _ in range(3):
                run.runner.step()
            for model in run.models.values():
                model.train_step()
        finally:
            run.runner.close()


def interrupt(run: Experiment, step: int) -> None:
    """Train until ``step``, and let Ctrl-C end it there."""
    import signal

    def stop(progress: Any) -> None:
        if progress.step >= step:
            signal.raise_signal(signal.SIGINT)

    try:
        run.train(on_progress=stop)
    except KeyboardInterrupt:
        return
    raise AssertionError("the run was over before")


LOADERS: dict[str, type[Loader]] = {
    kind.name: kind for kind in (BufferLoad, BufferOpen, FromState, ModelLoad, FromFile, Resume)
}

if __name__ == "__main__":
    main()
