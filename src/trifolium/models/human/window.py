"""A window that shows pictures, by matplotlib."""

from typing import Any

import numpy as np

__all__ = ["Window"]


class Window:
    """Shows one picture at a time; it opens with the first, and again if it was closed.

    Args:
        title: title of the window.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._image: Any = None

    def show(self, dots: np.ndarray) -> None:
        """Show a picture [H, W, 3].

        Raises:
            ImportError: matplotlib is not installed; ``pip install 'trifolium[train]'`` installs it.
            RuntimeError: matplotlib can't open a window here.
        """
        from matplotlib import pyplot

        if self._image is None or not pyplot.fignum_exists(self._title):
            self._image = self._opened(dots)
        self._image.set_data(dots)
        self._image.set_extent((-0.5, dots.shape[1] - 0.5, dots.shape[0] - 0.5, -0.5))
        self._image.figure.canvas.draw()
        pyplot.pause(0.02)  # the window shows it meanwhile

    def _opened(self, dots: np.ndarray) -> Any:
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(num=self._title)
        if figure.canvas.required_interactive_framework is None:
            pyplot.close(figure)
            raise RuntimeError(
                f'draw="window" opens none: matplotlib draws with {pyplot.get_backend()!r} here; on a '
                'machine with a screen set MPLBACKEND to "tkagg" or "qtagg", or use draw="image"'
            )
        axes.set_axis_off()
        return axes.imshow(dots, interpolation="nearest")
