"""Tests of a user's own model: what loops, experiments and files expect of it."""

import copy
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trifolium.backend import as_numpy
from trifolium.models import BaseModel
from trifolium.replay.batch import map_tree
from trifolium.replay.rules.steps import part_at
from trifolium.replay.schema import nested

__all__ = ["ModelSuite"]

STEPS, EPISODE = 200, 25  # what is stored before a model learns


class ModelSuite:
    """Tests of a model of your own.

    A subclass overrides :meth:`made`::

        class TestMyModel(ModelSuite):
            def made(self, seed):
                return MyModel(input_size=4, action_space=2, memory_size=1_000, seed=seed)

    The suite fills the memory with random observations. A model that draws random numbers from
    ``self.rng`` alone repeats itself; one that uses a global generator too, such as torch's, seeds it
    in :meth:`made`.
    """

    def made(self, seed: int) -> BaseModel:
        """Return a new model."""
        raise NotImplementedError(f"{type(self).__name__}.made(seed): override it to return a model")

    def test_actions(self) -> None:
        """An action is an int that there is, for states with an axis of frames and without."""
        model = self.made(0)
        for state in states(model, 20):
            check_action(model, model.take_action(state))
            if model.n_frames == 1:  # a loop of one's own passes what the environment returned
                check_action(model, model.take_action(map_tree(lambda part: part[0], state)))

    def test_actions_for_many_states(self) -> None:
        """``take_actions`` returns an integer for each."""
        model = self.made(0)
        several = list(states(model, 5))
        found = model.take_actions(stacked(several))
        assert found.shape == (5,)
        assert np.issubdtype(found.dtype, np.integer)
        for action in found:
            check_action(model, action)

    def test_losses(self) -> None:
        """``train_step`` returns a finite array of the model's backend, of shape () or (k,)."""
        model = self.made(0)
        fill(model)
        for _ in range(3):
            loss = model.train_step()
            assert model.backend.is_array(loss)
            assert loss.ndim <= 1
            assert np.isfinite(as_numpy(loss)).all(), f"train_step returned {loss}"

    def test_one_seed_gives_one_run(self) -> None:
        """Two models of one seed act and learn alike."""
        one, other = run_of(self.made(0)), run_of(self.made(0))
        assert one[0] == other[0], "the actions differ"
        np.testing.assert_allclose(one[1], other[1], rtol=1e-4, err_msg="the losses differ")

    def test_files_restore_it(self, tmp_path: Path) -> None:
        """A model of another seed that loads the file acts, and has the next loss, as the saved one."""
        model, loaded = self.made(0), self.made(1)
        run_of(model)
        model.save(tmp_path / "model", memory=True)
        loaded.load(tmp_path / "model")
        check_same(model, loaded)

    def test_copies_do_the_same(self) -> None:
        """``copy.deepcopy`` gives a model that goes on as this one, and neither changes the other."""
        model = self.made(0)
        run_of(model)
        check_same(copy.deepcopy(model), model)

    def test_hooks(self) -> None:
        """The hooks of an epoch take keywords; a new epoch ends an episode that is open."""
        model = self.made(0)
        memory = model.memory
        model.end_epoch_action(epoch=1)
        model.start_epoch_action(epoch=2)
        model.reset()
        if memory.n_streams > 1:
            return
        for obs in observations(model, memory.n_frames + 1):
            memory.add(obs, model.take_action(state_of(model, obs)), 1.0, False)
        model.start_epoch_action(epoch=3)
        memory.add(next(observations(model, 1)), 0, 1.0, False)
        assert not as_numpy(memory.fetch([memory.n_frames]).valid).any(), (
            "a window joins two epochs; start_epoch_action must call that of super()"
        )

    def test_epsilon(self) -> None:
        """Epsilon can be set, and is 0 within ``greedy``, where the model still acts."""
        model = self.made(0)
        model.set_epsilon(0.25)
        with model.greedy():
            assert model.epsilon == 0.0
            check_action(model, model.take_action(next(states(model, 1))))
        assert model.epsilon == 0.25


def check_action(model: BaseModel, action: Any) -> None:
    """Raise AssertionError if ``action`` is not the number of an action."""
    assert 0 <= operator.index(action) < model.action_space, f"take_action returned {action!r}"


def check_same(one: BaseModel, other: BaseModel) -> None:
    """Raise AssertionError unless both have the same state, act alike, and have the same next loss."""
    found, expected = one.state(), other.state()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=f"state()[{name!r}]")
    acts = [[int(model.take_action(state)) for state in states(model, 20)] for model in (one, other)]
    assert acts[0] == acts[1], "the actions differ; state() and restore() lack something"
    losses = [as_numpy(model.train_step()) for model in (one, other)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4, err_msg="the losses differ")


def run_of(model: BaseModel) -> tuple[list[int], list[Any]]:
    """Return the actions and losses of a model that fills its memory and learns a few times."""
    actions = fill(model)
    return actions, [as_numpy(model.train_step()) for _ in range(3)]


def fill(model: BaseModel) -> list[int]:
    """Let a model act in random observations; return its actions."""
    actions, rng = [], np.random.default_rng(1)
    for step, obs in enumerate(observations(model, STEPS)):
        action = int(model.take_action(state_of(model, obs)))
        extras = {name: np.zeros(shape, dtype) for name, shape, dtype in model.memory.spec.extras}
        over = step % EPISODE == EPISODE - 1
        model.memory.add(obs, action, rng.normal(), over, stream=0, **extras)
        actions.append(action)
    return actions


def observations(model: BaseModel, count: int) -> Iterator[Any]:
    """Yield random observations of the model's memory; every action is legal."""
    rng, leaves = np.random.default_rng(0), model.memory.spec.leaves
    for _ in range(count):
        parts = [
            rng.normal(size=leaf.shape).astype(leaf.dtype)
            if np.issubdtype(leaf.dtype, np.floating)
            else rng.integers(0, 2 if leaf.dtype == "bool" else 100, leaf.shape).astype(leaf.dtype)
            for leaf in leaves
        ]
        obs = nested(leaves, parts)
        if model.mask is not None:
            part_at("obs", obs, model.mask.leaf.path)[...] = 1
        yield obs


def states(model: BaseModel, count: int) -> Iterator[Any]:
    """Yield states that begin an episode: [n_frames, *input_size], or mappings of such."""
    leaves = model.memory.spec.leaves
    for obs in observations(model, count):
        parts = []
        for leaf in leaves:
            state = np.zeros((leaf.n_frames, *leaf.shape), leaf.dtype)
            state[-1] = part_at("obs", obs, leaf.path)
            parts.append(state)
        yield nested(leaves, parts)


def state_of(model: BaseModel, obs: Any) -> Any:
    """Return the frames in the model's memory with ``obs`` after them."""
    leaves, before = model.memory.spec.leaves, model.memory.current_state()
    parts = [
        np.concatenate(
            [as_numpy(part_at("state", before, leaf.path)), part_at("obs", obs, leaf.path)[None]]
        )
        for leaf in leaves
    ]
    return nested(leaves, parts)


def stacked(states: list[Any]) -> Any:
    """Return states as one array [N, ...], or as a mapping of such arrays."""
    if isinstance(states[0], dict):
        return {name: stacked([state[name] for state in states]) for name in states[0]}
    return np.stack(states)
