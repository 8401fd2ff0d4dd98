"""Training, evaluation, and the files of a run."""

from trifolium.experiment.evaluation import evaluate
from trifolium.experiment.experiment import Experiment, RunProgress
from trifolium.experiment.logs import Log, LogStart
from trifolium.experiment.options import TrainOptions
from trifolium.experiment.rows import EpisodeRow, EvaluationRow

__all__ = [
    "EpisodeRow",
    "EvaluationRow",
    "Experiment",
    "Log",
    "LogStart",
    "RunProgress",
    "TrainOptions",
    "evaluate",
]
