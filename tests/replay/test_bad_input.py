"""Bad input is an error that names the argument, and leaves the buffer byte for byte as it was."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.testing.cases import fill

SHAPED: dict[str, Any] = {
    "obs_dtype": "uint8",
    "action_dtype": "int32",
    "extras": {"place": ((2,), "float32"), "tag": "int32"},
}
GOOD: dict[str, Any] = {"obs": [1, 2, 3], "action": 1, "reward": 1.0, "done": False}
GOOD |= {"place": [0.5, 0.5], "tag": 7}
GOOD_FOR_FOUR = {name: [value] * 4 for name, value in GOOD.items()}
RAGGED = [[1, 2], [3]]

Call = Callable[[tri.Buffer], Any]


def add(**wrong: Any) -> Call:
    return lambda buffer: buffer.add(**(GOOD | wrong))


def add_to_four(**wrong: Any) -> Call:
    return lambda buffer: buffer.add(**(GOOD_FOR_FOUR | wrong))


def add_without(name: str) -> Call:
    return lambda buffer: buffer.add(**{key: value for key, value in GOOD.items() if key != name})


def truncate(**wrong: Any) -> Call:
    return add(truncated=True, **wrong)


def merge(**options: Any) -> Call:
    def call(buffer: tri.Buffer) -> None:
        other = tri.Buffer(**({"capacity": 8, "obs_shape": (3,)} | SHAPED | options), seed=0)
        fill(other, 5, seed=0)
        buffer.add_from_buffer(other)

    return call


def report(indices: Any, td: Any) -> Call:
    return lambda buffer: buffer.update_priorities(indices, td)


# what is called, the error, and what its message must name
ONE_STREAM: dict[str, tuple[Call, type[Exception], str]] = {
    "obs too short": (add(obs=[1, 2]), ValueError, r"obs .*\(2,\).*\(3,\)"),
    "obs with an axis of 2": (add(obs=np.zeros((2, 3), "uint8")), ValueError, r"obs .*\(2, 3\)"),
    "obs with an axis after": (add(obs=np.zeros((3, 1), "uint8")), ValueError, r"obs .*\(3, 1\)"),
    "obs of no axis": (add(obs=1), ValueError, "obs"),
    "obs ragged": (add(obs=RAGGED), ValueError, "obs"),
    "obs of floats": (add(obs=[1.0, 2.0, 3.0]), TypeError, "obs .*float64.*uint8"),
    "obs past its dtype": (add(obs=[1, 2, 256]), TypeError, "obs .*int64.*uint8"),
    "obs below its dtype": (add(obs=[1, 2, -1]), TypeError, "obs .*int64.*uint8"),
    "obs complex": (add(obs=[1j, 2, 3]), TypeError, "obs .*complex128.*uint8"),
    "obs of text": (add(obs="123"), TypeError, "obs .*'123'"),
    "obs missing": (add(obs=None), TypeError, "obs .*None"),
    "action with a shape": (add(action=[1, 2]), ValueError, r"action .*\(2,\)"),
    "action of floats": (add(action=1.0), TypeError, "action .*float64.*int32"),
    "action past its dtype": (add(action=2**40), TypeError, "action .*int64.*int32"),
    "action missing": (add(action=None), TypeError, "action .*None"),
    "reward with a shape": (add(reward=[1.0, 2.0]), ValueError, r"reward .*\(2,\)"),
    "reward of text": (add(reward="1"), TypeError, "reward .*'1'"),
    "reward complex": (add(reward=1j), TypeError, "reward .*complex128"),
    "done of 2": (add(done=2), ValueError, "done=2"),
    "done of a half": (add(done=0.5), ValueError, "done=0.5"),
    "done of text": (add(done="no"), TypeError, "done .*'no'"),
    "done missing": (add(done=None), TypeError, "done .*None"),
    "done with a shape": (add(done=[True, False]), ValueError, r"done .*\(2,\)"),
    "truncated of 2": (add(truncated=2), ValueError, "truncated=2"),
    "truncated missing": (add(truncated=None), TypeError, "truncated"),
    "next_obs too short": (truncate(next_obs=[1, 2]), ValueError, r"next_obs .*\(2,\).*\(3,\)"),
    "next_obs of floats": (truncate(next_obs=[1.0] * 3), TypeError, "next_obs .*float64"),
    "next_obs of text": (truncate(next_obs="123"), TypeError, "next_obs .*'123'"),
    "extra unknown": (add(colour=1), TypeError, "unknown: colour.*place, tag"),
    "extra missing": (add_without("tag"), TypeError, "missing: tag.*place, tag"),
    "extra too long": (add(place=[1.0, 2.0, 3.0]), ValueError, r"place .*\(3,\).*\(2,\)"),
    "extra of floats": (add(tag=1.5), TypeError, "tag .*float64.*int32"),
    "stream past the last": (add(stream=1), ValueError, "stream=1 "),
    "stream below 0": (add(stream=-1), ValueError, "stream=-1 "),
    "stream of floats": (add(stream=1.0), TypeError, "stream=1.0 .*float"),
    "blanks for no stream": (lambda b: b.add_empty(3), ValueError, "stream=3"),
    "batch of 0": (lambda b: b.sample(0), ValueError, "batch_size=0 "),
    "batch below 0": (lambda b: b.sample(-3), ValueError, "batch_size=-3 "),
    "batch of floats": (lambda b: b.sample(2.0), TypeError, "batch_size=2.0 .*float"),
    "batch of text": (lambda b: b.sample("2"), TypeError, "batch_size='2' .*str"),
    "batch of True": (lambda b: b.sample(True), TypeError, "batch_size=True .*bool"),
    "batch too large": (lambda b: b.sample(99), tri.NotEnoughTransitions, r"=99 .*\(15\)"),
    "no sequences": (lambda b: b.sample_sequences(0, 2), ValueError, "batch_size=0 "),
    "sequences of 0": (lambda b: b.sample_sequences(2, 0), ValueError, "length=0 "),
    "sequences too many": (
        lambda b: b.sample_sequences(13, 4),
        tri.NotEnoughTransitions,
        r"=13 .*\(12\)",
    ),
    "sequences too long": (
        lambda b: b.sample_sequences(1, 16),
        tri.NotEnoughTransitions,
        r"=1 .*\(0\)",
    ),
    "state of no stream": (lambda b: b.current_state(1), ValueError, "stream=1 "),
    "step of the future": (lambda b: b.last_transition(-1), ValueError, "offset=-1 "),
    "row past the last": (lambda b: b[16], IndexError, "index=16 .*16 rows"),
    "row before the first": (lambda b: b[-17], IndexError, "index=-17 .*16 rows"),
    "merge of no buffer": (lambda b: b.add_from_buffer([1]), TypeError, "other is a list"),
    "merge of other obs": (merge(obs_shape=(2,)), ValueError, r"obs_shape=\(2,\).*\(3,\)"),
    "merge of other dtypes": (merge(obs_dtype="int8"), ValueError, "obs_dtype='int8'.*'uint8'"),
    "merge of other actions": (merge(action_shape=(2,)), ValueError, r"action_shape=\(2,\)"),
    "merge of float actions": (merge(action_dtype="float32"), TypeError, "action .*float32.*int32"),
    "merge of other extras": (merge(extras=None), ValueError, "extras="),
    "priorities too few": (report([0, 1], [1.0]), ValueError, "td .*1 .*2"),
    "priorities not finite": (report([0, 1], [1.0, np.nan]), ValueError, "td .*finite"),
    "priorities infinite": (report([0, 1], [1.0, np.inf]), ValueError, "td .*finite"),
    "priorities too large": (report([0, 1], [1.0, 1e39]), ValueError, "td .*finite"),
    "priorities of text": (report([0], ["1"]), TypeError, "td "),
    "priorities with axes": (report([0, 1], [[1.0, 1.0]]), ValueError, r"td .*\(1, 2\)"),
    "indices of floats": (report([0.5], [1.0]), TypeError, "indices .*float64"),
    "indices of no axis": (report(0, [1.0]), ValueError, "indices "),
}
FOUR_STREAMS: dict[str, tuple[Call, type[Exception], str]] = {
    "obs of too few": (add_to_four(obs=[[1, 2, 3]] * 3), ValueError, r"obs .*\(3, 3\).*\(4, 3\)"),
    "obs of one": (add_to_four(obs=[1, 2, 3]), ValueError, r"obs .*\(3,\).*\(4, 3\)"),
    "action of one": (add_to_four(action=1), ValueError, r"action .*\(\).*\(4,\)"),
    "reward of too many": (add_to_four(reward=[1.0] * 5), ValueError, r"reward .*\(5,\).*\(4,\)"),
    "done of one": (add_to_four(done=False), ValueError, "done "),
    "done of 2": (add_to_four(done=[0, 1, 2, 0]), ValueError, "done="),
    "truncated of two": (add_to_four(truncated=[True, False]), ValueError, "truncated "),
    "next_obs of one": (add_to_four(truncated=True, next_obs=[1, 2, 3]), ValueError, "next_obs "),
    "extra of one": (add_to_four(tag=1), ValueError, "tag "),
    "extra unknown": (add_to_four(colour=1), TypeError, "unknown: colour"),
    "extra of floats": (add_to_four(tag=[0.5] * 4), TypeError, "tag .*float64.*int32"),
    "all, to one stream": (add_to_four(stream=2), ValueError, r"obs .*\(4, 3\)"),
    "stream past the last": (add(stream=4), ValueError, "stream=4 .*0 to 3"),
    "merge of two streams": (merge(n_streams=2), ValueError, "n_streams=2.*4"),
}
CASES = [
    pytest.param(n_streams, *case, id=f"{n_streams}: {name}")
    for n_streams, cases in ((1, ONE_STREAM), (4, FOUR_STREAMS))
    for name, case in cases.items()
]


@pytest.mark.parametrize(("n_streams", "call", "error", "match"), CASES)
def test_bad_input_changes_nothing(
    backend: tri.Backend,
    tmp_path: Path,
    n_streams: int,
    call: Call,
    error: type[Exception],
    match: str,
) -> None:
    buffer = tri.Buffer(16 * n_streams, (3,), n_streams=n_streams, backend=backend, seed=0, **SHAPED)
    fill(buffer, 40, seed=0)
    if "td" in match or "indices" in match:
        buffer.sampler = tri.Prioritized()
        buffer.sample(4)
    before = everything(buffer, tmp_path)
    with pytest.raises(error, match=match):
        call(buffer)
    assert everything(buffer, tmp_path) == before


def everything(buffer: tri.Buffer, folder: Path) -> list[bytes]:
    """Return what a file would hold, and all that memory holds, rows that were overwritten too."""
    buffer.save(folder / "buffer")
    columns = [buffer.states, buffer.actions, buffer.rewards, buffer.dones, *buffer.extra_data.values()]
    held = [buffer.backend.to_numpy(column).tobytes() for column in columns]
    return [(folder / "buffer").read_bytes(), buffer._store.ring.marks.tobytes(), *held]


def test_uniform_draws_take_no_priorities(backend: tri.Backend) -> None:
    buffer = tri.Buffer(8, (2,), backend=backend)
    fill(buffer, 8, seed=0)
    with pytest.raises(TypeError, match=r"update_priorities: .*Prioritized\(\)"):
        buffer.update_priorities([0], [1.0])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"capacity": 10, "n_streams": 4}, ValueError, "capacity=10 .*n_streams=4.* 8 and 12"),
        ({"capacity": 2, "n_streams": 4}, ValueError, "capacity=2 .*nearest that are: 4"),
        ({"capacity": 4, "n_frames": 4}, ValueError, "capacity=4 .*n_frames=4.*at least 5"),
        ({"capacity": 0}, ValueError, "capacity=0 "),
        ({"capacity": 8.0}, TypeError, "capacity=8.0 .*float"),
        ({"capacity": "8"}, TypeError, "capacity='8' .*str"),
        ({"obs_shape": (2, 0)}, ValueError, r"obs_shape\[1\]=0"),
        ({"obs_shape": "ab"}, TypeError, "obs_shape='ab'"),
        ({"obs_shape": None}, TypeError, "obs_shape=None"),
        ({"n_frames": 0}, ValueError, "n_frames=0 "),
        ({"n_streams": 0}, ValueError, "n_streams=0 "),
        ({"n_step": 0}, ValueError, "n_step=0 "),
        ({"gamma": 1.5}, ValueError, "gamma=1.5"),
        ({"gamma": float("nan")}, ValueError, "gamma=nan"),
        ({"gamma": "a"}, TypeError, "gamma='a' .*str"),
        ({"boundary": "wrap"}, ValueError, "boundary='wrap'.*'mask' or 'pad'"),
        ({"obs_dtype": "float31"}, TypeError, "obs_dtype='float31'"),
        ({"obs_dtype": None}, TypeError, "obs_dtype=None"),
        ({"action_dtype": "str"}, TypeError, "action_dtype='str'"),
        ({"extras": ["tag"]}, TypeError, r"extras=\['tag'\] .*list"),
        ({"extras": {"reward": "float32"}}, ValueError, "extras .*'reward'"),
        ({"extras": {"a b": "float32"}}, ValueError, "extras .*'a b'"),
        ({"extras": {"tag": "word"}}, TypeError, r"extras\['tag'\]='word'"),
        ({"extras": {"tag": ((0,), "int32")}}, ValueError, r"extras\['tag'\]\[0\]=0"),
        ({"seed": -1}, ValueError, "seed=-1 "),
        ({"seed": 1.0}, TypeError, "seed=1.0 .*float"),
    ],
    ids=repr,
)
def test_bad_options(
    backend: tri.Backend, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        tri.Buffer(**{"capacity": 8, "obs_shape": (2,), "backend": backend} | options)


@pytest.mark.parametrize(
    ("options", "match"),
    [({"alpha": 2}, "alpha=2"), ({"beta": -1}, "beta=-1"), ({"epsilon": 0}, "epsilon=0")],
)
def test_bad_priorities(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        tri.Prioritized(**options)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"n_frame": 2}, "Buffer has no option 'n_frame'; did you mean 'n_frames'?"),
        ({"num_envs": 2}, "did you mean 'n_streams'?"),
        ({"colour": 2}, "Buffer has no option 'colour'; it has: capacity, obs_shape, n_frames, "),
    ],
)
def test_unknown_options_get_a_suggestion(wrong: dict[str, int], match: str) -> None:
    with pytest.raises(TypeError, match=re.escape(match)):
        tri.Buffer(8, (2,), **wrong)


def test_a_class_derived_from_buffer_has_options_of_its_own() -> None:
    class Named(tri.Buffer):
        def __init__(self, *args: Any, label: str, **options: Any) -> None:
            super().__init__(*args, **options)
            self.label = label

    assert Named(8, (2,), label="a", n_frames=2).n_frames == 2
    with pytest.raises(TypeError, match=r"Named has no option 'labe'; did you mean 'label'\?"):
        Named(8, (2,), labe="a")
