"""The command line, run as a person would: in a process of its own."""

import subprocess
import sys

COMMAND = [sys.executable, "-c", "import sys; from trifolium.cli import main; sys.exit(main())"]


def trifolium(*arguments, cwd, program=COMMAND):
    """Run a command and return what came of it."""
    return subprocess.run([*program, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def start(*arguments, cwd):
    """Start a command and return its process."""
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def check_mistake(done, *words):
    """Check that a command ended as it should on a user's mistake: one line that tells, and code 2."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    for word in ("error:", *words):
        assert word in line
