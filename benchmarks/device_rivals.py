"""Minibatches out of a GPU's memory beside torchrl and flashbax, and batches copied to it ahead.

    python benchmarks/device_rivals.py --device cuda --name "NVIDIA H100 80GB"

All memories lie on the device. Results go to docs/results/device_rivals.json, the table to
docs/reference/speed.md. Memories of one framework take turns; each figure is the median of seven rounds
of 50 minibatches, waited for at the end of a round.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from pages import load, put, save
from rivals import CHUNK, Case, Contender, FlashbaxItems, OnJax, OnTorch, TorchRL
from turns import medians

import trifolium as tri

ROUNDS, CALLS = 7, 50
CASES = [
    Case(name, shape, dtype, 20_000, batch=batch)
    for name, shape, dtype in (
        ("vec (4,) float32", (4,), "float32"),
        ("image (84, 84, 4) uint8", (84, 84, 4), "uint8"),
    )
    for batch in (256, 4096)
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--name", default="", help="of the device, for the table")
    parser.add_argument("--ahead", action="store_true", help="measure only batches copied ahead")
    options = parser.parse_args()
    cases = {f"sample {case.name}, batch {case.batch}": case for case in CASES}
    found: dict[str, Any] = load("device_rivals").get("found", {}) if options.ahead else {}

    def keep(row: str, figures: dict[str, float]) -> None:
        found[row] = found.get(row, {}) | figures
        print(row, figures, flush=True)
        save("device_rivals", {"device": options.name or options.device, "found": found})

    keep("ahead", copied_ahead(options.device))
    if options.ahead:
        return
    for row, case in cases.items():
        keep(row, on_torch(case, options.device))
    for row, case in cases.items():
        keep(row, on_jax(case))
    write_table()


def on_torch(case: Case, device: str) -> dict[str, float]:
    import torch
    from torchrl.data import LazyTensorStorage, ReplayBuffer

    class OurOnDevice(OnTorch):
        name = "trifolium, torch"

        def make(self) -> None:
            self.buffer = buffer(case, "torch", device)

    class TorchRLOnDevice(TorchRL):
        def make(self) -> None:
            super().make()
            storage = LazyTensorStorage(case.capacity, device=device)
            self.buffer = ReplayBuffer(storage=storage, batch_size=case.batch)

    def wait(_: Any) -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    return turns([filled(OurOnDevice(case)), filled(TorchRLOnDevice(case))], wait)


def on_jax(case: Case) -> dict[str, float]:
    import jax

    class OurOnDevice(OnJax):
        name = "trifolium, JAX"

        def make(self) -> None:
            self.buffer = buffer(case, "jax", None)

    return turns([filled(OurOnDevice(case)), filled(FlashbaxItems(case))], jax.block_until_ready)


def buffer(case: Case, backend: str, device: str | None) -> tri.Buffer:
    return tri.Buffer(
        case.capacity, case.shape, backend=backend, device=device, seed=0, obs_dtype=case.dtype
    )


def filled(contender: Contender) -> Contender:
    contender.make()
    for _ in range(contender.case.capacity // CHUNK):
        contender.add_rows(contender.case.rows(CHUNK))
    return contender


def turns(contenders: list[Contender], wait: Callable[[Any], object]) -> dict[str, float]:
    """Return microseconds a minibatch by contender."""
    work = {each.name: each.sample for each in contenders}
    return {
        name: 1e6 * seconds
        for name, seconds in medians(work, rounds=ROUNDS, calls=CALLS, finish=wait).items()
    }


def copied_ahead(device: str) -> dict[str, float]:
    """Return microseconds a minibatch of rows in files, with work of the GPU for each."""
    import torch

    case = Case("image", (84, 84, 4), "uint8", 5_000)
    weights = torch.ones(4096, 4096, device=device)
    with tempfile.TemporaryDirectory() as folder:
        memory = tri.Buffer(
            case.capacity,
            case.shape,
            backend="torch",
            device=device,
            seed=0,
            obs_dtype=case.dtype,
            path=f"{folder}/rows",
        )
        rows = case.rows(CHUNK)
        for _ in range(case.capacity // CHUNK):
            memory.extend(*(rows[name] for name in ("obs", "action", "reward", "done")))

        def work(rewards: Any) -> Any:
            return (weights @ weights)[0, 0] + rewards.sum()

        def read(prefetch: int) -> float:
            found = []
            for _ in range(5):
                begin = time.perf_counter()
                for batch in memory.as_dataset(case.batch, CALLS, prefetch=prefetch):
                    done = work(batch.states.float().mean() + batch.rewards)
                float(done)
                found.append((time.perf_counter() - begin) / CALLS)
            return 1e6 * statistics.median(found)

        def alone() -> float:
            begin = time.perf_counter()
            for _ in range(CALLS):
                done = work(weights[0])
            float(done)
            return 1e6 * (time.perf_counter() - begin) / CALLS

        alone()  # the first product loads its library
        return {"the work alone": alone(), "prefetch=0": read(0), "prefetch=3": read(3)}


def write_table() -> None:
    """Write docs/results/device_rivals.json as the table of docs/reference/speed.md."""
    results = load("device_rivals")
    found = dict(results["found"])
    ahead = found.pop("ahead")
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    lines = [
        f"| on {results['device']}, microseconds | " + " | ".join(names) + " |",
        "|---|" + "--:|" * len(names),
        *(
            f"| {what} | " + " | ".join(f"{each[name]:,.0f}" for name in names) + " |"
            for what, each in found.items()
        ),
        "",
        "| 256 images in files, and a matrix product for each, microseconds | |",
        "|---|--:|",
        *(f"| {what} | {value:,.0f} |" for what, value in ahead.items()),
    ]
    put("reference/speed.md", lines, "device-rivals")


if __name__ == "__main__":
    main()
