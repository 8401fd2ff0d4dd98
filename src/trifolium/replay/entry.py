"""What a compiled ``add`` is given, checked as far as shapes and dtypes tell."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from trifolium._checks import Field, is_single_flag
from trifolium.backend import Array, Params, device_of
from trifolium.replay.intake import check_names
from trifolium.replay.places import numbers
from trifolium.replay.state import State

__all__ = ["Entry", "entry"]


class Entry(NamedTuple):
    """T steps of each of S streams; in arrays [T * S, ...] the first of each stream come first.

    Attributes:
        streams: [S] int, which streams they are.
        columns: "obs" and the extras: [T * S, ...].
        actions: [T * S, *action_shape].
        rewards: [T * S] float32.
        terminated: [T, S] bool.
        truncated: [T, S] bool, nowhere where terminated is.
        last: [T * S, *obs_shape], the observations after truncated steps; None if they are not known.
    """

    streams: Array
    columns: Params
    actions: Array
    rewards: Array
    terminated: Array
    truncated: Array
    last: Array | None


def entry(
    state: State,
    obs: Any,
    action: Any,
    reward: Any,
    done: Any,
    truncated: Any,
    next_obs: Any,
    stream: Any,
    extras: Mapping[str, Any],
) -> Entry:
    """Return the steps given to :func:`trifolium.replay.add`, or raise an error naming the bad one."""
    spec = state.spec
    fields = {field.name: field for field in spec.columns}
    check_names(fields.keys() - {"obs"}, extras)
    observed = _converted(state, fields["obs"], obs)
    streams = _streams(state, stream)
    axes = _axes(observed.shape, spec.obs_shape, streams.shape[0])

    def rows(field: Field, value: Any) -> Array:
        return _shaped(state, field, _converted(state, field, value), axes)

    def flags(name: str, value: Any) -> Array:
        flag = Field(name, (), "float32")
        return state.backend.xp.reshape(rows(flag, value) != 0, axes)

    terminated = flags("done", done)
    if is_single_flag(truncated):
        cut = terminated & False if not truncated else ~terminated
    else:
        cut = flags("truncated", truncated) & ~terminated
    known = next_obs is not None and truncated is not False
    return Entry(
        streams=streams,
        columns={"obs": _shaped(state, fields["obs"], observed, axes)}
        | {name: rows(fields[name], value) for name, value in extras.items()},
        actions=rows(Field("action", spec.action_shape, spec.action_dtype), action),
        rewards=rows(Field("reward", (), "float32"), reward),
        terminated=terminated,
        truncated=cut,
        last=rows(fields["obs"].named("next_obs"), next_obs) if known else None,
    )


def _streams(state: State, stream: Any) -> Array:
    """Return the numbers of the streams that are written."""
    count = state.spec.n_streams
    if stream is None:
        return numbers(state, 0, count)
    if isinstance(stream, int) and not 0 <= stream < count:
        raise ValueError(f"stream={stream} does not exist; expected 0 to {count - 1}")
    xp, dtype = state.backend.xp, state.written.dtype
    return xp.reshape(xp.asarray(stream, dtype=dtype, device=device_of(state.written)), (1,))


def _axes(found: tuple[int, ...], obs_shape: tuple[int, ...], n_streams: int) -> tuple[int, int]:
    """Return (T, S) for observations of the shape ``found``."""
    lead = tuple(found[: len(found) - len(obs_shape)])
    while lead and lead[0] == 1:
        lead = lead[1:]
    steps = lead if n_streams == 1 else lead[:-1]
    streams = () if n_streams == 1 else lead[-1:]
    if found[len(found) - len(obs_shape) :] != obs_shape or len(steps) > 1:
        streams = (0,)
    if streams != ((n_streams,) if n_streams > 1 else ()) or 0 in steps:
        one = (*((n_streams,) if n_streams > 1 else ()), *obs_shape)
        raise ValueError(
            f"obs has shape {tuple(found)}; expected {one}, or that after an axis of steps"
        )
    return (steps or (1,))[0], n_streams


def _converted(state: State, field: Field, value: Any) -> Array:
    """Return ``value`` as an array of the dtype of ``field``, on the device."""
    xp = state.backend.xp
    wanted = state.backend.dtype(field.dtype.name)
    array = xp.asarray(value, device=device_of(state.marks))
    kinds = {"u": ("bool", "integral"), "f": ("bool", "integral", "real floating")}
    kinds |= {"i": kinds["u"], "b": ("bool",), "c": ("bool", "numeric")}
    if array.dtype != wanted and not xp.isdtype(array.dtype, kinds[field.dtype.kind]):
        raise TypeError(
            f"{field.name} has dtype {array.dtype}, which can't be stored as {field.dtype} "
            f"without changing values; expected {field.dtype}, or convert it first"
        )
    return xp.astype(array, wanted, copy=False)


def _shaped(state: State, field: Field, array: Array, axes: tuple[int, int]) -> Array:
    """Return ``array`` as [T * S, ...]; leading axes of length 1 may be missing or too many."""
    steps, streams = axes
    lead = (*((steps,) if steps > 1 else ()), *((streams,) if streams > 1 else ()))
    expected = (*lead, *field.shape)
    extra = array.ndim - len(expected)
    if extra < 0 or tuple(array.shape) != (*(1,) * extra, *expected):
        raise ValueError(f"{field.name} has shape {tuple(array.shape)}; expected {expected}")
    return state.backend.xp.reshape(array, (steps * streams, *field.shape))
