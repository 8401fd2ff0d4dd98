"""Checks of commands on pages that are not run: what installs, and nox."""

import itertools
import re
import tomllib
from pathlib import Path

__all__ = ["check_installation", "check_sessions", "is_installation"]

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"].keys()
KNOWN = {
    re.split(r"[<>=\[;@ ]", line)[0].lower().replace("_", "-")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
}


def is_installation(words: list[str]) -> bool:
    """Return whether a command installs, or makes or enters an environment."""
    program = Path(words[0]).name
    is_pip = program.startswith("pip") or words[1:3] == ["-m", "pip"]
    return is_pip or words[1:3] == ["-m", "venv"] or program in ("source", "git", "cd")


def check_installation(command: str) -> None:
    """Raise AssertionError if a command asks for an extra or a package that is not known."""
    if "pip install" not in command:
        return
    words = re.findall(r"'[^']*'|\S+", command.partition("pip install")[2])
    options = {"-c", "-r", "--constraint", "-e", "-q"}
    names = [each.strip("'") for each in words if each not in options and not each.startswith("--")]
    for name in names:
        package, _, extras = name.rstrip("]").partition("[")
        unknown = {each for each in extras.split(",") if each} - set(EXTRAS)
        assert not unknown, f"{command}: pyproject.toml has no extra {unknown}"
        is_path = package in (".", "trifolium") or (ROOT / package).exists()
        assert is_path or package.lower() in KNOWN, f"{command}: {package} is not in constraints.txt"


def check_sessions(words: list[str]) -> None:
    """Raise AssertionError if a command names a session of nox that is not there."""
    noxfile = (ROOT / "noxfile.py").read_text()
    known = set(re.findall(r"^def (\w+)\(session", noxfile, re.MULTILINE))
    known |= set(re.findall(r'nox.session\(name="([\w-]+)"', noxfile))
    for option, name in itertools.pairwise(words):
        if option in ("-s", "--session"):
            name = re.split(r"\(", name.strip("\"'"))[0]
            assert name in known, f"{' '.join(words)}: noxfile.py has no session {name}"
