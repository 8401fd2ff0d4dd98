"""Adam (Kingma and Ba 2015, Algorithm 1) over a dict of arrays, in the array API.

A backend may use its framework's own Adam instead, if it computes the same.
"""

import math
from typing import Any

from trifolium.backend import Params, device_of

__all__ = ["init", "step"]

BETA_1 = 0.9
BETA_2 = 0.999


def init(xp: Any, params: Params) -> Params:
    """Return the state before the first step: both moments zero for each parameter, and the count.

    Keys are ``mean.<name>``, ``square.<name>`` and ``step`` (float32, shape ()).
    """
    moments = {
        f"{moment}.{name}": xp.zeros_like(value)
        for moment in ("mean", "square")
        for name, value in params.items()
    }
    any_param = next(iter(params.values()))
    return moments | {"step": xp.zeros((), dtype=xp.float32, device=device_of(any_param))}


def step(
    xp: Any,
    params: Params,
    grads: Params,
    state: Params,
    learning_rate: float,
    epsilon: float,
) -> tuple[Params, Params]:
    """Return (params, state) after one step.

    ``theta - learning_rate * m_hat / (sqrt(v_hat) + epsilon)``, with m_hat and v_hat the moments
    corrected for their start at zero.
    """
    count = state["step"] + 1
    # 1 - beta**count, which in 32 bits would lose half of its digits
    mean_scale = learning_rate / -xp.expm1(count * math.log(BETA_1))
    square_scale = 1 / -xp.expm1(count * math.log(BETA_2))
    new_params, new_state = {}, {"step": count}
    for name, grad in grads.items():
        mean = BETA_1 * state[f"mean.{name}"] + (1 - BETA_1) * grad
        square = BETA_2 * state[f"square.{name}"] + (1 - BETA_2) * (grad * grad)
        new_state[f"mean.{name}"], new_state[f"square.{name}"] = mean, square
        new_params[name] = params[name] - mean_scale * mean / (xp.sqrt(square * square_scale) + epsilon)
    return new_params, new_state
