"""Every transition that can be drawn is, as often as it should be: chi-square tests, seeds fixed."""

from collections import Counter
from collections.abc import Mapping

import pytest

import trifolium as tri
from trifolium.testing import Options, Twin
from trifolium.testing.twin import ALPHA

# every backend is given the same rows, which tests/test_golden.py pins
pytestmark = pytest.mark.slow_on("strict", "torch", "jax")
FILLS = {"half full": 0.5, "full": 1.0, "wrapped": 3.3}
OPTIONS = [
    Options(40),
    Options(40, n_frames=4),
    Options(40, n_frames=4, boundary="pad"),
    Options(60, n_frames=2, n_streams=3, n_step=3),
]
BATCHES = 1500


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
@pytest.mark.parametrize("options", OPTIONS, ids=repr)
@pytest.mark.parametrize("batch_size", [1, 3, 12])  # 3: all different by luck, or by Floyd
def test_uniform(backend: tri.Backend, options: Options, fill: float, batch_size: int) -> None:
    twin = filled(backend, options, fill)
    reachable = twin.reference.transitions()
    drawn = count(twin, batch_size)
    expected = BATCHES * batch_size / len(reachable)
    # rows of a batch are distinct, so counts vary less than those of independent draws
    share = (batch_size - 1) / max(len(reachable) - 1, 1)
    check(drawn, dict.fromkeys(reachable, expected), spread=1 - share)


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
def test_uniform_with_replacement(backend: tri.Backend, fill: float) -> None:
    twin = filled(backend, OPTIONS[0], fill)
    twin.buffer.sampler = tri.Uniform(replacement=True)
    reachable = twin.reference.transitions()
    check(count(twin, 60), dict.fromkeys(reachable, BATCHES * 60 / len(reachable)))


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
@pytest.mark.parametrize("n_streams", [1, 3])
@pytest.mark.parametrize("boundary", ["mask", "pad"])
def test_prioritized(backend: tri.Backend, fill: float, n_streams: int, boundary: str) -> None:
    options = Options(60, 3, n_streams, boundary=boundary, prioritized=True)
    twin = filled(backend, options, fill)
    indices = list(twin.priorities.at_draw())
    twin.buffer.sample(1)
    twin.update_priorities(indices, [0.5 + n % 5 for n in range(len(indices))])
    for stream in range(n_streams):
        twin.add("", "", "", stream=stream)
    masses = {index: raw**ALPHA for index, raw in twin.priorities.at_draw().items()}
    total = sum(masses.values())
    check(count(twin, 1), {index: BATCHES * mass / total for index, mass in masses.items()})


@pytest.mark.parametrize("length", [2, 5])
def test_sequences(backend: tri.Backend, length: int) -> None:
    twin = filled(backend, OPTIONS[3], 3.3)
    runs = [run[0].row.index for run in twin.reference.sequences(length)]
    drawn: Counter[int] = Counter()
    for _ in range(BATCHES):
        drawn.update(twin.buffer.sample_sequences(1, length).indices.tolist())
    check(drawn, dict.fromkeys(runs, BATCHES / len(runs)))


def filled(backend: tri.Backend, options: Options, fill: float) -> Twin:
    twin = Twin(backend, options, seed=1)
    length = options.capacity // options.n_streams
    for stream in range(options.n_streams):
        for step in range(int(length * fill) + stream):
            twin.add("truncated" if step % 7 == 6 else "", stream=stream)
    return twin


def count(twin: Twin, batch_size: int) -> Counter[int]:
    drawn: Counter[int] = Counter()
    for _ in range(BATCHES):
        drawn.update(twin.buffer.draw(batch_size)[2].tolist())
    return drawn


def check(drawn: Counter[int], expected: Mapping[int, float], spread: float = 1.0) -> None:
    """Assert that counts fit; ``spread`` is their variance over that of independent draws."""
    assert drawn.keys() == expected.keys()
    chi_square = sum((drawn[index] - mean) ** 2 / mean for index, mean in expected.items()) / spread
    freedom = len(expected) - 1
    assert abs(chi_square - freedom) < 4 * (2 * freedom) ** 0.5
