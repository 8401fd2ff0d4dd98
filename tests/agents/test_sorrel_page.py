"""The code of docs/howto/sorrel.md, with stand-ins for Sorrel's classes that make Sorrel 1.6's calls.

`nox -s sorrel` runs the same code with the real package.
"""

import sys
from types import ModuleType

import numpy as np
import pytest

import trifolium as tri

from ..pages import blocks, changed
from .test_sorrel_contract import Agent, Grid

BLOCK = blocks("docs/howto/sorrel.md")[0]
TURNS = 50

pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__")  # torch's, when NumPy rounds a loss


class ActionSpec:
    def __init__(self, actions):
        self.n_actions = len(actions)


class OneHotObservationSpec:
    def __init__(self, entities, full_view, vision_radius):
        assert not full_view
        side = 2 * vision_radius + 1
        self.input_size = (len(entities), side, side)

    def override_input_size(self, size):
        assert np.prod(size) == np.prod(self.input_size)
        self.input_size = size


class World(Grid):
    """A world whose observation begins with the number of the epoch and of the turn."""

    def observe(self):
        seen = np.zeros((6, 5, 5))
        seen.flat[:2] = self.epoch + 1, self.turn
        return seen


class TreasurehuntAgent(Agent):
    def __init__(self, spec, actions, model):
        super().__init__(model)
        assert model.memory.obs_shape == spec.input_size
        assert model.action_space == actions.n_actions


class TreasurehuntEnv:
    """Sorrel's loop over epochs and turns."""

    def __init__(self):
        self.grid = World()
        self.setup_agents()

    def run(self, epochs):
        losses = []
        for epoch in range(epochs):
            self.grid.reset()
            for agent in self.agents:
                agent.model.reset()
                agent.model.start_epoch_action(epoch=epoch)
            while self.grid.turn < TURNS:
                self.grid.turn += 1
                for agent in self.agents:
                    agent.transition(self.grid)
            self.grid.is_done = True
            for agent in self.agents:
                agent.model.end_epoch_action(epoch=epoch)
            losses.append(np.round(sum(agent.model.train_step() for agent in self.agents), 2))
        return losses


@pytest.fixture
def hunt(monkeypatch, learner):
    """Return the environment of the page, on the backend of the run."""
    found = {
        "sorrel.action.action_spec": ActionSpec,
        "sorrel.examples.treasurehunt.agents": TreasurehuntAgent,
        "sorrel.examples.treasurehunt.env": TreasurehuntEnv,
        "sorrel.observation.observation_spec": OneHotObservationSpec,
    }
    for path, kind in found.items():
        parts = path.split(".")
        for depth in range(1, len(parts) + 1):
            name = ".".join(parts[:depth])
            if name not in sys.modules:
                monkeypatch.setitem(sys.modules, name, ModuleType(name))
        setattr(sys.modules[path], kind.__name__, kind)
    names = {}
    exec(changed(BLOCK, {'backend="torch"': f'backend="{learner.name}"'}), names)
    return names["Hunt"]()


@pytest.mark.parametrize(
    "epochs",
    [pytest.param(6, id="quick"), pytest.param(240, id="many", marks=pytest.mark.slow)],
)
def test_every_valid_row_has_its_successor(hunt, epochs):
    losses = hunt.run(epochs)
    assert np.isfinite([float(loss) for loss in losses]).all()
    assert len(hunt.agents) == 2
    for agent in hunt.agents:
        check_memory(agent.model.memory, epochs)


def check_memory(memory, epochs):
    batch = memory.sample(memory.drawable, flatten=False)
    columns = (batch.states, batch.rewards, batch.next_states, batch.valid, batch.discounts)
    found = set()
    for state, reward, after, valid, discount in zip(*map(tri.backend.as_numpy, columns), strict=True):
        if not valid[0]:
            continue
        epoch, turn = (int(number) for number in state[-1][:2])
        summed = round(np.log(discount[0]) / np.log(memory.spec.gamma))
        assert summed == min(memory.spec.n_step, TURNS - turn)
        assert reward[0] == pytest.approx(sum(memory.spec.gamma**k * (turn + k) for k in range(summed)))
        assert frames(state) == expected(epoch, turn, memory.n_frames)
        assert frames(after) == expected(epoch, turn + summed, memory.n_frames)
        found.add((epoch, turn))
    # the last step of each epoch has no known successor
    assert found == {(epoch + 1, turn) for epoch in range(epochs) for turn in range(1, TURNS)}


def frames(state):
    return [(int(frame[0]), int(frame[1])) for frame in state]


def expected(epoch, turn, n_frames):
    turns = range(turn - n_frames + 1, turn + 1)
    return [(epoch, each) if each > 0 else (0, 0) for each in turns]
