"""What the arguments of ``add`` may be: found by mutants of replay/rules/steps.py and chunk.py."""

from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium import replay
from trifolium.replay.rules.assemble import Plan, apart
from trifolium.replay.rules.chunk import differs

NESTED: dict[str, Any] = {"body": {"pos": {"x": (2,), "y": ()}}, "eye": (3,)}


def nested(**more: Any) -> dict[str, Any]:
    """Return an observation for NESTED, with ``more`` beside x and y."""
    return {"body": {"pos": {"x": np.ones(2), "y": 1.0} | more}, "eye": np.ones(3)}


@pytest.mark.parametrize("action", [0, 1, 5])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_a_number_is_no_action_of_several(backend: tri.Backend, action: int, dtype: str) -> None:
    buffer = tri.Buffer(8, (4,), action_shape=(2,), action_dtype=dtype, backend=backend)
    with pytest.raises(ValueError, match=r"action has shape \(\); expected \(2,\)"):
        buffer.add(np.zeros(4), action, 0.0, False)
    assert len(buffer) == 0


def test_a_whole_number_may_be_an_action_of_floats(backend: tri.Backend) -> None:
    buffer = tri.Buffer(8, (4,), action_dtype="float32", backend=backend)
    for action in (0, 1, 5):
        buffer.add(np.zeros(4), action, 0.0, False, next_obs=np.zeros(4))
        assert buffer.last_transition() == (action, 0.0, False)


@pytest.mark.parametrize("n_streams", [1, 2])
def test_extras_are_given_if_the_buffer_has_them_and_only_then(
    backend: tri.Backend, n_streams: int
) -> None:
    lead = (n_streams,) if n_streams > 1 else ()
    step: Any = (np.zeros((*lead, 4)), np.zeros(lead, int), np.zeros(lead), np.zeros(lead, bool))
    has, lacks = (
        tri.Buffer(8, (4,), extras=extras, n_streams=n_streams, backend=backend)
        for extras in ({"logits": ((2,), "float32")}, None)
    )
    with pytest.raises(TypeError, match="missing: logits"):
        has.add(*step)
    with pytest.raises(TypeError, match="unknown: logits"):
        lacks.add(*step, logits=np.zeros((*lead, 2)))
    has.add(*step, logits=np.ones((*lead, 2)))
    assert (len(has), len(lacks)) == (n_streams, 0)


def test_an_array_that_was_resized_since_is_refused(backend: tri.Backend) -> None:
    """It was the successor of the step before, and is not looked at twice."""
    buffer = tri.Buffer(8, (4,), backend=backend)
    following = np.ones(4, np.float32)
    buffer.add(np.zeros(4), 0, 0.0, False, next_obs=following)
    following.resize((2, 2), refcheck=False)
    with pytest.raises(ValueError, match=r"obs has shape \(2, 2\); expected \(4,\)"):
        buffer.add(following, 0, 0.0, False)
    assert len(buffer) == 1


def test_one_flag_truncates_the_steps_of_all_streams(backend: tri.Backend) -> None:
    buffer = tri.Buffer(16, (1,), n_streams=2, backend=backend, seed=0)
    for number in range(3):
        obs = np.full((2, 1), number)
        buffer.add(obs, [0, 0], np.zeros(2), [False, False], truncated=True)
    batch = buffer.sample(4)  # without their successors, which are not those that follow
    assert not backend.to_numpy(batch.valid).any()


def test_where_is_for_single_steps(backend: tri.Backend) -> None:
    state = replay.init(16, (1,), n_streams=2, backend=backend)
    zeros = np.zeros((2, 2))
    with pytest.raises(ValueError, match="where was given with 2 steps"):
        replay.add(
            state, zeros[..., None], zeros.astype(int), zeros, zeros == 1, where=np.ones(2, bool)
        )


@pytest.mark.parametrize(
    ("obs", "match"),
    [
        (nested(z=1.0), r"obs\['body'\]\['pos'\] has the keys z"),
        (nested() | {"ear": 1.0}, "obs has the keys ear"),
        ({"body": (np.ones(2),), "eye": np.ones(3)}, r"obs\['body'\] is a tuple; expected a mapping"),
    ],
    ids=["deep", "shallow", "tuple"],
)
def test_keys_that_nothing_is_stored_of_are_refused(backend: tri.Backend, obs: Any, match: str) -> None:
    buffer = tri.Buffer(8, NESTED, backend=backend)
    with pytest.raises((TypeError, ValueError), match=match):
        buffer.add(obs, 0, 0.0, False)
    buffer.add(nested(), 0, 0.0, False)
    assert len(buffer) == 1


def test_a_tuple_with_too_few_parts_is_refused(backend: tri.Backend) -> None:
    buffer = tri.Buffer(8, {"0": (2,), "1": ()}, backend=backend)
    buffer.add((np.ones(2), 1.0), 0, 0.0, False)
    with pytest.raises(TypeError, match=r"obs is a tuple; expected a mapping with the key '1'"):
        buffer.add((np.ones(2),), 0, 0.0, False)


def test_flags_of_many_steps_are_0_or_1(backend: tri.Backend) -> None:
    buffer = tri.Buffer(16, (1,), backend=backend)
    zeros = np.zeros(3)
    with pytest.raises(ValueError, match=r"done=.*; expected truth values, or 0 and 1"):
        buffer.extend(zeros[:, None], zeros.astype(int), zeros, np.array([0.0, 2.0, 1.0]))
    assert len(buffer) == 0


@pytest.mark.parametrize(
    ("n_streams", "shape", "expected"),
    [
        (1, (3,), r"\(4,\)"),
        (1, (2, 3, 4), r"\(4,\)"),
        (1, (), r"\(4,\)"),
        (2, (3, 4), r"\(2, 4\)"),
        (2, (5, 3, 2, 4), r"\(2, 4\)"),
        (2, (3, 2, 5), r"\(2, 4\)"),
    ],
)
def test_observations_of_a_wrong_shape_are_told_what_is_right(
    backend: tri.Backend, n_streams: int, shape: tuple[int, ...], expected: str
) -> None:
    state = replay.init(16, (4,), n_streams=n_streams, backend=backend)
    zeros = np.zeros(n_streams)
    with pytest.raises(
        ValueError, match=rf"obs has shape .*expected {expected}.*with or without an axis of steps"
    ):
        replay.add(state, np.zeros(shape), zeros.astype(int), zeros, zeros == 1)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_rows_differ_where_one_number_does(backend: tri.Backend, dtype: str) -> None:
    given = np.arange(24, dtype=dtype).reshape(2, 4, 3)
    found = given.copy()
    found[0, 1, 2] += 1
    found[1, 3] += 1
    expected = np.zeros((2, 4), bool)
    expected[0, 1] = expected[1, 3] = True
    arrays = [backend.from_numpy(each) for each in (given, found)]
    np.testing.assert_array_equal(backend.to_numpy(differs(backend.xp, *arrays, 2)), expected)
    assert not backend.to_numpy(differs(backend.xp, arrays[0], arrays[0], 2)).any()


def test_nan_is_the_same_as_nan_alone(backend: tri.Backend) -> None:
    nan = float("nan")
    given = np.array([[nan, 1.0], [nan, 1.0], [2.0, 1.0], [nan, nan]], np.float32)
    found = np.array([[nan, 1.0], [2.0, 1.0], [nan, 1.0], [nan, 3.0]], np.float32)
    arrays = [backend.from_numpy(each) for each in (given, found)]
    different = backend.to_numpy(differs(backend.xp, *arrays, 1))
    np.testing.assert_array_equal(different, [False, True, True, True])


@pytest.mark.parametrize("padded", [False, True])
def test_shared_frames_are_taken_apart(padded: bool) -> None:
    """Each state has the first three of four frames, its successor the last three."""
    spec = tri.Buffer(20, (1,), 3).spec
    frames = np.array([[4, 5, 6, 7], [10, 11, 12, 13]]).reshape(-1)
    kept = frames % 2 == 0 if padded else None
    nothing = np.zeros(0)
    plan = Plan(frames, kept, None, None, nothing, nothing)
    found = apart(plan, spec)
    np.testing.assert_array_equal(found.frames, [4, 5, 6, 10, 11, 12])
    np.testing.assert_array_equal(found.next_frames, [5, 6, 7, 11, 12, 13])
    assert apart(found, spec) is found
    if padded:
        np.testing.assert_array_equal(found.kept, found.frames % 2 == 0)
        np.testing.assert_array_equal(found.next_kept, found.next_frames % 2 == 0)
    else:
        assert found.kept is found.next_kept is None
