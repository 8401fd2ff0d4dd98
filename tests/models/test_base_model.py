"""BaseModel: what every model has without doing anything for it."""

import numpy as np
import pytest

import trifolium as tri


class Left(tri.BaseModel):
    def take_action(self, state):
        return 0


def test_take_action_is_all_it_must_have(backend):
    with pytest.raises(TypeError, match="take_action"):
        tri.BaseModel(4, 2, 100, backend=backend)
    model = Left(4, 2, 100, backend=backend)
    assert model.take_action(np.zeros(4)) == 0
    assert float(model.train_step()) == 0.0
    assert type(model.train_step()) is type(model.memory.states)
    assert model.model_name == "Left"
    model.start_epoch_action(epoch=1)
    model.end_epoch_action(epoch=1)
    model.reset()


def test_memory_takes_the_models_options(backend):
    model = Left((3, 2), 2, 60, backend=backend, n_frames=2, obs_dtype="uint8", boundary="pad")
    memory = model.memory
    assert (memory.capacity, memory.obs_shape, memory.n_frames) == (60, (3, 2), 2)
    assert model.state_size == 12
    assert memory.backend is backend


def test_epsilon(backend):
    model = Left(4, 2, 100, 0.5, backend=backend)
    model.epsilon_decay(0.1)
    assert model.epsilon == pytest.approx(0.45)
    model.set_epsilon(0.2)
    assert model.epsilon == 0.2


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda b: Left(4, 0, 100, backend=b), ["action_space", "0", "at least 1"]),
        (lambda b: Left(4, 2, 0, backend=b), ["memory_size", "0", "at least 1"]),
        (lambda b: Left(0, 2, 100, backend=b), ["input_size", "0", "at least 1"]),
        (lambda b: Left(4, 2, 100, 1.5, backend=b), ["epsilon", "1.5", "0 to 1"]),
        (lambda b: Left(4, 2, 100, seed=-1, backend=b), ["seed", "-1", "at least 0"]),
        (lambda b: Left(4, 2, 100, memory_typo=1, backend=b), ["memory_typo"]),
        (lambda b: Left(4, 2, 100, backend=b).set_epsilon(-1), ["new_epsilon", "-1", "0 to 1"]),
        (lambda b: Left(4, 2, 100, backend=b).epsilon_decay(2), ["rate", "2", "0 to 1"]),
    ],
)
def test_bad_arguments_are_named(backend, call, names):
    with pytest.raises((ValueError, TypeError)) as caught:
        call(backend)
    for name in names:
        assert name in str(caught.value)


def test_random_model_is_uniform_and_seeded(backend):
    def actions(seed):
        model = tri.RandomModel(4, 3, 100, backend=backend, seed=seed)
        return [model.take_action(None) for _ in range(3000)]

    counts = np.bincount(actions(0), minlength=3)
    assert np.sum((counts - 1000) ** 2 / 1000) < 13.8  # chi-square, 2 degrees, p = 0.001
    assert actions(1) == actions(1)
    assert actions(1) != actions(2)


def test_model_and_memory_draw_from_separate_streams(backend):
    model = tri.RandomModel(4, 3, 100, backend=backend, seed=0)
    other = tri.RandomModel(4, 3, 100, backend=backend, seed=0)
    for _ in range(10):
        model.memory.add(np.zeros(4), 0, 0.0, False)
        other.memory.add(np.zeros(4), 0, 0.0, False)
    model.take_action(None)  # must not change what the memory draws
    assert np.array_equal(model.memory.sample(4).indices, other.memory.sample(4).indices)


def test_saved_random_model_goes_on_where_it_was(backend, tmp_path):
    model = tri.RandomModel(4, 3, 100, 0.3, backend=backend, seed=0)
    model.take_action(None)
    model.save(tmp_path / "model")
    other = tri.RandomModel(4, 3, 100, backend=backend, seed=9)
    other.load(tmp_path / "model")
    assert other.epsilon == 0.3
    assert [other.take_action(None) for _ in range(9)] == [model.take_action(None) for _ in range(9)]


def test_state_of_the_wrong_size_is_named(learner):
    model = tri.DDQN(4, 2, 100, 0.0, backend=learner, n_frames=2)
    with pytest.raises(ValueError, match=r"state has shape \(4,\); expected 8 elements"):
        model.take_action(np.zeros(4))
