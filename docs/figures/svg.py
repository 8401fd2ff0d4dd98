"""Pictures in SVG for the pages of docs/: each is drawn twice, for light pages and for dark ones."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FOLDER", "THEMES", "Picture", "write"]

FOLDER = Path(__file__).parent
THEMES = {
    "light": {
        "text": "#1f2328",
        "faint": "#59636e",
        "line": "#8c959f",
        "blue": "#dbeafe",
        "yellow": "#fef3c7",
        "green": "#dcfce7",
        "grey": "#eef1f4",
        "right": "#1a7f37",
        "wrong": "#cf222e",
    },
    "dark": {
        "text": "#e6edf3",
        "faint": "#9198a1",
        "line": "#6e7681",
        "blue": "#1e3a5f",
        "yellow": "#5c4813",
        "green": "#1b4d2b",
        "grey": "#2a3038",
        "right": "#56d364",
        "wrong": "#ff7b72",
    },
}


@dataclass
class Picture:
    """A picture in the colours of one theme.

    Attributes:
        width: in pixels.
        height: in pixels.
        theme: "light" or "dark".
        parts: what was drawn.
    """

    width: int
    height: int
    theme: str
    parts: list[str] = field(default_factory=list)

    def colour(self, name: str) -> str:
        """Return the colour of a name."""
        return THEMES[self.theme][name]

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 14,
        colour: str = "text",
        anchor: str = "middle",
        bold: bool = False,
    ) -> None:
        """Write words; (x, y) is on their baseline."""
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" fill="{self.colour(colour)}" font-family="sans-serif" '
            f'font-size="{size}" text-anchor="{anchor}"{weight}>{words}</text>'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        words: str = "",
        *,
        fill: str = "grey",
        border: str | None = None,
        size: int = 15,
        dashed: bool = False,
        below: str = "",
    ) -> None:
        """Draw a box with words in its middle, and smaller ones below them."""
        inside = "none" if fill == "none" else self.colour(fill)
        stroke = f' stroke="{self.colour(border)}" stroke-width="2"' if border else ""
        dashes = ' stroke-dasharray="7 4"' if dashed else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" '
            f'fill="{inside}"{stroke}{dashes}/>'
        )
        middle = y + height / 2 + 5
        if words:
            self.text(x + width / 2, middle - (9 if below else 0), words, size=size)
        if below:
            self.text(x + width / 2, middle + 10, below, size=12, colour="faint")

    def line(self, *points: tuple[float, float], colour: str = "line", arrow: bool = False) -> None:
        """Draw a line through points, with an arrow at its end if asked."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        tip = ' marker-end="url(#tip)"' if arrow else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{self.colour(colour)}" '
            f'stroke-width="1.8"{tip}/>'
        )

    def brace(self, left: float, right: float, y: float, words: str, *, colour: str = "text") -> None:
        """Draw a bracket under what lies from left to right, with words under it."""
        self.line((left, y), (left, y + 7), (right, y + 7), (right, y), colour=colour)
        self.text((left + right) / 2, y + 24, words, size=13, colour=colour)

    def svg(self) -> str:
        """Return the picture as SVG."""
        tip = (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{self.colour("line")}"/>'
            "</marker></defs>"
        )
        size = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}"'
        body = "\n".join([tip, *self.parts])
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{body}\n</svg>\n'


def write(
    name: str, width: int, height: int, draw: Callable[[Picture], None], folder: Path = FOLDER
) -> None:
    """Write ``name``-light.svg and ``name``-dark.svg."""
    for theme in THEMES:
        picture = Picture(width, height, theme)
        draw(picture)
        (folder / f"{name}-{theme}.svg").write_text(picture.svg())
