"""Design: the options of a learner that describe its network, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trifolium import _checks as checks
from trifolium.backend import AnyArray
from trifolium.models.layers import Convolution
from trifolium.models.masks import ActionMask
from trifolium.models.networks import Head
from trifolium.models.torso import Input, Torso
from trifolium.replay.schema import BufferSpec, Leaf

__all__ = ["PRESETS", "Design", "is_image"]

PRESETS = {
    "nature": (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1)),
    "minatar": (Convolution(16, 3, 1),),
}
"""Convolutions by name: those of Mnih et al. (2015), and of Young and Tian (2019)."""


@dataclass(frozen=True)
class Design:
    """What a learner's network is made of.

    Its options are those of :class:`~trifolium.Learner`; the others follow from its memory, its mask
    and its actions.

    Attributes:
        inputs: the arrays of states that the default network takes: all but the action mask.
        actions: number of actions.
        hidden, dueling, noisy: as for :class:`~trifolium.Learner`.
    """

    inputs: tuple[Input, ...]
    actions: int
    hidden: tuple[int, ...]
    dueling: bool
    noisy: bool

    @classmethod
    def checked(
        cls,
        spec: BufferSpec,
        mask: ActionMask | None,
        actions: int,
        *,
        hidden: Any,
        convolutions: Any,
        input_scale: Any,
        dueling: Any,
        noisy: Any,
    ) -> Design:
        """Return the options in their final types, or raise an error that names the bad one."""
        leaves = [leaf for leaf in spec.leaves if mask is None or leaf != mask.leaf]
        layers = _convolutions(convolutions, leaves)
        scales = _scales(input_scale, leaves)
        inputs = (
            Input(
                n_frames=leaf.n_frames,
                shape=leaf.shape,
                convolutions=layers.get(_name(leaf), ()),
                scale=scales[_name(leaf)],
                path=leaf.path,
            )
            for leaf in leaves
        )
        return cls(
            inputs=tuple(inputs),
            actions=actions,
            hidden=checks.shape("hidden", hidden),
            dueling=checks.flag("dueling", dueling),
            noisy=checks.flag("noisy", noisy),
        )

    @property
    def convolutions(self) -> Any:
        """The layers that see images; for structured observations a mapping from parts to them."""
        found = {"/".join(each.path): each.convolutions for each in self.inputs}
        return found[""] if "" in found else {name: some for name, some in found.items() if some}

    @property
    def input_scale(self) -> Any:
        """Factor of observations; for structured ones a mapping from parts to it."""
        found = {"/".join(each.path): each.scale for each in self.inputs}
        return found.get("", found)

    @property
    def options(self) -> dict[str, Any]:
        """The options of a learner that describe its network."""
        names = ("hidden", "convolutions", "input_scale", "dueling", "noisy")
        return {name: getattr(self, name) for name in names}

    def check_is_plain(self) -> None:
        """Raise ValueError for options that only a default network has."""
        for name in ("convolutions", "dueling", "noisy"):
            value = getattr(self, name)
            if value:
                raise ValueError(
                    f"{name}={value!r} describes the network that network= replaces; expected one of "
                    "the two"
                )

    def torso(self, convolve: Callable[[AnyArray, AnyArray, int], AnyArray]) -> Torso:
        """Return the torso: all hidden layers but the last, behind the convolutions."""
        if not self.inputs:
            raise ValueError(
                "input_size has no part but the action mask, which is not an input of the network; "
                "expected one more, or network="
            )
        return Torso(inputs=self.inputs, hidden=self.hidden[:-1], convolve=convolve)

    @property
    def head(self) -> Head:
        """The head: the last hidden layer, and the outputs."""
        return Head(
            hidden=self.hidden[-1:], actions=self.actions, dueling=self.dueling, noisy=self.noisy
        )


def is_image(shape: tuple[int, ...], dtype: str) -> bool:
    """Return whether such arrays are images: those of three axes, and of two if they are bytes."""
    return len(shape) == 3 or (len(shape) == 2 and dtype == "uint8")


def _name(leaf: Leaf) -> str:
    return "/".join(leaf.path)


def _convolutions(value: Any, leaves: list[Leaf]) -> dict[str, tuple[Convolution, ...]]:
    """Return the layers of each part that has some; of one array its name is ""."""
    if value is None or len(value) == 0:
        return {}
    if isinstance(value, Mapping):
        parts = _parts("convolutions", value, leaves)
        found = ((leaf, f"convolutions[{_name(leaf)!r}]", value[_name(leaf)]) for leaf in parts)
        return {_name(leaf): _layers(name, layers, leaf) for leaf, name, layers in found if layers}
    one_array = len(leaves) == 1 and not leaves[0].path
    images = leaves if one_array else [leaf for leaf in leaves if is_image(leaf.shape, leaf.dtype)]
    if not images:
        raise ValueError(
            f"convolutions={value!r} need an image; no part of input_size is one: uint8 of shape "
            "[height, width], or [height, width, channels]. A mapping from parts to convolutions "
            "chooses others"
        )
    return {_name(leaf): _layers("convolutions", value, leaf) for leaf in images}


def _scales(value: Any, leaves: list[Leaf]) -> dict[str, float]:
    """Return the factor of each part; of one array its name is ""."""
    defaults = {_name(leaf): 1 / 255 if leaf.dtype == "uint8" else 1.0 for leaf in leaves}
    if value is None:
        return defaults
    if isinstance(value, Mapping):
        parts = map(_name, _parts("input_scale", value, leaves))
        return defaults | {
            name: checks.positive(f"input_scale[{name!r}]", value[name]) for name in parts
        }
    return dict.fromkeys(defaults, checks.positive("input_scale", value))


def _parts(option: str, names: Mapping[str, Any], leaves: Iterable[Leaf]) -> list[Leaf]:
    """Return the leaves that ``names`` names, or raise if there is no such input."""
    known = {_name(leaf): leaf for leaf in leaves if leaf.path}
    for name in names:
        if name not in known:
            raise ValueError(
                f"{option} has the name {name!r}; expected parts of input_size that the network takes: "
                f"{', '.join(map(repr, known)) or 'none, as it is one array'}"
            )
    return [known[name] for name in names]


def _layers(option: str, value: Any, leaf: Leaf) -> tuple[Convolution, ...]:
    """Return the layers that ``value`` names or lists, if the images of ``leaf`` have room."""
    if isinstance(value, str):
        if value not in PRESETS:
            raise ValueError(f"{option}={value!r} is not known; known are: {', '.join(PRESETS)}")
        found = PRESETS[value]
    else:
        found = tuple(_layer(f"{option}[{number}]", layer) for number, layer in enumerate(value))
    shape, of_part = leaf.shape, f" in {leaf.named('input_size')}" if leaf.path else ""
    if len(shape) not in (2, 3):
        raise ValueError(
            f"{option}={value!r} need observations of shape [height, width] or "
            f"[height, width, channels]; {leaf.named('input_size')} is {shape}"
        )
    for size in shape[:2]:
        for layer in found:
            size = layer.size_out(size)
        if size < 1:
            advice = ". A mapping from parts to convolutions leaves it out" if leaf.path else ""
            raise ValueError(
                f"{option}={value!r} leave nothing of images of shape {shape}{of_part}, which is "
                f"[height, width] or [height, width, channels]{advice}"
            )
    return found


def _layer(name: str, layer: Any) -> Convolution:
    sizes = checks.shape(name, layer)
    if len(sizes) != 3:
        raise ValueError(f"{name}={layer!r}; expected (channels, kernel, stride)")
    return Convolution(*sizes)
