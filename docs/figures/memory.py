"""Figures of the replay memory: its ring, windows of rows, padding, and the tail of n steps."""

from svg import Picture

CELL, STEP, LEFT = 60, 66, 20  # width of a row, distance to the next one, and where the first begins


def row(picture: Picture, place: float, top: float, words: str, fill: str, **options: object) -> None:
    """Draw a row of the memory."""
    picture.box(LEFT + place * STEP, top, CELL, 42, words, fill=fill, **options)  # type: ignore[arg-type]


def ends(first: float, last: float) -> tuple[float, float]:
    """Return where the rows from ``first`` to ``last`` begin and end."""
    return LEFT + first * STEP, LEFT + last * STEP + CELL


def ring(picture: Picture) -> None:
    """A ring of ten rows that holds steps 4 to 13."""
    fills = {4: "green", 5: "green", 6: "green", 7: "blue", 8: "blue", 9: "blue", 10: "blue"}
    marks = {4: "terminated", 7: "first", 10: "truncated", 11: "boundary", 12: "first"}
    picture.text(LEFT, 20, "row of the ring", size=12, colour="faint", anchor="start")
    for place in range(10):
        serial = place + 10 if place < 4 else place
        fill = {11: "grey"}.get(serial, fills.get(serial, "yellow"))
        picture.text(LEFT + place * STEP + CELL / 2, 40, str(place), size=12, colour="faint")
        row(picture, place, 50, str(serial), fill)
        if serial in marks and serial != 4:
            picture.text(LEFT + place * STEP + CELL / 2, 108, marks[serial], size=11, colour="faint")
    picture.text(LEFT + 6 * STEP + CELL / 2, 108, "terminated", size=11, colour="faint")
    newest, oldest = LEFT + 3 * STEP + CELL / 2, LEFT + 4 * STEP + CELL / 2
    picture.line((newest, 150), (newest, 118), arrow=True)
    picture.text(newest - 6, 166, "newest", size=13, anchor="end")
    picture.line((oldest, 150), (oldest, 118), arrow=True)
    picture.text(oldest + 6, 166, "oldest: the next step is written here", size=13, anchor="start")


def window(picture: Picture) -> None:
    """The window of a row with three frames."""
    names = ["t − 3", "t − 2", "t − 1", "t", "t + 1", "t + 2"]
    for place, name in enumerate(names):
        row(picture, place + 0.6, 40, name, "blue" if 1 <= place <= 4 else "grey")
    picture.text(
        LEFT + 0.6 * STEP, 22, "observations, each stored once", size=13, colour="faint", anchor="start"
    )
    left, right = ends(1.6, 3.6)
    picture.brace(left, right, 92, "state: the stack that ends at row t")
    left, right = ends(2.6, 4.6)
    picture.brace(left, right, 132, "next state: the same frames, moved by one")
    left, right = ends(3.6, 3.6)
    picture.brace(left, right, 172, "action, reward, done: of row t")


def crossing(picture: Picture) -> None:
    """Windows of three frames over the rows of two episodes, narrow enough for a phone."""
    cell, step, left = 40, 46, 10
    numbers = [11, 12, 13, 14, 21, 22, 23, 24]
    for place, number in enumerate(numbers):
        fill = "blue" if number < 20 else "yellow"
        picture.box(left + place * step, 46, cell, 42, str(number), fill=fill)
    for episode, first in ((1, 0), (2, 4)):
        picture.text(left + first * step + (3 * step + cell) / 2, 28, f"episode {episode}")
    border = left + 4 * step - 3
    picture.line((border, 10), (border, 100), colour="text")
    width = 2 * step + cell
    windows = [(1, "valid", "right"), (2, "not valid", "wrong"), (4, "valid", "right")]
    for depth, (first, words, colour) in enumerate(windows):
        begin, top = left + first * step, 104 + 36 * depth
        picture.box(begin, top, width, 26, fill="none", border=colour, dashed=colour == "wrong")
        picture.text(begin + width / 2, top + 18, words, colour=colour)


def padding(picture: Picture) -> None:
    """The first stack of an episode with boundary="mask" and with boundary="pad"."""
    cases = [
        (40, 'boundary="mask"', ["13", "14", "21"], ["blue", "blue", "yellow"], "valid = 0", "wrong"),
        (136, 'boundary="pad"', ["0", "0", "21"], ["grey", "grey", "yellow"], "valid = 1", "right"),
    ]
    picture.text(
        LEFT,
        20,
        "The stack of step 21, the first of episode 2:",
        size=13,
        colour="faint",
        anchor="start",
    )
    for top, option, words, fills, verdict, colour in cases:
        picture.text(LEFT, top + 27, option, anchor="start")
        for place, (word, fill) in enumerate(zip(words, fills, strict=True)):
            row(picture, place + 2.4, top, word, fill)
        left, right = ends(2.4, 4.4)
        picture.box(left - 5, top - 5, right - left + 10, 52, fill="none", border=colour)
        picture.text(right + 24, top + 27, verdict, colour=colour, anchor="start", bold=True)
    picture.text(
        LEFT + 2.4 * STEP,
        106,
        "frames of episode 1 are in it: no agent ever saw this",
        size=12,
        colour="faint",
        anchor="start",
    )
    picture.text(
        LEFT + 2.4 * STEP,
        202,
        "zeros, as in current_state() while acting",
        size=12,
        colour="faint",
        anchor="start",
    )


def n_step(picture: Picture) -> None:
    """Tails of three steps: inside an episode, before a termination, before a truncation."""
    cases: list[tuple[str, list[tuple[str, str]], int, str, str]] = [
        (
            "inside an episode",
            [("t", "blue"), ("t + 1", "blue"), ("t + 2", "blue"), ("t + 3", "green")],
            2,
            "rewards = r₀ + γ r₁ + γ² r₂",
            "discounts = γ³, next state at t + 3",
        ),
        (
            "before a termination",
            [("t", "blue"), ("t + 1", "blue"), ("first", "grey"), ("", "grey")],
            1,
            "rewards = r₀ + γ r₁",
            "dones = 1: nothing follows",
        ),
        (
            "before a truncation",
            [("t", "blue"), ("t + 1", "blue"), ("boundary", "green"), ("first", "grey")],
            1,
            "rewards = r₀ + γ r₁",
            "discounts = γ², next state: the boundary row",
        ),
    ]
    for depth, (title, rows, last, rewards, rest) in enumerate(cases):
        top = 34 + 104 * depth
        picture.text(LEFT, top - 10, title, size=13, colour="faint", anchor="start")
        for place, (words, fill) in enumerate(rows):
            row(picture, place, top, words, fill, size=13 if len(words) > 6 else 15)
        left, right = ends(0, last)
        picture.line((left, top + 46), (left, top + 53), (right, top + 53), (right, top + 46))
        picture.text((left + right) / 2, top + 67, "summed", size=12)
        picture.text(310, top + 18, rewards, anchor="start")
        picture.text(310, top + 40, rest, anchor="start")
