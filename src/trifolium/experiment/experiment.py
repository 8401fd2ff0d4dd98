"""Experiment: trains a model in an environment, and leaves a record of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from trifolium.backend import Array, as_numpy
from trifolium.experiment.evaluation import FrameStack, evaluate
from trifolium.experiment.options import TrainOptions
from trifolium.experiment.record import Episode, MetricsFile, draw_learning_curve
from trifolium.models import DDQN, IQN, BaseModel, RandomModel
from trifolium.models.learner import Learner
from trifolium.worlds import gym as gym_worlds

__all__ = ["EVALUATION_SEED", "Experiment", "Progress"]

EVALUATION_SEED = 1_000_000
"""Added to a run's seed for evaluation episodes, so that they differ from those learned from."""


@dataclass(frozen=True)
class Progress:
    """What a progress callback is told after each episode.

    Attributes:
        episode: the one just played; only one that is over is written to metrics.csv.
        recent_return: mean return of the last 20 episodes.
    """

    episode: Episode
    recent_return: float


class Experiment:
    """One training run and its folder.

    The folder holds ``config.json`` (the options), ``metrics.csv`` (a line an episode),
    ``learning_curve.png`` and ``checkpoint.safetensors`` (the model).

    Args:
        options: what to train, and how.
        out: the folder; it is made, and may not hold another run.

    Raises:
        FileExistsError: ``out`` is a file, or holds a run.
        WorldError, BackendError, ValueError: the options ask for something that can't be had.
    """

    def __init__(self, options: TrainOptions, out: str | Path) -> None:
        self.options = options
        self.out = Path(out)
        if self.out.exists() and not self.out.is_dir():
            raise FileExistsError(f"out={str(out)!r} is a file; expected a folder, or none yet")
        if self._config.exists():
            raise FileExistsError(f"out={str(out)!r} holds a run already; give another folder")
        self.env = gym_worlds.make(options.env)
        self.model = _make_model(options, self.env)

    @classmethod
    def load(cls, out: str | Path) -> "Experiment":
        """Return the run in folder ``out`` with its model as trained, ready to be evaluated.

        Raises:
            FileNotFoundError: there is no finished run.
            CheckpointError: its files are damaged.
        """
        run = cls.__new__(cls)
        run.out = Path(out)
        if not run._config.is_file():
            raise FileNotFoundError(f"{str(out)!r} holds no run: there is no {run._config.name}")
        run.options = TrainOptions.load(run._config)
        run.env = gym_worlds.make(run.options.env)
        run.model = _make_model(run.options, run.env)
        run.model.load(run._checkpoint)
        return run

    def train(self, on_progress: Callable[[Progress], None] | None = None) -> None:
        """Train the model and write the folder.

        Args:
            on_progress: called after each episode.
        """
        self.model.backend.set_threads(self.options.threads)
        self.out.mkdir(parents=True, exist_ok=True)
        self.options.save(self._config)
        episodes: list[Episode] = []
        step = 0
        with MetricsFile(self.out / "metrics.csv") as metrics:
            while step < self.options.steps:
                played, is_over = self._play_episode(step, number=len(episodes) + 1)
                step = played.step
                if is_over:  # the return of one that the run's end cut off says little
                    metrics.write(played)
                    episodes.append(played)
                if on_progress:
                    recent = [episode.episode_return for episode in episodes[-20:]]
                    on_progress(Progress(played, sum(recent) / max(len(recent), 1)))
        self.model.save(self._checkpoint)
        title = f"{self.options.model} on {self.options.env}, {self.options.backend}"
        draw_learning_curve(self.out / "learning_curve.png", episodes, title)

    def evaluate(self, episodes: int | None = None) -> np.ndarray:
        """Return what the model earns in each greedy episode: [episodes]."""
        return evaluate(
            self.model,
            self.env,
            self.options.eval_episodes if episodes is None else episodes,
            seed=self.options.seed + EVALUATION_SEED,
        )

    def _play_episode(self, step: int, number: int) -> tuple[Episode, bool]:
        """Play and learn from ``step`` until the episode is over, or the steps are.

        Returns:
            The episode, and whether it is over.
        """
        options, model, memory = self.options, self.model, self.model.memory
        frames = FrameStack(memory.n_frames)
        # the first episode seeds the environment, the others go on from there
        obs, _ = self.env.reset(seed=options.seed if step == 0 else None)
        state = frames.reset(obs)
        model.reset()
        model.start_epoch_action(epoch=number)
        earned, start, losses, over = 0.0, step, [], False
        while not over and step < options.steps:
            model.set_epsilon(options.epsilon(step))
            action = model.take_action(state)
            next_obs, reward, terminated, truncated, _ = self.env.step(action)
            step += 1
            cut = truncated or step == options.steps
            memory.add(obs, action, reward, terminated, truncated=cut, next_obs=next_obs)
            obs, state = next_obs, frames.push(next_obs)
            earned += float(reward)
            over = terminated or truncated
            if step > options.learning_starts and step % options.train_every == 0:
                losses.append(self._learn(step))
        model.end_epoch_action(epoch=number)
        played = Episode(step, number, earned, step - start, model.epsilon, _mean(losses))
        return played, over

    def _learn(self, step: int) -> Array:
        if isinstance(self.model, Learner):
            self.model.learning_rate = self.options.learning_rate_at(step - 1)
        return self.model.train_step()

    @property
    def _config(self) -> Path:
        return self.out / "config.json"

    @property
    def _checkpoint(self) -> Path:
        return self.out / "checkpoint.safetensors"


def _make_model(options: TrainOptions, env: gym.Env[Any, Any]) -> BaseModel:
    obs_shape, actions = gym_worlds.sizes(env)
    common: dict[str, Any] = {
        "input_size": obs_shape,
        "action_space": actions,
        "memory_size": options.memory_size,
        "epsilon": options.epsilon_start,
        "backend": options.backend,
        "device": options.device,
        "seed": options.seed,
        "n_frames": options.n_frames,
        "n_step": options.n_step,
        "boundary": "pad",
    }
    if options.model == "random":
        return RandomModel(**common, gamma=options.gamma)
    learning: dict[str, Any] = {
        "gamma": options.gamma,
        "hidden": options.hidden,
        "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
        "target_update": options.target_update,
    }
    if options.model == "iqn":
        return IQN(**common, **learning, kappa=options.huber_delta)
    return DDQN(**common, **learning, huber_delta=options.huber_delta)


def _mean(losses: list[Array]) -> float:
    return float(np.mean([as_numpy(loss) for loss in losses])) if losses else float("nan")
