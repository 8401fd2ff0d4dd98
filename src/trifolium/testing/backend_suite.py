"""Tests of the promises of a Backend."""

import copy
import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest

from trifolium.backend import (
    AnyArray,
    Backend,
    Differentiable,
    Optimizer,
    Params,
    get_backend,
    is_differentiable,
)
from trifolium.errors import BackendError
from trifolium.models import optimizers
from trifolium.testing.calculus import (
    PlainAdam,
    convolution,
    example_loss,
    example_network,
    finite_differences,
    noise,
)

__all__ = ["BackendSuite", "DifferentiableSuite"]

ALWAYS = ("bool", "uint8", "int32", "float32")
WIDE = ("int64", "float64")
OPTIONAL = ("int8", "int16", "uint16", "uint32", "uint64", "float16", "complex64", "complex128")


class Pair(NamedTuple):
    """Arguments of a compiled function may be such tuples, with gaps."""

    left: AnyArray
    right: AnyArray | None


class BackendSuite:
    """Tests of a :class:`trifolium.Backend`; they take it from a fixture named ``backend``."""

    def test_follows_the_protocol(self, backend: Backend) -> None:
        """It has every attribute, and is accepted where a backend is asked for."""
        assert isinstance(backend, Backend)
        assert backend.name
        assert backend.version
        assert get_backend(backend) is backend
        assert get_backend(backend, device=backend.device) is backend

    @pytest.mark.parametrize("name", ALWAYS)
    def test_needed_dtypes_are_kept(self, backend: Backend, name: str) -> None:
        """Every backend has these."""
        _check_dtype(backend, name)

    @pytest.mark.parametrize("name", WIDE)
    def test_wide_dtypes_are_as_declared(self, backend: Backend, name: str) -> None:
        """``capabilities.float64`` tells whether 64 bits are kept or refused."""
        check = _check_dtype if backend.capabilities.float64 else _check_refused
        check(backend, name)

    @pytest.mark.parametrize("name", OPTIONAL)
    def test_other_dtypes_are_kept_or_refused(self, backend: Backend, name: str) -> None:
        """Whatever ``dtype`` accepts is allocated, converted, written and read without change."""
        check = _check_dtype if _has_dtype(backend, name) else _check_refused
        check(backend, name)

    def test_default_int_is_a_dtype(self, backend: Backend) -> None:
        """Actions can be stored as the backend proposes."""
        assert backend.default_int in ("int32", "int64")
        _check_dtype(backend, backend.default_int)

    def test_unknown_dtype_is_named(self, backend: Backend) -> None:
        """A dtype that there is not is a BackendError that repeats its name."""
        _check_refused(backend, "float33")

    @pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
    def test_zeros_have_the_shape(self, backend: Backend, shape: tuple[int, ...]) -> None:
        """Any rank, also with no elements."""
        zeros = backend.zeros(shape, "float32")
        assert tuple(zeros.shape) == shape
        assert not backend.to_numpy(zeros).any()

    @pytest.mark.parametrize(
        "host",
        [
            np.arange(12, dtype=np.float32).reshape(3, 4).T,
            np.arange(6, dtype=np.float32)[::-1],
            np.arange(1, dtype=np.float32)[::-1],
            np.arange(6, dtype=np.float32)[::2],
            np.broadcast_to(np.float32(3), (2, 2)),
            np.zeros((0, 2), np.float32),
            np.array(3, np.float32),
        ],
        ids=["transposed", "reversed", "reversed one", "strided", "read-only", "empty", "0-d"],
    )
    def test_host_arrays_may_lie_anyhow(self, backend: Backend, host: np.ndarray) -> None:
        """``from_numpy`` takes any strides, and memory that can't be written."""
        expected = host.copy()
        _same(backend.to_numpy(backend.from_numpy(host)), expected)

    def test_host_copies_are_copies(self, backend: Backend) -> None:
        """Writing to what ``to_numpy`` returned does not reach the array."""
        array = backend.zeros((3,), "float32")
        backend.to_numpy(array)[:] = 1
        assert backend.to_numpy(array).tolist() == [0, 0, 0]

    @pytest.mark.parametrize("rows", [[], [2], [4, 0, 0, 3]])
    def test_take_gathers_rows(self, backend: Backend, rows: list[int]) -> None:
        """Rows in any order, repeated or none at all."""
        host = np.arange(30, dtype=np.float32).reshape(5, 3, 2)
        index = backend.from_numpy(np.array(rows, backend.default_int))
        _same(backend.to_numpy(backend.take(backend.from_numpy(host.copy()), index)), host[rows])

    def test_taken_rows_are_copies(self, backend: Backend) -> None:
        """Writing to a row does not change what was taken from it before."""
        row = backend.from_numpy(np.array([1], backend.default_int))
        array = backend.zeros((2, 3), "float32")
        taken = backend.take(array, row)
        backend.put(array, row, backend.from_numpy(np.ones((1, 3), np.float32)))
        assert backend.to_numpy(taken).tolist() == [[0, 0, 0]]

    @pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float32"])
    @pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
    @pytest.mark.parametrize("masked", [False, True])
    @pytest.mark.parametrize("count", [0, 1, 2, 16])
    def test_put_touches_nothing_else(
        self, backend: Backend, dtype: str, shape: tuple[int, ...], masked: bool, count: int
    ) -> None:
        """Only the rows given change, and of those only the ones that ``where`` lets."""
        rng = np.random.default_rng(count)
        expected = rng.integers(0, 2, (16, *shape)).astype(dtype)
        rows, values = rng.permutation(16)[:count], rng.integers(0, 2, (count, *shape)).astype(dtype)
        where = rng.random(count) < 0.5 if masked else np.ones(count, bool)
        array = backend.from_numpy(expected.copy())
        expected[rows[where]] = values[where]
        given = (rows.astype(backend.default_int), values, where)
        native = [backend.from_numpy(each.copy()) for each in given]
        found = backend.compile(backend.put)(array, *native[: 3 if masked else 2])
        _same(backend.to_numpy(found), expected)

    def test_put_may_name_a_row_twice(self, backend: Backend) -> None:
        """Any of the values given is written, as a whole."""
        rows, values = np.array([2, 2, 2], backend.default_int), np.array([[1, 1], [2, 2], [3, 3]])
        found = backend.put(
            backend.zeros((4, 2), "int32"),
            backend.from_numpy(rows),
            backend.from_numpy(values.astype(np.int32)),
        )
        host = backend.to_numpy(found).tolist()
        assert host.pop(2) in values.tolist()
        assert host == [[0, 0]] * 3

    def test_compiled_functions_take_host_arrays(self, backend: Backend) -> None:
        """Host arrays, also in tuples with gaps, reach a compiled function on the device."""

        def summed(first: AnyArray, pair: Pair, nested: tuple[Pair, None]) -> AnyArray:
            assert type(pair) is Pair
            assert pair.right is None
            assert nested[1] is None
            return first + 2 * pair.left + nested[0].left * nested[0].right

        one, two, three = (np.full(4, value, np.float32) for value in (1, 2, 3))
        first = backend.zeros((4,), "float32")
        found = backend.compile(summed)(first, Pair(one, None), (Pair(two, three), None))
        assert type(found) is type(first)
        assert backend.to_numpy(found).tolist() == [8, 8, 8, 8]

    def test_compiled_functions_may_reuse_arguments(self, backend: Backend) -> None:
        """What is returned for a donated argument is right."""
        compiled = backend.compile(lambda held, more: held + more, donate=(0,))
        held = backend.zeros((3,), "float32")
        for _ in range(3):
            held = compiled(held, np.ones(3, np.float32))
        assert backend.to_numpy(held).tolist() == [3, 3, 3]

    def test_adam_needs_only_the_standard(self, backend: Backend) -> None:
        """The Adam of :mod:`trifolium.models.optimizers` runs on any namespace."""
        _check_adam(backend, optimizers.optimizer(backend.xp, None, 1e-8), 1e-8)

    def test_unstack_is_in_the_namespace(self, backend: Backend) -> None:
        """``xp.unstack`` gives the arrays along axis 0."""
        host = np.arange(6, dtype=np.float32).reshape(3, 2)
        found = backend.xp.unstack(backend.from_numpy(host.copy()))
        assert [backend.to_numpy(each).tolist() for each in found] == host.tolist()

    def test_copies_are_the_same_backend(self, backend: Backend) -> None:
        """A copied or unpickled backend is the registered one, so what it compiled is used again."""
        registered = get_backend(backend.name, device=backend.device)
        assert copy.deepcopy({"kept": registered})["kept"] is registered
        assert copy.copy(registered) is registered
        assert pickle.loads(pickle.dumps(registered)) is registered

    def test_devices_can_be_asked_for_by_name(self, backend: Backend) -> None:
        """What ``devices`` lists can be used."""
        assert backend.devices()
        for name in backend.devices():
            there = type(backend)(name)
            assert there.to_numpy(there.zeros((2,), "float32")).tolist() == [0, 0]

    def test_unknown_device_lists_those_there_are(self, backend: Backend) -> None:
        """A device that there is not is a BackendError with its name and the others'."""
        with pytest.raises(BackendError, match="no_such_device") as caught:
            type(backend)("no_such_device")
        assert backend.devices()[0] in str(caught.value)
        with pytest.raises(BackendError, match="no_such_device"):
            get_backend(backend, device="no_such_device")


class DifferentiableSuite:
    """Tests of a :class:`trifolium.Differentiable`, besides those of :class:`BackendSuite`."""

    def test_is_differentiable(self, backend: Differentiable) -> None:
        """It has every member."""
        assert isinstance(backend, Differentiable)
        assert is_differentiable(backend)

    def test_gradients_are_those_of_finite_differences(self, backend: Differentiable) -> None:
        """Loss, output and gradients are right; a parameter without a part in it gets zeros."""
        host, inputs = example_network(), np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
        params = _on_device(backend, host)
        evaluate = backend.value_and_grad(example_loss)
        for _ in range(2):  # the first call leaves nothing behind
            loss, output, grads = evaluate(params, backend.from_numpy(inputs.copy()))
        expected_loss, expected_output = example_loss(np, host, inputs)
        np.testing.assert_allclose(backend.to_numpy(loss), expected_loss, rtol=1e-5)
        np.testing.assert_allclose(backend.to_numpy(output), expected_output, rtol=1e-5)
        assert set(grads) == set(host)
        for name, grad in grads.items():
            expected = finite_differences(lambda at: example_loss(np, at, inputs)[0], host, name)
            np.testing.assert_allclose(backend.to_numpy(grad), expected, rtol=1e-4, atol=1e-6)
            assert grad.dtype == params[name].dtype
            _same(backend.to_numpy(params[name]), host[name])

    @pytest.mark.parametrize("stride", [1, 2, 3])
    def test_convolutions_and_their_gradients(self, backend: Differentiable, stride: int) -> None:
        """They are those of four loops; gradients reach the images and the kernels."""
        rng = np.random.default_rng(stride)
        host = {"images": noise(rng, (2, 7, 6, 3)), "kernels": noise(rng, (3, 2, 3, 4))}

        def loss(xp: Any, params: Params) -> tuple[AnyArray, AnyArray]:
            found = backend.convolve(params["images"], params["kernels"], stride)
            return xp.mean(found**2), found

        value, found, grads = backend.value_and_grad(loss)(_on_device(backend, host))
        expected = convolution(host["images"], host["kernels"], stride)
        np.testing.assert_allclose(backend.to_numpy(found), expected, rtol=1e-4, atol=1e-5)
        assert backend.to_numpy(value) == pytest.approx(np.mean(expected**2), rel=1e-4)
        for name, grad in grads.items():
            numeric = finite_differences(
                lambda at: np.mean(convolution(at["images"], at["kernels"], stride) ** 2), host, name
            )
            np.testing.assert_allclose(backend.to_numpy(grad), numeric, rtol=1e-3, atol=1e-5)

    @pytest.mark.parametrize("epsilon", [1e-8, 1e-2])
    def test_adam_is_that_of_the_paper(self, backend: Differentiable, epsilon: float) -> None:
        """Twenty steps are those of Adam in 64 bits."""
        _check_adam(backend, backend.optimizer(epsilon=epsilon), epsilon)

    def test_a_pair_of_functions_is_an_optimizer(self, backend: Differentiable) -> None:
        """Its updates are added to the parameters, and its state goes from step to step."""
        optimizer = backend.optimizer((_momentum_init, _momentum_update))
        params = _on_device(backend, {"w": np.array([1, 2], np.float32)})
        state = optimizer.init(params)
        for _ in range(2):
            grads = _on_device(backend, {"w": np.array([1, -1], np.float32)})
            params, state = optimizer.step(params, grads, state, 0.5)
        assert backend.to_numpy(params["w"]).tolist() == [1 - 0.25 - 0.375, 2 + 0.25 + 0.375]
        assert backend.to_numpy(state["momentum"]["w"]).tolist() == [1.5, -1.5]

    @pytest.mark.parametrize("wrong", ["adam", 3, (len,), object()])
    def test_other_optimizers_are_refused(self, backend: Differentiable, wrong: object) -> None:
        """The message says what is accepted."""
        with pytest.raises(TypeError, match=r"optimizer=.*expected None for Adam.*\(init, update\)"):
            backend.optimizer(wrong)


def _check_dtype(backend: Backend, name: str) -> None:
    host = np.array([[0, 1], [1, 1], [1, 0]]).astype(name)
    array = backend.from_numpy(host.copy())
    assert array.dtype == backend.zeros((2,), name).dtype == backend.dtype(name)
    _same(backend.to_numpy(array), host)
    index = backend.from_numpy(np.array([2, 0], backend.default_int))
    _same(backend.to_numpy(backend.take(array, index)), host[[2, 0]])
    order = backend.from_numpy(np.array([1, 0, 2], backend.default_int))
    written = backend.put(backend.zeros((3, 2), name), order, array)
    _same(backend.to_numpy(written), host[[1, 0, 2]])


def _check_refused(backend: Backend, name: str) -> None:
    with pytest.raises(BackendError, match=name):
        backend.dtype(name)
    with pytest.raises(BackendError, match=name):
        backend.zeros((2,), name)


def _has_dtype(backend: Backend, name: str) -> bool:
    try:
        backend.dtype(name)
    except BackendError:
        return False
    return True


def _check_adam(backend: Backend, optimizer: Optimizer, epsilon: float) -> None:
    rng, host = np.random.default_rng(0), example_network()
    params = _on_device(backend, host)
    state = optimizer.init(params)
    plain = PlainAdam(host)
    for _ in range(20):
        grads = {name: noise(rng, value.shape) for name, value in host.items()}
        plain.step(grads, 0.01, epsilon)
        params, state = optimizer.step(params, _on_device(backend, grads), state, 0.01)
    for name, expected in plain.params.items():
        np.testing.assert_allclose(backend.to_numpy(params[name]), expected, rtol=1e-6, atol=1e-6)


def _momentum_init(params: Params) -> dict[str, Params]:
    return {"momentum": {name: 0.0 * value for name, value in params.items()}}


def _momentum_update(
    grads: Params, state: dict[str, Params], _: Params
) -> tuple[Params, dict[str, Params]]:
    momentum = {name: 0.5 * state["momentum"][name] + grad for name, grad in grads.items()}
    return {name: -0.25 * value for name, value in momentum.items()}, {"momentum": momentum}


def _on_device(backend: Backend, arrays: dict[str, np.ndarray]) -> Params:
    return {name: backend.from_numpy(array.copy()) for name, array in arrays.items()}


def _same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
