"""The arguments of ``add``, checked before a row is written, on the host and in a graph."""

from collections.abc import Callable, Mapping, Set
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from trifolium import _checks as checks
from trifolium._checks import ColumnOptions, Field
from trifolium.backend import AnyArray, Params
from trifolium.replay.rules.marks import TERMINATED, TRUNCATED, UNKNOWN
from trifolium.replay.schema import BufferSpec, named_part

__all__ = ["FLAGS", "Chunk", "Step", "StepFields", "Steps", "check_keys", "on_host", "part_at"]

FLAGS = ("done", "truncated", "where")
"""The arguments of ``add`` that hold bools."""

_LARGEST = float(np.finfo(np.float32).max)
_TERMINATED, _TRUNCATED, _CUT = np.array([TERMINATED, TRUNCATED, TRUNCATED | UNKNOWN], np.uint8)

Step: TypeAlias = tuple[int, Params, Any, Any, Params | None]
"""One step, ready to be written: the mark of its row, its columns, the action, the reward, and the
observation after it, if that was given. It is a tuple, since a named tuple takes longer to make than
the row takes to write."""


Steps: TypeAlias = tuple[np.ndarray, Params, np.ndarray, np.ndarray, Params | None]
"""One step of every stream: likewise, with a leading axis [n_streams]."""


class Chunk(NamedTuple):
    """T steps of each of S streams, in arrays of any framework.

    Attributes:
        columns: the leaves of observations and the extras: [T * S, ...], the first step of every
            stream first.
        actions: [T * S, *action_shape].
        rewards: [T * S] float32.
        terminated: [T, S] bool.
        truncated: [T, S] bool, False where ``terminated`` is True.
        following: the observations after the steps, [T * S, ...] of each leaf; None if they were not
            given.
        taken: [S] bool, which streams took the step, where T is 1; None for all.
    """

    columns: Params
    actions: AnyArray
    rewards: AnyArray
    terminated: AnyArray
    truncated: AnyArray
    following: Params | None
    taken: AnyArray | None = None


class StepFields:
    """The shapes and dtypes of the arguments of ``add``.

    Args:
        spec: of the buffer.
    """

    def __init__(self, spec: BufferSpec) -> None:
        self.n_streams = spec.n_streams
        self._leaves = spec.leaves
        self._obs = [
            Field(
                leaf.named("obs"),
                leaf.shape,
                leaf.dtype,
                ColumnOptions("obs_shape", "obs_dtype", leaf.path, spec.n_streams),
            )
            for leaf in spec.leaves
        ]
        self._next_obs = [field.named(leaf.named("next_obs")) for leaf, field in self._each_leaf()]
        self._extras = {
            name: Field(name, shape, dtype, ColumnOptions("extras", "", (name,), spec.n_streams))
            for name, shape, dtype in spec.extras
        }
        of_action = ColumnOptions("action_shape", "action_dtype", (), spec.n_streams)
        self._action = Field("action", spec.action_shape, spec.action_dtype, of_action)
        is_number = not spec.action_shape and self._action.dtype.kind in "iu"
        self._small_action = np.iinfo(np.int8).max if is_number else -1  # which fits any integers
        self._one_number = ColumnOptions(n_streams=spec.n_streams)
        self._reward = Field("reward", (), "float32", self._one_number)
        self._one_next = self._next_obs[0]
        self._one_array = None if spec.is_structured else self._obs[0]
        self._checked: Any = None  # the last next_obs, if it needs no conversion as the next obs

    # On the host

    def one(
        self,
        obs: Any,
        action: Any,
        reward: Any,
        done: Any,
        truncated: Any,
        next_obs: Any,
        extras: Mapping[str, Any],
    ) -> Step:
        """Return one step; the arguments are those of :meth:`trifolium.Buffer.add`."""
        one_array = self._one_array
        if one_array is None:
            columns = self._leaves_of("obs", obs, self._obs, Field.row)
        elif obs is self._checked and obs is not None and obs.shape == one_array.shape:
            columns = {"obs": obs}
        else:
            columns = {"obs": one_array.row(obs)}
        if extras or self._extras:
            check_names(self._extras.keys(), extras)
            columns |= {name: self._extras[name].row(value) for name, value in extras.items()}
        mark, following = 0, None
        if next_obs is not None:
            if one_array is not None:
                row = self._one_next.row(next_obs)
                following = {"obs": row}
                self._checked = row if row is next_obs and one_array.shape else None
            else:
                following = self._leaves_of("next_obs", next_obs, self._next_obs, Field.row)
        if done is not False and checks.flag("done", done):
            mark = TERMINATED
        if truncated is not False and checks.flag("truncated", truncated) and not mark:
            mark = TRUNCATED | UNKNOWN if following is None else TRUNCATED
        if not (type(reward) is float and -_LARGEST <= reward <= _LARGEST):
            reward = self._reward.row(reward)
        if not (type(action) is int and 0 <= action <= self._small_action):
            action = self._action.row(action)
        return mark, columns, action, reward, following

    def each(
        self,
        obs: Any,
        action: Any,
        reward: Any,
        done: Any,
        truncated: Any,
        next_obs: Any,
        extras: Mapping[str, Any],
    ) -> Steps:
        """Return one step of every stream."""
        n = self.n_streams
        if self._one_array is not None:
            columns = {"obs": self._one_array.rows(obs, n)}
        else:
            columns = self._leaves_of("obs", obs, self._obs, self._rows)
        if extras or self._extras:
            check_names(self._extras.keys(), extras)
            columns |= {name: self._extras[name].rows(value, n) for name, value in extras.items()}
        terminated = checks.flags("done", done, n, self._one_number)
        marks = terminated.view(np.uint8) * _TERMINATED
        if truncated is not False:
            if checks.is_single_flag(truncated):
                truncated = [truncated] * n
            is_cut = checks.flags("truncated", truncated, n, self._one_number) & ~terminated
            marks += is_cut * (_CUT if next_obs is None else _TRUNCATED)
        following = None
        if next_obs is not None:
            following = self._leaves_of("next_obs", next_obs, self._next_obs, self._rows)
        actions, rewards = self._action.rows(action, n), self._reward.rows(reward, n)
        return marks, columns, actions, rewards, following

    def taken(self, where: Any) -> np.ndarray | None:
        """Return the streams for which ``where`` [n_streams] is True; None if that is all of them."""
        found = checks.flags("where", where, self.n_streams, self._one_number)
        return None if found.all() else np.flatnonzero(found)

    # In a graph

    def chunk(  # noqa: D417 (the rest are the arguments of add)
        self,
        convert: Callable[[Field, Any], AnyArray],
        n_streams: int,
        xp: Any,
        *,
        obs: Any,
        action: Any,
        reward: Any,
        done: Any,
        truncated: Any,
        next_obs: Any,
        where: Any,
        extras: Mapping[str, Any],
    ) -> Chunk:
        """Return steps of ``n_streams`` streams, or raise an error that names the bad argument.

        Args:
            convert: ``convert(field, value)`` returns ``value`` as an array of the field's dtype.
            n_streams: how many streams the arguments have an axis for; 1: there is no such axis.
            xp: array namespace.
            obs, action, reward, done, truncated, next_obs, where, extras: the arguments of ``add``.
        """
        check_names(self._extras.keys(), extras)
        observed = self._leaves_of("obs", obs, self._obs, convert)
        first = observed[self._leaves[0].column]
        steps = _steps_in(first.shape, self._obs[0], n_streams)
        lead = (*((steps,) if steps != 1 else ()), *((n_streams,) if n_streams > 1 else ()))

        def shaped(field: Field, array: AnyArray) -> AnyArray:
            expected = (*lead, *field.shape)
            extra = array.ndim - len(expected)
            if extra < 0 or tuple(array.shape) != (*(1,) * extra, *expected):
                raise field.shape_error(tuple(array.shape), expected, n_streams)
            return xp.reshape(array, (steps * n_streams, *field.shape))

        def rows(field: Field, value: Any) -> AnyArray:
            return shaped(field, convert(field, value))

        def flags(name: str, value: Any) -> AnyArray:
            return xp.reshape(
                rows(Field(name, (), "float32", self._one_number), value) != 0, (steps, n_streams)
            )

        terminated = flags("done", done)
        if checks.is_single_flag(truncated):
            cut = terminated & False if not truncated else ~terminated
        else:
            cut = flags("truncated", truncated) & ~terminated
        following = taken = None
        if next_obs is not None:
            following = self._leaves_of("next_obs", next_obs, self._next_obs, rows)
        if where is not None:
            if steps > 1:
                raise ValueError(f"where was given with {steps} steps; expected it with single steps")
            taken = flags("where", where)[0, :]
        columns = {
            leaf.column: shaped(field, observed[leaf.column]) for leaf, field in self._each_leaf()
        }
        columns |= {name: rows(self._extras[name], value) for name, value in extras.items()}
        return Chunk(
            columns=columns,
            actions=rows(self._action, action),
            rewards=rows(self._reward, reward),
            terminated=terminated,
            truncated=cut,
            following=following,
            taken=taken,
        )

    # Helpers

    def _rows(self, field: Field, value: Any) -> np.ndarray:
        return field.rows(value, self.n_streams)

    def _each_leaf(self) -> Any:
        return zip(self._leaves, self._obs, strict=True)

    def _leaves_of(
        self, name: str, value: Any, fields: list[Field], convert: Callable[[Field, Any], Any]
    ) -> Params:
        """Return the columns of an observation, each converted."""
        if self._one_array is not None:
            return {"obs": convert(fields[0], value)}
        found = {}
        for leaf, field in zip(self._leaves, fields, strict=True):
            found[leaf.column] = convert(field, part_at(name, value, leaf.path))
        check_keys(name, value, [leaf.path for leaf in self._leaves])
        return found


def on_host(field: Field, value: Any) -> np.ndarray:
    """Return ``value`` as a host array of the dtype of ``field``, of any shape, for a chunk."""
    found = field.array(value)
    if field.name in FLAGS and not np.all((found == 0) | (found == 1)):
        raise ValueError(f"{field.name}={value!r:.80}; expected truth values, or 0 and 1")
    return found


def check_names(expected: Set[str], extras: Mapping[str, Any]) -> None:
    """Raise TypeError unless there is a value for each of the ``expected`` extras, and no other."""
    unknown = sorted(extras.keys() - expected)
    missing = sorted(expected - extras.keys())
    if unknown or missing:
        problems = [f"unknown: {', '.join(unknown)}"] * bool(unknown)
        problems += [f"missing: {', '.join(missing)}"] * bool(missing)
        raise TypeError(
            f"extras given to add are wrong ({'; '.join(problems)}); "
            f"expected the names in extras= of the buffer: {', '.join(sorted(expected)) or 'none'}"
        )


def part_at(name: str, value: Any, path: tuple[str, ...], option: str = "obs_shape") -> Any:
    """Return the part of a structured ``value`` at ``path``; of a tuple the parts are numbered.

    Raises:
        TypeError, ValueError: there is none. The message names the argument, ``name``, and the
            ``option`` that describes it.
    """
    for depth, key in enumerate(path):
        if isinstance(value, tuple) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]  # of a Tuple space
            continue
        if not isinstance(value, Mapping):
            raise TypeError(
                f"{named_part(name, path[:depth])} is a {type(value).__name__}; expected a mapping "
                f"with the key {key!r}, as {option} has it"
            )
        if key not in value:
            raise ValueError(
                f"{named_part(name, path[:depth])} lacks the key {key!r}, which {option} has; "
                f"it has {', '.join(map(repr, value)) or 'none'}"
            )
        value = value[key]
    return value


def check_keys(name: str, value: Any, paths: list[tuple[str, ...]], option: str = "obs_shape") -> None:
    """Raise ValueError if ``value`` has keys that none of ``paths`` has."""
    known = {path[0] for path in paths}
    if isinstance(value, tuple):
        value = {str(place): part for place, part in enumerate(value)}
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        raise ValueError(
            f"{name} has the keys {', '.join(unknown)}, which {option} lacks; "
            f"expected {', '.join(sorted(known))}"
        )
    for key in known:
        below = [path[1:] for path in paths if path[0] == key]
        if below[0]:
            check_keys(f"{name}[{key!r}]", value[key], below, option)


def _steps_in(found: tuple[int, ...], obs: Field, n_streams: int) -> int:
    """Return T for observations of the shape ``found``, [T, n_streams, *shape] or part of that."""
    rank = len(found) - len(obs.shape)
    lead = tuple(found[:rank]) if rank >= 0 else ()
    while lead and lead[0] == 1:  # axes of length 1 may be missing or too many
        lead = lead[1:]
    steps = lead if n_streams == 1 else lead[:-1]
    streams = () if n_streams == 1 else lead[-1:]
    fits = rank >= 0 and tuple(found[rank:]) == obs.shape and len(steps) <= 1
    if not fits or streams != ((n_streams,) if n_streams > 1 else ()):
        one = (*((n_streams,) if n_streams > 1 else ()), *obs.shape)
        error = obs.shape_error(tuple(found), one, n_streams)
        raise ValueError(f"{error}, with or without an axis of steps before it")
    return (steps or (1,))[0]
