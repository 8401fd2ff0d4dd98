"""Experiment: trains models in a world and writes the run to a folder."""

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from trifolium import _checks as checks
from trifolium.errors import CheckpointError, NanError, SaveError, TrifoliumError
from trifolium.experiment import checkpoint
from trifolium.experiment.curve import WINDOW, draw_learning_curve
from trifolium.experiment.evaluation import returns_of
from trifolium.experiment.folder import RunFolder
from trifolium.experiment.interrupts import Interrupts
from trifolium.experiment.logs import Log, LogStart
from trifolium.experiment.loop import make_loop
from trifolium.experiment.making import MakeWorld, OwnModels, Stage, check_names_no_code
from trifolium.experiment.options import IGNORE, OWN, TrainOptions
from trifolium.experiment.record import METRICS, Record
from trifolium.experiment.reopening import UNSOUND, blamed_on_config, check_costs
from trifolium.experiment.rows import EpisodeRow, EvaluationRow, read_rows
from trifolium.experiment.runners import BlockRunner, HasTraffic, Runner, Traffic
from trifolium.experiment.tensorboard import TensorBoardLog
from trifolium.experiment.versions import write_versions
from trifolium.models.saved import limited_parameters

__all__ = ["EVALUATION_SEED", "Experiment", "RunProgress"]

EVALUATION_SEED = 1_000_000
"""Added to a run's seed for evaluation episodes, so that they differ from those learned from."""

ATTEMPTS = 5
"""How often a checkpoint is read that a running process may be replacing."""


@dataclass(frozen=True)
class RunProgress:
    """The argument of a progress callback.

    Attributes:
        step: environment steps taken.
        epsilon: probability of a random action, of the first model.
        recent_return: mean return of the last 20 episodes; nan before the first.
        traffic: how fast actors in other processes work; None without such, or in the first second.
    """

    step: int
    epsilon: float
    recent_return: float
    traffic: Traffic | None = None


class Experiment:
    """One training run and its folder.

    The folder holds ``config.json`` (the options), ``versions.json``, ``metrics.csv`` (a line an
    episode), ``evaluations.csv`` (a line an evaluation, if there are any), and ``checkpoint``, from
    which :meth:`resume` continues; once the run is over also ``learning_curve.png`` and
    ``model.safetensors`` (``model-NAME.safetensors`` for each of several).

    Args:
        options: what to train, and how.
        out: the folder. It is made if it is missing; it may hold other files, but neither another run
            nor files of the names above.
        world: a function that makes a custom world, which replaces ``options.env``.
        models: a custom model, or several by name, which replace ``options.model``. The
            options that describe a model are ignored then; the schedule of epsilon is not, unless
            ``epsilon_start`` is None.
        logs: further logs of the rows, in addition to the CSV files and to TensorBoard's event files
            with ``options.tensorboard``.

    Attributes:
        options: the options.
        out: the folder.
        models: the models by name.
        runner: what drives them in the world.

    Raises:
        FileExistsError: ``out`` is a file, holds a run, or holds a file that a run would overwrite.
        WorldError, BackendError, ValueError, TypeError: an option is wrong or not supported.
        ModuleNotFoundError: a package that it needs is not installed.

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
        logs: Sequence[Log] = (),
    ) -> None:
        self._folder = RunFolder(out)
        self._folder.check_free()
        self._is_new = True
        self._checkpoint: checkpoint.Checkpoint | None = None
        self._prepare(options, world, models, logs)

    @classmethod
    def load(
        cls,
        out: str | Path,
        *,
        world: MakeWorld | None = None,
        models: OwnModels | None = None,
        trust: bool = False,
    ) -> "Experiment":
        """Return the run in folder ``out`` with its models as of its checkpoint, to be evaluated.

        Args:
            out: the folder of a run; another process may be training there.
            world: as it was given to the run.
            models: like those that were given to the run.
            trust: whether config.json may name a module to import, as in ``"env": "module:Id"``.

        Raises:
            FileNotFoundError: there is no run, or no checkpoint yet.
            CheckpointError: its files are damaged, or name a module and are not trusted.
        """
        run = cls._reopened(out, world, models, (), trust, steps=None, address="process")
        for attempt in range(ATTEMPTS):
            if run._checkpoint is None:
                raise FileNotFoundError(f"{str(out)!r} holds a run without a checkpoint yet")
            try:
                run._restore_models()
                break
            except (CheckpointError, FileNotFoundError):
                newer = checkpoint.read(run._folder.checkpoints)
                if newer == run._checkpoint or attempt + 1 == ATTEMPTS:
                    raise
                run._checkpoint = newer  # it was replaced meanwhile
        return run

    @classmethod
    def resume(
        cls,
        out: str | Path,
        *,
        world: MakeWorld | None = None,
        models: OwnModels | None = None,
        logs: Sequence[Log] = (),
        steps: int | None = None,
        trust: bool = False,
    ) -> "Experiment":
        """Return the run in folder ``out`` at its checkpoint; :meth:`train` continues from there.

        The run then continues bit for bit as without the interruption. A run that was
        ended before its first checkpoint begins anew.

        Args:
            out: the folder of a run that no process trains.
            world: as it was given to the run.
            models: new ones like those that were given to the run.
            logs: as they were given to the run.
            steps: environment steps in all, in place of those in the options; None for those. A
                finished run continues: its schedules of epsilon and learning rate are those of a run of
                so many steps, and its memory is empty unless ``options.keep_memory`` was set.
            trust: whether config.json may name a module to import, as in ``"env": "module:Id"``.

        Raises:
            FileNotFoundError: there is no run.
            CheckpointError: its files are damaged, or name a module and are not trusted.
            ValueError: the run has taken more than ``steps`` already.
            FolderInUse: another process trains in the folder.
            WorldError: the world does not repeat itself.
        """
        run = cls._reopened(out, world, models, logs, trust, steps=steps, address=None)
        with run._folder.locked():  # so that no other process replaces what is read
            run._checkpoint = checkpoint.read(run._folder.checkpoints)
            if run._checkpoint is not None:
                if steps is not None and run._checkpoint.step > steps:
                    raise ValueError(
                        f"steps={steps}; the run in {str(out)!r} has taken {run._checkpoint.step} "
                        "already; expected more"
                    )
                run._restore(run._checkpoint)
        return run

    def _restore(self, saved: checkpoint.Checkpoint) -> None:
        """Set the models, the counters and the runner to those of a checkpoint."""
        if saved.step > self.options.steps:
            raise CheckpointError(
                f"{self._folder.checkpoints} is of step {saved.step}; the run has {self.options.steps} "
                f"by {self._folder.config}"
            )
        self._restore_models()
        try:
            self._loop.restore(saved.counters)
            self.runner.restore(saved.runner)
        except TrifoliumError:
            raise
        except UNSOUND as error:
            raise CheckpointError(
                f"{self._folder.checkpoints} is damaged, or of another run: {error!r:.500}"
            ) from error

    @property
    def out(self) -> Path:
        """The folder."""
        return self._folder.path

    @property
    def step(self) -> int:
        """Environment steps taken so far."""
        return self._loop.counters.step

    @property
    def saved_step(self) -> int:
        """Step of the checkpoint; 0 as long as there is none."""
        return 0 if self._checkpoint is None else self._checkpoint.step

    def train(self, on_progress: Callable[[RunProgress], None] | None = None) -> None:
        """Train the models to the last step, and write the folder.

        Ctrl-C and SIGTERM write a checkpoint before they end the training.

        Args:
            on_progress: called after each episode, and a hundred times in all at least.

        Raises:
            KeyboardInterrupt, SystemExit: for those signals.
            FolderInUse: another process trains in the folder.
            NanError: an observation, a reward, a loss or a weight is NaN, unless ``options.on_nan`` is
                "ignore"; the checkpoint from before is kept.
            SaveError: a file can't be written.
        """
        threadpool_limits(self.options.threads)  # small networks are fastest on one thread
        with self._saving():
            self._folder.make()
        with self._folder.locked():
            self._check_nothing_changed()
            with self._saving():
                self.options.save(self._folder.config)
                write_versions(self._folder.versions, next(iter(self.models.values())).backend)
            self._is_new = False
            with self._naming_nan(), self._record() as record, Interrupts() as interrupts:
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
            render_mode: how a world that the options name is to be shown, as for ``gymnasium.make``.
        """
        world = self._stage.world(render_mode)
        seed = self.options.seed + EVALUATION_SEED
        return world, self._stage.evaluation(world, self._given_models, seed)

    # Making and restoring

    def _prepare(
        self,
        options: TrainOptions,
        world: MakeWorld | None,
        models: OwnModels | None,
        logs: Sequence[Log],
    ) -> None:
        self.options = options if models is None else replace(options, model=OWN)
        self._stage = Stage(self.options, world)
        self._logs = [*logs, *([TensorBoardLog()] if options.tensorboard else [])]
        worlds = self._stage.worlds()
        self._given_models = self._stage.models(worlds) if models is None else models
        self.runner: Runner | BlockRunner = self._stage.training(worlds, self._given_models)
        self.models = self.runner.models
        self._loop = make_loop(self.runner, self.options)

    @classmethod
    def _reopened(
        cls,
        out: str | Path,
        world: MakeWorld | None,
        models: OwnModels | None,
        logs: Sequence[Log],
        trust: bool,
        *,
        steps: int | None,
        address: str | None,
    ) -> "Experiment":
        """Return the run in a folder, with new models, and shards at ``address`` if it is not None."""
        run = cls.__new__(cls)
        run._folder = folder = RunFolder(out)
        folder.check_has_run()
        run._is_new = False
        options = TrainOptions.load(folder.config)
        if steps is not None:
            options = replace(options, steps=checks.integer("steps", steps, 1))
        if address is not None:
            options = replace(options, address=address)
        if world is None and not trust:
            check_names_no_code(options.env, folder.config)
        run._checkpoint = saved = checkpoint.read(folder.checkpoints)
        with blamed_on_config(folder.config, given=not (world is None and models is None)):
            check_costs(options, {} if saved is None else saved.runner)
            if saved is None:
                run._prepare(options, world, models, logs)
                return run
            most = checkpoint.most_parameters(folder.checkpoints, saved)
            with limited_parameters(str(folder.config), most):
                run._prepare(options, world, models, logs)
        return run

    def _restore_models(self) -> None:
        assert self._checkpoint is not None
        checkpoint.restore_models(
            self._folder.checkpoints,
            self._checkpoint,
            self.models,
            allow_nan=self.options.on_nan == IGNORE,
        )

    # Training

    def _go_on(
        self, record: Record, interrupts: Interrupts, on_progress: Callable[[RunProgress], None]
    ) -> None:
        """Take steps until the last one, or a signal."""
        options, loop, recent = self.options, self._loop, self._recent_returns()
        first_model = next(iter(self.models.values()))
        show_at, save_at = self.step, self._next_save()  # step of the next one
        while loop.counters.step < options.steps and interrupts.received is None:
            rows = loop.step()
            for row in rows:
                with self._saving():
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
                traffic = self.runner.traffic() if isinstance(self.runner, HasTraffic) else None
                on_progress(RunProgress(step, first_model.epsilon, _mean(recent), traffic))

    def _finish(self, record: Record) -> None:
        self._loop.end_epoch()
        if self.options.eval_every is not None and self._loop.counters.evaluated < self.step:
            self._record_evaluation(record)
        self._save(record, memory=self.options.keep_memory)
        title = f"{self.options.model} on {self.options.env}, {self.options.backend}"
        with self._saving():
            episodes = read_rows(self.out / METRICS, EpisodeRow)
        with self._saving(self._folder.curve):
            draw_learning_curve(self._folder.curve, episodes, title)
        for name, file in checkpoint.file_names(self.models).items():
            own_name = "" if len(self.models) == 1 else f"-{file}"
            path = self.out / f"model{own_name}.safetensors"
            with self._saving(path):
                self.models[name].save(path)
        for message in self._loop.unlearned():
            warnings.warn(message, RuntimeWarning, stacklevel=3)

    def _evaluate_if_due(self, record: Record) -> None:
        every, counters = self.options.eval_every, self._loop.counters
        if every is not None and counters.step // every > counters.evaluated // every:
            self._record_evaluation(record)

    def _record_evaluation(self, record: Record) -> None:
        self._loop.counters.evaluated = self.step
        rows = [EvaluationRow.of(self.step, *each[::-1]) for each in self.evaluate().items()]
        with self._saving():
            for row in rows:
                record.evaluation(row)

    def _save(self, record: Record, *, memory: bool) -> None:
        """Write a checkpoint, once there is nothing in it that is NaN."""
        counters = self._loop.state()
        self._loop.check_weights()
        with self._saving():
            self._checkpoint = checkpoint.write(
                self._folder.checkpoints,
                self.models,
                counters=counters,
                runner=self.runner.state(),
                logs=record.save(),
                memory=memory,
            )

    def _next_save(self) -> float:
        every = self.options.checkpoint_every
        return math.inf if every is None else (self.step // every + 1) * every

    @contextmanager
    def _record(self) -> Iterator[Record]:
        """Open the logs, and close them at the end."""
        start = LogStart(
            self.out, self.step, tuple(self.runner.agents), self.options.eval_every is not None
        )
        saved = None if self._checkpoint is None else self._checkpoint.logs
        record = Record(self._logs, start, saved)
        try:
            with self._saving():
                record.start()
            yield record
        finally:
            with self._saving():
                record.close()

    def _recent_returns(self) -> deque[float]:
        """Return the episodes in the record, so that the progress includes them after a resume."""
        rows = read_rows(self.out / METRICS, EpisodeRow)
        return deque((row.episode_return for row in rows), WINDOW)

    # What may go wrong

    def _check_nothing_changed(self) -> None:
        """Raise an error if the run is not at the checkpoint of its folder."""
        if self._is_new:
            self._folder.check_free()  # another process may have started meanwhile
            return
        if self.step != self.saved_step:
            raise RuntimeError(
                f"this run is at step {self.step}, its folder at step {self.saved_step}: it was loaded "
                f"for evaluation, or training failed; use Experiment.resume({str(self.out)!r})"
            )
        if checkpoint.read(self._folder.checkpoints) != self._checkpoint:
            raise RuntimeError(
                f"another process has trained in {str(self.out)!r} since this run was at step "
                f"{self.step}; Experiment.resume({str(self.out)!r}) continues from there"
            )

    @contextmanager
    def _saving(self, path: Path | None = None) -> Iterator[None]:
        """Convert an error of writing ``path`` to one that says what is intact and how to continue."""
        try:
            yield
        except OSError as error:
            file = path or error.filename or self.out
            reason = error.strerror or str(error)
            raised = SaveError(f"{file} can't be written: {reason}. {self._intact}")
            raised.errno = error.errno
            raise raised from error

    @contextmanager
    def _naming_nan(self) -> Iterator[None]:
        """Add the step and the intact checkpoint to an error about NaN."""
        try:
            yield
        except NanError as error:
            raise NanError(
                f"after step {self.step} {error}; the run stops. {self._intact} "
                "on_nan='ignore' (--on-nan ignore) continues with NaN"
            ) from error

    @property
    def _intact(self) -> str:
        if self._checkpoint is None:
            return f"There is no checkpoint yet in {str(self.out)!r}."
        return (
            f"The checkpoint of step {self.saved_step} is whole; "
            f"trifolium train --resume {self.out} continues from there."
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _ignore(progress: RunProgress) -> None:
    """Do nothing with it."""
