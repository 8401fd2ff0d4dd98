"""Processes, as /proc shows them."""

import os
import signal
from contextlib import suppress
from pathlib import Path

__all__ = ["command", "descendants", "kill", "running"]


def running() -> set[int]:
    """Return all processes of this namespace that have not ended."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            state = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z":
                found.add(int(name))
    return found


def command(process: int) -> str:
    """Return the beginning of a process's command line."""
    try:
        return Path("/proc", str(process), "cmdline").read_text().replace("\0", " ")[:100]
    except OSError:
        return "ended"


def descendants(process: int) -> list[int]:
    """Return the processes that a process started, those first that were started last."""
    found = []
    with suppress(OSError):
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            found += [*descendants(int(child)), int(child)]
    return found


def kill(processes: list[int]) -> None:
    """Kill processes, of which some may have ended."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
