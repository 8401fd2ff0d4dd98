"""Schedules."""

import pytest

import trifolium as tri


def test_linear_by_hand():
    schedule = tri.Linear(1.0, 0.5, steps=4)
    assert [schedule(count) for count in (0, 1, 2, 4, 5)] == [1.0, 0.875, 0.75, 0.5, 0.5]
    assert tri.Linear(0.0, 1.0, steps=2)(1) == 0.5


def test_bad_ones_are_named(learner):
    with pytest.raises(ValueError, match="steps=0"):
        tri.Linear(1.0, 0.0, steps=0)
    with pytest.raises(ValueError, match=r"epsilon\(0\)=2"):
        tri.DDQN(4, 2, 100, tri.Linear(2.0, 0.0, 10), backend=learner)
    with pytest.raises(ValueError, match=r"learning_rate\(0\)=-1"):
        tri.DDQN(4, 2, 100, learning_rate=lambda updates: -1, backend=learner)
    model = tri.DDQN(4, 2, 100, lambda actions: 1 + actions, backend=learner)
    model.take_action([0, 0, 0, 0])
    with pytest.raises(ValueError, match="epsilon=2"):
        model.take_action([0, 0, 0, 0])
