"""Every loss against values worked out by hand or by a slow loop, in every array namespace."""

import numpy as np
import pytest

import trifolium as tri
from trifolium.models import losses, networks


@pytest.fixture
def put(backend):
    def put(values, dtype="float32"):
        return backend.from_numpy(np.array(values, dtype))

    return put


def test_chosen_takes_the_value_of_each_action(backend, put):
    values = put([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    found = losses.chosen(backend.xp, values, put([[2], [0]], backend.default_int))
    assert backend.to_numpy(found).tolist() == [[3.0], [4.0]]


def test_double_q_target_by_hand(backend, put):
    # the selector prefers actions 1 and 0; the other network rates them 10 and 30
    found = losses.double_q_target(
        backend.xp,
        put([[1.0], [2.0]]),
        put([[0.5], [0.0]]),
        put([[0.0, 7.0], [9.0, 8.0]]),
        put([[99.0, 10.0], [30.0, 99.0]]),
    )
    assert backend.to_numpy(found).tolist() == [[1.0 + 0.5 * 10.0], [2.0]]


@pytest.mark.parametrize(
    ("error", "expected"), [(0.0, 0.0), (0.5, 0.125), (-1.0, 0.5), (2.0, 1.5), (-3.0, 2.5)]
)
def test_huber_by_hand(backend, put, error, expected):
    found = losses.huber(backend.xp, put([[error]]), 1.0)
    assert backend.to_numpy(found).tolist() == [[expected]]


def test_huber_with_another_delta(backend, put):
    found = losses.huber(backend.xp, put([[0.2], [4.0]]), 0.5)
    np.testing.assert_allclose(backend.to_numpy(found), [[0.02], [0.5 * (4.0 - 0.25)]], rtol=1e-6)


def test_quantile_huber_against_loops(backend, put):
    rng = np.random.default_rng(0)
    quantiles, target = rng.normal(size=(3, 4)) * 2, rng.normal(size=(3, 5)) * 2
    fractions, kappa = rng.random((3, 4)), 0.7
    expected = []
    for row in range(3):
        total = 0.0
        for i in range(4):
            for j in range(5):
                error = target[row, j] - quantiles[row, i]
                size = abs(error)
                loss = 0.5 * size**2 if size <= kappa else kappa * (size - 0.5 * kappa)
                total += abs(fractions[row, i] - (error < 0)) * loss / kappa / 5
        expected.append([total])
    args = put(quantiles), put(fractions), put(target)
    found = losses.quantile_huber(backend.xp, *args, kappa)
    np.testing.assert_allclose(backend.to_numpy(found), expected, rtol=1e-5)


def test_dueling_by_hand(backend, put):
    # one hidden unit that passes a positive input on; V = 2x + 1, A = (x, 3x)
    params = {
        "value.0.weight": [[1.0]],
        "value.0.bias": [0.0],
        "value.1.weight": [[2.0]],
        "value.1.bias": [1.0],
        "advantage.0.weight": [[1.0]],
        "advantage.0.bias": [0.0],
        "advantage.1.weight": [[1.0, 3.0]],
        "advantage.1.bias": [0.0, 0.0],
    }
    native = {name: put(value) for name, value in params.items()}
    found = networks.dueling(backend.xp, native, put([[2.0]]))
    assert backend.to_numpy(found).tolist() == [[5.0 + 2.0 - 4.0, 5.0 + 6.0 - 4.0]]


def test_implicit_quantiles_against_loops(backend, put):
    rng = np.random.default_rng(0)
    params = networks.init_implicit_quantiles(rng, 3, (4, 5), 2, cosines=6)
    states = rng.normal(size=(2, 3)).astype(np.float32)
    fractions = rng.random((2, 7)).astype(np.float32)
    native = {name: put(value) for name, value in params.items()}
    found = backend.to_numpy(
        networks.implicit_quantiles(backend.xp, native, put(states), put(fractions))
    )
    assert found.shape == (2, 7, 2)

    def layer(name, inputs):
        return inputs @ params[f"{name}.weight"] + params[f"{name}.bias"]

    for row in range(2):
        torso = np.maximum(layer("torso.0", states[row]), 0)
        for at, tau in enumerate(fractions[row]):
            cosines = np.array([np.cos(np.pi * i * tau) for i in range(6)])
            phi = np.maximum(layer("embedding.0", cosines), 0)
            expected = layer("head.1", np.maximum(layer("head.0", torso * phi), 0))
            np.testing.assert_allclose(found[row, at], expected, rtol=1e-4, atol=1e-6)


def test_rows_that_are_not_valid_weigh_nothing(backend, put):
    args = put([[1.0], [100.0], [3.0]]), put([[1.0], [0.0], [1.0]]), put([[1.0], [1.0], [0.5]])
    assert float(losses.weighted_mean(backend.xp, *args)) == (1.0 + 1.5) / 2


def test_mean_over_no_valid_row_is_zero(backend, put):
    nothing = put([[0.0], [0.0]])
    assert float(losses.weighted_mean(backend.xp, put([[1.0], [2.0]]), nothing, nothing)) == 0.0


def test_mlp_against_loops(backend):
    params = networks.init_mlp(np.random.default_rng(0), [3, 4, 2])
    inputs = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    native = {name: backend.from_numpy(value.copy()) for name, value in params.items()}
    found = backend.to_numpy(networks.mlp(backend.xp, native, backend.from_numpy(inputs.copy())))
    for row, outputs in zip(inputs, found, strict=True):
        hidden = [
            max(0.0, sum(row[i] * params["0.weight"][i, j] for i in range(3)) + params["0.bias"][j])
            for j in range(4)
        ]
        expected = [
            sum(hidden[i] * params["1.weight"][i, j] for i in range(4)) + params["1.bias"][j]
            for j in range(2)
        ]
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_gradient_of_the_loss_against_finite_differences():
    rng = np.random.default_rng(0)
    states, target = rng.normal(size=(6, 3)), rng.normal(size=(6, 1))
    actions, valid = rng.integers(2, size=(6, 1)), np.array([[1.0], [0], [1], [1], [1], [1]])

    def loss_of(xp, params):
        errors = losses.chosen(xp, networks.dueling(xp, params, states), actions) - target
        return losses.weighted_mean(xp, losses.huber(xp, errors, 1.0), valid, np.ones((6, 1))), None

    compare_gradients(loss_of, networks.init_dueling(rng, 3, (4, 5), 2))


def test_gradient_of_the_quantile_loss_against_finite_differences():
    rng = np.random.default_rng(0)
    states, fractions, target = rng.normal(size=(3, 3)), rng.random((3, 4)), rng.normal(size=(3, 5))

    def loss_of(xp, params):
        quantiles = networks.implicit_quantiles(xp, params, states, fractions)[:, :, 0]
        return xp.mean(losses.quantile_huber(xp, quantiles, fractions, target, 1.0)), None

    compare_gradients(loss_of, networks.init_implicit_quantiles(rng, 3, (4, 5), 2, cosines=6))


def compare_gradients(loss_of, params):
    params = {name: value.astype(np.float64) for name, value in params.items()}
    _, _, grads = tri.get_backend("numpy").value_and_grad(loss_of)(params)
    for name, value in params.items():
        for index in np.ndindex(value.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = {key: array.copy() for key, array in params.items()}
                moved[name][index] += step
                ends.append(loss_of(np, moved)[0])
            assert grads[name][index] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-8)
