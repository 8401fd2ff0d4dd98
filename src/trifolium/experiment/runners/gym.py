"""GymRunner: one model in one Gymnasium environment."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from trifolium._nan import check_observation
from trifolium.agents import ActionSpec, ObservationSpec
from trifolium.agents.agent import as_reward, check_fit
from trifolium.agents.frames import FrameStacks
from trifolium.errors import NanError, WorldError
from trifolium.experiment.runners.runner import (
    AGENT,
    LONGEST_REPLAY,
    MODEL,
    EpisodeEnd,
    checked_count,
    episode_seed,
    fingerprint,
)
from trifolium.models import BaseModel

__all__ = ["GymRunner"]


class GymRunner:
    """Drives one model in one environment; a :class:`~trifolium.experiment.runners.Runner`.

    Args:
        env: the environment.
        model: the model that acts. States are padded with zeros, so its memory needs boundary="pad" if
            it stacks frames.
        seed: of the run, for the seeds of its episodes.
        observation_spec: converts the environment's observations to the model's input; None for the
            spec of the observation space, which keeps its structure where the model's does.
        remember: whether steps go into the model's memory; not for evaluation.
        check_nan: whether NaN in an observation or a reward is an error.

    Raises:
        WorldError: the environment's observations or actions are not supported.
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
        check_nan: bool = True,
    ) -> None:
        self.env = env
        self.models = {MODEL: model}
        self.episodes = 0
        self._model = model
        self._seed = seed
        structured = model.memory.spec.is_structured
        spec = observation_spec or ObservationSpec.from_space(
            env.observation_space, structured=structured
        )
        actions = ActionSpec.from_space(env.action_space)
        check_fit(f"the environment {env}", model, spec, actions)
        self._spec = spec
        self._remember = remember
        self._check_nan = check_nan
        self._joins = False  # whether the next step continues the memory's open episode
        self._values = [actions.value(action) for action in range(actions.n)]
        self._frames = FrameStacks(model.memory.spec.frames, count=1)
        self._obs: Any = None
        self._stacked: Any = None
        self._actions: list[int] = []  # of the open episode; together with its seed they are its state
        self._length = 0
        self._return = 0.0
        self._is_open = False

    def step(self) -> Sequence[EpisodeEnd]:
        """Act once and store the step; return the episode if it ended."""
        if self._remember and not self._joins:
            self._model.memory.end_episode()  # one that another runner left open
            self._joins = True
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
        return (EpisodeEnd(AGENT, self._return, self._length, MODEL),)

    def state(self) -> dict[str, Any]:
        """Return the number of episodes, and of the open one its actions and where they led.

        An open episode of more than :data:`LONGEST_REPLAY` steps is not kept: it ends there.
        """
        if not self._is_open:
            return {"episodes": self.episodes}
        if len(self._actions) > LONGEST_REPLAY:
            return {"episodes": self.episodes, "cut": True}
        return {
            "episodes": self.episodes,
            "actions": self._actions.copy(),
            "observation": fingerprint(self._obs),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state`: the open episode is reset with its seed and its actions repeated."""
        is_cut = bool(state.get("cut"))
        self.episodes = checked_count("episodes", state["episodes"]) + is_cut
        self._is_open = False
        self._joins = not is_cut
        if "actions" not in state:
            return
        self._begin()
        for action in state["actions"]:
            self._act(checked_count("an action", action))
        if fingerprint(self._obs) != state["observation"]:
            raise WorldError(
                f"the environment {self.env} does not repeat itself: after the same seed and the same "
                f"{len(self._actions)} actions its observation is another one, so the run can't resume"
            )

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _begin(self) -> None:
        raw, _ = self.env.reset(seed=episode_seed(self._seed, 0, self.episodes))
        self._see(raw, first=True)
        self._actions = []
        self._length = 0
        self._return = 0.0
        self._is_open = True

    def _act(self, action: int) -> tuple[float, bool, bool]:
        raw, reward, terminated, truncated, _ = self.env.step(self._values[action])
        self._see(raw, first=False)
        if len(self._actions) <= LONGEST_REPLAY:
            self._actions.append(action)
        self._length += 1
        earned = as_reward(reward, self.env)
        if self._check_nan and math.isnan(earned):
            raise NanError(f"the reward of agent {AGENT!r} is NaN")
        self._return += earned
        return earned, bool(terminated), bool(truncated)

    def _see(self, raw: Any, *, first: bool) -> None:
        self._obs = self._observed(raw)
        if self._check_nan:
            check_observation(f"agent {AGENT!r}", self._obs)
        self._stacked = self._frames.push_one(self._obs, first=first)

    def _observed(self, raw: Any) -> Any:
        try:
            return self._spec.observe(raw)
        except (TypeError, ValueError) as error:
            raise WorldError(
                f"the environment {self.env} showed a wrong observation: {error}"
            ) from error
