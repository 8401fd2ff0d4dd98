"""How much Python one call takes: bytecodes and calls into C, which no busy machine changes.

    python benchmarks/instructions.py           # compares with docs/results/instructions.json
    python benchmarks/instructions.py --save    # keeps them, also in docs/contributing/instructions.md

Counts depend on the version of Python, so they are kept by version. The exit status is 1 if one has
grown by more than a twentieth; where there are none for this Python yet, they are printed.
"""

import argparse
import platform
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
from pages import load, put, save

import trifolium as tri

ROWS, BATCH, STREAMS = 20_000, 64, 8  # more rows than 4 * BATCH**2: draws come by the usual way
LARGEST_GROWTH = 1.05
UPDATES_BEFORE = 250  # after which torch repeats what it recorded


def counted(call: Callable[[], Any], times: int = 5) -> dict[str, int]:
    """Return the bytecodes and the calls into C of one call: the least of a few tries."""
    call()
    found = [_counted(call) for _ in range(times)]
    return {name: min(each[name] for each in found) for name in found[0]}


def _counted(call: Callable[[], Any]) -> dict[str, int]:
    counts = {"bytecodes": 0, "calls into C": 0}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counts["bytecodes"] += event == "opcode"
        return trace

    def profile(_: FrameType, event: str, __: Any) -> None:
        counts["calls into C"] += event == "c_call"

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return counts


def operations(backend: str) -> dict[str, Callable[[], Any]]:
    """Return what is counted."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(STREAMS, 4)).astype(np.float32)
    single = tri.Buffer(ROWS, (4,), backend=backend, seed=0)
    stacked = tri.Buffer(ROWS, (4,), 4, backend=backend, seed=0)
    streams = tri.Buffer(ROWS, (4,), backend=backend, seed=0, n_streams=STREAMS)
    ones = np.ones(STREAMS, np.float32)
    actions = np.zeros(STREAMS, tri.get_backend(backend).default_int)
    for _ in range(ROWS // STREAMS):
        streams.add(obs, actions, ones, ones == 0)
    single.add_from_buffer(streams)
    stacked.add_from_buffer(streams)
    options: dict[str, Any] = {
        "hidden": (120, 84),
        "n_step": 1,
        "huber_delta": None,
        "target_update": 50,
    }
    weighted = tri.Buffer(ROWS, (4,), backend=backend, seed=0, sampler=tri.Prioritized())
    weighted.add_from_buffer(streams)
    steps: dict[str, Any] = {
        "obs": rng.normal(size=(BATCH, 4)).astype(np.float32),
        "action": np.zeros(BATCH, actions.dtype),
        "reward": np.ones(BATCH, np.float32),
        "done": np.zeros(BATCH, bool),
    }
    errors = np.ones(BATCH, np.float32)

    def draw_and_update() -> None:
        weighted.update_priorities(weighted.sample(BATCH).indices, errors)

    model = tri.DDQN(4, 2, ROWS, 0.0, backend=backend, batch_size=BATCH, seed=0, **options)
    model.memory.add_from_buffer(streams)
    for _ in range(UPDATES_BEFORE):
        model.train_step()
    return {
        "add": lambda: single.add(obs[0], 1, 0.5, False, truncated=False, next_obs=obs[0]),
        "add, another successor": lambda: single.add(obs[0], 1, 0.5, False, next_obs=obs[1]),
        "add, a row of each stream": lambda: streams.add(obs, actions, ones, ones == 0),
        "add, a row of each stream and its successor": lambda: streams.add(
            obs, actions, ones, ones == 0, next_obs=obs
        ),
        "extend": lambda: single.extend(**steps),
        "sample": lambda: single.sample(BATCH),
        "sample, 4 frames": lambda: stacked.sample(BATCH),
        "sample, streams": lambda: streams.sample(BATCH),
        "sample and update by priority": draw_and_update,
        "take_action": lambda: model.take_action(obs[0]),
        "train_step": model.train_step,
    }


def table() -> list[str]:
    """Return the lines of a table of all counts kept: bytecodes, and calls into C after them."""
    kept = load("instructions")
    lines = [f"| call | {' | '.join(kept)} |", "|---|" + "--:|" * len(kept)]
    for name in next(iter(kept.values())):
        cells = [f"{each[name]['bytecodes']}, {each[name]['calls into C']}" for each in kept.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    key = f"{options.backend}, Python {'.'.join(platform.python_version_tuple()[:2])}"
    kept = load("instructions")
    found = {name: counted(call) for name, call in operations(options.backend).items()}
    has_grown = False
    print(f"{key:32} {'bytecodes':>16} {'calls into C':>16}")
    for name, counts in found.items():
        cells = []
        for what, count in counts.items():
            before = kept.get(key, {}).get(name, {}).get(what)
            has_grown |= before is not None and count > LARGEST_GROWTH * before
            cells.append(f"{count}" if before in (None, count) else f"{before} -> {count}")
        print(f"{name:32} {cells[0]:>16} {cells[1]:>16}")
    if options.save:
        save("instructions", kept | {key: found})
        put("contributing/instructions.md", table())
    return int(has_grown and not options.save)


if __name__ == "__main__":
    sys.exit(main())
