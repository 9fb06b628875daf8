"""The domain of a loss, and what a loss can say of samples outside where nothing else sees them: in Keras's ``fit``."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tfae.losses.loss_parts import Switch

#: How far rounding may take a sample beyond the edge of a loss's domain, in model space.
DOMAIN_TOLERANCE = 1e-5

#: Nats per element by which rounding may take a loss below the least: a sample may leave its domain by 10⁻⁵.
_TOLERANCE = 0.1

#: Leaves :func:`validate_domain` out of what is traced in the block, of which the data is checked before.
checked_domain = Switch("checked_domain")


def is_within(span: tuple[float, float], interval: tuple[float, float] | None) -> bool:
    """Return whether values from the first to the second number are in an interval but for rounding; None holds all."""
    return interval is None or (span[0] >= interval[0] - DOMAIN_TOLERANCE and span[1] <= interval[1] + DOMAIN_TOLERANCE)


def validate_domain(values: tf.Tensor, x: tf.Tensor, loss: Any, *, is_weighted: bool) -> tf.Tensor:
    """Return per-sample losses ``(batch,)``, which only samples outside of the domain take below the least one.

    Of all that could be looked at this is the least: a number per sample, not the samples. An assertion stops eager
    execution and graphs. XLA, which Keras compiles with where it can, drops assertions, and gets NaN instead.
    """
    if checked_domain or loss.lower_bound is None or (is_weighted and loss.lower_bound != 0):
        return values
    num_elements = tf.reduce_prod(tf.shape(x)[1:]) if loss.sample_reduction == "sum" else 1
    are_outside = values < (loss.lower_bound - _TOLERANCE) * tf.cast(num_elements, values.dtype)
    low, high = loss.domain
    remedy = "Scale them, by" if math.isfinite(high) else "Give them as they are, by"
    scaling = "unit" if math.isfinite(high) else "none"
    message = [
        f"{loss.name}: expected samples in [{low:g}, {high:g}]; received some outside, where it has no lower bound. "
        f'{remedy} tfae.datasets.load(x, preprocessing="{scaling}") for instance. Losses:',
        values,
    ]
    assertion = tf.debugging.Assert(tf.logical_not(tf.reduce_any(are_outside)), message)
    with tf.control_dependencies([] if assertion is None else [assertion]):  # Eagerly it raises by itself.
        return tf.where(are_outside, tf.constant(float("nan"), values.dtype), values)
