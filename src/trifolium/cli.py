"""The command line: ``trifolium train``, ``evaluate`` and ``backends``."""

import argparse
import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any

from trifolium.backend import backends
from trifolium.errors import TrifoliumError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["main"]

USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    A user's mistake is one line on standard error and exit code 2.

    Args:
        arguments: without the program's name; None for those of the process.
    """
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
    except ModuleNotFoundError as error:
        return _failed(
            f"this command needs the package {error.name!r}, which is not installed; "
            "pip install 'trifolium[train]' brings it"
        )
    except (TrifoliumError, ValueError, OSError) as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        _failed("interrupted")
        return INTERRUPTED
    return 0


def _failed(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trifolium", description="Reinforcement learning on NumPy, PyTorch and JAX."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train a model in an environment")
    train.set_defaults(run=_train)
    _add_train_options(train)
    evaluate = commands.add_parser("evaluate", help="play a trained model, without exploring")
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("out", metavar="DIR", help="folder of a training run")
    evaluate.add_argument("--episodes", type=int, metavar="N", help="episodes (default: the run's)")
    listing = commands.add_parser("backends", help="list the backends and what they can do")
    listing.set_defaults(run=_backends)
    return parser


def _add_train_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of TrainOptions, with the help of its docstring."""
    try:
        from trifolium.experiment.options import TrainOptions
    except ModuleNotFoundError:
        return  # `train` will say what is missing
    helps = _attribute_docs(TrainOptions)
    for field in fields(TrainOptions):
        if field.default is MISSING:
            parser.add_argument(field.name, metavar=field.name.upper(), help=helps[field.name])
        else:
            parser.add_argument(f"--{field.name.replace('_', '-')}", **_argument(field, helps))
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the run's record")


def _argument(field: "Field[Any]", helps: dict[str, str]) -> dict[str, Any]:
    default: Any = field.default
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    keywords: dict[str, Any] = {"default": default, "help": f"{helps[field.name]} (default: {shown})"}
    if isinstance(default, tuple):
        return keywords | {"type": int, "nargs": "+", "metavar": "N"}
    if default is None or isinstance(default, str):
        return keywords | {"metavar": field.name.upper()}
    return keywords | {"type": type(default), "metavar": "N" if isinstance(default, int) else "X"}


def _attribute_docs(documented: type) -> dict[str, str]:
    """Return what the Attributes section of a class docstring says of each attribute."""
    text = (inspect.getdoc(documented) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    helps = {}
    for entry in re.split(r"\n(?=    \S)", text):
        name, _, description = entry.partition(":")
        helps[name.strip()] = " ".join(description.split()).rstrip(".").replace("%", "%%")
    return helps


def _train(arguments: argparse.Namespace) -> None:
    from trifolium.experiment import Experiment, TrainOptions
    from trifolium.experiment.console import progress_bar

    chosen = {field.name: getattr(arguments, field.name) for field in fields(TrainOptions)}
    options = TrainOptions(**chosen)
    experiment = Experiment(options, arguments.out)
    with progress_bar(options.steps) as show:
        experiment.train(on_progress=show)
    _print_returns(experiment.evaluate())
    print(f"config, metrics, learning curve and checkpoint are in {arguments.out}")


def _evaluate(arguments: argparse.Namespace) -> None:
    from trifolium.experiment import Experiment

    _print_returns(Experiment.load(arguments.out).evaluate(arguments.episodes))


def _print_returns(returns: "np.ndarray") -> None:
    print(
        f"mean greedy return {returns.mean():.1f} over {len(returns)} episodes "
        f"(lowest {returns.min():.1f}, highest {returns.max():.1f})"
    )


def _backends(_: argparse.Namespace) -> None:
    for name, info in backends().items():
        if info.installed:
            devices = ", ".join(info.devices)
            print(f"{name:8} {info.version:14} on {devices}; can: {info.capabilities}")
        else:
            print(f"{name:8} not installed: {info.hint}")
