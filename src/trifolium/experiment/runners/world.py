"""WorldRunner: agents in a world, which take turns or act all at once."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trifolium import _checks as checks
from trifolium.agents import Agent, ObservationSpec
from trifolium.errors import WorldError
from trifolium.experiment.runners.runner import (
    LONGEST_REPLAY,
    MODEL,
    EpisodeEnd,
    checked_count,
    episode_seed,
    fingerprint,
)
from trifolium.models import BaseModel
from trifolium.worlds import World
from trifolium.worlds.pettingzoo import as_world

__all__ = ["WorldRunner"]


class WorldRunner:
    """Drives agents in one world; a :class:`~trifolium.experiment.runners.Runner`.

    A step is one action of each agent whose turn it is: of all live agents in a parallel world, of one
    where they take turns.

    Args:
        world: anything with the methods of :class:`~trifolium.worlds.World`, or an environment of
            PettingZoo.
        models: the model of each agent, by the agent's name, or by its kind: "wolf" is for wolf_0,
            wolf_1 and so on; or one model for all. Agents that share a model have a stream of its
            memory each, which passes to the next new agent when it dies.
        seed: of the run, for the seeds of its episodes.
        observation_specs: what agents see, named as in ``models``; those that are not named have the
            world's ``observation_spec(agent)``, or see what the world shows as it is. Where a model has
            structured observations, its agents have the world's ``structured_spec(agent)`` if there is
            one.
        turns: steps after which an episode is cut off; None for the world's own limit.
        remember: whether steps go into the models' memories; not for evaluation.
        check_nan: whether NaN in an observation or a reward is an error.

    >>> import trifolium as tri
    >>> from trifolium.worlds.pettingzoo import make
    >>> world = make("classic/rps-v2")
    >>> learner, other = (tri.RandomModel(4, 3, memory_size=100, seed=seed) for seed in (0, 1))
    >>> runner = WorldRunner(world, {"player_0": learner, "player_1": other}, seed=0)
    >>> while not (ended := runner.step()):
    ...     pass
    >>> [end.agent for end in ended]
    ['player_0', 'player_1']
    """

    width = 1

    def __init__(
        self,
        world: World,
        models: BaseModel | Mapping[str, BaseModel],
        *,
        seed: int,
        observation_specs: Mapping[str, ObservationSpec] | None = None,
        turns: int | None = None,
        remember: bool = True,
        check_nan: bool = True,
    ) -> None:
        adopted = None if hasattr(world, "turn") else as_world(world)
        self.world: World = world if adopted is None else adopted
        self.episodes = 0
        self._given = {MODEL: models} if isinstance(models, BaseModel) else dict(models)
        self._one_for_all = isinstance(models, BaseModel)
        self.models: dict[str, BaseModel] = {}
        for name, model in self._given.items():
            if model not in self.models.values():
                self.models[name] = model
        self._seed = seed
        self._specs = observation_specs or {}
        self._turns = None if turns is None else checks.integer("turns", turns, 1)
        self._remember = remember
        self._check_nan = check_nan
        self._joins = False  # whether the next step continues the memories' open episodes
        self._agents: dict[str, Agent] = {}  # all that were met
        self._playing: dict[str, Agent] = {}  # those whose episode is open
        self._over: set[str] = set()
        self._waiting: list[Agent] = []  # those whose turn it is, in order
        self._actions: list[list[int]] = []  # of the open episode; with its seed they are its state
        self._length = 0  # rounds of actions in it

    @property
    def agents(self) -> Sequence[str]:
        """Names of all agents that may act, as far as the world lists them."""
        told = getattr(self.world, "possible_agents", ()) or getattr(self.world, "agents", ())
        return tuple(told) or tuple(self._agents) or tuple(self._given)

    def step(self) -> Sequence[EpisodeEnd]:
        """Let each agent whose turn it is act, and store the steps; return the episodes that ended."""
        ended: list[EpisodeEnd] = []
        if self._remember and not self._joins:
            for model in self.models.values():
                model.memory.end_episode()  # one that another runner left open
            self._joins = True
        if not self._waiting:
            ended += self._begin()
            if not self._waiting:
                raise WorldError(f"{type(self.world).__name__} is over before any agent could act")
            for model in self.models.values():
                model.reset()
        return ended + self._play([None] * len(self._waiting), remember=self._remember)

    def state(self) -> dict[str, Any]:
        """Return the number of episodes, and of the open one its actions and where they led.

        An open episode of more than :data:`LONGEST_REPLAY` steps is not kept: it ends there.
        """
        if not self._waiting:
            return {"episodes": self.episodes}
        if self._length > LONGEST_REPLAY:
            return {"episodes": self.episodes, "cut": True}
        return {
            "episodes": self.episodes,
            "actions": [list(actions) for actions in self._actions],
            "observations": self._fingerprints(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state`: the open episode is reset with its seed and its actions repeated."""
        is_cut = bool(state.get("cut"))
        self.episodes = checked_count("episodes", state["episodes"]) + is_cut
        self._joins = not is_cut
        self._waiting = []
        if "actions" not in state:
            return
        self._begin()
        for actions in state["actions"]:
            if len(actions) != len(self._waiting):
                break
            self._play([checked_count("an action", action) for action in actions], remember=False)
        if self._fingerprints() != state["observations"]:
            raise WorldError(
                f"{type(self.world).__name__} does not repeat itself: after the same seed and the same "
                "actions its observations are others, so the run can't resume"
            )

    def close(self) -> None:
        """Close the world, if it can be."""
        if hasattr(self.world, "close"):
            self.world.close()

    def _begin(self) -> list[EpisodeEnd]:
        self._playing, self._over, self._actions, self._length = {}, set(), [], 0
        self.world.reset(episode_seed(self._seed, 0, self.episodes))
        return self._look(remember=False)  # there is nothing to remember yet

    def _play(self, actions: Sequence[int | None], *, remember: bool) -> list[EpisodeEnd]:
        """Let those whose turn it is act, and the next ones look."""
        self._forget_absent()
        actors, self._waiting = self._waiting, []
        acted = [agent.act(self.world, action) for agent, action in zip(actors, actions, strict=True)]
        self._length += 1
        if self._length <= LONGEST_REPLAY:
            self._actions.append(acted)
        return self._look(remember=remember)

    def _look(self, *, remember: bool) -> list[EpisodeEnd]:
        """Let agents look until some are to act, or the episode of the world is over."""
        ended = []
        is_last = self._length == self._turns
        while not self._waiting:
            self._forget_absent()
            names = [name for name in self.world.agents if name not in self._over]
            for name in names:
                agent = self._playing.get(name) or self._enter(name)
                if agent.look(self.world, remember=remember, last=is_last):
                    ended.append(self._leave(agent))
                else:
                    self._waiting.append(agent)
            if not names:
                ended += self._leave_all(remember=remember)
                self.episodes += 1
                break
        return ended

    def _forget_absent(self) -> None:
        """Let agents whose episode is over, and who have left the world, come back to a new one."""
        self._over &= set(self.world.agents)

    def _enter(self, name: str) -> Agent:
        """Return the agent of that name, with a free stream, at the start of its episode."""
        agent = self._agents.get(name)
        if agent is None:
            agent = self._agents[name] = self._made(name)
        agent.begin()
        agent.stream = self._free_stream(agent)
        self._playing[name] = agent
        return agent

    def _made(self, name: str) -> Agent:
        model = self._named(name, self._given, self._given.get(MODEL) if self._one_for_all else None)
        if model is None:
            raise WorldError(
                f"agent {name!r} has no model; models are given for: {', '.join(self._given)}"
            )
        world: Any = self.world
        own_spec = getattr(world, "observation_spec", lambda _: None)
        if model.memory.spec.is_structured:
            own_spec = getattr(world, "structured_spec", own_spec)
        action_spec = getattr(world, "action_spec", lambda _: None)
        seen = self._named(name, self._specs, None) or own_spec(name)
        return Agent(name, model, seen, action_spec(name), check_nan=self._check_nan)

    @staticmethod
    def _named(agent: str, given: Mapping[str, Any], default: Any) -> Any:
        """Return what is given for an agent, or for its kind: its name less the number at the end."""
        return given.get(agent, given.get(re.sub(r"_?\d+$", "", agent), default))

    def _free_stream(self, agent: Agent) -> int:
        taken = {other.stream for other in self._playing.values() if other.model is agent.model}
        streams = agent.model.memory.n_streams
        free = set(range(streams)) - taken
        if not free:
            raise WorldError(
                f"agent {agent.name!r} shares a model with {len(taken)} others, whose memory has "
                f"n_streams={streams}; expected a stream for each agent that is alive at a time"
            )
        return min(free)

    def _leave(self, agent: Agent) -> EpisodeEnd:
        """Remove an agent whose episode is over."""
        del self._playing[agent.name]
        self._over.add(agent.name)
        model = next(name for name, model in self.models.items() if model is agent.model)
        return EpisodeEnd(agent.name, agent.episode_return, agent.length, model)

    def _leave_all(self, *, remember: bool) -> list[EpisodeEnd]:
        """Take out those whom the world told of no end, and whose turn it is not."""
        left = list(self._playing.values())
        for agent in left:
            agent.cut(remember=remember)
        return [self._leave(agent) for agent in left]

    def _fingerprints(self) -> list[str]:
        seen = (agent.observation for agent in self._waiting)
        return [fingerprint(observation) for observation in seen if observation is not None]
