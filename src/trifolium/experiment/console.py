"""The progress of a run on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from trifolium.experiment.experiment import RunProgress

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(steps: int) -> Iterator[Callable[[RunProgress], None]]:
    """Show a live bar of ``steps`` on standard error; yields a function to call with the progress."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[text]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=steps, text="")

        def show(progress: RunProgress) -> None:
            text = f"return {progress.recent_return:.1f}, epsilon {progress.epsilon:.2f}"
            text += f", {progress.traffic}" if progress.traffic else ""
            bar.update(task, completed=progress.step, text=text)

        yield show
