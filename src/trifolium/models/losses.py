"""Targets and losses as pure functions in the array API.

Suffixes give the time: ``q_tm1`` are the action values of the state acted in, ``q_t`` those of
the state that followed, ``r_t`` the reward between them. B is the batch size, A the number of actions;
columns are [B, 1]. Quantile losses have N quantiles of the return, and N' samples of the target's.
"""

from typing import Any

from trifolium.backend import AnyArray, Params

__all__ = [
    "chosen",
    "chosen_quantiles",
    "clipped",
    "double_q_target",
    "huber",
    "q_target",
    "quantile_huber",
    "weighted_mean",
]


def chosen(xp: Any, values: AnyArray, actions: AnyArray) -> AnyArray:
    """Return the ``values`` [B, A] of ``actions`` [B, 1]: [B, 1]."""
    return xp.take_along_axis(values, actions, axis=1)


def chosen_quantiles(xp: Any, quantiles: AnyArray, actions: AnyArray) -> AnyArray:
    """Return the quantiles [B, N] of ``actions`` [B, 1] out of ``quantiles`` [B, N, A]."""
    batch, count, size = quantiles.shape
    every = xp.reshape(quantiles, (batch * count, size))
    repeated = xp.reshape(xp.broadcast_to(actions, (batch, count)), (batch * count, 1))
    return xp.reshape(chosen(xp, every, repeated), (batch, count))


def double_q_target(
    xp: Any, r_t: AnyArray, discount_t: AnyArray, q_t_selector: AnyArray, q_t_value: AnyArray
) -> AnyArray:
    """Return the double Q-learning target [B, 1] (van Hasselt et al. 2016, section "Double DQN").

    ``r_t + discount_t * q_t_value[argmax_a q_t_selector[a]]``

    Args:
        xp: array namespace.
        r_t: [B, 1], rewards, summed over n steps.
        discount_t: [B, 1], gamma ** k, 0 where the episode terminated.
        q_t_selector: [B, A], action values that choose the next action (the online network's).
        q_t_value: [B, A], action values that rate it (the target network's).
    """
    best = xp.argmax(q_t_selector, axis=1, keepdims=True)
    return r_t + discount_t * chosen(xp, q_t_value, best)


def q_target(xp: Any, r_t: AnyArray, discount_t: AnyArray, q_t: AnyArray) -> AnyArray:
    """Return the Q-learning target [B, 1] (Mnih et al. 2015): ``r_t + discount_t * max_a q_t[a]``.

    Args:
        xp: array namespace.
        r_t: [B, 1], rewards, summed over n steps.
        discount_t: [B, 1], gamma ** k, 0 where the episode terminated.
        q_t: [B, A], action values (the target network's).
    """
    return r_t + discount_t * xp.max(q_t, axis=1, keepdims=True)


def huber(xp: Any, errors: AnyArray, delta: float) -> AnyArray:
    """Return Huber's loss of each error (Huber 1964): quadratic up to ``delta``, linear beyond.

    ``0.5 e^2`` where ``|e| <= delta``, else ``delta (|e| - 0.5 delta)``.
    """
    size = xp.abs(errors)
    is_large = xp.astype(size > delta, size.dtype)
    # size is multiplied by a difference: XLA turns its product with a comparison into 0 at NaN
    quadratic = (1.0 - is_large) * size + is_large * delta
    return 0.5 * quadratic * quadratic + delta * (size - quadratic)


def quantile_huber(
    xp: Any, quantiles: AnyArray, fractions: AnyArray, target: AnyArray, kappa: float
) -> AnyArray:
    """Return the quantile Huber loss of each row: [B, 1] (Dabney et al. 2018, equation 3).

    ``sum_i mean_j |tau_i - 1{delta_ij < 0}| * huber(delta_ij, kappa) / kappa``, with
    ``delta_ij = target_j - quantile_i``.

    Args:
        xp: array namespace.
        quantiles: [B, N], of the action taken.
        fractions: [B, N], the tau of each quantile.
        target: [B, N'], samples of the return.
        kappa: where Huber's loss turns from quadratic to linear.
    """
    errors = target[:, None, :] - quantiles[:, :, None]
    is_negative = xp.astype(errors < 0, errors.dtype)
    asymmetry = xp.abs(fractions[:, :, None] - is_negative)
    each = asymmetry * huber(xp, errors, kappa) / kappa
    return xp.sum(xp.mean(each, axis=2), axis=1)[:, None]


def weighted_mean(xp: Any, losses: AnyArray, valid: AnyArray, weights: AnyArray) -> AnyArray:
    """Return the mean of ``weights * losses`` over the valid rows: shape (); 0 where there is none.

    Args:
        xp: array namespace.
        losses: [B, 1].
        valid: [B, 1], 1 or 0.
        weights: [B, 1], importance weights.
    """
    total = xp.sum(valid)
    return xp.sum(losses * weights * valid) / xp.maximum(total, xp.ones_like(total))


def clipped(xp: Any, grads: Params, max_norm: float) -> Params:
    """Return ``grads``, scaled down where their norm over all parameters is above ``max_norm``."""
    norm = xp.sqrt(sum(xp.sum(grad * grad) for grad in grads.values()))
    scale = max_norm / xp.maximum(norm, xp.full_like(norm, max_norm))
    return {name: grad * scale for name, grad in grads.items()}
