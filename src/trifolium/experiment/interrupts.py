"""Interrupts: Ctrl-C and the request to terminate, kept until a run can be saved."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupts"]


class Interrupts:
    """A context in which SIGINT and SIGTERM are noted, and end nothing; the second of a kind does.

    A signal that stops Python between any two of its instructions would leave a memory, or weights,
    half written. In a thread that is not the main one, signals can't be caught, and nothing is noted.

    Attributes:
        received: number of the signal, None as long as there was none.

    >>> with Interrupts() as interrupts:
    ...     signal.raise_signal(signal.SIGINT)
    ...     interrupts.received == signal.SIGINT
    True
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def end_process(self) -> None:
        """Do what the signal that was received asks for; if there was none, nothing.

        Raises:
            KeyboardInterrupt: for SIGINT.
            SystemExit: for SIGTERM, with the exit code 143 that shells give to it.
        """
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is not None:
            raise SystemExit(128 + self.received)

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.received = number
        signal.signal(number, self._before[number])
