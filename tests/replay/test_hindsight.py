"""Hindsight: goals and rewards against the truth, and how goals are drawn."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

import trifolium as tri
from trifolium.replay.rules import assemble

from .planting import Plant, changed

SHAPE = {"observation": (2,), "achieved_goal": (1,), "desired_goal": (1,)}
WANTED = -7.0


def reached(achieved: np.ndarray, desired: np.ndarray, info: dict[str, np.ndarray]) -> np.ndarray:
    assert info["tag"].shape == (len(achieved),)
    return (achieved == desired).all(axis=1).astype(np.float32)


def filled(backend: tri.Backend, lengths: list[int], end: str, **options: Any) -> tri.Buffer:
    """Return a buffer of episodes whose observations and goals are numbers that no two rows share."""
    sampler = tri.Hindsight(reached, **options.pop("hindsight", {}))
    options = {"seed": 0, "extras": {"tag": "int32"}, "backend": backend, "sampler": sampler} | options
    buffer = tri.Buffer(400, SHAPE, **options)
    for episode, length in enumerate(lengths):
        for step in range(length):
            last = step == length - 1
            buffer.add(
                seen(episode, step),
                0,
                -1.0,
                last and end == "done",
                truncated=last and end == "truncated",
                next_obs=seen(episode, step + 1),
                tag=episode,
            )
    return buffer


def seen(episode: int, step: int) -> dict[str, list[float]]:
    at = 100.0 * episode + step
    return {"observation": [at, 0.0], "achieved_goal": [at + 0.5], "desired_goal": [WANTED]}


@pytest.mark.parametrize("end", ["done", "truncated"])
@pytest.mark.parametrize("options", [{}, {"n_frames": 3, "boundary": "pad"}, {"n_frames": 2}], ids=repr)
def test_goals_are_reached_later_in_the_episode(
    backend: tri.Backend, end: str, options: dict[str, Any]
) -> None:
    lengths = [7, 1, 12, 5]
    buffer = filled(backend, lengths, end, **options)
    rewards = Counter[float]()
    for _ in range(20):
        batch = buffer.sample(10, flatten=False)
        states, after = (
            {name: backend.to_numpy(part)[:, -1] for name, part in tree.items()}
            for tree in (batch.states, batch.next_states)
        )
        done, reward = backend.to_numpy(batch.dones)[:, 0], backend.to_numpy(batch.rewards)[:, 0]
        assert backend.to_numpy(batch.valid).all()
        goals = states["desired_goal"][:, 0]
        given = goals != WANTED
        assert given.sum() >= 8 - (done.sum() if end == "done" else 0)
        for row in np.flatnonzero(given):
            episode, step = divmod(states["observation"][row, 0], 100)
            goal_episode, goal_step = divmod(goals[row] - 0.5, 100)
            last = lengths[int(episode)] - (end == "done")
            assert goal_episode == episode
            assert step < goal_step <= last
            assert after["desired_goal"][row, 0] == goals[row]
            assert reward[row] == float(goal_step == step + 1)
            rewards[float(reward[row])] += 1
        assert np.all(reward[~given] == -1.0)
    assert len(rewards) == 2


def test_goals_of_the_future_are_equally_likely(backend: tri.Backend) -> None:
    buffer = filled(backend, [6], "truncated", hindsight={"ratio": 1.0})
    counts = Counter[float]()
    for _ in range(400):
        batch = buffer.sample(6)
        at = backend.to_numpy(batch.states["observation"])[:, 0]
        goals = backend.to_numpy(batch.states["desired_goal"])[:, 0]
        counts.update(goals[at == 0].tolist())
    assert sorted(counts) == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    expected = 400 / 6
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 25.7  # 5 degrees


def test_episodes_that_go_on_and_rings_that_wrap(backend: tri.Backend) -> None:
    buffer = filled(backend, [9] * 60, "truncated")
    buffer.add(seen(70, 0), 0, -1.0, False, tag=70)
    buffer.add(seen(70, 1), 0, -1.0, False, tag=70)
    for _ in range(30):
        batch = buffer.sample(30)
        at = backend.to_numpy(batch.states["observation"])[:, 0]
        goals = backend.to_numpy(batch.states["desired_goal"])[:, 0]
        given = goals != WANTED
        assert np.all(at[given] // 100 == (goals[given] - 0.5) // 100)
        assert np.all(goals[given] - 0.5 > at[given])


def test_one_seed_gives_the_same_goals(backend: tri.Backend) -> None:
    ours, theirs = (filled(each, [7, 9], "truncated") for each in (backend, tri.get_backend("numpy")))
    found = backend.to_numpy(ours.sample(8).states["desired_goal"])
    assert np.array_equal(found, theirs.sample(8).states["desired_goal"])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"reward": 1.0}, TypeError, "reward=1.0 is a float"),
        ({"ratio": 1.5}, ValueError, "ratio=1.5"),
        ({"strategy": "final"}, ValueError, "strategy='final'; expected 'future'"),
    ],
    ids=repr,
)
def test_bad_options(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        tri.Hindsight(**({"reward": reached} | options))


def test_other_buffers_are_refused(backend: tri.Backend) -> None:
    with pytest.raises(ValueError, match="lacks observation, achieved_goal, desired_goal"):
        tri.Buffer(8, (2,), backend=backend, sampler=tri.Hindsight(reached))
    with pytest.raises(ValueError, match=r"n_step=3 .*expected n_step=1"):
        tri.Buffer(8, SHAPE, backend=backend, n_step=3, sampler=tri.Hindsight(reached))
    wrong = SHAPE | {"desired_goal": (2,)}
    with pytest.raises(ValueError, match="expected two arrays of the same shape"):
        tri.Buffer(8, wrong, backend=backend, sampler=tri.Hindsight(reached))


def goals_of_the_next_episode(original: Any, self: Any, ring: Any, streams: Any, serials: Any) -> Any:
    return np.minimum(original(self, ring, streams, serials) + 3, ring.written[streams] - 1)


def rewards_as_stored(original: Any, self: Any, store: Any, rng: Any, plan: Any, *rows: Any) -> Any:
    scalars = plan.scalars.copy()
    return original(self, store, rng, plan, *rows)._replace(scalars=scalars)


def goals_one_row_early(original: Any, self: Any, *drawn: Any) -> Any:
    plan = original(self, *drawn)
    given, goals = plan.goals
    return plan._replace(goals=(given, np.maximum(goals - 1, 0)))


def goals_of_states_alone(original: Any, *gathered: Any) -> Any:
    return tuple(
        np.concatenate([new[: len(new) // 2], old[len(old) // 2 :]])
        for new, old in zip(original(*gathered), gathered[-1], strict=True)
    )


PLANTED: dict[str, Plant] = {
    "goals are reached in another episode": changed(
        tri.Hindsight, "_last_observations", goals_of_the_next_episode
    ),
    "rewards are those of the stored goals": changed(tri.Hindsight, "relabel", rewards_as_stored),
    "goals are those of a row before": changed(tri.Hindsight, "relabel", goals_one_row_early),
    "next states keep the stored goals": changed(assemble, "_with_goals", goals_of_states_alone),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_a_planted_bug_is_noticed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        test_goals_are_reached_later_in_the_episode(tri.get_backend("numpy"), "truncated", {})
