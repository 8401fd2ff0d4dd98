"""Layers and networks against slow loops, in every array namespace."""

import numpy as np
import pytest

import trifolium as tri
from trifolium.models import design, layers, networks
from trifolium.models.layers import Convolution
from trifolium.models.torso import Input, Torso


def native(backend, params):
    return {name: backend.from_numpy(np.array(value, np.float32)) for name, value in params.items()}


def torso(backend, obs_shape, hidden=(), convolutions=(), n_frames=1, scale=1.0):
    seen = Input(n_frames=n_frames, shape=obs_shape, convolutions=convolutions, scale=scale)
    return Torso(
        inputs=(seen,),
        hidden=hidden,
        convolve=getattr(backend, "convolve", None),  # a backend without gradients has none
    )


def head(hidden=(), actions=2, dueling=False, noisy=False):
    return networks.Head(hidden=hidden, actions=actions, dueling=dueling, noisy=noisy)


def dense(params, name, inputs):
    return inputs @ params[f"{name}.weight"] + params[f"{name}.bias"]


def rectified(values):
    return np.maximum(values, 0)


def test_mlp_against_loops(backend):
    params = layers.init_mlp(np.random.default_rng(0), [3, 4, 2])
    inputs = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    run = layers.mlp(backend.xp, native(backend, params), backend.from_numpy(inputs.copy()))
    for row, outputs in zip(inputs, backend.to_numpy(run), strict=True):
        hidden = [
            max(0.0, sum(row[i] * params["0.weight"][i, j] for i in range(3)) + params["0.bias"][j])
            for j in range(4)
        ]
        expected = [
            sum(hidden[i] * params["1.weight"][i, j] for i in range(4)) + params["1.bias"][j]
            for j in range(2)
        ]
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_mlp_without_layers_is_its_input(backend):
    inputs = backend.zeros((2, 3), "float32")
    assert layers.mlp(backend.xp, {}, inputs, "torso", rectify_last=True) is inputs


def test_dueling_by_hand(backend):
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
    features = backend.from_numpy(np.array([[2.0]], np.float32))
    found = head((1,), dueling=True).apply(backend.xp, native(backend, params), features)
    assert backend.to_numpy(found).tolist() == [[5.0 + 2.0 - 4.0, 5.0 + 6.0 - 4.0]]


def test_implicit_quantiles_against_loops(backend):
    rng = np.random.default_rng(0)
    network = networks.ImplicitQuantiles(torso(backend, (3,), (4,)), head((5,)), cosines=6)
    params = network.init(rng)
    states = rng.normal(size=(2, 3)).astype(np.float32)
    fractions = rng.random((2, 7)).astype(np.float32)
    inputs = map(backend.from_numpy, (states.copy(), fractions.copy()))
    found = backend.to_numpy(network.apply(backend.xp, native(backend, params), None, *inputs))
    assert found.shape == (2, 7, 2)
    for row in range(2):
        features = rectified(dense(params, "torso.0", states[row]))
        for at, tau in enumerate(fractions[row]):
            cosines = np.array([np.cos(np.pi * i * tau) for i in range(6)])
            phi = rectified(dense(params, "embedding.0", cosines))
            expected = dense(params, "head.1", rectified(dense(params, "head.0", features * phi)))
            np.testing.assert_allclose(found[row, at], expected, rtol=1e-4, atol=1e-6)


def test_noisy_layers_against_loops(backend):
    rng = np.random.default_rng(0)
    params = layers.init_noise(layers.init_mlp(rng, [3, 2], "head"), sigma=0.5)
    assert np.allclose(params["head.0.weight_noise"], 0.5 / np.sqrt(3))
    assert np.allclose(params["head.0.bias_noise"], 0.5 / np.sqrt(3))
    params["head.0.weight_noise"] = rng.random((3, 2), np.float32)  # learned since
    assert layers.noise_size(params) == 3 + 2
    noise = layers.draw_noise(rng, (5,))
    mixed = layers.with_noise(native(backend, params), backend.from_numpy(noise.copy()))
    weight, bias = (backend.to_numpy(mixed[f"head.0.{part}"]) for part in ("weight", "bias"))
    for j in range(2):
        for i in range(3):
            sigma = params["head.0.weight_noise"][i, j]
            expected = params["head.0.weight"][i, j] + sigma * noise[i] * noise[3 + j]
            assert weight[i, j] == pytest.approx(expected, rel=1e-5)
        expected = params["head.0.bias"][j] + params["head.0.bias_noise"][j] * noise[3 + j]
        assert bias[j] == pytest.approx(expected, rel=1e-5)


def test_noise_is_the_signed_root_of_a_normal():
    drawn = layers.draw_noise(np.random.default_rng(0), (100_000,))
    normal = np.sign(drawn) * drawn**2
    assert drawn.dtype == np.float32
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02


def test_noise_differs_between_layers_and_spares_the_torso(learner):
    model = tri.DDQN(4, 2, 100, hidden=(8, 8), noisy=True, dueling=True, backend=learner, seed=0)
    noisy = {name for name in model.state() if name.endswith("_noise")}
    assert noisy
    assert not any("torso" in name for name in noisy)


class TestConvolutions:
    @pytest.mark.parametrize("n_frames", [1, 3])
    @pytest.mark.parametrize("shape", [(7, 6), (7, 6, 2)])
    def test_against_loops(self, learner, n_frames, shape):
        rng = np.random.default_rng(0)
        stack = (Convolution(4, 3, 2), Convolution(3, 2, 1))
        seen = torso(learner, shape, (5,), stack, n_frames, scale=0.5)
        params = seen.init(rng)
        states = rng.normal(size=(2, n_frames, *shape)).astype(np.float32)
        flat = learner.from_numpy(states.reshape(2, -1).copy())
        found = learner.to_numpy(seen.apply(learner.xp, native(learner, params), flat))
        assert found.shape == (2, 5)
        for row in range(2):
            # channels are the frames, oldest first, and the channels of each
            frames = states[row] if len(shape) == 3 else states[row, ..., None]
            image = np.concatenate(list(frames), axis=-1) * 0.5
            for number, layer in enumerate(stack):
                image = self.convolved(image, params, f"convolution.{number}", layer)
            expected = rectified(dense(params, "torso.0", image.reshape(-1)))
            np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)

    @staticmethod
    def convolved(image, params, name, layer):
        weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
        size = [(extent - layer.kernel) // layer.stride + 1 for extent in image.shape[:2]]
        out = np.zeros((*size, layer.channels))
        for y, x, channel in np.ndindex(out.shape):
            total = bias[channel]
            for i, j, k in np.ndindex(weight.shape[:3]):
                total += image[y * layer.stride + i, x * layer.stride + j, k] * weight[i, j, k, channel]
            out[y, x, channel] = max(total, 0)
        return out

    def test_presets(self, backend):
        nature = torso(backend, (84, 84), (), design.PRESETS["nature"], 4)
        assert nature.size == 7 * 7 * 64
        minatar = torso(backend, (10, 10, 4), (128,), design.PRESETS["minatar"])
        assert {
            name: value.shape for name, value in minatar.init(np.random.default_rng(0)).items()
        } == {
            "convolution.0.weight": (3, 3, 4, 16),
            "convolution.0.bias": (16,),
            "torso.0.weight": (1024, 128),
            "torso.0.bias": (128,),
        }

    @pytest.mark.parametrize(
        ("value", "shape", "parts"),
        [
            ("atari", (84, 84), ["'atari'", "nature, minatar"]),
            ("nature", (4,), ["[height, width]", "(4,)"]),
            ("nature", (10, 10), ["leave nothing", "(10, 10)"]),
            ([(16, 3)], (10, 10), ["convolutions[0]", "(channels, kernel, stride)"]),
            ([(16, 0, 1)], (10, 10), ["convolutions[0]", "0", "at least 1"]),
        ],
    )
    def test_bad_ones_are_named(self, learner, value, shape, parts):
        with pytest.raises(ValueError, match="convolutions") as caught:
            tri.DDQN(shape, 2, 100, convolutions=value, backend=learner)
        for part in parts:
            assert part in str(caught.value)
