"""Hypothesis makes up what happens to a state: here, as the code is that of all backends."""

import os

import trifolium as tri
from trifolium.testing import StateTwin, run_machine
from trifolium.testing.machine import RULES, SOAK


def test_does_what_the_reference_does(backend: tri.Backend) -> None:
    assert run_machine(backend, StateTwin) >= int(os.environ.get(SOAK, RULES))
