"""Charts as SVG, in the colours of their page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

__all__ = ["STYLES", "Series", "chart", "sample"]

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 48
LARGEST = 600
STYLES = 6
"""Styles that the page's style sheet has; colour is not all that tells them apart."""


@dataclass(frozen=True)
class Series:
    """Points of one kind.

    Attributes:
        name: name of the series.
        x: [N] ascending.
        y: [N]; points that are not finite are left out.
        style: number of their colour and dashes.
        is_line: whether they are joined, or dots.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    style: int = 0
    is_line: bool = True


def chart(name: str, title: str, x_label: str, series: Sequence[Series]) -> str:
    """Return an SVG element with the series and axes; of many points only some hundreds are drawn.

    Args:
        name: unique in the page: it becomes part of ids.
        title: what the chart shows, for those who can't see it.
        x_label: what stands under the axis.
        series: what to draw; at least one of them with a finite point.
    """
    thinned = [_thinned(each) for each in series]
    x_axis = _Axis.around([np.zeros(1), *(each.x for each in thinned)], LEFT, WIDTH - RIGHT)
    y_axis = _Axis.around([each.y for each in thinned], HEIGHT - BOTTOM, TOP, margin=0.04)
    heading = f"{name}-title"
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{heading}">',
            f'<title id="{heading}">{escape(title)}</title>',
            *(_y_tick(y_axis.at(tick), tick) for tick in y_axis.ticks()),
            *(_x_tick(x_axis.at(tick), tick) for tick in x_axis.ticks()),
            f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>',
            _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "middle", escape(x_label)),
            *(_drawn(each, x_axis, y_axis) for each in thinned),
            "</svg>",
        ]
    )


def sample(series: Series) -> str:
    """Return a small SVG element that shows what a series looks like, for a legend."""
    mark = '<path class="line" d="M0 6H28"/>' if series.is_line else '<circle cx="14" cy="6" r="2.5"/>'
    return f'<svg class="sample s{series.style}" viewBox="0 0 28 12" aria-hidden="true">{mark}</svg>'


@dataclass(frozen=True)
class _Axis:
    """A range of values, and the pixels that it is drawn on."""

    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def around(
        cls, values: Sequence[np.ndarray], start: float, stop: float, *, margin: float = 0.0
    ) -> "_Axis":
        every = np.concatenate(list(values))
        low, high = float(every.min()), float(every.max())
        if low == high:
            low, high = low - 0.5, high + 0.5
        room = margin * (high - low)
        return cls(low - room, high + room, start, stop)

    def at(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Return about five round numbers."""
        rough = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [count * step for count in range(first, last + 1)]


def _thinned(series: Series) -> Series:
    finite = np.flatnonzero(np.isfinite(series.y))
    chosen = finite[np.linspace(0, len(finite) - 1, min(LARGEST, len(finite))).astype(int)]
    return Series(series.name, series.x[chosen], series.y[chosen], series.style, series.is_line)


def _drawn(series: Series, x_axis: _Axis, y_axis: _Axis) -> str:
    points = [f"{x_axis.at(x):.1f} {y_axis.at(y):.1f}" for x, y in zip(series.x, series.y, strict=True)]
    if series.is_line:
        return f'<path class="line s{series.style}" d="M{"L".join(points)}"/>' if points else ""
    # a line of no length with round ends is a dot, and all of them are one element
    return f'<path class="dots s{series.style}" d="{"".join(f"M{point}h0" for point in points)}"/>'


def _y_tick(y: float, value: float) -> str:
    grid = f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
    return grid + _text(LEFT - 8, y + 4, "end", _number(value))


def _x_tick(x: float, value: float) -> str:
    bottom = HEIGHT - BOTTOM
    return f'<path class="axis" d="M{x:.1f} {bottom}v5"/>' + _text(
        x, bottom + 20, "middle", _number(value)
    )


def _text(x: float, y: float, anchor: str, content: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{content}</text>'


def _number(value: float) -> str:
    return f"{value:,.10g}"
