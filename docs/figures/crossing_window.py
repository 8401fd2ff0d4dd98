"""Draw docs/figures/crossing_window-*.svg: windows of three frames over the rows of two episodes.

``python docs/figures/crossing_window.py`` writes one picture for light pages and one for dark ones.
"""

from pathlib import Path

CELL, GAP, LEFT, TOP = 64, 6, 20, 46
FRAMES = 3
ROWS = [(episode, step) for episode in (1, 2) for step in (1, 2, 3, 4)]
WINDOWS = [  # first row, what it is, whether it is valid
    (1, "inside an episode: valid", True),
    (2, "crosses an end: not valid", False),
    (4, "inside an episode: valid", True),
]
THEMES = {
    "light": {"text": "#1f2328", "episodes": ("#dbeafe", "#fef3c7"), True: "#1a7f37", False: "#cf222e"},
    "dark": {"text": "#e6edf3", "episodes": ("#1e3a5f", "#5c4813"), True: "#56d364", False: "#ff7b72"},
}


def left_of(row: int) -> int:
    """Return the left edge of a row's cell."""
    return LEFT + row * (CELL + GAP)


def drawn(colours: dict) -> str:
    """Return the picture as SVG."""
    text = f'fill="{colours["text"]}" font-family="sans-serif"'
    lines = []
    for number, (episode, step) in enumerate(ROWS):
        left = left_of(number)
        lines.append(
            f'<rect x="{left}" y="{TOP}" width="{CELL}" height="{CELL - 20}" rx="4" '
            f'fill="{colours["episodes"][episode - 1]}"/>'
            f'<text x="{left + CELL / 2}" y="{TOP + 28}" {text} font-size="17" text-anchor="middle">'
            f"{10 * episode + step}</text>"
        )
    for episode, first in ((1, 0), (2, 4)):
        middle = (left_of(first) + left_of(first + 3) + CELL) / 2
        lines.append(
            f'<text x="{middle}" y="{TOP - 16}" {text} font-size="14" text-anchor="middle">'
            f"episode {episode}</text>"
        )
    border = left_of(4) - GAP / 2
    lines.append(
        f'<line x1="{border}" y1="{TOP - 34}" x2="{border}" y2="{TOP + CELL - 8}" '
        f'stroke="{colours["text"]}" stroke-dasharray="5 4"/>'
    )
    for depth, (first, said, valid) in enumerate(WINDOWS):
        top, start = TOP + CELL + 2 + 34 * depth, left_of(first)
        width = FRAMES * (CELL + GAP) - GAP
        dashes = "" if valid else ' stroke-dasharray="7 4"'
        lines.append(
            f'<rect x="{start}" y="{top}" width="{width}" height="24" rx="6" fill="none" '
            f'stroke="{colours[valid]}" stroke-width="2.5"{dashes}/>'
            f'<text x="{start + width / 2}" y="{top + 17}" fill="{colours[valid]}" '
            f'font-family="sans-serif" font-size="13" text-anchor="middle">{said}</text>'
        )
    width, height = left_of(len(ROWS)) + LEFT, TOP + CELL + 34 * len(WINDOWS) + 6
    body = "\n".join(lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">\n{body}\n</svg>\n'
    )


for theme, colours in THEMES.items():
    (Path(__file__).parent / f"crossing_window-{theme}.svg").write_text(drawn(colours))
