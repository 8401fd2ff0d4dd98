"""VectorRunner: one model in many Gymnasium environments at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from trifolium._json import brief
from trifolium._nan import check_observation
from trifolium.agents import ActionSpec, ObservationSpec
from trifolium.agents.agent import check_fit
from trifolium.agents.frames import FrameStacks
from trifolium.agents.observation import one_of
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
from trifolium.replay.batch import map_tree

__all__ = ["VectorRunner"]


class VectorRunner:
    """Drives one model in a vector environment; a :class:`~trifolium.experiment.runners.Runner`.

    A step is one step of every environment: one call of the model, one of the vector, and one of the
    memory, which has a stream for each environment. What an autoreset puts in place of an episode's
    last observation never gets into the memory as its successor, and the steps that only reset an
    environment are not stored. Environments that ended are reset in the way of the vector's mode:

    - "Disabled": by the runner, with a seed for each episode. Such a run can be resumed.
    - "NextStep", "SameStep": by the vector, which continues from the seeds of its first reset.

    Args:
        envs: the vector environment; :func:`trifolium.worlds.gym.make_vector` makes one.
        model: the model that acts; its memory has ``n_streams=envs.num_envs``.
        seed: of the run, for the seeds of its episodes.
        observation_spec: converts the observations of one environment to the model's input; None
            for the spec of the observation space, which keeps its structure where the model's does.
        remember: whether steps go into the model's memory.
        check_nan: whether NaN in an observation or a reward is an error.

    Raises:
        WorldError: the vector has no autoreset mode in its metadata, or its actions are not supported.
        ValueError: the model does not fit.

    >>> import trifolium as tri
    >>> from trifolium.worlds.gym import make_vector
    >>> model = tri.RandomModel(4, 2, memory_size=1000, n_streams=8, seed=0)
    >>> runner = VectorRunner(make_vector("CartPole-v1", 8), model, seed=0)
    >>> ended = [end for _ in range(20) for end in runner.step()]
    >>> runner.width, len(ended) > 0
    (8, True)
    """

    agents = (AGENT,)

    def __init__(
        self,
        envs: "gym.vector.VectorEnv[Any, Any, Any]",
        model: BaseModel,
        *,
        seed: int,
        observation_spec: ObservationSpec | None = None,
        remember: bool = True,
        check_nan: bool = True,
    ) -> None:
        self.envs: Any = envs  # declared to take one seed, although its kinds take a list
        self.width = n = int(envs.num_envs)
        self.models = {MODEL: model}
        self._model = model
        self._mode = _autoreset_mode(envs)
        self._spec = observation_spec or ObservationSpec.from_space(
            envs.single_observation_space, structured=model.memory.spec.is_structured
        )
        self._actions = ActionSpec.from_space(envs.single_action_space)
        self._check_sizes()
        self._seed = seed
        self._remember = remember
        self._check_nan = check_nan
        self._unjoined = np.ones(n, bool)  # whose next step begins an episode in the memory
        self._frames = FrameStacks(model.memory.spec.frames, n)
        self._episodes = np.zeros(n, np.int64)  # that are over, of each environment
        self._acted: list[list[int]] = [[] for _ in range(n)]  # in the open episode of each
        self._lengths = np.zeros(n, np.int64)
        self._returns = np.zeros(n)
        self._obs: Any = None  # of all environments, [N, ...]
        self._first = np.ones(n, bool)  # whose observation is the first of an episode
        self._over = np.ones(n, bool)  # whose episode is over, and who is not reset yet
        self._has_begun = False

    @property
    def episodes(self) -> int:
        """Episodes that are over, of all environments."""
        return int(self._episodes.sum())

    def step(self) -> Sequence[EpisodeEnd]:
        """Act once in every environment, and store the steps; return the episodes that ended."""
        if self._remember and self._unjoined.any():
            for stream in np.flatnonzero(self._unjoined).tolist():
                self._model.memory.end_episode(stream)  # one that another runner left open
            self._unjoined[:] = False
        if not self._has_begun:
            self._begin()
        elif self._mode is AutoresetMode.DISABLED and self._over.any():
            self._reset(self._over)
        states = self._frames.push(self._obs, self._first)
        if self._first.any():
            self._model.reset()
        return self._act(np.asarray(self._model.take_actions(states)), remember=self._remember)

    def state(self) -> dict[str, Any]:
        """Return the numbers of episodes, and of the open ones the actions and where they led.

        Open episodes of more than :data:`LONGEST_REPLAY` steps are not kept: they end there.
        """
        if not self._has_begun:
            return {}
        cut = ~self._over & (self._lengths > LONGEST_REPLAY)
        actions = [[] if cut[stream] else list(acted) for stream, acted in enumerate(self._acted)]
        return {
            "autoreset": self._mode.value,
            "episodes": (self._episodes + cut).tolist(),
            "over": (self._over | cut).tolist(),
            "cut": cut.tolist(),
            "actions": actions,
            "observations": self._fingerprints(~(self._over | cut)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state`: open episodes are reset with their seeds and their actions repeated.

        Raises:
            WorldError: the vector resets environments by itself, or does not repeat itself.
        """
        self._has_begun = False
        self._unjoined[:] = False
        self._episodes[:] = 0
        if not state:
            return
        over = np.array(self._flags("over", state["over"]))
        self._unjoined[:] = self._flags("cut", state["cut"]) if "cut" in state else False
        self._episodes[:] = [
            checked_count("episodes", each) for each in self._each("episodes", state["episodes"])
        ]
        if self._mode is not AutoresetMode.DISABLED:
            raise WorldError(
                f"a run in a vector environment with autoreset mode {self._mode.value!r} can't resume: "
                "the seeds of its episodes are not known; expected "
                f"{AutoresetMode.DISABLED.value!r}, as trifolium.worlds.gym.make_vector makes it"
            )
        if over.all():
            return  # the next step resets them
        self._acted = [
            [checked_count("an action", action) for action in actions]
            for actions in self._each("actions", state["actions"])
        ]
        self._replay(over)
        if self._fingerprints(~self._over) != state["observations"]:
            raise WorldError(
                f"the vector environment {self.envs} does not repeat itself: after the same seeds and "
                "the same actions its observations are others, so the run can't resume"
            )

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()

    def _each(self, name: str, value: Any) -> list[Any]:
        """Return what a file has for each environment."""
        if not isinstance(value, list) or len(value) != self.width:
            raise ValueError(f"{name}={brief(value)}; expected a list of {self.width}")
        return value

    def _flags(self, name: str, value: Any) -> list[bool]:
        if not all(isinstance(each, bool) for each in self._each(name, value)):
            raise TypeError(f"{name}={brief(value)}; expected truth values")
        flags: list[bool] = value
        return flags

    def _begin(self) -> None:
        self._first[:] = self._over[:] = True
        if self._mode is AutoresetMode.DISABLED:
            self._reset(self._over)
        else:
            self._obs = self._observed(self.envs.reset(seed=episode_seed(self._seed, 0, 0))[0])
            self._over[:] = False
        self._has_begun = True

    def _reset(self, which: np.ndarray) -> None:
        """Reset the environments ``which`` [N] bool, each with the seed of its episode."""
        seeds = [
            episode_seed(self._seed, stream, episode) if which[stream] else None
            for stream, episode in enumerate(self._episodes.tolist())
        ]
        self._obs = self._observed(self.envs.reset(seed=seeds, options={"reset_mask": which.copy()})[0])
        self._first = which.copy()
        self._over = self._over & ~which
        self._returns[which] = 0.0
        self._lengths[which] = 0
        for stream in np.flatnonzero(which):
            self._acted[stream] = []

    def _act(self, actions: np.ndarray, *, remember: bool) -> list[EpisodeEnd]:
        before, was_over = self._obs, self._over
        raw, rewards, terminations, truncations, infos = self.envs.step(self._actions.values(actions))
        rewards = self._rewards(rewards)
        terminated, truncated = np.asarray(terminations, bool), np.asarray(truncations, bool)
        over = terminated | truncated
        self._obs = successors = self._observed(raw)
        self._first, self._over = was_over, over
        if self._mode is AutoresetMode.SAME_STEP:
            successors = self._successors(infos, truncated & ~terminated)
            self._first, self._over = over, np.zeros_like(over)
        if remember:
            step = (before, actions, rewards, terminated, truncated, successors)
            self._store(~was_over, step)
        self._returns += rewards
        self._lengths[~was_over] += 1
        for stream in np.flatnonzero(~was_over & (self._lengths <= LONGEST_REPLAY + 1)):
            self._acted[stream].append(int(actions[stream]))
        return [self._ended(stream) for stream in np.flatnonzero(over).tolist()]

    def _store(self, real: np.ndarray, step: tuple[Any, ...]) -> None:
        """Add the steps of the streams ``real`` [N] bool; those of the others only reset them."""
        obs, actions, rewards, terminated, truncated, successors = step
        self._model.memory.add(
            obs,
            actions,
            rewards,
            terminated,
            truncated=truncated,
            next_obs=successors,
            where=None if real.all() else real,
        )

    def _successors(self, infos: Mapping[str, Any], cut: np.ndarray) -> Any:
        """Return the observations after a step, those before its resets where it ``cut`` episodes."""
        successors = map_tree(np.copy, self._obs)
        for stream in np.flatnonzero(cut).tolist():
            final = self._final(infos, stream)
            if final is None:
                raise WorldError(
                    f"the vector environment {self.envs} truncated an episode and gave no last "
                    "observation; expected it in the step's info, as 'final_obs'"
                )
            _put_row(successors, stream, self._observed_one(final))
        return successors

    def _final(self, infos: Mapping[str, Any], stream: int) -> Any:
        """Return the last observation of an episode before its reset; None if it is not known.

        Gymnasium has an array of observations; other vectors may have a batch of them.
        """
        found = infos.get("final_obs")
        if isinstance(found, Mapping | tuple):
            return one_of(found, stream)
        return None if found is None else found[stream]

    def _fingerprints(self, streams: np.ndarray) -> list[str]:
        """Return the fingerprints of the observations of ``streams`` [N] bool."""
        return [fingerprint(one_of(self._obs, i)) for i in np.flatnonzero(streams).tolist()]

    def _ended(self, stream: int) -> EpisodeEnd:
        end = EpisodeEnd(AGENT, float(self._returns[stream]), int(self._lengths[stream]), MODEL)
        self._episodes[stream] += 1
        self._returns[stream] = 0.0
        self._lengths[stream] = 0
        self._acted[stream] = []
        return end

    def _replay(self, over: np.ndarray) -> None:
        """Bring every environment to where its episode is, or was when it was ``over`` [N] bool.

        All of them step at once, so an episode begins as many steps before the end as it has actions.
        The steps of its environment before that have no effect.
        """
        wanted = [[] if over[stream] else self._acted[stream] for stream in range(self.width)]
        episodes = self._episodes.copy()
        left = np.array([len(actions) for actions in wanted])
        self._over[:] = True
        for remaining in range(int(left.max()), 0, -1):
            due_reset = self._over | (left == remaining)
            if due_reset.any():
                self._reset(due_reset)
            self._frames.push(self._obs, self._first)
            due = [
                actions[len(actions) - remaining] if remaining <= len(actions) else 0
                for actions in wanted
            ]
            self._act(np.array(due), remember=False)
            self._episodes[:] = episodes
        self._over = over
        for stream in np.flatnonzero(over):
            self._acted[stream] = []
        self._has_begun = True

    def _observed(self, raw: Any) -> Any:
        return self._checked(lambda: self._spec.observe_each(raw, self.width))

    def _observed_one(self, raw: Any) -> Any:
        return self._checked(lambda: self._spec.observe(raw))

    def _checked(self, observe: Callable[[], Any]) -> Any:
        try:
            observed = observe()
        except (TypeError, ValueError) as error:
            raise WorldError(f"{self.envs} showed wrong observations: {error}") from error
        if self._check_nan:
            check_observation(f"an environment of {self.envs}", observed)
        return observed

    def _rewards(self, rewards: Any) -> np.ndarray:
        """Return the rewards [N]; an environment may give each as an array of one number."""
        array = np.asarray(rewards)
        if array.size != self.width:
            raise WorldError(
                f"{self.envs} gave rewards of shape {array.shape}; expected {self.width} numbers"
            )
        array = array.reshape(self.width)
        if self._check_nan and np.isnan(array).any():
            raise NanError(f"the reward of environment {int(np.isnan(array).argmax())} is NaN")
        return array

    def _check_sizes(self) -> None:
        check_fit(f"an environment of {self.envs}", self._model, self._spec, self._actions)
        streams = self._model.memory.n_streams
        if streams != self.width:
            raise ValueError(
                f"the model's memory has n_streams={streams}; expected n_streams={self.width}, "
                f"one for each environment of {self.envs}"
            )


def _put_row(observations: Any, row: int, observation: Any) -> None:
    """Assign one observation to a row of many, arrays or mappings of arrays."""
    if isinstance(observations, Mapping):
        for name, part in observations.items():
            _put_row(part, row, observation[name])
    else:
        observations[row] = observation


def _autoreset_mode(envs: "gym.vector.VectorEnv[Any, Any, Any]") -> AutoresetMode:
    mode = (envs.metadata or {}).get("autoreset_mode")
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise WorldError(
            f"the vector environment {envs} does not tell how it resets environments: its metadata has "
            f"autoreset_mode={mode!r}; expected one of {[str(each.value) for each in AutoresetMode]}"
        ) from None
