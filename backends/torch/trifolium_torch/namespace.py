"""The array namespace of the torch backend: array-api-compat's."""

from array_api_compat.torch import *  # noqa: F403

__all__: list[str] = []
