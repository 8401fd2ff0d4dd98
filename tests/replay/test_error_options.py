"""Errors of shape and dtype name the options that set another one, in each form of the memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium import replay

OPTIONS: dict[str, Any] = {
    "obs_dtype": "uint8",
    "action_dtype": "int32",
    "extras": {"place": ((2,), "float32"), "tag": "int32"},
}
GOOD: dict[str, Any] = {"obs": [1, 2, 3], "action": 1, "reward": 1.0, "done": False}
GOOD |= {"place": [0.5, 0.5], "tag": 7}


def add_one(backend: tri.Backend, options: dict[str, Any], step: dict[str, Any]) -> None:
    tri.Buffer(64, backend=backend, **options).add(**step)


def add_many(backend: tri.Backend, options: dict[str, Any], step: dict[str, Any]) -> None:
    many = {name: value if name == "stream" else _stacked(value) for name, value in step.items()}
    tri.Buffer(64, backend=backend, **options).extend(**many)


def add_functional(backend: tri.Backend, options: dict[str, Any], step: dict[str, Any]) -> None:
    replay.add(replay.init(64, backend=backend, **options), **step)


def _stacked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stacked(part) for key, part in value.items()}
    return [value] * 5


WAYS = [add_one, add_many, add_functional]

DTYPES = [
    ({"action": 1.5}, r"action has dtype float(64|32), .* as int32 .*action_dtype='float32'$"),
    ({"obs": [0.5, 1, 2]}, r"obs has dtype float(64|32), .* as uint8 .*obs_dtype='float32'$"),
    ({"next_obs": [0.5, 1, 2]}, r"next_obs has dtype .* as uint8 .*obs_dtype='float32'$"),
    ({"tag": 1.5}, r"tag has dtype .* as int32 .*extras={'tag': \(\(\), 'float32'\)}$"),
    ({"place": [1j, 2]}, r"place has dtype .* as float32 .*extras={'place': \(\(2,\), 'complex"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("wrong", "match"), DTYPES)
def test_dtype(backend: tri.Backend, way: Callable[..., None], wrong: Any, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        way(backend, {"obs_shape": (3,), **OPTIONS}, GOOD | wrong)


@pytest.mark.parametrize("way", WAYS)
def test_dtype_of_a_part_of_an_observation(backend: tri.Backend, way: Callable[..., None]) -> None:
    options = {"obs_shape": {"arm": {"joint": ((2,), "uint8")}, "goal": 1}}
    step = {
        "obs": {"arm": {"joint": [0.5, 1]}, "goal": [1.0]},
        "action": 1,
        "reward": 0.0,
        "done": False,
    }
    with pytest.raises(TypeError) as error:
        way(backend, options, step)
    assert str(error.value).startswith("obs['arm']['joint'] has dtype float")
    assert str(error.value).endswith("obs_shape={'arm': {'joint': ((2,), 'float32')}}")


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("way", WAYS)
def test_the_option_that_is_named_takes_the_value(
    backend: tri.Backend, way: Callable[..., None]
) -> None:
    options = {"obs_shape": (3,), "obs_dtype": "float32", "action_dtype": "float32"}
    options["extras"] = {"place": ((2,), "float32"), "tag": ((), "float32")}
    way(backend, options, GOOD | {"action": 1.5, "obs": [0.5, 1, 2], "tag": 1.5})


SHAPES = [
    ({"obs": [1, 2]}, r"obs has shape \(.*2,?\); .*n_streams=1 and obs_shape=\(3,\)"),
    ({"action": [1, 2]}, r"action has shape \(.*2,?\); .*n_streams=1 and action_shape=\(\)$"),
    ({"reward": [1.0, 2.0]}, r"reward has shape \(.*2,?\); .*, as n_streams=1$"),
    ({"next_obs": [1, 2]}, r"next_obs has shape \(.*2,?\); .*n_streams=1 and obs_shape=\(3,\)$"),
    ({"place": [1.0]}, r"place has shape \(.*1,?\); .*extras={'place': \(\(2,\), 'float32'\)}$"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("wrong", "match"), SHAPES)
def test_shape(backend: tri.Backend, way: Callable[..., None], wrong: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        way(backend, {"obs_shape": (3,), **OPTIONS}, GOOD | wrong)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"obs": np.zeros((3, 3), "uint8")}, r"obs .*\(4, 3\), as n_streams=4 and obs_shape=\(3,\)"),
        ({"reward": [1.0] * 5}, r"reward .*4,?\), as n_streams=4$"),
        ({"done": [False] * 5}, r"done .*4,?\), as n_streams=4$"),
        ({"truncated": [False] * 5}, r"truncated .*4,?\), as n_streams=4$"),
        ({"tag": [1] * 5}, r"tag .*4,?\), as n_streams=4 and extras={'tag': \(\(\), 'int32'\)}$"),
    ],
)
def test_shape_of_streams(
    backend: tri.Backend, way: Callable[..., None], wrong: Any, match: str
) -> None:
    step = {name: [value] * 4 for name, value in GOOD.items()} | wrong
    with pytest.raises(ValueError, match=match):
        way(backend, {"obs_shape": (3,), "n_streams": 4, **OPTIONS}, step)


@pytest.mark.parametrize("way", [add_one, add_functional])
def test_where(backend: tri.Backend, way: Callable[..., None]) -> None:
    step = {name: [value] * 4 for name, value in GOOD.items()}
    with pytest.raises(ValueError, match=r"where .*\(4,?\), as n_streams=4$"):
        way(backend, {"obs_shape": (3,), "n_streams": 4, **OPTIONS}, step | {"where": [True] * 3})


def test_one_stream_of_several_is_not_blamed_on_their_number(backend: tri.Backend) -> None:
    buffer = tri.Buffer(64, (3,), n_streams=4, backend=backend)
    with pytest.raises(
        ValueError, match=r"obs has shape \(4, 3\); expected \(3,\), as obs_shape=\(3,\)$"
    ):
        buffer.add(np.zeros((4, 3)), 0, 0.0, False, stream=1)


@pytest.mark.parametrize("way", WAYS)
def test_stream(backend: tri.Backend, way: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match=r"stream=5 .*n_streams=1"):
        way(backend, {"obs_shape": (3,), **OPTIONS}, GOOD | {"stream": 5})


@pytest.mark.parametrize("way", WAYS)
def test_extras(backend: tri.Backend, way: Callable[..., None]) -> None:
    with pytest.raises(TypeError, match=r"unknown: colour.*extras= of the buffer: place, tag"):
        way(backend, {"obs_shape": (3,), **OPTIONS}, GOOD | {"colour": 1})


@pytest.mark.parametrize("way", WAYS)
def test_keys(backend: tri.Backend, way: Callable[..., None]) -> None:
    step = {"obs": {"goal": [1.0]}, "action": 1, "reward": 0.0, "done": False}
    with pytest.raises(ValueError, match="obs lacks the key 'arm', which obs_shape has"):
        way(backend, {"obs_shape": {"arm": 2, "goal": 1}}, step)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", ["abc", np.array(["a", "b", "c"])])
def test_text(backend: tri.Backend, way: Callable[..., None], value: Any) -> None:
    with pytest.raises(TypeError, match=r"^obs is .*'a.*expected numbers of .*dtype uint8"):
        way(backend, {"obs_shape": (3,), **OPTIONS}, GOOD | {"obs": value})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["obs", "action", "reward", "done", "truncated", "place", "tag"])
@pytest.mark.parametrize("value", [None, "ab", [[1, 2], [3]]], ids=repr)
def test_what_is_no_number(
    backend: tri.Backend, way: Callable[..., None], name: str, value: Any
) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{name}"):
        way(backend, {"obs_shape": (3,), **OPTIONS}, GOOD | {name: value})
