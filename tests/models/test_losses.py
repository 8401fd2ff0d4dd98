"""Every loss against values worked out by hand or by a slow loop, in every array namespace."""

import numpy as np
import pytest

import trifolium as tri
from trifolium.models import layers, losses, networks
from trifolium.models.layers import Convolution
from trifolium.models.torso import Input, Torso


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


def test_rows_that_are_not_valid_weigh_nothing(backend, put):
    args = put([[1.0], [100.0], [3.0]]), put([[1.0], [0.0], [1.0]]), put([[1.0], [1.0], [0.5]])
    assert float(losses.weighted_mean(backend.xp, *args)) == (1.0 + 1.5) / 2


def test_mean_over_no_valid_row_is_zero(backend, put):
    nothing = put([[0.0], [0.0]])
    assert float(losses.weighted_mean(backend.xp, put([[1.0], [2.0]]), nothing, nothing)) == 0.0


def test_gradient_of_the_loss_against_finite_differences():
    rng = np.random.default_rng(0)
    states, target = rng.normal(size=(6, 3)), rng.normal(size=(6, 1))
    actions, valid = rng.integers(2, size=(6, 1)), np.array([[1.0], [0], [1], [1], [1], [1]])

    def loss_of(xp, params):
        values = network.apply(xp, params, None, states)
        errors = losses.chosen(xp, values, actions) - target
        return losses.weighted_mean(xp, losses.huber(xp, errors, 1.0), valid, np.ones((6, 1))), None

    network = networks.QNetwork(torso((3,), 4), head(dueling=True))
    compare_gradients(loss_of, network.init(rng))


def test_gradient_of_the_quantile_loss_against_finite_differences():
    rng = np.random.default_rng(0)
    states, fractions, target = rng.normal(size=(3, 3)), rng.random((3, 4)), rng.normal(size=(3, 5))

    def loss_of(xp, params):
        quantiles = network.apply(xp, params, None, states, fractions)[:, :, 0]
        return xp.mean(losses.quantile_huber(xp, quantiles, fractions, target, 1.0)), None

    network = networks.ImplicitQuantiles(torso((3,), 4), head(), cosines=6)
    compare_gradients(loss_of, network.init(rng))


@pytest.mark.parametrize("stride", [1, 2])
def test_gradient_through_convolutions_and_noise_against_finite_differences(stride):
    rng = np.random.default_rng(0)
    states = rng.normal(size=(2, 2 * 6 * 5))
    convolutions = (Convolution(3, 3, stride), Convolution(2, 2, 1))

    def loss_of(xp, params):
        return xp.mean(network.apply(xp, params, noise, states) ** 2), None

    network = networks.QNetwork(torso((6, 5), n_frames=2, convolutions=convolutions), head(noisy=True))
    params = network.init(rng)
    noise = layers.draw_noise(rng, (layers.noise_size(params),)).astype(np.float64)
    compare_gradients(loss_of, params)


def torso(obs_shape, *hidden, n_frames=1, convolutions=()):
    return Torso(
        inputs=(Input(n_frames=n_frames, shape=obs_shape, convolutions=convolutions, scale=0.5),),
        hidden=hidden,
        convolve=tri.get_backend("numpy").convolve,
    )


def head(*, dueling=False, noisy=False):
    return networks.Head(hidden=(5,), actions=2, dueling=dueling, noisy=noisy)


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
