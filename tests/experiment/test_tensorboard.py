"""Event files, read back with TensorBoard's own reader."""

import math
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trifolium.experiment import Experiment
from trifolium.experiment.rows import EpisodeRow, EvaluationRow, read_rows


def scalars(out):
    """Return what TensorBoard shows: tag to {step: value}."""
    found = EventAccumulator(str(out / "tensorboard"))
    found.Reload()
    return {
        tag: {event.step: event.value for event in found.Scalars(tag)}
        for tag in found.Tags()["scalars"]
    }


def expected(out):
    found = {}
    for kind, file, group in (
        (EpisodeRow, "metrics", "training"),
        (EvaluationRow, "evaluations", "evaluation"),
    ):
        for row in read_rows(out / f"{file}.csv", kind):
            for name, value in vars(row).items():
                if name not in ("step", "episode", "episodes", "agent") and not math.isnan(value):
                    found.setdefault(f"{group}/{name}", {})[row.step] = pytest.approx(value)
    return found


def test_scalars_are_those_of_the_record(options, tmp_path):
    Experiment(options(tensorboard=True, eval_every=100, eval_episodes=2), tmp_path).train()
    assert scalars(tmp_path) == expected(tmp_path)
    assert len(scalars(tmp_path)) >= 6


def test_run_that_goes_on_hides_what_came_after_its_checkpoint(options, tmp_path):
    chosen = options(tensorboard=True, eval_every=100, eval_episodes=2, checkpoint_every=50)

    def fail(progress):
        if progress.step >= 240:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        Experiment(chosen, tmp_path).train(on_progress=fail)
    Experiment.resume(tmp_path).train()
    assert scalars(tmp_path) == expected(tmp_path)


def test_agents_have_scalars_of_their_own(options, tmp_path):
    Experiment(options(env="pettingzoo:classic/rps-v2", tensorboard=True), tmp_path).train()
    assert {tag.partition("/")[0] for tag in scalars(tmp_path)} == {"player_0", "player_1"}


def test_no_framework_is_needed():
    code = (
        "import sys, tempfile; from pathlib import Path\n"
        "from trifolium.experiment import LogStart\n"
        "from trifolium.experiment.tensorboard import TensorBoardLog\n"
        "log = TensorBoardLog()\n"
        "log.start(LogStart(Path(tempfile.mkdtemp()), 0, ('agent',), False))\n"
        "log.close()\n"
        "print({'torch', 'jax', 'tensorflow'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
