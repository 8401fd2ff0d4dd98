"""GymRunner: one model in one Gymnasium environment."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from trifolium.agents import ActionSpec, ObservationSpec
from trifolium.agents.agent import check_fit
from trifolium.agents.frames import FrameStacks
from trifolium.errors import WorldError
from trifolium.experiment.runners.runner import EpisodeEnd, episode_seed, fingerprint
from trifolium.models import BaseModel

__all__ = ["AGENT", "MODEL", "GymRunner"]

AGENT = "agent"
MODEL = "model"


class GymRunner:
    """Drives one model in one environment; a :class:`~trifolium.experiment.runners.Runner`.

    Args:
        env: the environment.
        model: what acts. States are padded with zeros, so its memory's boundary is to be "pad" where it
            stacks frames.
        seed: of the run, for the seeds of its episodes.
        observation_spec: turns what the environment shows into what the model takes; None for the one
            that follows from the space.
        remember: whether steps go into the model's memory; not for evaluation.

    Raises:
        WorldError: the environment has observations or actions that can't be dealt with.
        ValueError: the model does not fit.

    >>> import gymnasium, trifolium as tri
    >>> model = tri.RandomModel(4, 2, memory_size=100, seed=0)
    >>> runner = GymRunner(gymnasium.make("CartPole-v1"), model, seed=0)
    >>> while not (ended := runner.step()):
    ...     pass
    >>> ended[0].episode_return == ended[0].length == len(model.memory)
    True
    """

    agents = (AGENT,)
    width = 1

    def __init__(
        self,
        env: "gym.Env[Any, Any]",
        model: BaseModel,
        *,
        seed: int,
        observation_spec: ObservationSpec | None = None,
        remember: bool = True,
    ) -> None:
        self.env = env
        self.models = {MODEL: model}
        self.episodes = 0
        self._model = model
        self._seed = seed
        spec = observation_spec or ObservationSpec.from_space(env.observation_space)
        actions = ActionSpec.from_space(env.action_space)
        check_fit(f"the environment {env}", model, spec, actions)
        self._observe = spec.observe
        self._remember = remember
        self._values = [actions.value(action) for action in range(actions.n)]
        self._frames = FrameStacks(model.memory.n_frames, count=1)
        self._obs = self._stacked = np.zeros(0)
        self._actions: list[int] = []  # of the open episode; together with its seed they are its state
        self._return = 0.0
        self._is_open = False

    def step(self) -> Sequence[EpisodeEnd]:
        """Act once and remember it; return the episode, if it ended with that."""
        if not self._is_open:
            self._begin()
            self._model.reset()
        action = int(self._model.take_action(self._stacked))
        obs = self._obs
        reward, terminated, truncated = self._act(action)
        if self._remember:
            self._model.memory.add(
                obs, action, reward, terminated, truncated=truncated, next_obs=self._obs
            )
        if not (terminated or truncated):
            return ()
        self._is_open = False
        self.episodes += 1
        return (EpisodeEnd(AGENT, self._return, len(self._actions), MODEL),)

    def state(self) -> dict[str, Any]:
        """Return the number of episodes, and of the open one its actions and where they led."""
        if not self._is_open:
            return {"episodes": self.episodes}
        return {
            "episodes": self.episodes,
            "actions": self._actions.copy(),
            "observation": fingerprint(self._obs),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up :meth:`state`: the open episode is reset with its seed, and its actions repeated."""
        self.episodes = int(state["episodes"])
        self._is_open = False
        if "actions" not in state:
            return
        self._begin()
        for action in state["actions"]:
            self._act(int(action))
        if fingerprint(self._obs) != state["observation"]:
            raise WorldError(
                f"the environment {self.env} does not repeat itself: after the same seed and the same "
                f"{len(self._actions)} actions its observation is another one, so the run can't go on"
            )

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _begin(self) -> None:
        raw, _ = self.env.reset(seed=episode_seed(self._seed, 0, self.episodes))
        self._obs = self._observe(raw)
        self._stacked = self._frames.push(self._obs[None], np.array([True]))[0]
        self._actions = []
        self._return = 0.0
        self._is_open = True

    def _act(self, action: int) -> tuple[float, bool, bool]:
        raw, reward, terminated, truncated, _ = self.env.step(self._values[action])
        self._obs = self._observe(raw)
        self._stacked = self._frames.push(self._obs[None], np.array([False]))[0]
        self._actions.append(action)
        self._return += float(reward)
        return float(reward), terminated, truncated
