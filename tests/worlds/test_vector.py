"""What a vector environment leaves in the memory, in each autoreset mode, against what is true."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import trifolium as tri
from trifolium.experiment.runners.vector import VectorRunner

from .diary import DiaryEnv, Watchful, check_memory, clockwork, ending, episodes_of, length, reward_at

MODES = list(AutoresetMode)
N = 3


def vector(kind=SyncVectorEnv, mode=AutoresetMode.DISABLED, n=N, **options):
    # in "SameStep" Gymnasium resets before the last observation is copied
    overwrites = mode is not AutoresetMode.SAME_STEP
    makers = [lambda writer=writer: DiaryEnv(writer, overwrites=overwrites) for writer in range(n)]
    return kind(makers, autoreset_mode=mode, **options)


def real_steps(writer, steps, mode):
    """Return how many of ``steps`` of a vector are steps of an environment, and no resets."""
    if mode is not AutoresetMode.NEXT_STEP:
        return steps
    real, episode = 0, 0
    while steps > 0:
        played = min(steps, length(writer, episode))
        real, steps, episode = real + played, steps - played - 1, episode + 1
    return real


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize(("n_frames", "boundary"), [(1, "mask"), (3, "mask"), (3, "pad")])
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_memory_holds_what_is_true(backend, mode, n_frames, boundary, n_step):
    model = clockwork(backend, n_frames, n_step, n_streams=N, boundary=boundary)
    runner = VectorRunner(vector(mode=mode), model, seed=0)
    for _ in range(50):
        runner.step()
    check_memory(model.memory, [episodes_of(w, real_steps(w, 50, mode)) for w in range(N)])


@pytest.mark.filterwarnings("ignore:os.fork")  # JAX's: it is not used in the processes
@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_processes_leave_the_same(backend, mode, shared_memory):
    model = clockwork(backend, 3, 3, n_streams=N)
    envs = vector(AsyncVectorEnv, mode, shared_memory=shared_memory)
    runner = VectorRunner(envs, model, seed=0)
    try:
        for _ in range(20):
            runner.step()
    finally:
        runner.close()
    check_memory(model.memory, [episodes_of(w, real_steps(w, 20, mode)) for w in range(N)])


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_an_observation_that_is_written_over_is_not_lost(backend, mode):
    model = clockwork(backend, 3, 1, n_streams=N)
    runner = VectorRunner(vector(mode=mode, copy=False), model, seed=0)
    for _ in range(20):
        runner.step()
    check_memory(model.memory, [episodes_of(w, real_steps(w, 20, mode)) for w in range(N)])


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_episodes_are_told_as_they_end(backend, mode):
    runner = VectorRunner(vector(mode=mode), clockwork(backend, 1, 1, n_streams=N), seed=0)
    ends = [end for _ in range(30) for end in runner.step()]
    expected = {
        (sum(reward_at(w, e.episode, step) for step in range(e.steps)), e.steps)
        for w in range(N)
        for e in episodes_of(w, real_steps(w, 30, mode))
        if e.end != "open"
    }
    assert {(end.episode_return, end.length) for end in ends} == expected
    assert len(ends) == runner.episodes
    assert {ending(0, e) for e in range(3)} == {"terminated", "truncated", "both"}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_one_call_for_all(backend, mode, monkeypatch):
    calls = []
    add = tri.Buffer.add
    monkeypatch.setattr(tri.Buffer, "add", lambda *a, **k: calls.append(k.get("where")) or add(*a, **k))
    runner = VectorRunner(vector(mode=mode), clockwork(backend, 1, 1, n_streams=N), seed=0)
    for steps in range(1, 13):
        runner.step()
        assert len(calls) == steps
    resets = any(where is not None and not where.all() for where in calls)
    assert resets == (mode is AutoresetMode.NEXT_STEP)


def test_evaluation_leaves_no_trace(backend):
    model = clockwork(backend, 1, 1, n_streams=N)
    runner = VectorRunner(vector(), model, seed=0, remember=False)
    assert any(runner.step() for _ in range(10))
    assert len(model.memory) == 0


class Ticking(gym.Env):
    """An environment of much randomness, which shows in what it sees."""

    observation_space = gym.spaces.Box(0, 1, (2,), np.float64)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.random(2), {}

    def step(self, action):
        obs = self.np_random.random(2) * (action + 1) / 3
        over = self.np_random.random() < 0.2
        return obs, float(obs[0]), over and obs[1] < 0.2, over, {}


class Forgetful(Ticking):
    """One that does not begin as its seed says."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None)


def ticking(backend, kind=Ticking, mode=AutoresetMode.DISABLED):
    model = Watchful(
        2, 3, memory_size=400, n_streams=4, n_frames=2, boundary="pad", backend=backend, seed=1
    )
    return VectorRunner(SyncVectorEnv([kind] * 4, autoreset_mode=mode), model, seed=5)


@pytest.mark.parametrize("already", [0, 6])
@pytest.mark.parametrize("steps", [0, 1, 7, 20, 33])
def test_it_goes_on_where_it_was(backend, steps, already, tmp_path):
    first, second = ticking(backend), ticking(backend)
    for _ in range(steps):
        first.step()
    for _ in range(already):
        second.step()
    first.models["model"].save(tmp_path / "model", memory=True)
    second.models["model"].memory.clear()
    second.models["model"].load(tmp_path / "model")
    second.restore(first.state())
    assert second.state() == first.state()
    ends = [
        [(end, runner.episodes) for _ in range(15) for end in runner.step()]
        for runner in (first, second)
    ]
    assert ends[0] == ends[1]
    rows = [runner.models["model"].memory[:] for runner in (first, second)]
    for one, two in zip(*rows, strict=True):
        assert np.array_equal(tri.backend.as_numpy(one), tri.backend.as_numpy(two))


def test_an_environment_that_does_not_repeat_itself_is_noticed(backend):
    first, second = ticking(backend, Forgetful), ticking(backend, Forgetful)
    for _ in range(5):
        first.step()
    with pytest.raises(tri.WorldError, match="does not repeat itself"):
        second.restore(first.state())


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_vector_that_resets_by_itself_can_not_go_on(backend, mode):
    runner = ticking(backend, mode=mode)
    runner.step()
    with pytest.raises(tri.WorldError, match="expected 'Disabled'"):
        ticking(backend, mode=mode).restore(runner.state())


def test_bad_models_and_vectors_are_refused(backend):
    with pytest.raises(ValueError, match=r"n_streams=1; expected n_streams=3"):
        VectorRunner(vector(), clockwork(backend, 1, 1), seed=0)
    with pytest.raises(ValueError, match="expected action_space=5"):
        VectorRunner(vector(), tri.RandomModel(3, 2, 30, n_streams=3, backend=backend), seed=0)
    with pytest.raises(ValueError, match=r"expected input_size=\(3,\)"):
        VectorRunner(vector(), tri.RandomModel(4, 5, 30, n_streams=3, backend=backend), seed=0)
    envs = vector()
    envs.metadata = {}
    with pytest.raises(tri.WorldError, match="autoreset_mode=None; expected one of"):
        VectorRunner(envs, clockwork(backend, 1, 1, n_streams=N), seed=0)


def test_a_last_observation_that_is_not_given_is_missed(backend):
    class Silent(gym.vector.VectorWrapper):
        def step(self, actions):
            *outcome, info = self.env.step(actions)
            info.pop("final_obs", None)
            return (*outcome, info)

    envs = Silent(vector(mode=AutoresetMode.SAME_STEP))
    runner = VectorRunner(envs, clockwork(backend, 1, 1, n_streams=N), seed=0)
    with pytest.raises(tri.WorldError, match="'final_obs'"):
        list(iter(runner.step, None))
