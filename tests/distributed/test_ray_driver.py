"""A driver that is killed leaves no process of Ray behind. No other Ray runs meanwhile."""

import os
import subprocess
import sys
import time

import pytest

DRIVER = """
import sys, time
from trifolium.distributed import ShardedBuffer
memory = ShardedBuffer(4000, (2,), shards=2, n_streams=4, address="local")
memory.extend([[[0.0, 0.0]] * 4] * 9, [[0] * 4] * 9, [[0.0] * 4] * 9, [[False] * 4] * 9)
memory.sample(4)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_killed_driver_leaves_no_process() -> None:
    before = running()
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline().strip() == "ready"
    assert len(running() - before) > 3
    driver.kill()
    driver.wait()
    driver.stdout.close()
    end = time.monotonic() + 200.0  # two agents of Ray's end after a minute or so
    while left := running() - before:
        assert time.monotonic() < end, [command(each) for each in left]
        time.sleep(0.1)


def running() -> set[int]:
    """Return all processes of this namespace that have not ended."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.add(int(name))
    return found


def command(process: int) -> str:
    """Return the beginning of a process's command line."""
    try:
        with open(f"/proc/{process}/cmdline") as file:
            return file.read().replace("\0", " ")[:100]
    except OSError:
        return "ended"
