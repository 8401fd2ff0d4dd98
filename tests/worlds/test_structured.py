"""Worlds that show structured observations: what they leave in memories of that structure."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import trifolium as tri
from trifolium.agents import Agent, ObservationSpec
from trifolium.backend import as_numpy
from trifolium.experiment.runners import GymRunner, VectorRunner, WorldRunner
from trifolium.worlds import AECWorld, GymWorld, ParallelWorld

from .apart import SHAPE, SPACE, EnvApart, ParallelApart, TurnsApart, Whole, clockwork_apart
from .diary import check_memory, episodes_of
from .diary_games import AGENTS
from .test_games import finished, play
from .test_vector import MODES, N, real_steps


def by_runner(model, steps):
    runner = GymRunner(EnvApart(), model, seed=0)
    for _ in range(steps):
        runner.step()


def by_world_runner(model, steps):
    runner = WorldRunner(GymWorld(EnvApart()), model, seed=0)
    for _ in range(steps):
        runner.step()


def by_hand(model, steps):
    world = GymWorld(EnvApart())
    specs = world.structured_spec("agent"), world.action_spec("agent")
    agent = Agent("agent", model, *specs)
    acted, agent.is_over = 0, True
    while acted < steps:
        if agent.is_over:
            world.reset()
        acted += not agent.transition(world)
    agent.look(world)  # at what came of the last step


FRAMES = [(1, "mask"), (3, "mask"), ({"who": 3, "when": 3}, "pad")]


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize(("n_frames", "boundary"), FRAMES, ids=str)
@pytest.mark.parametrize("play", [by_runner, by_world_runner, by_hand])
def test_one_environment(backend, play, n_frames, boundary, n_step):
    model = clockwork_apart(backend, n_frames, n_step, boundary=boundary)
    assert model.memory.obs_shape == SHAPE
    play(model, 60)
    check_memory(Whole(model.memory), [episodes_of(0, 60)])


def vector(mode, kind=SyncVectorEnv):
    # in "SameStep" Gymnasium resets before the last observation is copied
    overwrites = mode is not AutoresetMode.SAME_STEP
    makers = [lambda writer=writer: EnvApart(writer, overwrites=overwrites) for writer in range(N)]
    return kind(makers, autoreset_mode=mode)


@pytest.mark.parametrize(("n_frames", "boundary"), FRAMES, ids=str)
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_a_vector(backend, mode, n_frames, boundary):
    model = clockwork_apart(backend, n_frames, 3, n_streams=N, boundary=boundary)
    runner = VectorRunner(vector(mode), model, seed=0)
    for _ in range(50):
        runner.step()
    check_memory(Whole(model.memory), [episodes_of(w, real_steps(w, 50, mode)) for w in range(N)])


@pytest.mark.filterwarnings("ignore:os.fork")  # JAX's: it is not used in the processes
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_a_vector_of_processes(backend, mode):
    model = clockwork_apart(backend, 3, 1, n_streams=N)
    runner = VectorRunner(vector(mode, AsyncVectorEnv), model, seed=0)
    try:
        for _ in range(20):
            runner.step()
    finally:
        runner.close()
    check_memory(Whole(model.memory), [episodes_of(w, real_steps(w, 20, mode)) for w in range(N)])


class Batched(gym.vector.VectorWrapper):
    """Gives last observations as a batch with the structure of the space, as some vectors do."""

    def step(self, actions):
        *outcome, info = self.env.step(actions)
        if "final_obs" in info:
            blank = {"who": np.zeros(2), "when": (np.zeros(1), "")}
            final = [blank if each is None else each for each in info["final_obs"]]
            info["final_obs"] = {
                "who": np.stack([each["who"] for each in final]),
                "when": (np.stack([each["when"][0] for each in final]), ("",) * N),
            }
        return (*outcome, info)


def test_last_observations_may_be_a_batch(backend):
    model = clockwork_apart(backend, 1, 1, n_streams=N)
    runner = VectorRunner(Batched(vector(AutoresetMode.SAME_STEP)), model, seed=0)
    for _ in range(30):
        runner.step()
    check_memory(Whole(model.memory), [episodes_of(w, 30) for w in range(N)])


GAMES = {"parallel": lambda: ParallelWorld(ParallelApart()), "turns": lambda: AECWorld(TurnsApart())}


@pytest.mark.parametrize(("n_frames", "boundary"), FRAMES, ids=str)
@pytest.mark.parametrize("name", GAMES)
def test_games(backend, name, n_frames, boundary):
    models = {a: clockwork_apart(backend, n_frames, 3, boundary=boundary) for a in AGENTS}
    play(WorldRunner(GAMES[name](), models, seed=0))
    for writer, model in enumerate(models.values()):
        check_memory(Whole(model.memory), [finished(writer)])
    shared = clockwork_apart(backend, n_frames, 1, boundary=boundary, n_streams=3)
    play(WorldRunner(GAMES[name](), shared, seed=0))
    check_memory(Whole(shared.memory), [finished(writer) for writer in range(3)])


class Frames(tri.BaseModel):
    """Keeps the states that it gets."""

    def take_action(self, state):
        self.seen = [*getattr(self, "seen", ()), state]
        return 0


class Ticking(gym.Env):
    """Counts, in two parts."""

    observation_space = gym.spaces.Dict(
        {"camera": gym.spaces.Box(0, 255, (2, 2, 1), np.uint8), "speed": gym.spaces.Box(-9, 9, (1,))}
    )
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.time = 0
        return self._seen(), {}

    def step(self, action):
        self.time += 1
        return self._seen(), 0.0, self.time == 4, False, {}

    def _seen(self):
        camera = np.full((2, 2, 1), self.time + 1, np.uint8)
        return {"camera": camera, "speed": np.array([self.time + 0.5], np.float32)}


def test_each_part_has_its_own_frames(backend):
    spec = ObservationSpec.from_space(Ticking.observation_space, structured=True)
    model = Frames(spec.shape, 2, 50, n_frames={"camera": 3}, backend=backend, boundary="pad", seed=0)
    runner = GymRunner(Ticking(), model, seed=0)
    for _ in range(8):
        runner.step()
    for step, state in enumerate(model.seen):
        time = step % 4
        assert state["camera"].dtype == np.uint8
        assert state["camera"][:, 0, 0, 0].tolist() == [max(time - 1, 0), time, time + 1]
        assert state["speed"].tolist() == [[time + 0.5]]
    batch = model.memory.sample(8, flatten=False)
    cameras, speeds = as_numpy(batch.states["camera"]), as_numpy(batch.states["speed"])
    for row, speed in enumerate(speeds[:, 0, 0].tolist()):
        time = int(speed)
        assert cameras[row, :, 0, 0, 0].tolist() == [max(time - 1, 0), time, time + 1]


class Counted(Ticking):
    """Counts in a third part too, which is a number."""

    observation_space = gym.spaces.Dict(
        {**Ticking.observation_space.spaces, "number": gym.spaces.Box(0, 99, (), np.int32)}
    )

    def _seen(self):
        return super()._seen() | {"number": np.int32(self.time)}


def test_a_model_for_the_spaces_of_an_environment_fits_its_runner(backend):
    model = tri.RandomModel.from_env(Counted(), 50, backend=backend, seed=0)
    runner = GymRunner(Counted(), model, seed=0)
    for _ in range(6):
        runner.step()
    assert as_numpy(model.memory[:][0]["number"]).tolist() == [0, 1, 2, 3, 0, 1]


def test_nan_in_a_part_is_named(backend):
    class Broken(Ticking):
        def _seen(self):
            return super()._seen() | {"speed": np.array([np.nan], np.float32)}

    spec = ObservationSpec.from_space(Ticking.observation_space, structured=True)
    model = Frames(spec.shape, 2, 50, backend=backend)
    with pytest.raises(tri.NanError, match=r"the observation\['speed'\] of agent 'agent' holds NaN"):
        GymRunner(Broken(), model, seed=0).step()


def test_models_of_other_structures_are_refused(backend):
    for shape in ({"who": 2}, {"who": 2, "when": 1}, {"who": 3, "when": {"0": 1}}):
        model = tri.RandomModel(shape, 5, 50, backend=backend)
        with pytest.raises(ValueError, match=r"observations of shape .* and its model has input_size="):
            GymRunner(EnvApart(), model, seed=0)
    other_dtype = tri.RandomModel({"who": 2, "when": {"0": 1}}, 5, 50, backend=backend)
    GymRunner(EnvApart(), other_dtype, seed=0)


def test_an_agent_without_a_spec_takes_mappings_of_arrays(backend):
    class Pair:
        agents = ("walker",)

        def reset(self, seed=None):
            self.steps = 0

        def turn(self, agent):
            seen = {"at": [self.steps, 1], "more": {"goal": 7}}
            return tri.worlds.Turn(seen, 1.0, self.steps == 5, False)

        def act(self, agent, action):
            self.steps += 1

    model = tri.RandomModel({"at": 2, "more": {"goal": ()}}, 3, 50, backend=backend, seed=0)
    agent, world = Agent("walker", model), Pair()
    world.reset()
    while not agent.transition(world):
        pass
    obs, *_ = model.memory[:]
    assert as_numpy(obs["at"])[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert as_numpy(obs["more"]["goal"]).tolist() == [7] * 5


def test_specs_of_the_diary():
    assert ObservationSpec.from_space(SPACE, structured=True).shape == SHAPE
    assert GymWorld(EnvApart()).observation_spec("agent").shape == (3,)
    assert GymWorld(EnvApart()).structured_spec("agent").shape == SHAPE
