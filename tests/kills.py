"""Kill processes at random moments of saving and of training, and look at what they leave.

``python tests/kills.py --kills 200`` ends with an error unless

- a file is whole after every kill: the one before, or the new one,
- a run that was killed, and resumed, again and again, ends with the record and the model of one that
  was not, to the bit,
- the save after a kill removes what it left.

Children are forked, so that a kill takes no import; they are killed by SIGKILL.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import trifolium as tri
from trifolium import files
from trifolium.experiment import Experiment, TrainOptions

ROWS, WIDTH = 16_000, 64
LONGEST = 1.0  # seconds from the moment at which a child is ready to the kill


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        saving = kill_saving(Path(folder), arguments.kills // 2, rng)
        training = kill_training(Path(folder), arguments.kills - arguments.kills // 2, rng)
    print(f"{arguments.kills} kills: of saving {saving}; of training {training}")


def fork(run: Callable[[Callable[[], None]], None]) -> tuple[int, int]:
    """Run ``run(ready)`` in a child; return its process, and a descriptor that it writes to."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 1
    try:
        run(lambda: os.write(writing, b"!") and None)
        code = 0
    except BaseException as error:  # noqa: BLE001 (a child must end here)
        print(f"the child failed: {error!r}", file=sys.stderr, flush=True)
    os._exit(code)


def killed(run: Callable[[Callable[[], None]], None], rng: random.Random) -> bool:
    """Run a child and kill it at a random moment; return whether it was still running."""
    child, reading = fork(run)
    if rng.random() < 0.9:
        os.read(reading, 1)  # it is ready, or has failed
    time.sleep(rng.random() ** 2 * LONGEST)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reading)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


# Saving


def kill_saving(folder: Path, kills: int, rng: random.Random) -> str:
    """Kill children that save buffers and models to the same two files, over and over."""
    folder = folder / "saved"
    buffer, model = numbered(0)
    buffer.save(folder / "buffer")
    model.save(folder / "model", memory=True)
    last = last_of_model = left = replaced = 0
    for _ in range(kills):

        def save(ready: Callable[[], None], first: int = last + 1) -> None:
            buffer, model = numbered(first)
            ready()
            for number in range(first, first + 10_000):
                set_number(buffer, number)
                set_number(model.memory, number)
                buffer.save(folder / "buffer")
                model.save(folder / "model", memory=True)

        assert killed(save, rng)
        found = tri.Buffer.load(folder / "buffer")
        newest = number_of(found)
        loaded = tri.DDQN.from_file(folder / "model")
        of_model = number_of(loaded.memory)
        assert last <= newest
        assert last_of_model <= of_model <= newest
        replaced += newest > last
        last, last_of_model = newest, of_model
        leftovers = {path.name for path in folder.iterdir()} - {"buffer", "model"}
        assert len(leftovers) <= 1, leftovers
        left += len(leftovers)
        if rng.random() < 0.5:
            found.save(folder / "buffer")
            assert {path.name for path in folder.iterdir()} == {"buffer", "model"}
    assert left > 0 or kills < 50, "no child was killed while it wrote"
    return f"{kills}, after {replaced} a newer file was there, {left} had left a temporary file"


def numbered(number: int) -> tuple[tri.Buffer, tri.DDQN]:
    buffer = tri.Buffer(ROWS, WIDTH, seed=0)
    model = tri.DDQN(WIDTH, 2, ROWS, hidden=(8,), seed=0)
    for each in (buffer, model.memory):
        for _ in range(2):
            each.extend(*steps(number))
    return buffer, model


def steps(number: int) -> tuple[np.ndarray, ...]:
    obs = np.full((ROWS // 2, WIDTH), number, np.float32)
    return obs, np.zeros(len(obs), int), obs[:, 0], np.zeros(len(obs))


def set_number(buffer: tri.Buffer, number: int) -> None:
    """Replace all rows by rows of ``number``."""
    for _ in range(2):
        buffer.extend(*steps(number))


def number_of(buffer: tri.Buffer) -> int:
    """Return the number of a buffer, of which every row must be of the same."""
    _, _, rewards, _ = buffer[:]
    numbers = {*np.unique(rewards).tolist(), *np.unique(buffer.states).tolist()}
    assert len(buffer) == ROWS
    assert len(numbers) == 1, numbers
    return int(numbers.pop())


# Training


def kill_training(folder: Path, kills: int, rng: random.Random) -> str:
    """Kill runs and resume them until they end; compare them with runs that were not killed."""
    done = runs = 0
    while done < kills:
        options = TrainOptions(
            env="CartPole-v1",
            steps=900,
            seed=runs,
            hidden=(8,),
            batch_size=16,
            memory_size=300,
            learning_starts=50,
            checkpoint_every=25,
            prioritized=bool(runs % 2),
            n_envs=1 + runs % 3,
            eval_every=200,
            eval_episodes=1,
        )
        whole, broken = folder / f"whole-{runs}", folder / f"broken-{runs}"

        def train(ready: Callable[[], None], out: Path = broken, new: Any = options) -> None:
            begun = (out / "config.json").exists()
            while True:
                try:
                    run = Experiment.resume(out) if begun else Experiment(new, out)
                    ready()
                    return run.train()
                except tri.FolderInUse:  # by a program that the killed one was just starting
                    time.sleep(0.01)

        while done < kills and killed(train, rng):
            done += 1
            if (broken / "checkpoint" / "manifest.json").exists():
                assert Experiment.load(broken).saved_step % 25 < 3
        child, reading = fork(train)  # resumed for the last time, or over
        _, status = os.waitpid(child, 0)
        os.close(reading)
        assert status == 0
        Experiment(options, whole).train()
        assert contents(broken) == contents(whole), f"run {runs} differs"
        names = {str(path.relative_to(broken)) for path in broken.rglob("*")}
        assert names == {str(path.relative_to(whole)) for path in whole.rglob("*")}
        shutil.rmtree(whole)
        shutil.rmtree(broken)
        runs += 1
    return f"{done}, in {runs} runs"


def contents(out: Path) -> dict[str, Any]:
    """Return what a finished run has to show for itself: its logs, and its models' arrays."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in out.glob("*.csv")}
    for path in [*out.glob("*.safetensors"), *out.glob("checkpoint/*.safetensors")]:
        manifest, arrays = files.read(path, "model")
        found[path.name] = {name: array.tobytes() for name, array in arrays.items()}
        if not any(name.startswith("memory.") for name in arrays):
            del manifest["memory"]["generator"]  # nothing is drawn from a memory without rows
        found[f"{path.name} manifest"] = manifest
    assert len(found) >= 4
    return found


if __name__ == "__main__":
    main()
