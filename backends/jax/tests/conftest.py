"""A number that isn't there before a test lets it come, to see who waits for it."""

import threading
from collections.abc import Iterator

import jax
import numpy as np
import pytest

LONGEST = 30.0
"""Seconds after which it comes by itself, so that a test which waits for it fails in the end."""


ON_HOST = jax.default_backend() == "cpu"
MATRIX = np.ones((700, 700), np.float32)


@jax.jit
def _compute_long(matrix: jax.Array) -> jax.Array:
    """Return 1 after some tenths of a second."""
    return jax.lax.fori_loop(0, 20, lambda _, found: found @ matrix / 700, matrix)[0, 0]


class Pending:
    """The number 0.5 as a JAX array, still being computed until :meth:`come` is called.

    What is calculated with it is pending too. JAX's own guard against transfers to the host sees
    none where the host is the device, so on a CPU it proves nothing. On any other device the guard
    proves all, and the number is there at once: a callback would hold up the dispatch itself.

    Attributes:
        number: the array, of shape ().
    """

    def __init__(self) -> None:
        self._gate = threading.Event()
        if not ON_HOST:
            self.number = jax.numpy.asarray(0.5, "float32")
            return
        self._dispatched = threading.Event()
        compute = jax.jit(lambda x: jax.pure_callback(self._wait, x, x)).lower(MATRIX[0, 0]).compile()
        for _ in range(5):
            # JAX computes at once what has its arguments: so this has one that takes long
            self.number = compute(_compute_long(MATRIX))
            self._dispatched.set()
            if not self.number.is_ready():
                return
            self._dispatched.clear()
        pytest.fail("the machine is too busy: what should take long was there before it was needed")

    def _wait(self, _: object) -> np.ndarray:
        if self._dispatched.wait(2.0):  # else it is computed at once after all
            self._gate.wait(LONGEST)
        return np.array(0.5, np.float32)

    @property
    def has_come(self) -> bool:
        """Whether :meth:`come` was called."""
        return self._gate.is_set()

    def was_waited_for(self, result: jax.Array) -> bool:
        """Whether ``result``, calculated with the number, is there although the number is not."""
        return ON_HOST and result.is_ready()

    def come(self) -> None:
        """Let the computation end."""
        self._gate.set()

    def come_soon(self) -> None:
        """Let it end while somebody waits."""
        threading.Timer(0.2, self.come).start()


@pytest.fixture
def pending() -> Iterator[Pending]:
    """Return a Pending; it comes in any case when the test is over."""
    number = Pending()
    yield number
    number.come()
    number.number.block_until_ready()
