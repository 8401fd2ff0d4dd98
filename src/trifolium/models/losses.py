"""Targets and losses as pure functions in the array API.

Names follow the time of things: ``q_tm1`` are the action values of the state acted in, ``q_t`` those of
the state that followed, ``r_t`` the reward between them. B is the batch size, A the number of actions;
columns are [B, 1].
"""

from typing import Any

from trifolium.backend import Array, device_of

__all__ = ["chosen", "double_q_target", "huber", "weighted_mean"]


def chosen(xp: Any, values: Array, actions: Array) -> Array:
    """Return the ``values`` [B, A] of ``actions`` [B, 1]: [B, 1]."""
    columns = xp.arange(values.shape[1], dtype=actions.dtype, device=device_of(actions))
    is_chosen = xp.astype(actions == columns[None, :], values.dtype)
    return xp.sum(values * is_chosen, axis=1, keepdims=True)


def double_q_target(
    xp: Any, r_t: Array, discount_t: Array, q_t_selector: Array, q_t_value: Array
) -> Array:
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


def huber(xp: Any, errors: Array, delta: float) -> Array:
    """Return Huber's loss of each error (Huber 1964): quadratic up to ``delta``, linear beyond.

    ``0.5 e^2`` where ``|e| <= delta``, else ``delta (|e| - 0.5 delta)``.
    """
    size = xp.abs(errors)
    quadratic = xp.minimum(size, xp.full_like(size, delta))
    return 0.5 * quadratic * quadratic + delta * (size - quadratic)


def weighted_mean(xp: Any, losses: Array, valid: Array, weights: Array) -> Array:
    """Return the mean of ``weights * losses`` over the valid rows: shape (); 0 where there is none.

    Args:
        xp: array namespace.
        losses: [B, 1].
        valid: [B, 1], 1 or 0.
        weights: [B, 1], importance weights.
    """
    count = xp.maximum(xp.sum(valid), xp.ones_like(xp.sum(valid)))
    return xp.sum(losses * weights * valid) / count
