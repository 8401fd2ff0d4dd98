"""Every transition that can be drawn is, as often as it should be: chi-square tests, seeds fixed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest

import trifolium as tri
from trifolium.testing import Options, Twin
from trifolium.testing.reference import is_unbroken
from trifolium.testing.twin import ALPHA

# All draws come from the host generator. Other tests compare them bit for bit between backends, so the
# law is that of NumPy everywhere, and the other backends are tested in the slow tier alone.
pytestmark = pytest.mark.slow_on("strict", "torch", "jax")
FILLS = {"half full": 0.5, "full": 1.0, "wrapped": 3.3}
OPTIONS = [
    Options(40),
    Options(40, n_frames=4),
    Options(40, n_frames=4, boundary="pad"),
    Options(60, n_frames=2, n_streams=3, n_step=3),
]
VALID_OPTIONS = [OPTIONS[0], Options(40, n_frames=2), *OPTIONS[2:]]  # a twin's episodes are short
BATCHES = 1500
OF_THREE = pytest.param(3, marks=pytest.mark.slow)  # all different by luck, or by Floyd


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
@pytest.mark.parametrize("options", OPTIONS, ids=repr)
@pytest.mark.parametrize("batch_size", [1, OF_THREE, 12])
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


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
@pytest.mark.parametrize("options", VALID_OPTIONS, ids=repr)
@pytest.mark.parametrize("batch_size", [1, OF_THREE])
def test_valid_only(backend: tri.Backend, options: Options, fill: float, batch_size: int) -> None:
    check_valid_only(filled(backend, options, fill), batch_size)


@pytest.mark.parametrize("options", [replace(each, capacity=240) for each in VALID_OPTIONS], ids=repr)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_valid_only_where_few_rows_are_valid(
    backend: tri.Backend, options: Options, batch_size: int
) -> None:
    check_valid_only(filled(backend, options, 2.2, few_valid=True), batch_size)


def check_valid_only(twin: Twin, batch_size: int) -> None:
    twin.buffer.sampler = tri.Uniform(valid_only=True)
    valid = valid_of(twin)
    share = (batch_size - 1) / (len(valid) - 1)
    expected = dict.fromkeys(valid, BATCHES * batch_size / len(valid))
    check(count(twin, batch_size), expected, spread=1 - share)


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
def test_valid_only_with_replacement(backend: tri.Backend, fill: float) -> None:
    twin = filled(backend, VALID_OPTIONS[1], fill)
    twin.buffer.sampler = tri.Uniform(valid_only=True, replacement=True)
    valid = valid_of(twin)
    check(count(twin, 60), dict.fromkeys(valid, BATCHES * 60 / len(valid)))


@pytest.mark.parametrize(("length", "within_episode"), [(2, False), (5, False), (2, True), (3, True)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_sequences(backend: tri.Backend, length: int, within_episode: bool, batch_size: int) -> None:
    twin = filled(backend, OPTIONS[3], 3.3)
    runs = starts_of(twin, length, within_episode)
    expected = BATCHES * batch_size / len(runs)
    share = (batch_size - 1) / (len(runs) - 1)
    drawn = count_runs(twin, batch_size, length, within_episode)
    check(drawn, dict.fromkeys(runs, expected), spread=1 - share)


def test_prioritized_sequences_within_an_episode(backend: tri.Backend) -> None:
    twin = filled(backend, Options(60, n_streams=3, prioritized=True), 3.3)
    indices = list(twin.priorities.at_draw())
    twin.buffer.sample(1)
    twin.update_priorities(indices, [0.5 + n % 5 for n in range(len(indices))])
    raw = twin.priorities.at_draw()
    masses = {index: raw[index] ** ALPHA for index in starts_of(twin, 3, within_episode=True)}
    expected = {index: BATCHES * mass / sum(masses.values()) for index, mass in masses.items()}
    check(count_runs(twin, 1, 3, within_episode=True), expected)


def filled(backend: tri.Backend, options: Options, fill: float, few_valid: bool = False) -> Twin:
    twin = Twin(backend, options, seed=1)
    length = options.capacity // options.n_streams
    for stream in range(options.n_streams):
        for step in range(int(length * fill) + stream):
            end = "truncated" if step % 7 == 6 else ""
            twin.add("unknown" if few_valid and step % 40 > 5 else end, stream=stream)
    return twin


def valid_of(twin: Twin) -> list[int]:
    return [index for index, found in twin.reference.transitions().items() if found.valid]


def starts_of(twin: Twin, length: int, within_episode: bool) -> list[int]:
    """Return the indices of the rows that a run can begin with."""
    runs = twin.reference.sequences(length)
    if within_episode:
        runs = [run for run in runs if is_unbroken([found.row for found in run])]
    return [run[0].row.index for run in runs]


def count_runs(twin: Twin, batch_size: int, length: int, within_episode: bool) -> Counter[int]:
    drawn: Counter[int] = Counter()
    for _ in range(BATCHES):
        batch = twin.buffer.sample_sequences(batch_size, length, within_episode=within_episode)
        drawn.update(batch.indices.tolist())
    return drawn


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
