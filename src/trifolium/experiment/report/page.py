"""The HTML page of a run."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import numpy as np

from trifolium import files
from trifolium.errors import TrifoliumError
from trifolium.experiment.curve import WINDOW
from trifolium.experiment.experiment import Experiment
from trifolium.experiment.options import TrainOptions
from trifolium.experiment.record import EVALUATIONS, METRICS
from trifolium.experiment.report.chart import chart, sample
from trifolium.experiment.report.curves import Curve, curves
from trifolium.experiment.rows import EpisodeRow, EvaluationRow, read_rows
from trifolium.experiment.showing import episode_frames
from trifolium.experiment.versions import read_versions

__all__ = ["write_report"]

PICTURES = 6
WIDEST = 320
ROWS = 50
# the page loads no external resources; the policy makes the browser enforce it
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def write_report(out: str | Path, to: str | Path | None = None, *, trust: bool = False) -> Path:
    """Write one HTML file about a run, which may be running: curves, settings, versions, pictures.

    The pictures are of an episode that the models of its checkpoint play without exploration.

    Args:
        out: folder of the run.
        to: the file, which is replaced; None for report.html in the folder, which is replaced only if
            it is a report.
        trust: whether config.json may name a module to import, as in ``"env": "module:Id"``; otherwise
            there are no pictures of such a world.

    Returns:
        The file.

    Raises:
        FileNotFoundError: there is no run.
        FileExistsError: report.html in the folder is another file.
        CheckpointError: its files are damaged.
    """
    out = Path(out)
    page = out / "report.html" if to is None else Path(to)
    if to is None and page.exists() and POLICY not in page.read_text("utf-8", errors="replace")[:2000]:
        raise FileExistsError(f"{page} is not a report; give another file: to=... (--to FILE)")
    config = out / "config.json"
    if not config.is_file():
        raise FileNotFoundError(f"{str(out)!r} holds no run: there is no {config.name}")
    options = TrainOptions.load(config)
    episodes = read_rows(out / METRICS, EpisodeRow)
    has_evaluations = (out / EVALUATIONS).is_file()
    evaluations = read_rows(out / EVALUATIONS, EvaluationRow) if has_evaluations else []
    title = f"{options.model} on {options.env}, {options.backend}"
    sections = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_summary(options, episodes))}</p>",
        _section("Curves", [_curve(each) for each in curves(episodes, evaluations)]),
        _section("An episode", _pictures(out, trust)),
        _section("Settings", [_table(asdict(options))]),
        _section("Versions", [_table(read_versions(out / "versions.json"))]),
        _section("Latest episodes", [_rows(episodes[-ROWS:])]),
    ]
    files.write_text(page, _page(title, "\n".join(sections)))
    return page


def _page(title: str, body: str) -> str:
    style = resources(__package__).joinpath("style.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _section(heading: str, parts: Sequence[str]) -> str:
    content = "\n".join(parts) or "<p>There is nothing to show yet.</p>"
    return f"<section>\n<h2>{heading}</h2>\n{content}\n</section>"


def _summary(options: TrainOptions, episodes: Sequence[EpisodeRow]) -> str:
    if not episodes:
        return f"No episode of the {options.steps:,} steps is over yet."
    recent = [episode.episode_return for episode in episodes[-WINDOW:]]
    return (
        f"{len(episodes):,} episodes in {episodes[-1].step:,} of {options.steps:,} steps; "
        f"the last {len(recent)} returned {np.mean(recent):.1f} on average."
    )


def _curve(curve: Curve) -> str:
    drawing = chart(curve.name, f"{curve.title}, against environment steps", "steps", curve.series)
    names = "".join(f"<li>{sample(each)}{escape(each.name)}</li>" for each in curve.series)
    return (
        f'<figure id="{curve.name}">\n<figcaption>{escape(curve.title)}</figcaption>\n{drawing}\n'
        f'<ul class="legend">{names}</ul>\n</figure>'
    )


def _pictures(out: Path, trust: bool) -> list[str]:
    try:
        pictures = episode_frames(Experiment.load(out, trust=trust)).pictures
    except (TrifoliumError, ValueError, OSError) as error:
        return [f"<p>There are no pictures: {escape(str(error))}</p>"]
    chosen = np.unique(np.linspace(0, len(pictures) - 1, PICTURES).astype(int))
    found = [_picture(pictures[index], index + 1) for index in chosen]
    return ['<div class="pictures">', *found, "</div>"]


def _picture(pixels: np.ndarray, step: int) -> str:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((WIDEST, WIDEST))
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    data = base64.b64encode(written.getvalue()).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" width="{image.width}" '
        f'height="{image.height}" alt="The world after step {step}">'
        f"<figcaption>step {step}</figcaption></figure>"
    )


def _table(values: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(_shown(value))}</td></tr>'
        for name, value in values.items()
    )
    return f"<table>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _rows(episodes: Sequence[EpisodeRow]) -> str:
    names = list(asdict(episodes[0])) if episodes else []
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(_brief(value))}</td>" for value in vars(row).values()) + "</tr>"
        for row in reversed(episodes)
    )
    return (
        f"<details>\n<summary>The last {len(episodes)}, as a table</summary>\n"
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n</details>"
    )


def _brief(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
