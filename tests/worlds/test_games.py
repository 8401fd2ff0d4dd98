"""What games of several agents leave in their memories, against what is true."""

import numpy as np
import pettingzoo
import pytest

import trifolium as tri
from trifolium.agents import Agent
from trifolium.experiment.runners.world import WorldRunner
from trifolium.worlds import AECWorld, GymWorld, ParallelWorld, Turn
from trifolium.worlds.pettingzoo import make

from .diary import Episode, Watchful, check_memory, clockwork, ending, length, reward_at
from .diary_games import AGENTS, DiaryParallel, DiaryTurns, Relay

PLAYED = 4
GAMES = {"parallel": (ParallelWorld, DiaryParallel), "turns": (AECWorld, DiaryTurns)}
SHAPES = [(1, "mask"), (3, "mask"), (3, "pad")]


def game(name):
    adapter, env = GAMES[name]
    return adapter(env())


def finished(writer, episodes=PLAYED):
    """Return the episodes of a writer whose games are over."""
    ends = [ending(writer, episode).replace("both", "terminated") for episode in range(episodes)]
    return [Episode(writer, e, length(writer, e), end) for e, end in enumerate(ends)]


def play(runner, episodes=PLAYED):
    ends = []
    while runner.episodes < episodes:
        ends += runner.step()
    return ends


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize(("n_frames", "boundary"), SHAPES)
@pytest.mark.parametrize("name", GAMES)
def test_a_model_for_each(backend, name, n_frames, boundary, n_step):
    models = {agent: clockwork(backend, n_frames, n_step, boundary=boundary) for agent in AGENTS}
    play(WorldRunner(game(name), models, seed=0))
    for writer, model in enumerate(models.values()):
        check_memory(model.memory, [finished(writer)])


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize(("n_frames", "boundary"), SHAPES)
@pytest.mark.parametrize("name", GAMES)
def test_one_model_for_all(backend, name, n_frames, boundary, n_step):
    model = clockwork(backend, n_frames, n_step, boundary=boundary, n_streams=3)
    play(WorldRunner(game(name), model, seed=0))
    check_memory(model.memory, [finished(writer) for writer in range(3)])


@pytest.mark.parametrize("n_step", [1, 3])
def test_an_open_episode(backend, n_step):
    model = clockwork(backend, 3, n_step, n_streams=3)
    runner = WorldRunner(game("parallel"), {"writer": model}, seed=0)
    play(runner)
    runner.step()
    runner.step()
    opened = [Episode(writer, PLAYED, steps, "open") for writer, steps in enumerate((2, 2, 1))]
    assert all(length(each.writer, PLAYED) > each.steps for each in opened)
    check_memory(model.memory, [[*finished(writer), opened[writer]] for writer in range(3)])


def test_a_stream_goes_on_to_the_next_agent(backend):
    model = clockwork(backend, 3, 3)
    play(WorldRunner(ParallelWorld(Relay()), model, seed=0))
    stream = [finished(writer)[episode] for episode in range(PLAYED) for writer in range(3)]
    check_memory(model.memory, [stream])


@pytest.mark.parametrize("name", GAMES)
def test_episodes_are_told_as_they_end(backend, name):
    models = {agent: clockwork(backend, 1, 1) for agent in AGENTS}
    ends = play(WorldRunner(game(name), models, seed=0))
    expected = {
        (agent, agent, sum(reward_at(writer, e.episode, s) for s in range(e.steps)), e.steps)
        for writer, agent in enumerate(AGENTS)
        for e in finished(writer)
    }
    assert {(end.agent, end.model, end.episode_return, end.length) for end in ends} == expected
    assert len(ends) == len(expected)


def test_models_are_told_once_and_agents_as_they_may_act(backend):
    shared, own = clockwork(backend, 1, 1, n_streams=2), clockwork(backend, 1, 1)
    models = {"writer_0": shared, "writer_1": own, "writer_2": shared}
    runner = WorldRunner(game("turns"), models, seed=0)
    assert runner.models == {"writer_0": shared, "writer_1": own}
    assert runner.agents == tuple(AGENTS)
    assert {end.model for end in play(runner)} == {"writer_0", "writer_1"}


def test_too_few_streams_are_refused(backend):
    runner = WorldRunner(game("turns"), clockwork(backend, 1, 1, n_streams=2), seed=0)
    with pytest.raises(tri.WorldError, match=r"'writer_2' shares .* with 2 others.*n_streams=2"):
        play(runner)


def test_an_agent_without_a_model_is_refused(backend):
    runner = WorldRunner(game("turns"), {"writer_0": clockwork(backend, 1, 1)}, seed=0)
    with pytest.raises(tri.WorldError, match="'writer_1' has no model; models are given for: writer_0"):
        play(runner)


@pytest.mark.parametrize("n_step", [1, 3])
def test_a_limit_of_turns_truncates(backend, n_step):
    model = clockwork(backend, 3, n_step, n_streams=3)
    play(WorldRunner(game("parallel"), model, seed=0, turns=3))
    streams = [
        [
            each if each.steps <= most else Episode(writer, each.episode, most, "truncated")
            for each in all_
        ]
        for writer, (most, all_) in enumerate(zip((3, 3, 2), map(finished, range(3)), strict=True))
    ]
    assert streams != [finished(writer) for writer in range(3)]
    check_memory(model.memory, streams)


def test_a_limit_of_turns_where_they_are_taken(backend):
    models = {agent: clockwork(backend, 1, 1) for agent in AGENTS}
    runner = WorldRunner(game("turns"), models, seed=0, turns=4)
    ends = play(runner, 1)
    assert {end.agent: end.length for end in ends} == {"writer_0": 2, "writer_1": 1, "writer_2": 1}
    rows = [tri.backend.as_numpy(model.memory[:][0]).tolist() for model in models.values()]
    # the one whose turn it is sees where its last step led
    assert rows == [[[1, 1, 0], [1, 1, 1]], [[2, 1, 0], [2, 1, 1]], [[3, 1, 0]]]


def by_hand(world, agents, games):
    for _ in range(games):
        world.reset()
        while world.agents:
            for name in world.agents:
                agents[name].transition(world)


@pytest.mark.parametrize("name", GAMES)
def test_agents_can_be_driven_by_hand(backend, name):
    models = {agent: clockwork(backend, 3, 3) for agent in AGENTS}
    by_hand(game(name), {agent: Agent(agent, model) for agent, model in models.items()}, PLAYED)
    for writer, model in enumerate(models.values()):
        check_memory(model.memory, [finished(writer)])


class Vanishing(DiaryParallel):
    """Its second writer is gone after a step, and nothing is said of it."""

    def step(self, actions):
        before = self.agents
        outcome = super().step(actions)
        if "writer_1" in before and "writer_1" in self.agents:
            self.agents.remove("writer_1")
            for part in outcome:
                part.pop("writer_1", None)
        return outcome


def test_an_agent_that_vanishes_leaves_no_wrong_successor(backend):
    models = {agent: clockwork(backend, 1, 1) for agent in AGENTS}
    ends = play(WorldRunner(ParallelWorld(Vanishing()), models, seed=0), 2)
    memory = models["writer_1"].memory
    assert len(memory) == 2
    assert [end.length for end in ends if end.agent == "writer_1"] == [1, 1]
    assert not tri.backend.as_numpy(memory.sample(memory.drawable).valid).any()
    check_memory(models["writer_0"].memory, [finished(0, 2)])


class Silent:
    """A world of one's own, that is over without saying so."""

    def __init__(self):
        self.agents, self.steps = (), 0

    def reset(self, seed=None):
        self.agents, self.steps = ("me",), 0

    def turn(self, agent):
        return Turn(np.array([self.steps], np.float32), 1.0, False, False)

    def act(self, agent, action):
        self.steps += 1
        if self.steps == 3:
            self.agents = ()


def test_a_world_that_is_over_without_a_word_joins_no_episodes(backend):
    model = tri.RandomModel(1, 2, memory_size=50, backend=backend, seed=0)
    ends = play(WorldRunner(Silent(), model, seed=0), 3)
    assert [(end.agent, end.length) for end in ends] == [("me", 3)] * 3
    batch = model.memory.sample(model.memory.drawable)
    states, valid = (tri.backend.as_numpy(column)[:, 0] for column in (batch.states, batch.valid))
    assert valid.tolist() == (states < 2).tolist()


def test_a_world_without_a_turn_is_refused(backend):
    world = Silent()
    world.reset = lambda seed: None
    runner = WorldRunner(world, tri.RandomModel(1, 2, memory_size=50, backend=backend), seed=0)
    with pytest.raises(tri.WorldError, match="Silent is over before any agent could act"):
        runner.step()


class Restless(Silent):
    """A world of chance, or, where it does not heed its seed, of too much."""

    def __init__(self, heeds=True):
        super().__init__()
        self.heeds = heeds

    def reset(self, seed=None):
        self.agents = ("a", "b")
        self.rng = np.random.default_rng(seed if self.heeds else None)
        self.seen = dict.fromkeys("ab", np.zeros(1))
        self.over = dict.fromkeys("ab", False)

    def turn(self, agent):
        return Turn(self.seen[agent], float(self.seen[agent][0]), self.over[agent], False)

    def act(self, agent, action):
        self.seen[agent] = self.rng.random(1) + action
        self.over[agent] = self.rng.random() < 0.2


def restless(backend, heeds=True, **options):
    options = {"backend": backend, "n_frames": 2, "boundary": "pad"} | options
    models = {a: Watchful(1, 3, memory_size=200, seed=i, **options) for i, a in enumerate("ab")}
    return WorldRunner(Restless(heeds), models, seed=7)


@pytest.mark.parametrize("already", [0, 2, 5])
@pytest.mark.parametrize("steps", [0, 1, 4, 9, 23])
def test_it_goes_on_where_it_was(backend, steps, already, tmp_path):
    first, second = restless(backend), restless(backend)
    for _ in range(steps):
        first.step()
    for _ in range(already):
        second.step()
    for name, model in first.models.items():
        model.save(tmp_path / name, memory=True)
        second.models[name].memory.clear()
        second.models[name].load(tmp_path / name)
    second.restore(first.state())
    assert second.state() == first.state()
    ends = [[end for _ in range(20) for end in runner.step()] for runner in (first, second)]
    assert ends[0] == ends[1] != []
    for name in first.models:
        rows = [runner.models[name].memory[:] for runner in (first, second)]
        for one, two in zip(*rows, strict=True):
            assert np.array_equal(tri.backend.as_numpy(one), tri.backend.as_numpy(two))


@pytest.mark.parametrize("seed", range(4))
def test_a_world_that_does_not_repeat_itself_is_noticed(backend, seed):
    first, second = restless(backend, heeds=False), restless(backend, heeds=False)
    while len(first.state().get("actions", ())) < 3 + seed:
        first.step()
    with pytest.raises(tri.WorldError, match="Restless does not repeat itself"):
        second.restore(first.state())


@pytest.mark.parametrize("name", ["classic/rps-v2", "classic/tictactoe-v3", "classic/connect_four-v3"])
def test_real_games_are_played_and_go_on(backend, name, tmp_path, capsys, caplog):
    def runner():
        world = make(name)
        agents = world.possible_agents
        shape, n = world.observation_spec(agents[0]).shape, world.action_spec(agents[0]).n
        model = tri.RandomModel(shape, n, memory_size=500, n_streams=2, backend=backend, seed=0)
        return WorldRunner(world, model, seed=3)

    first, second = runner(), runner()
    play(first, 3)
    first.step()
    first.models["model"].save(tmp_path / "model", memory=True)
    second.models["model"].load(tmp_path / "model")
    second.restore(first.state())
    assert play(first, 6) == play(second, 6)
    assert "Illegal" not in capsys.readouterr().err + caplog.text


def test_what_is_no_game_of_that_kind_is_refused():
    parallel = pettingzoo.make("parallel", "classic/rps-v2")
    with pytest.raises(tri.WorldError, match=r"AECWorld takes .* made with pettingzoo.make\('aec'"):
        AECWorld(parallel)
    with pytest.raises(tri.WorldError, match=r"made with pettingzoo.make\('parallel'"):
        ParallelWorld(pettingzoo.make("aec", "classic/rps-v2"))
    with pytest.raises(tri.WorldError, match="env is a GymWorld"):
        ParallelWorld(GymWorld(None))


@pytest.mark.parametrize("name", ["classic/nothing-v1", "classic/rps-v9", "CartPole-v1"])
def test_a_game_that_is_not_there_is_refused(name):
    with pytest.raises(tri.WorldError, match=f"env='{name}' can't be made"):
        make(name)
