"""The options of a run, and the TOML file that may hold them."""

import pytest

import trifolium as tri
from trifolium.experiment import TrainOptions
from trifolium.experiment.config import read_config


def test_epsilon_falls_while_exploring():
    options = TrainOptions(env="x", steps=100, exploration=0.5, epsilon_end=0.1)
    assert [options.epsilon(step) for step in (0, 25, 50, 99)] == pytest.approx([1.0, 0.55, 0.1, 0.1])
    at_once = TrainOptions(env="x", exploration=0.0)
    assert at_once.epsilon(0) == at_once.epsilon_end
    assert TrainOptions(env="x", epsilon_start=None).epsilon(0) is None


@pytest.mark.parametrize("width", [1, 3, 4, 7])
@pytest.mark.parametrize(
    ("starts", "every", "updates"), [(0, 1, 1), (10, 4, 1), (7, 3, 2), (100, 1, 1)]
)
def test_updates_are_as_many_as_the_steps_ask_for(width, starts, every, updates):
    options = TrainOptions(
        env="x", learning_starts=starts, train_every=every, updates_per_train=updates
    )
    steps = range(0, 42, width)
    made = [options.updates_between(step, step + width) for step in steps]
    for step, count in zip(steps, made, strict=True):
        rounds = [s for s in range(step + 1, step + width + 1) if s > starts and s % every == 0]
        assert count == updates * len(rounds)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 1.5),
        ("turns", 0),
        ("n_envs", 0),
        ("model", "dqqn"),
        ("gamma", 1.1),
        ("learning_rate", -1.0),
        ("max_grad_norm", 0.0),
        ("hidden", (0,)),
        ("seed", -1),
        ("eval_episodes", 0),
        ("eval_every", 0),
        ("checkpoint_every", "often"),
        ("epsilon_start", 2.0),
        ("tensorboard", 1),
        ("backend", 3),
    ],
)
def test_bad_options_are_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        TrainOptions(**({"env": "CartPole-v1"} | {name: value}))


def test_options_survive_their_file(tmp_path):
    options = TrainOptions(env="CartPole-v1", hidden=(8, 4), device="cpu", checkpoint_every=None)
    options.save(tmp_path / "config.json")
    assert TrainOptions.load(tmp_path / "config.json") == options


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"env": "x", "stepz": 3}', '{"env": "x", "steps": 0}']
)
def test_bad_options_file_is_a_checkpoint_error(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(tri.CheckpointError, match=r"config\.json"):
        TrainOptions.load(tmp_path / "config.json")


def test_a_toml_file_says_the_same_as_python(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        'env = "CartPole-v1"\nout = "runs/x"\nhidden = [8, 4]\nlearning-rate = 1e-2\n'
        'checkpoint_every = "none"\ndueling = true\n'
    )
    found = read_config(file)
    assert found.pop("out") == "runs/x"
    assert TrainOptions(**found) == TrainOptions(
        env="CartPole-v1", hidden=(8, 4), learning_rate=1e-2, checkpoint_every=None, dueling=True
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"steps = ", "no TOML"),
        (b"\xff\xfe", "no TOML"),
        (b"lerning_rate = 1.0", "'lerning_rate'; did you mean 'learning_rate'?"),
        (b"frobnicate = 1", "unknown key 'frobnicate'$"),
        (b"[train]\nsteps = 3", "'train'"),
    ],
)
def test_bad_toml_is_named(tmp_path, content, message):
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_config(file)
    assert str(file) in str(caught.value)


def test_missing_toml_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.toml"):
        read_config(tmp_path / "nowhere.toml")
