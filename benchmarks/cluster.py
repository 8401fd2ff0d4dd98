"""Memory shards and actors on Ray: rates beside torchrl's RayReplayBuffer, a run, memory over minutes.

    python tests/loopback.py python benchmarks/cluster.py rates [--seconds 3] [--rounds 5]
    python tests/loopback.py python benchmarks/cluster.py parts [--seconds 3]
    python tests/loopback.py python benchmarks/cluster.py cartpole [--steps 200000]
    python tests/loopback.py python benchmarks/cluster.py footprint [--minutes 10]

Ray runs on this machine, in a network of loopback alone. docs/howto/ray.md has some results.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from trifolium import DDQN
from trifolium.distributed import Actors, ShardedBuffer
from trifolium.distributed.cluster import load_ray
from trifolium.experiment.runners import VectorRunner
from trifolium.worlds.gym import make_vector

KINDS: dict[str, dict[str, Any]] = {
    "vec": {"obs_shape": (4,), "obs_dtype": "float32", "capacity": 100_000},
    "image": {"obs_shape": (84, 84), "obs_dtype": "uint8", "n_frames": 4, "capacity": 10_000},
}
BATCH, STREAMS, CHUNK, FILL = 256, 4, 256, 2000
OBJECTS = 1_000_000_000  # bytes of Ray's store


def steps(rng: np.random.Generator, memory: Any, count: int) -> dict[str, Any]:
    """Return made-up arguments of ``extend``."""
    spec = memory.spec
    lead = (count, spec.n_streams) if spec.n_streams > 1 else (count,)
    obs = rng.integers(0, 255, (*lead, *spec.obs_shape)).astype(spec.obs_dtype)
    zeros = np.zeros(lead, np.int64)
    return {"obs": obs, "action": zeros, "reward": zeros.astype(np.float32), "done": zeros}


def rate(calls: Iterator[Any], seconds: float) -> float:
    """Return how many calls a second are made, after the first few."""
    for _ in range(5):
        next(calls)
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        next(calls)
        count += 1
    return count / passed


# Rates


class Ours:
    """Shards of this package."""

    def __init__(self, kind: str, address: str | None, shards: int) -> None:
        options = KINDS[kind]
        self.memory = ShardedBuffer(
            **options, n_streams=STREAMS, shards=shards, seed=0, address=address
        )
        writer = self.memory.writer(STREAMS, chunk=CHUNK)
        rng = np.random.default_rng(0)
        for _ in range(FILL // 100):
            writer.extend(**steps(rng, self.memory, 100 // STREAMS))
        writer.flush()
        chunk = {name: value[:, 0] for name, value in steps(rng, self.memory, CHUNK).items()}
        self._writer, self._chunk = writer, chunk

    def sample(self, prefetch: int, seconds: float) -> float:
        """Return minibatches a second."""
        return rate(iter(self.memory.as_dataset(BATCH, prefetch=prefetch)), seconds)

    def write(self, seconds: float) -> float:
        """Return rows a second that one writer stores, in chunks of one stream each."""
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            for stream in range(STREAMS):
                self._writer.extend(**self._chunk, stream=stream)
                count += CHUNK
        self._writer.flush()  # all of them are stored
        return count / (time.perf_counter() - start)

    def close(self) -> None:
        self.memory.close()


class TorchRL:
    """``torchrl.data.RayReplayBuffer``; a row holds the observation and the next one."""

    def __init__(self, kind: str) -> None:
        import torch
        from tensordict import TensorDict
        from torchrl.data import LazyTensorStorage, RayReplayBuffer

        options = KINDS[kind]
        shape = (options["n_frames"], *options["obs_shape"]) if "n_frames" in options else (4,)
        dtype = getattr(torch, options["obs_dtype"])
        self.buffer = RayReplayBuffer(
            storage=partial(LazyTensorStorage, FILL + CHUNK),
            batch_size=BATCH,
            remote_config={"num_cpus": 0},
            ray_init_config={"address": "auto"},
        )

        def rows(count: int) -> Any:
            obs = torch.randint(0, 255, (2, count, *shape)).to(dtype)
            zeros = torch.zeros(count)
            done, action = zeros.bool(), zeros.long()
            fields = {
                "obs": obs[0],
                "next_obs": obs[1],
                "action": action,
                "reward": zeros,
                "done": done,
            }
            return TensorDict(fields, batch_size=[count])

        for _ in range(FILL // 200):
            self.buffer.extend(rows(200))
        self._chunk = rows(CHUNK)

    def sample(self, seconds: float) -> float:
        """Return minibatches a second."""

        def calls() -> Iterator[Any]:
            while True:
                yield self.buffer.sample()

        return rate(calls(), seconds)

    def write(self, seconds: float) -> float:
        """Return rows a second; each call waits until its rows are stored."""

        def calls() -> Iterator[Any]:
            while True:
                yield self.buffer.extend(self._chunk)

        return rate(calls(), seconds) * CHUNK

    def close(self) -> None:
        self.buffer.close()


def rates(options: argparse.Namespace) -> None:
    """Print minibatches and rows a second: medians of rounds in which all take turns."""
    start_ray()
    rival = find_spec("torchrl") is not None
    if not rival:
        print("torchrl is not installed; its rates are left out")
    for kind in KINDS:
        measured: dict[str, Callable[[float], float]] = {}
        ours, here = (Ours(kind, address, options.shards) for address in ("auto", None))
        theirs = TorchRL(kind) if rival else None
        if theirs:
            measured["out, torchrl"] = theirs.sample
        for ahead in (0, 16, 128):
            measured[f"out, Ray, prefetch={ahead}"] = partial(ours.sample, ahead)
        measured["out, in process, prefetch=16"] = partial(here.sample, 16)
        if theirs:
            measured["in, torchrl"] = theirs.write
        measured["in, Ray"] = ours.write
        measured["in, in process"] = here.write
        found = defaultdict(list)
        for _ in range(options.rounds):
            for name, measure in measured.items():
                found[name].append(measure(options.seconds))
        medians = {name: statistics.median(each) for name, each in found.items()}
        for name, value in medians.items():
            rivals = medians.get(f"{name.partition(',')[0]}, torchrl")
            ratio = f", {value / rivals:.1f} times torchrl's" if rivals else ""
            print(f"{kind}: {name}: {value:,.0f}/s{ratio}", flush=True)
        for each in (ours, here, theirs):
            if each is not None:
                each.close()


# What the arithmetic of a large cluster is made of


def parts(options: argparse.Namespace) -> None:
    """Print what one call costs, and what a policy costs."""
    start_ray()
    with ShardedBuffer(1000, (4,), shards=2, n_streams=2, seed=0, address="auto") as memory:
        transport = memory.transport
        weights = {str(n): np.zeros(420_000, np.float32) for n in range(4)}  # 1.7 million

        def one_call() -> Iterator[Any]:
            while True:
                yield transport.wait(transport.begin(0, "is_open"))

        def many_calls() -> Iterator[Any]:
            while True:
                begun = [transport.begin(number % 2, "is_open") for number in range(1000)]
                yield [transport.wait(each) for each in begun]

        def published() -> Iterator[Any]:
            while True:
                yield transport.share(weights)

        def taken() -> Iterator[Any]:
            while True:
                shared = transport.share(weights)
                yield transport.wait(transport.begin(0, "__eq__", shared))

        one, many = rate(one_call(), options.seconds), 1000 * rate(many_calls(), options.seconds)
        print(f"a call that is waited for: {1000 / one:.2f} ms; begun together: {many:,.0f} calls/s")
        share, take = (1000 / rate(each(), options.seconds) for each in (published, taken))
        print(f"a policy of 6.7 MB: {share:.1f} ms to publish, {take:.1f} ms until an actor has it")


def start_ray() -> Any:
    """Start Ray on this machine's loopback."""
    ray = load_ray()
    ray.init(
        address="local",
        num_cpus=os.cpu_count(),
        include_dashboard=False,
        object_store_memory=OBJECTS,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    return ray


# A run from the command line

RUN = "train CartPole-v1 --backend torch --learning-starts 1000 --seed 0 --out"
ONE = "--n-envs 8 --train-every 8"  # a minibatch of 64 for 8 steps is 8 rows a step
MANY = "--actors 2 --shards 2 --n-envs 4 --samples-per-insert 8"
BATCH_OF_RUN = 64


def cartpole(options: argparse.Namespace) -> None:
    """Train in one process, then with actors and shards, and print rates and what was learned."""
    for name, given in (("one process", ONE), ("2 actors, 2 shards", MANY)):
        out = Path(mkdtemp()) / "run"
        command = [*RUN.split(), str(out), "--steps", str(options.steps), *given.split()]
        print(f"{name}: trifolium {' '.join(command)}", flush=True)
        first, last, said = timed(command, out / "metrics.csv")
        updates = int(DDQN.from_file(out / "model.safetensors").progress.updates)
        steps_a_second = (last[1] - first[1]) / (last[0] - first[0])
        learned = options.steps - 1000
        print(f"  {steps_a_second:,.0f} steps/s, {steps_a_second * updates / learned:,.0f} updates/s")
        print(f"  {updates * BATCH_OF_RUN / learned:.2f} rows drawn for each step; {said}", flush=True)


def timed(command: list[str], metrics: Path) -> tuple[tuple[float, int], tuple[float, int], str]:
    """Run a command; return (time, step) soon after learning began and at the end, and its output."""
    program = "import sys; from trifolium.cli import main; sys.exit(main())"
    run = subprocess.Popen([sys.executable, "-c", program, *command], stdout=subprocess.PIPE, text=True)
    seen: list[tuple[float, int]] = []
    while run.poll() is None:
        time.sleep(0.05)
        step = newest_step(metrics)
        if step > 2000 and (not seen or step > seen[-1][1]):
            seen.append((time.monotonic(), step))
    assert run.stdout is not None
    said = run.stdout.read().splitlines()
    if run.returncode:
        sys.exit(f"the command failed: {run.returncode}")
    return seen[0], seen[-1], said[0]


def newest_step(metrics: Path) -> int:
    """Return the step of the last whole line of metrics.csv."""
    try:
        whole = metrics.read_text().rpartition("\n")[0]
    except FileNotFoundError:
        return 0
    first = whole.rpartition("\n")[2].partition(",")[0]
    return int(first) if first.isdigit() else 0


# Memory over minutes


def footprint(options: argparse.Namespace) -> None:
    """Print the memory of every process of a run each half a minute; fail if it grows."""
    ray = start_ray()
    sizes: list[list[float]] = []
    with ShardedBuffer(
        **KINDS["vec"] | {"capacity": 20_000}, shards=2, n_streams=8, seed=0, samples_per_insert=8
    ) as memory:
        model = DDQN(4, 2, 20_000, memory=memory, batch_size=128, seed=0)
        with Actors(memory, cartpole_runner, actors=2, steps=64, cores=0) as actors:
            processes = {"learner": os.getpid()}
            transports: dict[str, Any] = {"shard": memory.transport, "actor": actors.transport}
            for name, transport in transports.items():
                found = [each.__ray_call__.remote(lambda _: os.getpid()) for each in transport.actors]
                processes |= {f"{name} {i}": pid for i, pid in enumerate(ray.get(found))}
            end = time.monotonic() + 60 * options.minutes
            due = time.monotonic()
            while time.monotonic() < end:
                actors.collect()
                if memory.may_draw(128):
                    model.train_step()
                    actors.publish(model)
                if time.monotonic() >= due:
                    due += 30
                    sizes.append([resident(pid) for pid in processes.values()])
                    named = zip(processes, sizes[-1], strict=True)
                    print(
                        f"{actors.steps:,} steps, {model.progress.updates:,} updates; MB:",
                        ", ".join(f"{name} {size:.0f}" for name, size in named),
                        flush=True,
                    )
    early, late = (np.mean(part, axis=0) for part in (sizes[2:5], sizes[-3:]))
    for name, before, after in zip(processes, early, late, strict=True):
        print(f"{name}: {before:.1f} MB, then {after:.1f} MB")
    if np.any(late > 1.03 * early):
        sys.exit("the memory of a process grew by more than 3%")


def cartpole_runner(memory: Any, seed: int) -> VectorRunner:
    """Return the runner of an actor."""
    model = DDQN(4, 2, memory.spec.capacity, epsilon=0.1, memory=memory, batch_size=128, seed=seed)
    return VectorRunner(make_vector("CartPole-v1", memory.n_streams), model, seed=seed)


def resident(process: int) -> float:
    """Return the memory of a process in MB, without what it shares."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    sizes = dict(line.split(":", 1) for line in lines)
    return (int(sizes["VmRSS"].split()[0]) - int(sizes["RssShmem"].split()[0])) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("rates", help="minibatches and rows a second, beside torchrl's")
    command.set_defaults(run=rates)
    command.add_argument("--shards", type=int, default=2)
    command.add_argument("--seconds", type=float, default=3.0)
    command.add_argument("--rounds", type=int, default=5)
    command = commands.add_parser("parts", help="what a call and a policy cost")
    command.set_defaults(run=parts)
    command.add_argument("--seconds", type=float, default=3.0)
    command = commands.add_parser("cartpole", help="a run in one process, and one on Ray")
    command.set_defaults(run=cartpole)
    command.add_argument("--steps", type=int, default=200_000)
    command = commands.add_parser("footprint", help="the memory of all processes of a run")
    command.set_defaults(run=footprint)
    command.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
