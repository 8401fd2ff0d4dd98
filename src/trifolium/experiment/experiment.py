"""Experiment: trains models in a world, and leaves a record of it."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trifolium.errors import CheckpointError
from trifolium.experiment import checkpoint
from trifolium.experiment.curve import WINDOW, draw_learning_curve
from trifolium.experiment.evaluation import returns_of
from trifolium.experiment.interrupts import Interrupts
from trifolium.experiment.loop import make_loop
from trifolium.experiment.making import (
    MakeWorld,
    OwnModels,
    make_models,
    make_runner,
    make_world,
    make_worlds,
)
from trifolium.experiment.options import OWN, TrainOptions
from trifolium.experiment.record import METRICS, Record
from trifolium.experiment.rows import Episode, Evaluation, read_rows
from trifolium.experiment.runners import CompiledRunner, Runner
from trifolium.experiment.tensorboard import check_installed
from trifolium.experiment.versions import write_versions

__all__ = ["EVALUATION_SEED", "Experiment", "Progress"]

EVALUATION_SEED = 1_000_000
"""Added to a run's seed for evaluation episodes, so that they differ from those learned from."""


@dataclass(frozen=True)
class Progress:
    """What a progress callback is told.

    Attributes:
        step: environment steps taken.
        epsilon: probability of a random action, of the first model.
        recent_return: mean return of the last 20 episodes; nan before the first.
    """

    step: int
    epsilon: float
    recent_return: float


class Experiment:
    """One training run and its folder.

    The folder holds ``config.json`` (the options), ``versions.json``, ``metrics.csv`` (a line an
    episode), ``evaluations.csv`` (a line an evaluation, if there are any), and ``checkpoint``, from
    which :meth:`resume` goes on; once the run is over also ``learning_curve.png`` and
    ``model.safetensors`` (``model-NAME.safetensors`` for each of several).

    Args:
        options: what to train, and how.
        out: the folder; it is made, and may not hold another run.
        world: a function that makes a world of your own, in place of the one that ``options.env``
            names.
        models: a model of your own or several by name, in place of what ``options.model`` names. The
            options that tell how to make a model then say nothing; the schedule of epsilon does,
            unless ``epsilon_start`` is None.

    Attributes:
        options: the options.
        out: the folder.
        models: the models by name.
        runner: what drives them in the world.

    Raises:
        FileExistsError: ``out`` is a file, or holds a run.
        WorldError, BackendError, ValueError, TypeError: something is asked for that can't be had.
        ModuleNotFoundError: what it needs is not installed.

    >>> import tempfile, trifolium as tri
    >>> options = TrainOptions(env="CartPole-v1", steps=200)
    >>> model = tri.RandomModel(4, 2, memory_size=100, seed=0)
    >>> run = Experiment(options, Path(tempfile.mkdtemp()) / "run", models=model)
    >>> run.train()
    >>> run.evaluate(episodes=3)["agent"].shape
    (3,)
    """

    def __init__(
        self,
        options: TrainOptions,
        out: str | Path,
        *,
        world: MakeWorld | None = None,
        models: OwnModels | None = None,
    ) -> None:
        self.out = Path(out)
        if self.out.exists() and not self.out.is_dir():
            raise FileExistsError(f"out={str(out)!r} is a file; expected a folder, or none yet")
        if self._config.exists():
            raise FileExistsError(
                f"out={str(out)!r} holds a run already; give another folder, or resume that one"
            )
        self._prepare(options, world, models)

    @classmethod
    def load(
        cls, out: str | Path, *, world: MakeWorld | None = None, models: OwnModels | None = None
    ) -> "Experiment":
        """Return the run in folder ``out`` with its models as of its checkpoint, to be evaluated.

        Args:
            out: the folder of a run, which may be going on.
            world: as it was given to the run.
            models: like those that were given to the run.

        Raises:
            FileNotFoundError: there is no run, or no checkpoint yet.
            CheckpointError: its files are damaged.
        """
        run = cls._reopened(out, world, models)
        if run._checkpoint is None:
            raise FileNotFoundError(f"{str(out)!r} holds a run without a checkpoint yet")
        run._restore_models()
        return run

    @classmethod
    def resume(
        cls, out: str | Path, *, world: MakeWorld | None = None, models: OwnModels | None = None
    ) -> "Experiment":
        """Return the run in folder ``out`` at its checkpoint; :meth:`train` goes on from there.

        Everything then goes on bit for bit as it would have without the interruption. A run that was
        ended before its first checkpoint begins anew.

        Args:
            out: the folder of a run that nobody is at any more.
            world: as it was given to the run.
            models: new ones like those that were given to the run.

        Raises:
            FileNotFoundError: there is no run.
            CheckpointError: its files are damaged.
            WorldError: the world does not repeat itself.
        """
        run = cls._reopened(out, world, models)
        if run._checkpoint is not None:
            run._restore_models()
            try:
                run._loop.restore(run._checkpoint.counters)
                run.runner.restore(run._checkpoint.runner)
            except (LookupError, TypeError) as error:
                raise CheckpointError(f"{run._checkpoints} is of another run: {error!r}") from error
        return run

    @property
    def step(self) -> int:
        """Environment steps taken so far."""
        return self._loop.counters.step

    @property
    def saved_step(self) -> int:
        """Step of the checkpoint; 0 as long as there is none."""
        return 0 if self._checkpoint is None else int(self._checkpoint.counters["step"])

    def train(self, on_progress: Callable[[Progress], None] | None = None) -> None:
        """Train the models to the last step, and write the folder.

        Ctrl-C and SIGTERM write a checkpoint before they end the training.

        Args:
            on_progress: called after each episode, and a hundred times in all at least.

        Raises:
            KeyboardInterrupt, SystemExit: for those signals.
        """
        from threadpoolctl import threadpool_limits

        self._check_at_checkpoint()
        threadpool_limits(self.options.threads)  # small networks are fastest on one thread
        self.out.mkdir(parents=True, exist_ok=True)
        self.options.save(self._config)
        write_versions(self.out / "versions.json", next(iter(self.models.values())).backend)
        with self._record() as record, Interrupts() as interrupts:
            self._go_on(record, interrupts, on_progress or _ignore)
            if self.step >= self.options.steps:
                self._finish(record)
            else:
                self._save(record, memory=True)
        interrupts.end_process()

    def evaluate(self, episodes: int | None = None) -> dict[str, np.ndarray]:
        """Return what each agent earns in greedy episodes of a world of their own.

        Args:
            episodes: how many; None for as many as the options say.

        Returns:
            Returns by agent, [episodes] each; the name of a single agent is "agent".
        """
        runner, unplayed = self._evaluation_runner
        runner.restore(unplayed)
        return returns_of(runner, self.options.eval_episodes if episodes is None else episodes)

    @cached_property
    def _evaluation_runner(self) -> tuple[Runner, dict[str, Any]]:
        """The runner of evaluations, and its state before its first episode."""
        _, runner = self.stage()
        return runner, runner.state()

    def stage(self, render_mode: str | None = None) -> tuple[Any, Runner]:
        """Return a new world, and a runner in which the models act there and remember nothing.

        Args:
            render_mode: what a world that the options name shall show, as for ``gymnasium.make``.
        """
        world = make_world(self.options, self._make, render_mode=render_mode)
        seed = self.options.seed + EVALUATION_SEED
        return world, make_runner(self.options, world, self._given_models, seed=seed, remember=False)

    # Making and restoring

    def _prepare(
        self, options: TrainOptions, world: MakeWorld | None, models: OwnModels | None
    ) -> None:
        self.options = options if models is None else replace(options, model=OWN)
        self._make = world
        if options.tensorboard:
            check_installed()
        worlds = make_worlds(options, world)
        self._given_models = make_models(self.options, worlds, models)
        self.runner: Runner | CompiledRunner = CompiledRunner.of(
            self.options, worlds, self._given_models
        ) or make_runner(self.options, worlds, self._given_models, seed=options.seed)
        self.models = self.runner.models
        self._loop = make_loop(self.runner, self.options)
        self._checkpoint: checkpoint.Checkpoint | None = None

    @classmethod
    def _reopened(
        cls, out: str | Path, world: MakeWorld | None, models: OwnModels | None
    ) -> "Experiment":
        run = cls.__new__(cls)
        run.out = Path(out)
        if not run._config.is_file():
            raise FileNotFoundError(f"{str(out)!r} holds no run: there is no {run._config.name}")
        run._prepare(TrainOptions.load(run._config), world, models)
        run._checkpoint = checkpoint.read(run._checkpoints)
        return run

    def _restore_models(self) -> None:
        assert self._checkpoint is not None
        checkpoint.restore_models(self._checkpoints, self._checkpoint, self.models)

    # Training

    def _go_on(
        self, record: Record, interrupts: Interrupts, on_progress: Callable[[Progress], None]
    ) -> None:
        """Take steps until the last one, or a signal."""
        options, loop, recent = self.options, self._loop, self._recent_returns()
        first_model = next(iter(self.models.values()))
        show_at, save_at = self.step, self._next_save()  # when to do so next
        while loop.counters.step < options.steps and interrupts.received is None:
            rows = loop.step()
            for row in rows:
                record.episode(row)
                recent.append(row.episode_return)
            step = self.step
            if loop.may_evaluate:
                self._evaluate_if_due(record)
            if step >= save_at and step < options.steps:
                save_at = self._next_save()
                self._save(record, memory=True)
            if rows or step >= show_at:
                show_at = min(step + max(1, options.steps // 100), options.steps)
                on_progress(Progress(step, first_model.epsilon, _mean(recent)))

    def _finish(self, record: Record) -> None:
        self._loop.end_epoch()
        if self.options.eval_every is not None and self._loop.counters.evaluated < self.step:
            self._record_evaluation(record)
        self._save(record, memory=False)
        title = f"{self.options.model} on {self.options.env}, {self.options.backend}"
        episodes = read_rows(self.out / METRICS, Episode)
        draw_learning_curve(self.out / "learning_curve.png", episodes, title)
        for name, model in self.models.items():
            own_name = "" if len(self.models) == 1 else f"-{checkpoint.file_name(name)}"
            model.save(self.out / f"model{own_name}.safetensors")

    def _evaluate_if_due(self, record: Record) -> None:
        every, counters = self.options.eval_every, self._loop.counters
        if every is not None and counters.step // every > counters.evaluated // every:
            self._record_evaluation(record)

    def _record_evaluation(self, record: Record) -> None:
        self._loop.counters.evaluated = self.step
        for agent, returns in self.evaluate().items():
            record.evaluation(Evaluation.of(self.step, returns, agent))

    def _save(self, record: Record, *, memory: bool) -> None:
        """Write a checkpoint; once the run is over nobody needs the memories any more."""
        self._checkpoint = checkpoint.write(
            self._checkpoints,
            self.models,
            counters=self._loop.state(),
            runner=self.runner.state(),
            logs=record.sizes(),
            memory=memory,
        )

    def _next_save(self) -> float:
        every = self.options.checkpoint_every
        return math.inf if every is None else (self.step // every + 1) * every

    def _record(self) -> Record:
        return Record(
            self.out,
            agents=len(self.runner.agents) > 1,
            evaluations=self.options.eval_every is not None,
            tensorboard=self.options.tensorboard,
            step=self.step,
            sizes=None if self._checkpoint is None else self._checkpoint.logs,
        )

    def _recent_returns(self) -> deque[float]:
        """Return those that the record holds, so that progress is shown as if there were no break."""
        rows = read_rows(self.out / METRICS, Episode)
        return deque((row.episode_return for row in rows), WINDOW)

    def _check_at_checkpoint(self) -> None:
        if self.step != self.saved_step:
            raise RuntimeError(
                f"this run is at step {self.step}, its folder at step {self.saved_step}: it was loaded "
                f"to be evaluated, or broke off; Experiment.resume({str(self.out)!r}) goes on"
            )

    @property
    def _config(self) -> Path:
        return self.out / "config.json"

    @property
    def _checkpoints(self) -> Path:
        return self.out / "checkpoint"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _ignore(progress: Progress) -> None:
    """Do nothing with it."""
