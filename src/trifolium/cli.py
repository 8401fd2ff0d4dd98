"""The command line: ``trifolium train``, ``evaluate``, ``play`` and the other commands."""

import argparse
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args, get_type_hints

from trifolium.backend import backends
from trifolium.errors import NanError, TrifoliumError
from trifolium.version import __version__

if TYPE_CHECKING:
    import numpy as np

    from trifolium.experiment import Experiment, TrainOptions

__all__ = ["main"]

FAILED = 1
USAGE_ERROR = 2
INTERRUPTED = 130
EXTRAS = {  # extras by the import names of the packages that they install
    "gymnasium": "train",
    "rich": "train",
    "matplotlib": "train",
    "PIL": "train",
    "threadpoolctl": "train",
    "pettingzoo": "worlds",
    "ray": "ray",
    "pygame": "worlds",
    "minigrid": "worlds",
    "tensorboard": "tensorboard",
    "shtab": "completion",
}
SHELLS = ("bash", "zsh", "tcsh")


class _Mistake(Exception):
    """An error in the arguments or files of the user."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    An error in the user's arguments or files prints one line to standard error; the exit code is 2. A
    run that stops because of NaN has exit code 1. An error of an environment or a model during a run
    shows a traceback.

    Args:
        arguments: the arguments, without the program's name; None for those of the process.
    """
    try:
        options = _parsed(arguments)
        with warnings.catch_warnings():
            if sys.warnoptions == [] and arguments is None:
                warnings.showwarning = _show_warning
            options.run(options)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = EXTRAS.get(package, package if package in _extras() else None)
        if extra is None:
            raise
        return _failed(
            f"this command needs the package {package!r}, which is not installed; "
            f"pip install 'trifolium[{extra}]' installs it"
        )
    except NanError as error:
        return _failed(str(error), FAILED)
    except (_Mistake, TrifoliumError, MemoryError) as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


@contextmanager
def _mistakes() -> Iterator[None]:
    """Convert ValueError and OSError to errors of one line, without a traceback.

    Used only while a run is created: later such an error comes from the environment.
    """
    try:
        yield
    except ModuleNotFoundError:
        raise
    except (ValueError, OSError) as error:
        raise _Mistake(str(error)) from error


def _failed(message: str, code: int = USAGE_ERROR) -> int:
    _tell(f"error: {message}")
    return code


def _tell(message: str) -> None:
    print(printable(" ".join(message.split())), file=sys.stderr)


def printable(text: str) -> str:
    r"""Return ``text`` with control characters escaped, so that a file cannot control the terminal.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _tell(f"warning: {message}")


def _extras() -> list[str]:
    from importlib.metadata import metadata

    return metadata("trifolium").get_all("Provides-Extra") or []


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as the errors of the commands are."""

    def error(self, message: str) -> NoReturn:
        sys.exit(_failed(f"{message}{_of_choices(message)} (see {self.prog} --help)"))

    def options(self) -> list[str]:
        """Return the options by their long names."""
        return [name for action in self._actions for name in action.option_strings if name[:2] == "--"]


def _of_choices(message: str) -> str:
    """Return a suggestion of the nearest choice, or an empty string."""
    from difflib import get_close_matches

    wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
    found = get_close_matches(wrong[1], re.findall(r"[\w-]+", wrong[2]), n=1) if wrong else []
    return f"; did you mean {found[0]!r}?" if found else ""


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown and not options.takes_anything:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{_nearest(unknown, options)}")
    return options


def _nearest(unknown: Sequence[str], options: argparse.Namespace) -> str:
    """Return a suggestion of the nearest option, or an empty string."""
    from difflib import get_close_matches

    wrong = next((each.partition("=")[0] for each in unknown if each.startswith("--")), "")
    found = get_close_matches(wrong, options.parser.options(), n=1) if wrong else []
    return f"; did you mean {found[0]}?" if found else ""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="trifolium", description="Reinforcement learning on NumPy, PyTorch and JAX.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], does: str) -> _Parser:
        added = commands.add_parser(name, help=does, description=f"{does.capitalize()}.")
        added.set_defaults(run=run, takes_anything=False, parser=added)
        return added

    train = command("train", _train, "train a model in an environment, or resume a run")
    _add_options(train, "options", "TrainOptions")
    _add_train_options(train)
    evaluate = command("evaluate", _evaluate, "evaluate a trained model, without exploration")
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
    completion = command(
        "completion", _completion, "print the script that completes commands in a shell"
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell")
    completion.set_defaults(main_parser=parser)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="DIR", help="folder of a training run")
    _add_trust(parser)


def _add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust",
        action="store_true",
        help="allow a file to name a module to import for an environment, as in module:Id",
    )


def _add_train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default=argparse.SUPPRESS, metavar="DIR", help="folder for the run's record"
    )
    parser.add_argument("--config", metavar="FILE", help="TOML file with any of these options")
    parser.add_argument(
        "--resume", metavar="DIR", help="resume the run in this folder; --steps may be given too"
    )
    _add_trust(parser)


def _add_options(parser: argparse.ArgumentParser, module: str, name: str) -> None:
    """Add an option for each field of a data class in experiment/, with the help of its docstring.

    Options that are not given are not set, so that a file can set them.
    """
    try:
        options = getattr(import_module(f"trifolium.experiment.{module}"), name)
    except ModuleNotFoundError:
        parser.set_defaults(takes_anything=True)
        return  # the command reports missing options
    helps, types = _attribute_docs(options), get_type_hints(options)
    for field in fields(options):
        text = helps[field.name]
        if field.default_factory is not MISSING:
            _add_settings(parser, field.name, text)
        elif field.default is MISSING:
            shown = field.name.upper()
            parser.add_argument(
                field.name, nargs="?", default=argparse.SUPPRESS, metavar=shown, help=text
            )
        else:
            flag = f"--{field.name.replace('_', '-')}"
            parser.add_argument(flag, **_argument(field, types[field.name], text))


def _add_settings(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """Add an option for a mapping: --model-option NAME=VALUE, which may be repeated."""
    parser.add_argument(
        f"--{name.replace('_', '-').removesuffix('s')}",
        dest=name,
        action="append",
        type=_setting,
        default=argparse.SUPPRESS,
        metavar="NAME=VALUE",
        help=f"{text}; may be repeated",
    )


def _setting(text: str) -> tuple[str, Any]:
    import json

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r}; expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _argument(field: "Field[Any]", kind: Any, text: str) -> dict[str, Any]:
    default: Any = field.default
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else str(default).lower()
    keywords: dict[str, Any] = {"default": argparse.SUPPRESS, "help": f"{text} (default: {shown})"}
    if bool in (kind, *get_args(kind)):
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
    """Return the arguments that were given."""
    return {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}


def _attribute_docs(documented: type) -> dict[str, str]:
    """Return the description of each attribute from the Attributes section of a class docstring."""
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
        _tell(
            f"interrupted; trifolium train --resume {experiment.out} continues "
            f"from step {experiment.saved_step}"
        )
        raise
    _print_returns(experiment.evaluate())
    print(printable(f"config, metrics, learning curve and model are in {experiment.out}"))


def _experiment(arguments: argparse.Namespace) -> "Experiment":
    """Return the run for the arguments of ``train``: a new run, or a resumed one."""
    from trifolium.experiment import Experiment, TrainOptions

    names = [*(field.name for field in fields(TrainOptions)), "out"]
    given = _given(arguments, names)
    if "model_options" in given:
        given["model_options"] = dict(given["model_options"])
    with _mistakes():
        if arguments.resume is None:
            options, out = _train_options(arguments, given)
            return Experiment(options, out)
        if given.keys() - {"steps"} or arguments.config:
            raise ValueError(
                "--resume continues with the options of the run; give no other option than --steps"
            )
        return Experiment.resume(arguments.resume, steps=given.get("steps"), trust=arguments.trust)


def _train_options(
    arguments: argparse.Namespace, given: Mapping[str, Any]
) -> tuple["TrainOptions", str]:
    """Return the options, and the folder, of a new run."""
    from trifolium.experiment import TrainOptions
    from trifolium.experiment.config import read_config
    from trifolium.experiment.making import check_names_no_code

    path = Path(arguments.config or "")
    options = (read_config(path) if arguments.config else {}) | dict(given)
    for name, how in (("env", "trifolium train ENV"), ("out", "--out DIR")):
        if name not in options:
            raise ValueError(f"{name} is missing; give {how}, or {name} = ... in a --config file")
    out = str(options.pop("out"))
    try:
        checked = TrainOptions(**options)
    except TypeError as error:  # a value of the wrong type in a file
        raise ValueError(str(error)) from error
    if "env" not in given and not arguments.trust:
        check_names_no_code(checked.env, path)
    return checked, out


def _loaded(arguments: argparse.Namespace) -> "Experiment":
    from trifolium.experiment import Experiment

    with _mistakes():
        return Experiment.load(arguments.out, trust=arguments.trust)


def _evaluate(arguments: argparse.Namespace) -> None:
    run = _loaded(arguments)
    if arguments.episodes is not None and arguments.episodes < 1:
        raise _Mistake(f"--episodes={arguments.episodes}; expected an integer of at least 1")
    _print_returns(run.evaluate(arguments.episodes))


def _print_returns(returns: "Mapping[str, np.ndarray]") -> None:
    for agent, earned in returns.items():
        whose = f"{agent}: " if len(returns) > 1 else ""
        text = (
            f"{whose}mean greedy return {earned.mean():.1f} over {len(earned)} episodes "
            f"(lowest {earned.min():.1f}, highest {earned.max():.1f})"
        )
        print(printable(text))


def _watch(arguments: argparse.Namespace) -> None:
    from trifolium.experiment import showing

    run = _loaded(arguments)
    if arguments.gif is None:
        _print_returns(showing.watch(run, arguments.episodes, text=arguments.text))
        return
    frames = showing.episode_frames(run)
    with _mistakes():
        showing.write_gif(Path(arguments.gif), frames)
    print(printable(f"{arguments.gif} shows {len(frames.pictures)} steps"))


def _play(arguments: argparse.Namespace) -> None:
    from trifolium.errors import HumanQuit
    from trifolium.experiment.play import Play, PlayOptions

    given = _given(arguments, [field.name for field in fields(PlayOptions)])
    if "env" not in given:
        raise _Mistake("env is missing; give trifolium play ENV")
    with _mistakes():
        played = Play(PlayOptions(**given))
    try:
        played.run()
    except HumanQuit as quit:
        print(quit)


def _report(arguments: argparse.Namespace) -> None:
    from trifolium.experiment.report import write_report

    with _mistakes():
        page = write_report(arguments.out, arguments.to, trust=arguments.trust)
    print(printable(f"the report is {page}"))


def _completion(arguments: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(arguments.main_parser, arguments.shell))


def _backends(_: argparse.Namespace) -> None:
    for name, info in backends().items():
        if info.installed:
            devices = ", ".join(info.devices)
            print(f"{name:8} {info.version:14} on {devices}; can: {info.capabilities}")
        else:
            print(f"{name:8} not installed: {info.hint}")
