"""The command line: ``trifolium train`` and its companions."""

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args, get_type_hints

from trifolium.backend import backends
from trifolium.errors import TrifoliumError

if TYPE_CHECKING:
    import numpy as np

    from trifolium.experiment import Experiment

__all__ = ["main"]

USAGE_ERROR = 2
INTERRUPTED = 130
EXTRAS = {"tensorboard": "tensorboard", "pettingzoo": "worlds", "pygame": "worlds", "gymnax": "gymnax"}
"""The extra that brings a package, where it isn't ``train``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    A user's mistake is one line on standard error and exit code 2.

    Args:
        arguments: without the program's name; None for those of the process.
    """
    try:
        options = _parsed(arguments)
        options.run(options)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        return _failed(
            f"this command needs the package {package!r}, which is not installed; "
            f"pip install 'trifolium[{EXTRAS.get(package, 'train')}]' brings it"
        )
    except (TrifoliumError, ValueError, OSError) as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _failed(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return USAGE_ERROR


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        sys.exit(_failed(f"{message} ({self.prog} --help tells more)"))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown and not options.takes_anything:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="trifolium", description="Reinforcement learning on NumPy, PyTorch and JAX.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], does: str) -> _Parser:
        added = commands.add_parser(name, help=does, description=f"{does.capitalize()}.")
        added.set_defaults(run=run, takes_anything=False)
        return added

    train = command("train", _train, "train a model in an environment, or go on with a run")
    _add_options(train, "options", "TrainOptions")
    _add_train_options(train)
    evaluate = command("evaluate", _evaluate, "play a trained model, without exploring")
    _add_run(evaluate)
    evaluate.add_argument("--episodes", type=int, metavar="N", help="episodes (default: the run's)")
    watch = command("watch", _watch, "show a trained model at play, in a window or as text")
    _add_run(watch)
    watch.add_argument("--episodes", type=int, default=1, metavar="N", help="episodes (default: 1)")
    watch.add_argument("--gif", metavar="FILE", help="write one episode to this GIF instead")
    watch.add_argument("--text", action="store_true", help="show it in the terminal, as text")
    play = command("play", _play, "play an environment yourself, with keys")
    _add_options(play, "play", "PlayOptions")
    report = command("report", _report, "write one HTML page about a run")
    _add_run(report)
    report.add_argument("--to", metavar="FILE", help="the page (default: DIR/report.html)")
    command("backends", _backends, "list the backends and what they can do")
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="DIR", help="folder of a training run")


def _add_train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default=argparse.SUPPRESS, metavar="DIR", help="folder for the run's record"
    )
    parser.add_argument("--config", metavar="FILE", help="TOML file with any of these options")
    parser.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")


def _add_options(parser: argparse.ArgumentParser, module: str, name: str) -> None:
    """Add an option for each field of a data class in experiment/, with the help of its docstring.

    What is not given leaves no trace, so that a file may say it.
    """
    try:
        options = getattr(import_module(f"trifolium.experiment.{module}"), name)
    except ModuleNotFoundError:
        parser.set_defaults(takes_anything=True)
        return  # the command will say what is missing
    helps, types = _attribute_docs(options), get_type_hints(options)
    for field in fields(options):
        text = helps[field.name]
        if field.default is MISSING:
            shown = field.name.upper()
            parser.add_argument(
                field.name, nargs="?", default=argparse.SUPPRESS, metavar=shown, help=text
            )
        else:
            flag = f"--{field.name.replace('_', '-')}"
            parser.add_argument(flag, **_argument(field, types[field.name], text))


def _argument(field: "Field[Any]", kind: Any, text: str) -> dict[str, Any]:
    default: Any = field.default
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else str(default).lower()
    keywords: dict[str, Any] = {"default": argparse.SUPPRESS, "help": f"{text} (default: {shown})"}
    if kind is bool:
        return keywords | {"action": argparse.BooleanOptionalAction}
    if isinstance(default, tuple):
        return keywords | {"type": int, "nargs": "+", "metavar": "N"}
    number = next((each for each in (int, float) if each in (kind, *get_args(kind))), None)
    if number is None:
        return keywords | {"metavar": field.name.upper()}
    optional = type(None) in get_args(kind)
    return keywords | {
        "type": _or_none(number) if optional else number,
        "metavar": "N" if number is int else "X",
    }


def _or_none(number: Callable[[str], Any]) -> Callable[[str], Any]:
    def converted(text: str) -> Any:
        return None if text.lower() == "none" else number(text)

    converted.__name__ = f"{number.__name__} or none"  # argparse names it in errors
    return converted


def _given(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return those of the arguments that were given."""
    return {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}


def _attribute_docs(documented: type) -> dict[str, str]:
    """Return what the Attributes section of a class docstring says of each attribute."""
    text = (inspect.getdoc(documented) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    helps = {}
    for entry in re.split(r"\n(?=    \S)", text):
        name, _, description = entry.partition(":")
        helps[name.strip()] = " ".join(description.split()).rstrip(".").replace("%", "%%")
    return helps


def _train(arguments: argparse.Namespace) -> None:
    from trifolium.experiment.console import progress_bar

    experiment = _experiment(arguments)
    try:
        with progress_bar(experiment.options.steps) as show:
            experiment.train(on_progress=show)
    except (KeyboardInterrupt, SystemExit):
        print(
            f"interrupted; trifolium train --resume {experiment.out} goes on "
            f"from step {experiment.saved_step}",
            file=sys.stderr,
        )
        raise
    _print_returns(experiment.evaluate())
    print(f"config, metrics, learning curve and model are in {experiment.out}")


def _experiment(arguments: argparse.Namespace) -> "Experiment":
    """Return the run that the arguments of ``train`` ask for: a new one, or one that goes on."""
    from trifolium.experiment import Experiment, TrainOptions
    from trifolium.experiment.config import read_config

    names = [*(field.name for field in fields(TrainOptions)), "out"]
    given = _given(arguments, names)
    if arguments.resume is not None:
        if given or arguments.config:
            raise ValueError("--resume goes on with the options of the run; give no others")
        return Experiment.resume(arguments.resume)
    options = (read_config(Path(arguments.config)) if arguments.config else {}) | given
    for name, how in (("env", "trifolium train ENV"), ("out", "--out DIR")):
        if name not in options:
            raise ValueError(f"{name} is missing; give {how}, or {name} = ... in a --config file")
    out = str(options.pop("out"))
    try:
        checked = TrainOptions(**options)
    except TypeError as error:  # a value of the wrong type, from a file
        raise ValueError(str(error)) from error
    return Experiment(checked, out)


def _evaluate(arguments: argparse.Namespace) -> None:
    from trifolium.experiment import Experiment

    _print_returns(Experiment.load(arguments.out).evaluate(arguments.episodes))


def _print_returns(returns: "Mapping[str, np.ndarray]") -> None:
    for agent, earned in returns.items():
        whose = f"{agent}: " if len(returns) > 1 else ""
        print(
            f"{whose}mean greedy return {earned.mean():.1f} over {len(earned)} episodes "
            f"(lowest {earned.min():.1f}, highest {earned.max():.1f})"
        )


def _watch(arguments: argparse.Namespace) -> None:
    from trifolium.experiment import Experiment, showing

    run = Experiment.load(arguments.out)
    if arguments.gif is None:
        _print_returns(showing.watch(run, arguments.episodes, text=arguments.text))
    else:
        frames = showing.episode_frames(run)
        showing.write_gif(Path(arguments.gif), frames)
        print(f"{arguments.gif} shows {len(frames.pictures)} steps")


def _play(arguments: argparse.Namespace) -> None:
    from trifolium.errors import HumanQuit
    from trifolium.experiment.play import PlayOptions, play

    given = _given(arguments, [field.name for field in fields(PlayOptions)])
    if "env" not in given:
        raise ValueError("env is missing; give trifolium play ENV")
    try:
        play(PlayOptions(**given))
    except HumanQuit as quit:
        print(quit)


def _report(arguments: argparse.Namespace) -> None:
    from trifolium.experiment.report import write_report

    page = write_report(arguments.out, arguments.to)
    print(f"the report is {page}")


def _backends(_: argparse.Namespace) -> None:
    for name, info in backends().items():
        if info.installed:
            devices = ", ".join(info.devices)
            print(f"{name:8} {info.version:14} on {devices}; can: {info.capabilities}")
        else:
            print(f"{name:8} not installed: {info.hint}")
