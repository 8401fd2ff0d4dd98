"""Checks of the files of a run that is opened again: what they ask for must be reasonable."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trifolium.errors import BackendError, CheckpointError, TrifoliumError, UnknownBackend
from trifolium.experiment.options import TrainOptions
from trifolium.models.saved import check_quantiles
from trifolium.replay.io.file import LONGEST_WINDOW, memory_of_machine

__all__ = ["UNSOUND", "blamed_on_config", "check_costs"]

LEAST_ROW = 10
"""Bytes that a row of a memory takes at least: an observation, an action, a reward and a mark."""

MOST_ENVS = 1 << 16
"""Environments that step together, at most, where a file says how many."""

UNSOUND = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    RuntimeError,
)
"""Errors that unsound values lead to, in models and in environments."""


@contextmanager
def blamed_on_config(config: Path, *, given: bool) -> Iterator[None]:
    """Turn errors of making a run into a CheckpointError that names its file of options.

    Args:
        config: the file.
        given: whether the caller gave a world or models, whose errors stay as they are.
    """
    try:
        yield
    except UnknownBackend as error:
        raise CheckpointError(f"{config} names an unknown backend: {error!s:.500}") from error
    except (TrifoliumError, BackendError, ImportError):
        raise
    except UNSOUND as error:
        if given:
            raise
        raise CheckpointError(f"{config} describes no run: {error!s:.500}") from error


def check_costs(options: TrainOptions, runner: Mapping[str, Any]) -> None:
    """Raise ValueError for options that cost much and do not fit the checkpoint of the run.

    Args:
        options: from the file of the run.
        runner: the state of its runner in the checkpoint; empty if there is none.
    """
    if options.memory_size * LEAST_ROW > memory_of_machine():
        raise ValueError(
            f"memory_size={options.memory_size}, which takes more than {memory_of_machine():,} bytes, "
            "all that this machine has"
        )
    for name in ("n_step", "n_frames"):
        if getattr(options, name) > LONGEST_WINDOW:
            raise ValueError(f"{name}={getattr(options, name)}; expected {LONGEST_WINDOW} at most")
    if options.n_envs > MOST_ENVS:
        raise ValueError(f"n_envs={options.n_envs}; expected {MOST_ENVS} at most")
    episodes = runner.get("episodes")
    if isinstance(episodes, list) and len(episodes) != options.n_envs:
        raise ValueError(f"n_envs={options.n_envs}; the checkpoint has {len(episodes)} environments")
    check_quantiles(vars(options))
