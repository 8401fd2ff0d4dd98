"""Training, evaluation, and the record that they leave."""

from trifolium.experiment.evaluation import evaluate
from trifolium.experiment.experiment import Experiment, Progress
from trifolium.experiment.options import TrainOptions

__all__ = ["Experiment", "Progress", "TrainOptions", "evaluate"]
