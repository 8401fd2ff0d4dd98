"""ModelSuite passes for models that work, and fails for each fault that it is for."""

import numpy as np
import pytest

import trifolium as tri
from trifolium.testing import ModelSuite


class Table(tri.BaseModel):
    """Q-learning on the sign of each number."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.values = np.zeros((2, 2, self.action_space))

    def places(self, states):
        signs = (np.reshape(np.asarray(states), (-1, 2)) > 0).astype(int)
        return signs[:, 0], signs[:, 1]

    def take_action(self, state):
        if self.rng.random() < self.epsilon:
            return int(self.rng.integers(self.action_space))
        return int(self.values[self.places(state)][0].argmax())

    def train_step(self):
        states, actions, rewards, _, _, valid = self.memory.sample(32)
        at = (*self.places(states), actions[:, 0])
        errors = (rewards - self.values[at][:, None]) * valid
        np.add.at(self.values, at, 0.1 * errors[:, 0])
        return {"errors": (errors**2).mean()}

    def state(self):
        return {"values": self.values}

    def restore(self, state):
        self.values = state["values"]


class TestTable(ModelSuite):
    def made(self, seed):
        return Table(2, 3, 500, epsilon=0.3, seed=seed)


class TestRandom(ModelSuite):
    def made(self, seed):
        return tri.RandomModel({"a": 2, "b": {"c": ((3,), "uint8")}}, 3, 500, n_streams=2, seed=seed)


@pytest.mark.slow_on("jax")
class TestLearner(ModelSuite):
    @pytest.fixture(autouse=True)
    def _backend(self, learner):
        self.backend = learner

    def made(self, seed):
        options = {"backend": self.backend, "hidden": (8,), "batch_size": 16, "seed": seed}
        shape = {"seen": 2, "legal": ((3,), "bool")}
        return tri.DDQN(shape, 3, 500, n_frames={"seen": 2}, action_mask="legal", **options)


class Unbounded(Table):
    def take_action(self, state):
        return self.action_space


class Forgetful(Table):
    def state(self):
        return {}

    def restore(self, state):
        pass


class Unseeded(Table):
    def take_action(self, state):
        return int(np.random.default_rng().integers(self.action_space))


class Flat(Table):
    def take_action(self, state):
        first, _ = state
        return int(first > 0)


class Joining(Table):
    def start_epoch_action(self, **kwargs):
        pass


class Broken(Table):
    def train_step(self):
        return float("nan")


class Hookless(Table):
    def end_epoch_action(self):
        pass


class Unevaluable(Table):
    def take_action(self, state):
        return 0 if self.epsilon else None


FAULTS = {
    Unbounded: ("test_actions", AssertionError),
    Flat: ("test_actions", ValueError),
    Unevaluable: ("test_epsilon", TypeError),
    Broken: ("test_losses", AssertionError),
    Unseeded: ("test_one_seed_gives_one_run", AssertionError),
    Forgetful: ("test_files_restore_it", AssertionError),
    Joining: ("test_hooks", AssertionError),
    Hookless: ("test_hooks", TypeError),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault, tmp_path):
    class Suite(ModelSuite):
        def made(self, seed):
            return fault(2, 3, 500, epsilon=0.3, seed=seed)

    test, error = FAULTS[fault]
    with pytest.raises(error):
        getattr(Suite(), test)(*([tmp_path] if test == "test_files_restore_it" else []))


def test_made_must_be_overridden():
    with pytest.raises(NotImplementedError, match="made"):
        ModelSuite().test_epsilon()
