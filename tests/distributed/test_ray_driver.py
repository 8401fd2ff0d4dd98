"""A driver that is killed leaves no process behind, and its run is resumed. No other Ray runs."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.processes import command, running
from trifolium.experiment.rows import EpisodeRow, read_rows

pytestmark = pytest.mark.slow
LONGEST = 200.0  # seconds until two agents of Ray's end, which takes them a minute or so
STEPS = 6000
DRIVER = f"""
import sys
from pathlib import Path
from tests.distributed.counting import CountingEnv, check_whole
from trifolium.experiment import Experiment, TrainOptions

def show(progress):
    if memory.drawable >= 64:
        check_whole(memory.sample(64))
    print(progress.step, flush=True)

if __name__ == "__main__":
    out = Path(sys.argv[1])
    if (out / "checkpoint").exists():
        run = Experiment.resume(out, world=CountingEnv)
    else:
        options = TrainOptions(
            env="counting", steps={STEPS}, actors=2, shards=2, n_envs=2, hidden=(8,), batch_size=16,
            memory_size=2000, learning_starts=100, checkpoint_every=200, prioritized=True, n_step=1,
        )
        run = Experiment(options, out, world=CountingEnv)
    memory = run.models["model"].memory
    print("from", run.step, flush=True)
    run.train(on_progress=show)
    run.runner.close()
    print("done", flush=True)
"""


def test_a_driver_is_killed_ten_times(tmp_path: Path) -> None:
    """At random moments of a run: it is resumed, every row is whole, and no process is left."""
    before = running()
    script, out = tmp_path / "driver.py", tmp_path / "run"
    script.write_text(DRIVER)
    moments = random.Random(0)
    reached = []
    for _ in range(10):
        driver, lines = started(script, out)
        wanted = moments.randrange(1, 12)  # lines, of which each is some steps more
        for number, line in enumerate(lines, 1):
            if line.startswith("from"):
                reached.append(int(line.split()[1]))
            if line == "done" or number > wanted:
                break
        time.sleep(moments.random() * 0.3)
        driver.kill()
        driver.communicate()
        assert driver.returncode in (-9, 0)
    driver, lines = started(script, out)
    assert list(lines)[-1] == "done"
    assert driver.wait() == 0
    assert driver.stdout is not None
    driver.stdout.close()
    assert reached == sorted(reached)
    assert reached[-1] > 0
    rows = read_rows(out / "metrics.csv", EpisodeRow)
    assert all(row.length == 40 for row in rows)
    episodes = [(row.agent, row.episode) for row in rows]
    assert len(set(episodes)) == len(episodes)
    assert json.loads((out / "config.json").read_text())["steps"] == STEPS
    end = time.monotonic() + LONGEST
    while left := running() - before:
        assert time.monotonic() < end, [command(each) for each in left]
        time.sleep(0.1)


def started(script: Path, out: Path) -> tuple["subprocess.Popen[str]", Iterator[str]]:
    """Start a driver, and return it with the lines that it prints."""
    paths = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])  # where tests/ is
    driver = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), str(out)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    return driver, (line.strip() for line in driver.stdout)
