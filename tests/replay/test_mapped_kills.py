"""Buffers in a folder after a kill: nothing flushed is missing, and no row is half written."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import trifolium as tri

ROOT = Path(__file__).parents[2]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"n_frames": 3, "boundary": "pad"},
    {"n_streams": 2, "n_step": 2},
    {"sampler": tri.Prioritized},
]
CAPACITY = 16


def made(backend: tri.Backend, path: Path, options: dict[str, Any], capacity: int = CAPACITY) -> Any:
    chosen = dict(options)
    if "sampler" in chosen:
        chosen["sampler"] = chosen["sampler"]()
    extras = {"tag": "int64"} if backend.default_int == "int64" else {"tag": "int32"}
    return tri.Buffer(capacity, (2,), backend=backend, path=path, seed=0, extras=extras, **chosen)


class Writer:
    """Writes steps whose columns all hold the step's number, in every way there is."""

    def __init__(self, buffer: tri.Buffer, seed: int) -> None:
        self.buffer, self.rng = buffer, random.Random(seed)
        self.number = 0

    def write(self) -> None:
        """Write a few steps."""
        buffer, n_streams = self.buffer, self.buffer.n_streams
        kind = self.rng.choice(["add", "add", "extend", "long", "end", "empty", "from"])
        ends: dict[str, Any] = {"done": self.rng.random() < 0.2, "truncated": self.rng.random() < 0.3}
        if self.rng.random() < 0.5:
            ends["next_obs"] = [0.5, 0.5] if self.rng.random() < 0.5 else None
        if kind == "end":
            buffer.end_episode()
        elif kind == "empty":
            buffer.add_empty()
        elif kind == "from":
            other = made(buffer.backend, None, {"n_streams": n_streams}, 8)  # type: ignore[arg-type]
            Writer(other, 0).add(self.take(1), {"done": False}, 0)
            buffer.add_from_buffer(other)
        elif kind == "add":
            stream = self.rng.randrange(n_streams + 1)
            self.add(self.take(1), ends, None if stream == n_streams else stream)
        else:
            self.extend(self.take(3 if kind == "extend" else 11), ends)

    def take(self, count: int) -> np.ndarray:
        self.number += count
        return np.arange(self.number - count + 1, self.number + 1)

    def add(self, numbers: np.ndarray, ends: dict[str, Any], stream: int | None) -> None:
        if stream is not None or self.buffer.n_streams == 1:
            step, obs = int(numbers[0]), [float(numbers[0])] * 2
            self.buffer.add(obs, step, float(step), **ends, tag=step, stream=stream)
        else:
            self.extend(numbers, ends)

    def extend(self, numbers: np.ndarray, ends: dict[str, Any]) -> None:
        count, streams = len(numbers), self.buffer.n_streams
        shape = (count, streams) if streams > 1 else (count,)
        each = np.broadcast_to(numbers[:, None], (count, streams)).reshape(shape)
        given = {name: np.full(shape, ends[name]) for name in ("done", "truncated") if name in ends}
        if ends.get("next_obs") is not None:
            given["next_obs"] = np.full((*shape, 2), 0.5)
        obs = np.repeat(each[..., None], 2, -1).astype("float32")
        self.buffer.extend(obs, each, each.astype("float32"), **given, tag=each)


def rows_of(buffer: tri.Buffer) -> list[list[list[float]]]:
    """Return (obs, action, reward, tag, mark) of every stored row, stream by stream."""
    ring, to_numpy = buffer._store.ring, buffer.backend.to_numpy
    columns = [buffer.states, buffer.actions, buffer.rewards, buffer.extra_data["tag"]]
    host = [to_numpy(each).reshape(buffer.capacity, -1) for each in columns]
    together = np.concatenate([*host, ring.marks[:, None]], axis=1).astype(float)
    return [together[ring.stored_rows(stream)].tolist() for stream in range(buffer.n_streams)]


def check_whole(rows: list[list[list[float]]]) -> None:
    for row in [row for stream in rows for row in stream]:
        *values, _ = row
        is_step = len(set(values)) == 1
        is_idle = values in ([0.5, 0.5, 0, 0, 0], [0] * 5)
        assert is_step or is_idle, row


def check_draws(buffer: tri.Buffer) -> None:
    """Check that the steps drawn are whole, and their successors those that were given."""
    to_numpy = buffer.backend.to_numpy
    if buffer.drawable == 0:
        return
    try:
        batch = buffer.sample(min(4, buffer.drawable))
    except tri.NotEnoughTransitions:  # none of the rows is valid
        assert isinstance(buffer.sampler, tri.Prioritized)
        return
    states, actions, tags = (to_numpy(a) for a in (batch.states, batch.actions, batch.extras["tag"]))
    for number, valid in enumerate(to_numpy(batch.valid)):
        if valid:
            own = states[number, -2:]
            assert (own == actions[number]).all()
            assert (own == tags[number]).all()


@pytest.mark.slow_on("strict", "torch", "jax")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=str(options), marks=[pytest.mark.slow] * (number % 3 == 0))
        for number, options in enumerate(OPTIONS)
    ],
)
def test_a_kill_at_any_line(backend: tri.Backend, tmp_path: Path, options: dict[str, Any]) -> None:
    """The folder is copied at every line that runs: what a process killed there leaves behind."""
    folder, copies = tmp_path / "rows", tmp_path / "copies"
    writer = Writer(made(backend, folder, options), seed=OPTIONS.index(options))
    copies.mkdir()
    snapshots = 0
    seen: dict[bytes, Path] = {}

    def snapshot() -> None:
        names = sorted(path for path in folder.iterdir())
        content = b"".join(path.name.encode() + path.read_bytes() for path in names)
        if content not in seen:
            seen[content] = Path(shutil.copytree(folder, copies / str(len(seen))))

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if "trifolium/replay" not in name and not name.endswith("trifolium/files.py"):
            return None
        if event == "line":
            snapshot()
        if event == "call" and frame.f_code.co_name == "commit":
            flushes.append((rows_of(writer.buffer), cursors().copy()))
        return trace

    def cursors() -> np.ndarray:
        return writer.buffer._store.ring.written

    for turn in range(20):
        found = rows_of(tri.Buffer.open(shutil.copytree(folder, copies / "flushed"), backend=backend))
        shutil.rmtree(copies / "flushed")
        flushes = [(found, cursors().copy())]
        tracing = sys.gettrace()
        sys.settrace(trace)
        try:
            writer.write()
            if turn % 3 == 2:
                writer.buffer.flush()
        finally:
            sys.settrace(tracing)
        snapshots += len(seen)
        for path in seen.values():
            found_buffer = tri.Buffer.open(path, backend=backend)
            found = rows_of(found_buffer)
            check_whole(found)
            assert any(
                all(
                    len(rows) >= len(old) - written and rows == old[len(old) - len(rows) :]
                    for rows, old, written in zip(found, flushed, cursors() - before, strict=True)
                )
                for flushed, before in flushes
            ), path
            check_draws(found_buffer)
            del found_buffer  # and killed again, before a flush
            assert rows_of(tri.Buffer.open(path, backend=backend)) == found
            shutil.rmtree(path)
        seen.clear()
    assert snapshots > 100


def test_a_full_ring_flushes_before_half_of_it_is_overwritten(
    backend: tri.Backend, tmp_path: Path
) -> None:
    buffer = made(backend, tmp_path / "rows", {}, 20)
    for step in range(100):
        buffer.add([step, step], step, step, False, tag=step)
        if step == 30:
            buffer.flush()
        if step > 30 and step % 3 == 0:
            found = tri.Buffer.open(shutil.copytree(tmp_path / "rows", tmp_path / "copy"))
            assert len(found) >= 10
            newest = found.backend.to_numpy(found.rewards)[found._store.ring.all_rows()].max()
            assert step - newest <= 10
            del found
            shutil.rmtree(tmp_path / "copy")


@pytest.mark.parametrize("flushed_last", [True, False])
def test_after_a_failure_of_the_machine(
    backend: tri.Backend, tmp_path: Path, flushed_last: bool
) -> None:
    """The live cursor is not trusted after another boot, but no row is dropped without need."""
    buffer = made(backend, tmp_path / "rows", {}, 20)
    for step in range(50):
        buffer.add([step, step], step, step, False, tag=step)
        if step == 47 or (step == 49 and flushed_last):
            buffer.flush()
    del buffer
    if not np.load(tmp_path / "rows" / "reserved.int64.npy")[2:].any():
        pytest.skip("this system does not number its boots")
    boot = np.load(tmp_path / "rows" / "reserved.int64.npy", mmap_mode="r+")
    boot[2:] += 1
    np.load(tmp_path / "rows" / "written.int64.npy", mmap_mode="r+")[:] = 48  # what reached the disk
    del boot
    for _ in range(2):
        found = tri.Buffer.open(tmp_path / "rows", backend=backend)
        rewards = backend.to_numpy(found[:][2]).tolist()
        assert rewards == (list(range(30, 50)) if flushed_last else list(range(38, 48)))
        del found


# Processes that are killed

LIMIT = """
import os, random, resource, sys
import numpy as np
import trifolium as tri

folder, backend, megabytes = sys.argv[1], sys.argv[2], int(sys.argv[3])
tri.Buffer(8, (1,), backend=backend).add([0.0], 0, 0.0, False)  # the framework is loaded
if sys.platform == "linux":
    used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
    limit = (used << 10) + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
"""

CHILD = (
    LIMIT
    + """
log, seed = sys.argv[4:]
rng, log = random.Random(int(seed)), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
buffer = tri.Buffer.open(folder, backend=backend)
number, longest = int(buffer._store.ring.written[0]), max(5, buffer.capacity // 200)

def say(what):
    os.write(log, f"{what} {number}\\n".encode())

def write(count):
    global number
    numbers = np.arange(number, number + count)[:, None] + np.zeros(2, int)
    obs = np.repeat(numbers[:, :, None], 1024, -1).astype(np.float32)
    done = numbers % 7 == 6
    number += count
    say("tried")
    if count == 1:
        buffer.add(obs[0], numbers[0], numbers[0], done[0], tag=numbers[0])
    else:
        buffer.extend(obs, numbers, numbers, done, tag=numbers)

def flush():
    buffer.flush()
    say("flushed")

while number < buffer.capacity // 2:  # not full yet
    write(longest)
flush()
say("ready")
while True:
    write(rng.choice([1, 1, 1, 5, longest]))
    states, actions, *_ = map(buffer.backend.to_numpy, buffer.sample(16))
    assert (states == actions).all() and 0 <= states.min() <= states.max() < number
    if rng.random() < 0.1:
        flush()
"""
)


CHECKED = 1000  # observations of the newest rows, and as many of any rows


def kill_at_random(
    backend: tri.Backend, folder: Path, kills: int, capacity: int = 128, megabytes: int = 64
) -> None:
    """Kill processes that have ``megabytes`` of memory, and write to a folder and draw from it."""
    rng = random.Random(0)
    tri.Buffer(
        capacity, (1024,), backend=backend, path=folder, seed=0, n_streams=2, extras={"tag": "int32"}
    ).flush()
    longest = oldest = 0
    for seed in range(kills):
        log = folder.parent / f"log-{seed}"
        arguments = [str(folder), backend.name, str(megabytes), str(log), str(seed)]
        child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments])
        while not log.exists() or "ready" not in log.read_text():
            assert child.poll() is None, "the child failed"
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        lines = [line.split() for line in log.read_text().splitlines()]
        flushed = [int(number) for what, number in lines if what == "flushed"][-1]
        tried = max(int(number) for _, number in lines)
        longest = max(longest, tried - flushed)
        oldest = max(oldest, tried - capacity // 2)  # older rows were overwritten, now or before
        buffer = tri.Buffer.open(folder, backend=backend)
        columns = (buffer.actions, buffer.rewards, buffer.extra_data["tag"])
        numbers = [backend.to_numpy(each) for each in columns]
        for stream in range(2):
            rows = buffer._store.ring.stored_rows(stream)
            newest = int(buffer._store.ring.written[stream])
            found = numbers[0][rows]
            assert found.tolist() == list(range(newest - len(rows), newest))
            looked_at = found[-CHECKED:].tolist() + rng.sample(found.tolist(), min(CHECKED, len(found)))
            states = buffer.fetch(np.array(looked_at) * 2 + stream).states
            assert (backend.to_numpy(states) == np.array(looked_at)[:, None]).all()
            assert all((each[rows] == found).all() for each in numbers)
            assert flushed <= newest <= tried
            assert set(range(oldest, flushed)) <= set(found.tolist())
        batch = buffer.sample(16)
        assert (backend.to_numpy(batch.states) == backend.to_numpy(batch.rewards)).all()
        assert len(buffer) >= capacity // 2
        del buffer, batch
    assert longest > 0, "no child was killed between flushes"


@pytest.mark.slow_on("strict", "torch", "jax")
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_processes(backend: tri.Backend, tmp_path: Path) -> None:
    kill_at_random(backend, tmp_path / "rows", 3)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_many_killed_processes_with_a_third_of_the_memory(backend: tri.Backend, tmp_path: Path) -> None:
    # the files are written by the same code on every backend, and most frameworks take long to load
    kills = 40 if backend.name == "numpy" else 10
    kill_at_random(backend, tmp_path / "rows", kills, capacity=3 * (64 << 20) // 4096, megabytes=64)


LIMITED = (
    LIMIT
    + """
rows = 3 * (megabytes << 20) // 4096
try:
    tri.Buffer(rows, (1024,), backend="numpy").extend(np.zeros((8, 1024)), *np.zeros((3, 8)))
except MemoryError:
    print("too large for memory")
buffer = tri.Buffer(rows, (1024,), backend=backend, path=folder, seed=0)
for start in range(0, rows, 1000):
    numbers = np.arange(start, min(start + 1000, rows))
    obs = np.repeat(numbers[:, None], 1024, 1).astype(np.float32)
    buffer.extend(obs, numbers * 0, numbers, numbers < 0)
buffer.flush()
seen = []
for _ in range(100):
    batch = buffer.sample(64)
    states, rewards = map(buffer.backend.to_numpy, (batch.states, batch.rewards))
    assert (states == rewards).all()
    seen += rewards[:, 0].tolist()
assert len(buffer) == rows and min(seen) < rows / 50 and max(seen) > rows * 0.98
print("drawn")
"""
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA")
def test_a_memory_three_times_the_limit(backend: tri.Backend, tmp_path: Path) -> None:
    arguments = [str(tmp_path / "rows"), backend.name, "128"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "too large for memory\ndrawn\n"), done.stderr
    assert len(tri.Buffer.open(tmp_path / "rows", backend=backend)) == 3 * (128 << 20) // 4096
