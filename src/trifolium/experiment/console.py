"""The progress of a run on a terminal."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from trifolium.experiment.experiment import RunProgress

__all__ = ["progress_bar"]


class _NotedBar(Bar):
    """A bar with a line of text below it, as soon as there is some."""

    note = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bar, and the text."""
        yield from super().get_renderables()
        if self.note:
            yield Text(self.note)


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
    with _NotedBar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=steps, text="")

        def show(progress: RunProgress) -> None:
            text = f"return {progress.recent_return:.1f}, epsilon {progress.epsilon:.2f}"
            if progress.traffic is not None:
                bar.note = str(progress.traffic)
            bar.update(task, completed=progress.step, text=text)

        yield show
