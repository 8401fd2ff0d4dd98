"""The models as those of Sorrel's agents: the calls that Sorrel 1.6 makes, in its order.

`nox -s sorrel` drives the same models with the real package, which needs Python 3.12.
"""

import numpy as np
import pytest

import trifolium as tri

pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__")  # torch's, when NumPy rounds a loss


@pytest.fixture
def learner(learner):
    if not learner.shares_host_memory:
        pytest.skip("Sorrel's agents stack states with NumPy, which can't read a device")
    return learner


SIZE = 6
N_FRAMES = 3
TURNS = 7
EPOCHS = 4


class Grid:
    """A world whose observation tells epoch, turn, and the actions done."""

    def __init__(self):
        self.epoch, self.turn, self.is_done, self.acted = -1, 0, False, 0

    def reset(self):
        self.epoch, self.turn, self.is_done, self.acted = self.epoch + 1, 0, False, 0

    def observe(self):
        seen = [self.epoch + 1, self.turn, self.acted, 0.5, -1.0, 1.0]
        return np.array(seen).reshape(2, 3)


class Agent:
    """What Sorrel's agents do with their model in one transition."""

    def __init__(self, model):
        self.model = model
        self.states, self.location = [], (2, 3, 1)

    def transition(self, grid):
        state = grid.observe().reshape(1, -1)
        before = self.model.memory.current_state()
        stacked = np.vstack((before, state))
        self.states.append(stacked)
        action = self.model.take_action(stacked.reshape(1, -1))
        assert isinstance(action, int)
        grid.acted = 10 * grid.acted + action
        reward, done = float(grid.turn), grid.is_done
        if "positions" in self.model.memory.extra_data:
            self.model.memory.add(state, action, reward, done, positions=self.location[:2])
        else:
            self.model.memory.add(state, action, reward, done)
        return action, reward


def run(models, folder):
    """Run epochs as Sorrel's environment does; return what its logger would be told."""
    grid, agents, losses = Grid(), [Agent(model) for model in models], []
    for epoch in range(EPOCHS):
        grid.reset()
        for agent in agents:
            agent.model.reset()
        for agent in agents:
            agent.model.start_epoch_action(epoch=epoch)
        while grid.turn < TURNS:
            grid.turn += 1
            for agent in agents:
                action, reward = agent.transition(grid)
                assert agent.model.memory.last_transition(0) == (action, reward, False)
        grid.is_done = True  # only now: no step of an agent is ever done
        for agent in agents:
            agent.model.end_epoch_action(epoch=epoch)
        total_loss = 0
        for agent in agents:
            total_loss += agent.model.train_step()
        losses.append(np.round(total_loss, 2))
        for i, agent in enumerate(agents):
            agent.model.epsilon_decay(0.5)
            agent.model.save(folder / f"./checkpoints/epoch-{epoch}-agent-{i}.pkl")
    return agents, losses


def models(learner, **options):
    common = {
        "input_size": (SIZE,),
        "action_space": 3,
        "memory_size": 100,
        "epsilon": 0.8,
        "backend": learner,
        "n_frames": N_FRAMES,
        "n_step": 1,
        "batch_size": 8,
        "boundary": "pad",
        "extras": {"positions": ((2,), "int32")},
    } | options
    return [tri.DDQN(**common, seed=0), tri.IQN(**common, seed=1)]


@pytest.mark.slow_on("jax")
def test_models_run_in_sorrels_loop(learner, tmp_path):
    agents, losses = run(models(learner), tmp_path)
    assert np.all(np.isfinite([float(loss) for loss in losses]))
    assert float(losses[-1]) != 0.0
    for i, agent in enumerate(agents):
        assert agent.model.epsilon == pytest.approx(0.8 * 0.5**EPOCHS)
        agent.model.load(tmp_path / "checkpoints" / f"epoch-{EPOCHS - 1}-agent-{i}.pkl")


def test_states_hold_no_frame_of_the_epoch_before(learner, tmp_path):
    agents, _ = run(models(learner), tmp_path)
    for agent in agents:
        assert len(agent.states) == EPOCHS * TURNS
        for step, state in enumerate(agent.states):
            epoch, turn = divmod(step, TURNS)
            seen = [(epoch + 1, turn + 1 - age) for age in reversed(range(N_FRAMES))]
            expected = [frame if frame[1] > 0 else (0, 0) for frame in seen]
            assert [(row[0], row[1]) for row in state] == expected


@pytest.mark.parametrize("boundary", ["mask", "pad"])
def test_nothing_joins_two_epochs_in_the_memory(learner, tmp_path, boundary):
    for agent in run(models(learner, boundary=boundary), tmp_path)[0]:
        memory = agent.model.memory
        batch = memory.sample(memory.drawable, flatten=False)
        columns = (batch.states, batch.next_states, batch.valid)
        states, following, valid = (tri.backend.as_numpy(column) for column in columns)
        met = set()
        for state, after, counts in zip(states, following, valid[:, 0], strict=True):
            epoch, turn = state[-1][:2]
            if counts:
                met.add((epoch, turn))
                assert (after[-1][0], after[-1][1]) == (epoch, turn + 1)
        first = 1 if boundary == "pad" else N_FRAMES
        known = {(e + 1, t) for e in range(EPOCHS) for t in range(first, TURNS)}
        assert met == known  # the last step of each epoch has no known successor


def test_blank_frames_are_added_as_by_sorrels_own_models(learner, tmp_path):
    class Blanking(tri.DDQN):
        def start_epoch_action(self, **kwargs):
            self.memory.add_empty()

    model = Blanking(SIZE, 3, 100, 0.5, n_frames=N_FRAMES, backend=learner, seed=0)
    run([model], tmp_path)
    batch = model.memory.sample(model.memory.drawable)
    turns = tri.backend.as_numpy(batch.states)[:, -SIZE + 1]
    valid = tri.backend.as_numpy(batch.valid)[:, 0]
    assert sorted(turns[valid == 1]) == sorted(list(range(1, TURNS)) * EPOCHS)


def test_a_run_can_be_handed_over_as_saved_games(learner, tmp_path):
    [agent, _], _ = run(models(learner), tmp_path)
    memory = agent.model.memory
    games = np.zeros((200, *memory.obs_shape)), np.zeros(200, np.int64), np.zeros(200)
    for kept, column in zip(games, (memory.states, memory.actions, memory.rewards), strict=True):
        kept[: memory.size] = column[: memory.size]
    positions = np.zeros((200, 2), np.int64)
    for name, column in memory.extra_data.items():
        assert name == "positions"
        positions[: memory.size] = column[: memory.size]
    steps = games[0][: memory.size]
    assert [(row[0], row[1]) for row in steps] == [
        (epoch + 1, turn + 1) for epoch in range(EPOCHS) for turn in range(TURNS)
    ]
    assert positions[: memory.size].tolist() == [[2, 3]] * memory.size
