"""HumanModel: a person chooses the actions with the keyboard."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import numpy as np

from trifolium.backend import as_numpy
from trifolium.errors import HumanQuit
from trifolium.models.base import BaseModel
from trifolium.models.human import drawing
from trifolium.models.human.keys import Keys
from trifolium.models.human.window import Window

__all__ = ["HumanModel"]

DRAW = ("auto", "numbers", "image", "window", "nothing")


class HumanModel(BaseModel):
    r"""Asks a person for every action: shows the state and the keys, and reads a line.

    An action is chosen by its number, by its key or by its name. After any other input the prompt is
    repeated with a list of the keys. ``quit`` and the end of the input raise
    :class:`~trifolium.HumanQuit`; Ctrl-C interrupts, as everywhere.

    Args:
        input_size: shape of one observation; an int n means (n,). For structured observations a
            mapping, as for :class:`~trifolium.BaseModel`; each part is drawn below its name.
        action_space: number of actions.
        memory_size: capacity of the replay memory; it is raised to the least that holds a state and its
            successor.
        epsilon: kept, but not used.
        action_names: name of each action, in order.
        keys: keys in addition to the numbers: one for each action in order, as in ``"wasd"``, or a
            mapping from keys to actions, which are numbers or names. A key is any text of one line;
            ``"up"``, ``"down"``, ``"left"``, ``"right"`` are the arrows too, ``"space"`` is the space
            bar, and ``"enter"`` an empty line. A key that is a number hides the action of that number.
        draw: how the state is shown: ``"auto"`` for text as it is, images as images and all else as
            numbers; ``"numbers"`` or ``"image"`` for that; ``"window"`` for images in a window, which
            takes matplotlib; ``"nothing"`` if the world renders itself.
        view: a function of the state that returns what to show instead: text, an array, or None for
            nothing. ``lambda state: env.render()`` shows the rendering of a Gymnasium environment.
        input: text stream to read from; None for standard input.
        output: text stream to write to; None for standard output.
        **options: as for :class:`~trifolium.BaseModel`.

    Raises:
        TypeError, ValueError: an option has another value, or keys and actions don't fit together.

    >>> import io
    >>> person = HumanModel(2, 2, 100, keys="ad", input=io.StringIO("d\n"))
    >>> person.take_action([0.5, -1.0])
      0.5 -1.
    0 or a, 1 or d; q to quit
    action: 1
    """

    def __init__(
        self,
        input_size: int | Sequence[int] | Mapping[str, Any],
        action_space: int,
        memory_size: int,
        epsilon: float = 0.0,
        *,
        action_names: Sequence[str] | None = None,
        keys: Sequence[str] | Mapping[str, int | str] | None = None,
        draw: str = "auto",
        view: Callable[[Any], Any] | None = None,
        input: TextIO | None = None,
        output: TextIO | None = None,
        **options: Any,
    ) -> None:
        frames, streams = options.get("n_frames", 1), options.get("n_streams", 1)
        if isinstance(frames, Mapping):
            frames = max(frames.values(), default=1)
        if all(type(number) is int for number in (memory_size, frames, streams)) and memory_size > 0:
            memory_size = max(memory_size, (frames + 1) * streams)
        super().__init__(input_size, action_space, memory_size, epsilon, **options)
        self.keys = Keys(self.action_space, action_names, keys)
        if draw not in DRAW:
            raise ValueError(f"draw={draw!r}; expected one of {', '.join(DRAW)}")
        if view is not None and not callable(view):
            raise TypeError(
                f"view={view!r} is a {type(view).__name__}; expected a function of the state"
            )
        self.draw = draw
        self.view = view
        self._input = _stream("input", input, "readline")
        self._output = _stream("output", output, "write")
        self._windows: dict[str, Window] = {}
        self._leaves = {leaf.path: leaf for leaf in self.memory.spec.leaves}

    def take_action(self, state: Any) -> int:
        """Return the action that the person chose; with ``action_mask`` it is a legal one.

        Args:
            state: the stacked observations, oldest first: rows of numbers are shown all, of images the
                newest. It need not fit ``input_size``: text and arrays of any shape are shown too.

        Raises:
            HumanQuit: the person typed ``quit``, or the input ended.
        """
        output = self._output or sys.stdout
        legal = None if self.mask is None else self.mask.of_state(state)
        self._show(state, output)
        output.write(f"{self.keys}\n")
        while True:
            typed = self._line(output)
            action = self.keys.action(typed)
            if action is not None and (legal is None or legal[action]):
                return action
            if action is not None:
                output.write(f"{typed!r:.40} is not legal now\n")
                continue
            if self.keys.is_quit(typed):
                raise HumanQuit("the person at the keys quit")
            output.write(f"{typed!r:.40} is no action here. Good are: {self.keys}\n")

    def _line(self, output: TextIO) -> str:
        """Return the next line typed, without its end; waits for it."""
        output.write("action: ")
        output.flush()
        try:
            line = (self._input or sys.stdin).readline()
        except UnicodeDecodeError as error:
            return str(error.object)  # which is no key, and is asked again
        except (OSError, ValueError) as error:  # a terminal that hung up, a stream that is closed
            raise HumanQuit(f"the input can't be read: {error}") from error
        if not line:
            output.write("\n")
            raise HumanQuit("the input has ended")
        return line.rstrip("\r\n")

    def _show(self, state: Any, output: TextIO) -> None:
        shown = state if self.view is None else self.view(state)
        if self.draw == "nothing" or shown is None:
            return
        is_structured = self.memory.spec.is_structured
        for path, part in _parts(shown, ()) if is_structured else [((), shown)]:
            name = "/".join(path)
            if name:
                output.write(f"{name}:\n")
            self._show_part(name, self._frames(path, as_numpy(part)), output)

    def _show_part(self, name: str, frames: np.ndarray, output: TextIO) -> None:
        newest = frames[-1, ...]
        if drawing.is_text(newest):
            output.write(f"{drawing.text(newest)}\n")
        elif self.draw == "window" and (not name or drawing.is_image(newest)):
            self._window_of(name).show(drawing.picture(newest))
        elif self._draws_image(name, newest):
            drawing.draw_picture(drawing.picture(newest), output)
        else:
            output.write(f"{drawing.numbers(frames if len(frames) > 1 else newest)}\n")

    def _draws_image(self, name: str, array: np.ndarray) -> bool:
        """Return whether ``array`` is drawn as an image; of a structured state only its images are."""
        if self.draw == "image" and not name:
            return True
        return self.draw in ("auto", "image") and drawing.is_image(array)

    def _window_of(self, name: str) -> Window:
        if name not in self._windows:
            self._windows[name] = Window(" ".join(filter(None, (self.model_name, name))))
        return self._windows[name]

    def _frames(self, path: tuple[str, ...], array: np.ndarray) -> np.ndarray:
        """Return a part of a state as [n_frames, *shape]; other arrays get an axis of one frame."""
        leaf = self._leaves.get(path)
        if self.view is not None or leaf is None or drawing.is_text(array):
            return array[np.newaxis]
        shape = (leaf.n_frames, *leaf.shape)
        return array.reshape(shape) if array.size == math.prod(shape) else array[np.newaxis]


def _parts(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the parts of a structured observation with their names; one array is a part with none."""
    if isinstance(value, tuple):  # of a Tuple space
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _parts(part, (*path, str(name)))
    else:
        yield path, value


def _stream(name: str, stream: Any, method: str) -> Any:
    if stream is not None and not hasattr(stream, method):
        raise TypeError(f"{name}={stream!r} is a {type(stream).__name__}; expected a text stream")
    return stream
