"""Observations as text: text as it is, vectors as numbers, images as blocks of colour."""

import colorsys
from typing import Any, TextIO

import numpy as np

__all__ = ["draw_picture", "is_image", "is_text", "numbers", "picture", "text"]

SMALLEST_IMAGE = 8
"""Arrays with fewer rows or columns are easier to read as numbers."""

LINES_BELOW = 8
"""Lines of the terminal reserved for the prompt below an image."""

WIDEST_ENLARGED = 40
"""Small images are enlarged up to that many dots."""

SHADES = " .:-=+*#%@"


def is_text(array: np.ndarray) -> bool:
    """Return whether ``array`` holds text or objects, as opposed to numbers."""
    return array.dtype.kind in "OUST"


def is_image(array: np.ndarray) -> bool:
    """Return whether ``array`` [H, W], [H, W, C] or [frames, H, W] looks like an image."""
    if array.ndim not in (2, 3):
        return False
    height, width = sorted(array.shape)[-2:]
    return min(height, width) >= SMALLEST_IMAGE


def text(array: np.ndarray) -> str:
    """Return an array of text or objects as lines: each row is one, each element of [N] one too.

    >>> print(text(np.array([list("#.#"), list("#@#")])))
    #.#
    #@#
    """
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.ndim < 2:
        return "\n".join(str(line) for line in array.reshape(-1))
    rows = [[str(cell) for cell in row] for row in array.reshape(-1, array.shape[-1])]
    widest = max((len(cell) for row in rows for cell in row), default=0)
    if widest <= 1:
        return "\n".join(map("".join, rows))
    return "\n".join(" ".join(cell.ljust(widest) for cell in row).rstrip() for row in rows)


def numbers(array: np.ndarray) -> str:
    """Return an array of numbers in rows, as wide as the terminal.

    >>> print(numbers(np.array([0.5, -1.25, 3.0])))
      0.5  -1.25  3.
    """
    if array.dtype == np.bool:
        array = array.astype(np.uint8)
    lines = np.array2string(array, max_line_width=_terminal_size()[0], precision=3, suppress_small=True)
    return "\n".join(line.rstrip() for line in lines.translate(str.maketrans("[]", "  ")).split("\n"))


def picture(array: np.ndarray) -> np.ndarray:
    """Return an image of any layout as [H, W, 3] uint8, red, green and blue.

    Args:
        array: [N], a row of dots; [H, W] in shades of grey; [H, W, 1] grey; [H, W, 3] coloured;
            [H, W, C] with other C, layers of which each gets a colour of its own and later ones cover
            earlier ones; [3, H, W] coloured; [frames, H, W] grey, of which the last is drawn. Bytes run
            to 255, bools and values in [0, 1] to 1; other numbers are scaled to fit.

    Raises:
        ValueError: it has more axes.

    >>> picture(np.array([[0, 255]], "uint8")).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    dots = _from_0_to_1(array)
    if dots.ndim == 3 and dots.shape[-1] not in (1, 3) and dots.shape[0] < dots.shape[-1]:
        dots = np.moveaxis(dots, 0, -1) if dots.shape[0] == 3 else dots[-1]
    if dots.ndim < 3:
        dots = np.atleast_2d(dots)[..., np.newaxis]
    if dots.ndim > 3:
        raise ValueError(
            f"an array of shape {array.shape} can't be drawn as an image; "
            "expected [H, W], [H, W, C] or [frames, H, W]"
        )
    if dots.shape[-1] not in (1, 3):
        dots = _coloured(dots)
    return np.broadcast_to(np.rint(dots * 255), (*dots.shape[:2], 3)).astype(np.uint8)


def draw_picture(dots: np.ndarray, output: TextIO) -> None:
    """Write a picture [H, W, 3] to ``output``, no larger than the terminal.

    On a terminal with colours, two dots share a character; this needs the package rich. Elsewhere
    characters represent shades.
    """
    console = _colour_console(output)
    columns, lines = _terminal_size()
    lines = max(lines - LINES_BELOW, SMALLEST_IMAGE)
    if console is None:
        output.write(_shaded(_fitted(dots, columns // 2, lines)) + "\n")
    else:
        console.print(_in_half_blocks(_fitted(dots, columns, 2 * lines)), soft_wrap=True)


def _terminal_size() -> tuple[int, int]:
    import shutil  # imported here, since it imports the compression libraries

    return shutil.get_terminal_size()


def _from_0_to_1(array: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(array.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = values.min(initial=0.0), values.max(initial=0.0)
    if array.dtype == np.uint8 and high > 1.0:
        return values / np.float32(255.0)
    if low >= 0.0 and high <= 1.0:
        return values
    return (values - low) / (high - low)


def _coloured(layers: np.ndarray) -> np.ndarray:
    """Return layers [H, W, C] as [H, W, 3]; nonzero elements cover earlier layers."""
    count = layers.shape[-1]
    dots = np.zeros((*layers.shape[:2], 3), np.float32)
    for index in range(count):
        layer = layers[..., index, np.newaxis]
        colour = np.array(colorsys.hsv_to_rgb(index / count, 0.6, 1.0), np.float32)
        dots = np.where(layer > 0.0, layer * colour, dots)
    return dots


def _fitted(dots: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return ``dots`` shrunk to fit; small ones are enlarged by a whole number."""
    own_height, own_width, _ = dots.shape
    scale = min(width / own_width, height / own_height)
    if scale < 1.0:
        dots = _shrunk(dots, 0, max(1, int(own_height * scale)))
        return _shrunk(dots, 1, max(1, int(own_width * scale)))
    times = max(1, min(int(scale), WIDEST_ENLARGED // max(own_width, own_height)))
    return dots.repeat(times, axis=0).repeat(times, axis=1)


def _shrunk(dots: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Return ``dots`` with ``size`` means along ``axis``."""
    starts = np.arange(size) * dots.shape[axis] // size
    counts = np.diff(starts, append=dots.shape[axis])
    sums = np.add.reduceat(dots, starts, axis=axis, dtype=np.float32)
    return np.rint(sums / np.expand_dims(counts, tuple({0, 1, 2} - {axis}))).astype(np.uint8)


def _shaded(dots: np.ndarray) -> str:
    """Return two characters a dot, which is about a square."""
    brightness = dots @ np.array([0.299, 0.587, 0.114])
    shades = (brightness * (len(SHADES) - 1) / 255).round().astype(int)
    return "\n".join("".join(2 * SHADES[shade] for shade in row).rstrip() for row in shades)


def _colour_console(output: TextIO) -> Any:
    """Return rich's console on ``output``, or None if it can't show blocks of colour there."""
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return None
    console = Console(file=output, highlight=False)
    can = console.color_system is not None and not console.options.ascii_only
    return console if can else None


def _in_half_blocks(dots: np.ndarray) -> Any:
    """Return rich's text in which a character is two dots: its upper half and its background."""
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    if len(dots) % 2:
        dots = np.concatenate([dots, np.zeros_like(dots[:1])])
    lines = [
        Text.assemble(
            *(
                ("▀", Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower)))
                for upper, lower in zip(above, below, strict=True)
            )
        )
        for above, below in zip(dots[0::2].tolist(), dots[1::2].tolist(), strict=True)
    ]
    return Text("\n").join(lines)
