"""A pseudo-terminal with a program in it."""

import os
import pty
import select
import subprocess
import sys

import pytest

PATIENCE = 120  # seconds without a sign of life

# the terminal becomes the program's, so that Ctrl-C reaches it, even if this process ignores Ctrl-C
LEAD = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, *command):
        self._end, other = pty.openpty()
        self.program = subprocess.Popen(
            [sys.executable, "-c", LEAD, *command],
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)
        self._screen = ""

    def wait_for(self, text):
        """Read until ``text`` is on the screen, and return what is there since it was last read."""
        while text not in self._screen:
            self._screen += self._read() or pytest.fail(f"it ended without {text!r}: {self._screen}")
        before, found, self._screen = self._screen.partition(text)
        return before + found

    def type(self, keys):
        os.write(self._end, keys.encode() if isinstance(keys, str) else keys)

    def end(self):
        """Return the exit code, and what is on the screen at the end."""
        while read := self._read():
            self._screen += read
        return self.program.wait(PATIENCE), self._screen

    def close(self):
        self.program.kill()
        self.program.wait()
        os.close(self._end)

    def _read(self):
        """Return what comes next, nothing at the end of the program."""
        ready, _, _ = select.select([self._end], [], [], PATIENCE)
        assert ready, f"nothing more comes: {self._screen}"
        try:
            return os.read(self._end, 4096).decode(errors="replace")
        except OSError:  # how Linux says that nobody has the terminal open any more
            return ""
