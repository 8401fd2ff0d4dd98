"""The Backend protocol, and the registry that finds backends through entry points.

A backend is everything that differs between array frameworks: how rows are written and gathered, how
a gradient is taken, how a function is compiled. All else in trifolium is written once against the
Python array API standard and is handed a backend.

Backends are plug-ins of the entry-point group ``trifolium.backends``. The three that come with
trifolium (numpy, torch, jax) are found the same way as anybody else's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from trifolium.errors import BackendError, BackendNotInstalled, UnknownBackend

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "Array",
    "Backend",
    "BackendInfo",
    "Capabilities",
    "Params",
    "as_numpy",
    "backends",
    "device_of",
    "get_backend",
]

GROUP = "trifolium.backends"

Array: TypeAlias = Any
"""An array of any framework: the standard defines no type that all of them share."""

Params: TypeAlias = dict[str, Array]
"""Named arrays: network parameters, optimizer moments, storage columns."""


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do; tests and the table in the docs are both made from this.

    Attributes:
        train: it can take gradients, so the prebuilt models learn on it.
        compile: ``compile`` makes a function faster, if need be only when asked to do so thoroughly.
        donate: writes reuse the memory of arrays that would otherwise be copied.
        float64: 64-bit dtypes are available now.
    """

    train: bool
    compile: bool
    donate: bool
    float64: bool

    def __str__(self) -> str:
        return ", ".join(f.name for f in fields(self) if getattr(self, f.name)) or "none"


@runtime_checkable
class Backend(Protocol):
    """What a framework must bring to carry trifolium's memory and models.

    Attributes:
        name: the name it is registered under.
        framework: import name of the framework, as in ``"torch"``.
        version: version of that framework.
        xp: an array namespace that follows the array API standard.
        device: where arrays are placed, in the framework's own type.
        capabilities: see :class:`Capabilities`.
        default_int: name of the dtype that holds actions, ``"int64"`` or ``"int32"``.
        on_host: whether the device has the host's memory. Then a buffer keeps its rows in NumPy's
            arrays, gathers them there, and hands out what came of it by :meth:`from_numpy`.
        strides: whether an array can be a part of another one, in the same memory.
    """

    name: str
    framework: str
    version: str
    xp: Any
    device: Any
    capabilities: Capabilities
    default_int: str
    on_host: bool
    strides: bool

    def __init__(self, device: Any = None) -> None:
        """Place arrays on ``device`` (a name or the framework's own type; None: its default)."""

    @staticmethod
    def devices() -> list[str]:
        """Names of the devices present, the default first."""
        ...

    def set_threads(self, count: int) -> None:
        """Let this process use ``count`` threads for one operation on the host, where that can be set.

        Small networks are fastest on one thread, by far so on a busy machine.
        """

    def dtype(self, name: str) -> Any:
        """Return the framework's dtype of that name; `BackendError` if it has none."""
        ...

    def zeros(self, shape: Sequence[int], dtype: str) -> Array:
        """Return zeros of ``shape`` on the device."""
        ...

    def from_numpy(self, array: np.ndarray) -> Array:
        """Return a host array on the device, dtype kept.

        The caller gives ``array`` up: its memory may be taken over, so it must not be written again.
        """
        ...

    def to_numpy(self, array: Array) -> np.ndarray:
        """Return a copy of ``array`` on the host; one that takes part in a gradient is detached.

        A dtype that NumPy lacks (bfloat16) comes back as float32.
        """
        ...

    def is_array(self, value: Any) -> bool:
        """Return whether ``value`` is an array of this framework, on whatever device."""
        ...

    def detach(self, array: Array) -> Array:
        """Return ``array`` on this backend's device, out of any gradient that it takes part in."""
        ...

    def gather(self, column: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return ``column[rows]`` of host memory, for ``rows`` [N] that are all in range.

        It is what a buffer reads with where :attr:`on_host` holds, so that a framework that wants the
        result to lie in some way of its own can see to it.
        """
        return column.take(rows, axis=0)

    def take(self, array: Array, rows: Array) -> Array:
        """Return ``array[rows]`` along axis 0 for integer ``rows`` [B] that are all in range."""
        ...

    def put(self, array: Array, rows: Array, values: Array, where: Array | None = None) -> Array:
        """Return ``array`` with ``values`` [N, ...] at integer ``rows`` [N] of axis 0, all in range.

        Rows where ``where`` [N] bool is False stay as they are. Of values for the same row any one is
        written. Unlike :meth:`write` it can be traced. The array given must not be used again: its
        memory may be reused.
        """
        ...

    def unstack(self, array: Array) -> Sequence[Array]:
        """Return ``array[0]``, ``array[1]`` and so on."""
        ...

    def write(self, columns: Params, rows: np.ndarray, values: Mapping[str, np.ndarray]) -> Params:
        """Write ``values[name]`` [N, ...] to ``rows`` [N] of each column and return the columns.

        The columns given must not be used again: their memory may be reused.
        """
        ...

    def compile(
        self, function: Callable[..., Any], *, donate: Sequence[int] = (), thoroughly: bool = False
    ) -> Callable[..., Any]:
        """Return ``function`` compiled, reusing the memory of the arguments at ``donate``.

        A compiler that takes its time or needs tools is used only with ``thoroughly``. A backend
        without a compiler runs ``function`` as it is. Either way arguments may be host
        arrays, or (named) tuples of host arrays and None: they reach ``function`` on the device, and
        the caller gives them up as with :meth:`from_numpy`.
        """
        ...

    def dataset(self, batches: Iterable[Any]) -> Iterable[Any]:
        """Return ``batches`` in the type that the framework's own data loaders take, if it has one."""
        return batches

    def compiled_training(self, models: Any, env: Any, params: Any, **options: Any) -> Any:  # noqa: ARG002
        """Return what trains learners in an environment of arrays in one compiled call, or None.

        :class:`trifolium_jax.CompiledTraining` tells what the arguments are and what is returned.
        """
        return None

    def value_and_grad(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Differentiate ``function(xp, params, *args) -> (loss, aux)`` by its dict ``params``.

        The result, called with ``(params, *args)``, returns ``(loss, aux, grads)``, detached. The
        function computes with the ``xp`` it is handed, which records the gradient.
        """
        ...

    def convolve(self, images: Array, kernels: Array, stride: int) -> Array:
        """Return the convolution of ``images`` [B, H, W, C] with ``kernels`` [h, w, C, O].

        As everywhere in deep learning the kernels are not flipped. There is no padding:
        H' = (H - h) // stride + 1, likewise W'. Gradients pass through it.

        Returns:
            [B, H', W', O].
        """
        ...

    def network(
        self, network: Any, inputs: Sequence[np.ndarray], rng: np.random.Generator
    ) -> tuple[Params, Callable[..., Array], Callable[[Params], Any]]:
        """Take up a user's own network.

        Args:
            network: what this framework calls a network.
            inputs: examples of what it is going to be called with, a batch of one row.
            rng: to draw parameters with, where it has none yet.

        Returns:
            Its parameters as a flat dict of arrays of their own; the pure function that computes its
            outputs from (namespace, parameters, *inputs); and one that makes of such parameters what
            this framework calls a trained network.

        Raises:
            TypeError: it is none; the message says what is taken.
        """
        ...

    def adam(
        self,
        params: Params,
        grads: Params,
        state: Params,
        learning_rate: float,
        epsilon: float,
    ) -> tuple[Params, Params]:
        """Take one Adam step and return the new (params, state).

        ``state`` is as :func:`trifolium.models.adam.init` makes it. What was given must not be used
        again: a backend may update it in place.
        """
        ...


@dataclass(frozen=True)
class BackendInfo:
    """One line of :func:`backends`.

    Attributes:
        name: registered name.
        installed: whether its framework can be imported.
        version: the framework's version, "" if it is not installed.
        devices: names of its devices, the default first.
        capabilities: what it can do, None if it is not installed.
        hint: what to do to get it, "" if it is installed.
    """

    name: str
    installed: bool
    version: str = ""
    devices: tuple[str, ...] = ()
    capabilities: Capabilities | None = None
    hint: str = ""


def get_backend(backend: str | Backend = "numpy", *, device: Any = None) -> Backend:
    """Return the backend of that name, on ``device``.

    Args:
        backend: a registered name, or a Backend, which is returned as it is.
        device: a device name such as ``"cuda:0"``, or the framework's own device object; None for
            the framework's default.

    Raises:
        UnknownBackend: no such name; the message lists those there are.
        BackendNotInstalled: the framework is missing; the message says what to install.
        BackendError: the device does not exist, or ``device`` contradicts the Backend given.

    >>> get_backend("numpy").zeros((2,), "float32")
    array([0., 0.], dtype=float32)
    """
    if not isinstance(backend, str):
        return _checked_instance(backend, device)
    return _build(backend, device)


@cache
def _build(name: str, device: Any) -> Backend:
    """One object per name and device, so that what is compiled for a backend is compiled once."""
    return _load(name)(device)


def backends() -> dict[str, BackendInfo]:
    """Tell, for every registered backend, whether it is installed and what it can do.

    This imports every framework that is installed.

    >>> backends()["numpy"].installed
    True
    """
    return {name: _describe(name) for name in _registered()}


def as_numpy(value: Any) -> np.ndarray:
    """Return ``value``, an array of any framework or anything NumPy takes, as a host array.

    It may alias ``value``. Arrays of a framework that has a backend go through that backend, which
    knows about gradients, other devices and dtypes that NumPy lacks.

    >>> as_numpy([1, 2])
    array([1, 2])
    """
    if isinstance(value, list | tuple) and value and not isinstance(value[0], int | float):
        return np.stack([as_numpy(item) for item in value])
    if isinstance(value, np.ndarray | np.generic | int | float | list | tuple):
        return np.asarray(value)
    owner = _owner(type(value).__module__.partition(".")[0])
    return np.asarray(value) if owner is None else owner.to_numpy(value)


def device_of(array: Array) -> Any:
    """Return what to pass as ``device=`` for an array beside ``array``.

    That is None for arrays that are being traced: their device is chosen when the trace is compiled.
    """
    return getattr(array, "device", None)


@cache
def _registered() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in sorted(entry_points(group=GROUP))}


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
    return f"pip install '{point.dist.name}{extra}' brings it"


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
        backend = _build(name, None)
    except BackendNotInstalled:
        return BackendInfo(name, installed=False, hint=_hint(_registered()[name]))
    return BackendInfo(
        name,
        installed=True,
        version=backend.version,
        devices=tuple(backend.devices()),
        capabilities=backend.capabilities,
    )


def _checked_instance(backend: Any, device: Any) -> Backend:
    if not isinstance(backend, Backend):
        raise BackendError(
            f"backend={backend!r} is a {type(backend).__name__}; "
            f"expected a Backend or one of the names {', '.join(_registered())}"
        )
    if device is not None and type(backend)(device).device != backend.device:
        raise BackendError(
            f"device={device!r} contradicts backend={backend.name!r}, which is on "
            f"{str(backend.device)!r}; give a name and a device, or a Backend alone"
        )
    return backend


@cache
def _owner(root: str) -> Backend | None:
    """Return the backend whose framework defines types in the package ``root``, if it has one."""
    framework = root.removesuffix("lib")  # JAX defines its arrays in jaxlib
    if framework in _registered() and framework in sys.modules:
        return _build(framework, None)
    return None
