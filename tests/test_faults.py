"""Disks that fail while a run writes; see tests/faults.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("faults.py")


@pytest.mark.skipif(os.name != "posix", reason="the children are forked")
@pytest.mark.parametrize("every", [500, pytest.param(24, marks=pytest.mark.slow)])
def test_no_write_that_fails_does_harm(every: int) -> None:
    command = [sys.executable, str(SCRIPT), "--every", str(every)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" stops\n") == 8
