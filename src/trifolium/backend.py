"""The backend protocols, and the registry that finds backends through entry points.

A backend holds what differs between array frameworks. All other code in trifolium is written once
against the Python array API standard and receives a backend. There are two protocols:

- :class:`Backend` is what a replay memory needs: arrays, devices, dtypes, reads, writes, compilation.
- :class:`Differentiable` is a Backend that also takes gradients. Models that learn need one.

Backends are plug-ins of the entry-point group ``trifolium.backends``. The three that come with
trifolium (numpy, torch, jax) are found in the same way as a third party's.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeGuard, runtime_checkable

import numpy as np

from trifolium.array import ArrayT
from trifolium.errors import BackendError, BackendNotInstalled, UnknownBackend

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "Adopted",
    "AnyArray",
    "Backend",
    "BackendInfo",
    "Capabilities",
    "Differentiable",
    "Optimizer",
    "Params",
    "as_numpy",
    "backend_of",
    "backends",
    "conversion",
    "device_of",
    "differentiable",
    "get_backend",
    "is_differentiable",
]

GROUP = "trifolium.backends"

AnyArray: TypeAlias = Any
"""An array of any framework, unchecked: the functions of a namespace have no types to follow."""

Params: TypeAlias = dict[str, AnyArray]
"""Named arrays: network parameters, optimizer moments, storage columns."""


@dataclass(frozen=True)
class Capabilities:
    """What a backend supports. Tests and the table in the docs are generated from it.

    Attributes:
        compile: ``compile`` makes a function faster, if need be only with ``use_slow_compiler``.
        views: an array can be a view of another one, in the same memory.
        float64: 64-bit dtypes are available now.
    """

    compile: bool
    views: bool
    float64: bool

    def __str__(self) -> str:
        return ", ".join(f.name for f in fields(self) if getattr(self, f.name)) or "none"


@runtime_checkable
class Backend(Protocol[ArrayT]):
    """What a framework must provide for a replay memory.

    Its type parameter is the type of the framework's arrays: NumPy's backend is a
    ``Backend[np.ndarray]``.

    Attributes:
        name: the name it is registered under.
        version: version of the framework.
        xp: an array namespace that follows the array API standard (2024.12).
        device: where arrays are placed, in the framework's own type.
        capabilities: see :class:`Capabilities`.
        default_int: name of the dtype for actions and indices, ``"int64"`` or ``"int32"``.
        shares_host_memory: whether the device uses the host's memory. A buffer then keeps its rows in
            NumPy arrays, gathers them there, and converts each batch with :meth:`from_numpy`.
    """

    name: str
    version: str
    xp: Any
    device: Any
    capabilities: Capabilities
    default_int: str
    shares_host_memory: bool

    def __init__(self, device: Any = None) -> None:
        """Place arrays on ``device``: a name, or the framework's own type; None for its default."""

    @staticmethod
    def devices() -> list[str]:
        """Return the names of the devices present, the default first."""
        ...

    def dtype(self, name: str) -> Any:
        """Return the framework's dtype of that name; `BackendError` if it has none."""
        ...

    def zeros(self, shape: Sequence[int], dtype: str) -> ArrayT:
        """Return zeros of ``shape`` on the device."""
        ...

    def from_numpy(self, array: np.ndarray) -> ArrayT:
        """Return a host array on the device, with the same dtype.

        The result may use the memory of ``array``, so the caller must not write to it again.
        """
        ...

    def to_numpy(self, array: AnyArray) -> np.ndarray:
        """Return a copy of ``array`` on the host, detached from any gradient.

        A dtype that NumPy lacks (bfloat16) becomes float32.
        """
        ...

    def is_array(self, value: Any) -> bool:
        """Return whether ``value`` is an array of this framework, on any device.

        The answer depends on the type of ``value`` alone.
        """
        ...

    def take(self, array: AnyArray, rows: AnyArray) -> ArrayT:
        """Return a copy of ``array[rows]`` along axis 0, for integer ``rows`` [B], all in range."""
        ...

    def put(
        self, array: AnyArray, rows: AnyArray, values: AnyArray, where: AnyArray | None = None
    ) -> ArrayT:
        """Return ``array`` with ``values`` [N, ...] at integer ``rows`` [N] of axis 0, all in range.

        Rows where ``where`` [N] bool is False are unchanged. If a row is given several times, any one
        of its values is written. The function can be traced. The values are detached from any
        gradient. The caller must not use ``array`` again: its memory may be reused.
        """
        ...

    def compile(
        self,
        function: Callable[..., Any],
        *,
        donate: Sequence[int] = (),
        use_slow_compiler: bool = False,
    ) -> Callable[..., Any]:
        """Return ``function`` compiled for the device.

        A backend without a compiler returns a function that runs ``function`` as it is. In every case
        arguments may be host arrays, or (named) tuples of host arrays and None. ``function`` receives
        them on the device, and the caller must not write to them again.

        Args:
            function: takes positional arguments.
            donate: positions of arguments whose memory may be reused for the results.
            use_slow_compiler: whether a compiler that takes seconds, or needs other tools, may be used.
        """
        ...


class Optimizer(NamedTuple):
    """How parameters are updated, as pure functions.

    Attributes:
        init: ``init(params)`` returns the state before the first step: arrays and numbers, in nested
            dicts, tuples and lists.
        step: ``step(params, grads, state, learning_rate)`` returns the new (params, state). It may
            reuse the memory of all that it receives.
        own_rate: whether it has a learning rate of its own and ignores the one that it receives.
        traceable: whether ``step`` can be part of a function for the slow compiler.
    """

    init: Callable[[Params], Any]
    step: Callable[[Params, Params, Any, Any], tuple[Params, Any]]
    own_rate: bool = False
    traceable: bool = True


class Adopted(NamedTuple):
    """A user's network as pure functions of named arrays.

    Attributes:
        params: what is learned: new floating arrays.
        apply: computes the outputs from (namespace, params and statistics, *inputs) as the network does
            when it is not trained: without dropout, for example.
        training_apply: the same as the network does when it is trained; it may update statistics in
            place.
        export: converts params and statistics to a trained network of the framework.
        statistics: what the network keeps besides its parameters, such as the running means of a
            normalisation. Most networks have none.
    """

    params: Params
    apply: Callable[..., AnyArray]
    training_apply: Callable[..., AnyArray]
    export: Callable[[Params], Any]
    statistics: Params


@runtime_checkable
class Differentiable(Backend[ArrayT], Protocol[ArrayT]):
    """A backend whose framework takes gradients, so that models learn on it."""

    def value_and_grad(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Differentiate ``function(xp, params, *args) -> (loss, aux)`` with respect to ``params``.

        The result, called with ``(params, *args)``, returns ``(loss, aux, grads)``, detached.
        ``function`` must compute with the namespace ``xp`` that it receives, which records gradients.
        """
        ...

    def detach(self, array: AnyArray) -> ArrayT:
        """Return ``array`` on this backend's device, detached from any gradient."""
        ...

    def convolve(self, images: AnyArray, kernels: AnyArray, stride: int) -> ArrayT:
        """Return the convolution of ``images`` [B, H, W, C] with ``kernels`` [h, w, C, O].

        Kernels are not flipped and there is no padding: H' = (H - h) // stride + 1, likewise W'.
        Gradients pass through it.

        Returns:
            [B, H', W', O].
        """
        ...

    def optimizer(self, optimizer: Any = None, *, epsilon: float = 1e-8) -> Optimizer:
        """Return the functions of an optimizer.

        Args:
            optimizer: None for Adam (Kingma and Ba 2015), the same on every backend. Or a pair of pure
                functions (init, update), as optax defines them: ``init(params)`` returns a state,
                ``update(grads, state, params)`` returns (updates, state), and updates are added to
                the parameters. Or what the framework calls an optimizer; see
                docs/reference/backends.md.
            epsilon: added to the denominator of Adam.

        Raises:
            TypeError: it is none of these; the message says what the backend accepts.
        """
        ...

    def adopt(self, network: Any, inputs: Sequence[np.ndarray], rng: np.random.Generator) -> Adopted:
        """Convert a user's network to pure functions of its parameters.

        Args:
            network: a network in the framework's own type.
            inputs: example inputs of the network, a batch of one row.
            rng: draws the parameters of a network that has none yet.

        Raises:
            TypeError: the backend does not know such a network; the message says what it accepts.
        """
        ...


@dataclass(frozen=True)
class BackendInfo:
    """One entry of :func:`backends`.

    Attributes:
        name: registered name.
        installed: whether its framework can be imported.
        version: version of the framework, "" if it is not installed.
        devices: names of its devices, the default first.
        differentiable: whether models learn on it.
        capabilities: what it supports, None if it is not installed.
        hint: how to install it, "" if it is installed.
    """

    name: str
    installed: bool
    version: str = ""
    devices: tuple[str, ...] = ()
    differentiable: bool = False
    capabilities: Capabilities | None = None
    hint: str = ""


def get_backend(backend: str | Backend = "numpy", *, device: Any = None) -> Backend:
    """Return the backend of that name on ``device``, the same object for the same device.

    Args:
        backend: a registered name, or a Backend, which is returned as it is.
        device: a device name such as ``"cuda:0"``, or the framework's own device object; None for
            the framework's default at the time of the call.

    Raises:
        UnknownBackend: the name is not registered; the message lists the registered names.
        BackendNotInstalled: the framework is missing; the message says what to install.
        BackendError: the device does not exist, ``device`` contradicts the Backend given, or the
            backend lacks members of the protocol, which the message names.

    >>> get_backend("numpy").zeros((2,), "float32")
    array([0., 0.], dtype=float32)
    """
    if not isinstance(backend, str):
        return _checked_instance(backend, device)
    made = _load(backend)(device)
    key = backend, str(getattr(made, "device", None))
    return _BUILT.get(key) or _BUILT.setdefault(key, _complete(backend, made))


def differentiable(backend: Backend, *, needed_by: str) -> Differentiable:
    """Return ``backend`` if it takes gradients.

    Raises:
        BackendError: it does not; the message names the members that it lacks, and ``needed_by``.
    """
    if not is_differentiable(backend):
        raise BackendError(
            f"backend={backend.name!r} takes no gradients, which {needed_by} needs: it lacks "
            f"{', '.join(_lacking_methods(type(backend), Differentiable))}; use a backend that has all "
            "members of trifolium.Differentiable"
        )
    return backend


def is_differentiable(backend: Backend) -> TypeGuard[Differentiable]:
    """Return whether models learn on ``backend``: it has all members of :class:`Differentiable`."""
    kind = type(backend)
    return kind in _DIFFERENTIABLE or not _lacking_methods(kind, Differentiable)


def backends() -> dict[str, BackendInfo]:
    """Return, for every registered backend, whether it is installed and what it supports.

    This imports every framework that is installed.

    >>> backends()["numpy"].installed
    True
    """
    return {name: _describe(name) for name in _registered()}


def as_numpy(value: Any) -> np.ndarray:
    """Return ``value``, an array of any framework or anything that NumPy accepts, as a host array.

    The result may share memory with ``value``. Arrays of a framework that has a backend go through that
    backend, which handles gradients, other devices and dtypes that NumPy lacks.

    >>> as_numpy([1, 2])
    array([1, 2])
    """
    if isinstance(value, list | tuple) and value and not isinstance(value[0], int | float):
        return np.stack([as_numpy(item) for item in value])
    if isinstance(value, np.ndarray | np.generic | int | float | list | tuple):
        return np.asarray(value)
    owner = _owner(value)
    return np.asarray(value) if owner is None else owner.to_numpy(value)


def device_of(array: AnyArray) -> Any:
    """Return the ``device=`` argument for an array on the same device as ``array``.

    It is None for arrays that are being traced: their device is chosen when the trace is compiled.
    """
    return getattr(array, "device", None)


# The registry

_BUILT: dict[tuple[str, str], Backend] = {}
"""Backends by name and device: one object each, so that what is compiled for one is compiled once."""

_DIFFERENTIABLE: set[type] = set()
"""Classes known to have all members of Differentiable; torch.compile can trace a look-up in a set."""

_OWNERS: dict[type, Backend] = {}
"""Backends by the types of arrays that were found to be theirs."""


@cache
def _registered() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in sorted(entry_points(group=GROUP))}


@cache
def _load(name: str) -> type[Backend]:
    points = _registered()
    if name not in points:
        raise UnknownBackend(f"backend={name!r} is not known; known are: {', '.join(points)}")
    try:
        loaded: type[Backend] = points[name].load()
    except ModuleNotFoundError as error:
        raise BackendNotInstalled(
            f"backend={name!r} needs the package {error.name!r}, which is not installed; "
            f"{_hint(points[name])}. Ready now: {', '.join(_ready(points)) or 'none'}"
        ) from error
    return loaded


def _hint(point: EntryPoint) -> str:
    if point.dist is None:
        return f"install what {point.module!r} needs"
    extras = point.dist.metadata.get_all("Provides-Extra") or []
    extra = f"[{point.name}]" if point.name in extras else ""
    return f"pip install '{point.dist.name}{extra}' installs it"


def _ready(points: Mapping[str, EntryPoint]) -> list[str]:
    ready = []
    for name, point in points.items():
        try:
            point.load()
        except ModuleNotFoundError:
            continue
        ready.append(name)
    return ready


def _describe(name: str) -> BackendInfo:
    try:
        backend = get_backend(name)
    except BackendNotInstalled:
        return BackendInfo(name, installed=False, hint=_hint(_registered()[name]))
    return BackendInfo(
        name,
        installed=True,
        version=backend.version,
        devices=tuple(backend.devices()),
        differentiable=is_differentiable(backend),
        capabilities=backend.capabilities,
    )


def _checked_instance(backend: Any, device: Any) -> Backend:
    lacking = _lacking(backend)
    if lacking:
        raise BackendError(
            f"backend={backend!r} is a {type(backend).__name__} without {', '.join(lacking)}; "
            f"expected a Backend or one of the names {', '.join(_registered())}"
        )
    if device is not None and type(backend)(device).device != backend.device:
        raise BackendError(
            f"device={device!r} contradicts backend={backend.name!r}, which is on "
            f"{str(backend.device)!r}; give a name and a device, or a Backend alone"
        )
    return _complete(backend.name, backend)


def _complete(name: str, backend: Backend) -> Backend:
    """Return ``backend`` if it has all members of the protocols that it follows."""
    lacking = _lacking(backend)
    if Differentiable in type(backend).__mro__:
        lacking += _lacking_methods(type(backend), Differentiable)
    if lacking:
        raise BackendError(
            f"backend={name!r} ({type(backend).__module__}.{type(backend).__qualname__}) lacks "
            f"{', '.join(lacking)}; see trifolium.Backend and trifolium.Differentiable"
        )
    copyreg.pickle(type(backend), _reduced)
    if is_differentiable(backend):
        _DIFFERENTIABLE.add(type(backend))
    return backend


def _lacking(backend: Any) -> list[str]:
    """Return the members of :class:`Backend` that ``backend`` does not have."""
    attributes = [name for name in Backend.__annotations__ if not hasattr(backend, name)]
    kind: Any = type(backend)
    return [*attributes, *_lacking_methods(kind, Backend)]


@cache
def _lacking_methods(kind: Any, protocol: Any) -> tuple[str, ...]:
    """Return the methods of ``protocol`` that ``kind`` does not have, or only inherits from it."""
    names = [name for name in vars(protocol) if not name.startswith("_")]
    return tuple(name for name in names if getattr(kind, name, None) in (None, getattr(protocol, name)))


def _reduced(backend: Any) -> tuple[Any, ...]:
    """Return how to copy or unpickle a backend: a registered one is found again by name and device."""
    registered: Any = _BUILT.get((backend.name, str(backend.device)))
    if registered is not backend:
        plain: Any = object.__reduce_ex__(backend, 2)
        return plain
    kind = type(backend)
    names = [name for name in kind.devices() if kind(name).device == backend.device]
    return _found_again, (backend.name, names[0] if names else backend.device)


def _found_again(name: str, device: Any) -> Backend:
    return get_backend(name, device=device)


def backend_of(array: AnyArray) -> Backend | None:
    """Return the backend whose arrays ``array`` is one of, on its default device; None if unknown.

    >>> backend_of(np.zeros(3)).name
    'numpy'
    """
    if isinstance(array, np.ndarray | np.generic):
        return get_backend("numpy")
    return _owner(array)


def conversion(name: str) -> Callable[[Any], Any]:
    """Return the function of that name that converts a batch to a type of another package.

    Raises:
        ImportError: no installed package makes it, or the package is not installed.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group="trifolium.conversions", name=name):
        try:
            found: Callable[[Any], Any] = point.load()
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{name} needs the package {error.name!r}, which is not installed; "
                f"pip install 'trifolium[{name.removeprefix('to_')}]' installs it"
            ) from error
        return found
    raise ImportError(f"{name} is provided by no installed package; reinstall trifolium")


def _owner(value: Any) -> Backend | None:
    """Return the backend whose arrays ``value`` is one of, if there is one.

    That is a backend registered under the name of the package that defines the type of ``value`` or
    its array namespace; else one in use that recognizes ``value``.
    """
    kind = type(value)
    if kind not in _OWNERS:
        namespace = getattr(value, "__array_namespace__", lambda: None)()
        roots = {
            each.partition(".")[0] for each in (kind.__module__, getattr(namespace, "__name__", ""))
        }
        named = [get_backend(name) for name in sorted(roots & _registered().keys())]
        owners = [each for each in (*named, *_BUILT.values()) if each.is_array(value)]
        if not owners:
            return None
        _OWNERS[kind] = owners[0]
    return _OWNERS[kind]
