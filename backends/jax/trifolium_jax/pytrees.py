"""trifolium's data classes as pytrees of JAX, once this module is imported."""

from dataclasses import fields

import jax

from trifolium.replay import Batch, State

__all__: list[str] = []


def _register(kind: type) -> None:
    static = [field.name for field in fields(kind) if field.metadata.get("static")]
    data = [field.name for field in fields(kind) if field.name not in static]
    jax.tree_util.register_dataclass(kind, data_fields=data, meta_fields=static)


_register(State)
_register(Batch)
