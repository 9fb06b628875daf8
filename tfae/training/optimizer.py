"""Adam as it trains autoencoders fastest: a high peak of the learning rate, warmed up to, and a decay to zero."""

from __future__ import annotations

import math

import keras

from tfae.losses import ReconstructionLoss

#: Peak of the learning rate. Chosen with the rest of the recipe by ``benchmarks/schedule.py``, on validation data.
LEARNING_RATE = 5e-3
_BETA_2 = 0.99
# Of all steps; where these are few, so many, and at most a fifth: the moments of Adam need them.
_WARM_UP = 0.05
_WARM_UP_STEPS = 100


def adam(num_steps: int, *, learning_rate: float = LEARNING_RATE) -> keras.optimizers.Adam:
    """Return Adam with the learning rates that suit a training of so many steps.

    Args:
        num_steps: Batches of an epoch, times epochs; the learning rate is 0 after them.
        learning_rate: Its peak.

    Example:
        >>> optimizer = adam(1000, learning_rate=0.01)
        >>> half_way_down = optimizer.iterations.assign(550)
        >>> round(float(optimizer.learning_rate), 4)
        0.005

    Reference:
        Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017 (the cosine); Goyal et al.,
        Accurate, Large Minibatch SGD, 2017 (the warm-up).
    """
    num_warm_up = max(1, round(min(max(_WARM_UP * num_steps, _WARM_UP_STEPS), num_steps / 5)))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, num_steps - num_warm_up), warmup_target=learning_rate, warmup_steps=num_warm_up
    )
    return keras.optimizers.Adam(schedule, beta_2=_BETA_2)


def scale_loss(autoencoder: keras.Model) -> None:
    """Let the loss scaling of ``mixed_float16`` start where a sum over elements does not overflow float16.

    Keras multiplies the loss by 2¹⁵ and halves that at every step whose gradients overflow, none of which moves a
    weight. A sum over n elements is n times the mean that 2¹⁵ was made for, and starts n times lower here.

    Args:
        autoencoder: Compiled with a loss of :mod:`tfae.losses`, and not trained yet.
    """
    optimizer, loss = autoencoder.optimizer, autoencoder.loss
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or not isinstance(loss, ReconstructionLoss):
        return
    if loss.sample_reduction == "mean":
        return
    if not optimizer.built:  # It would make its variables anew.
        optimizer.build(autoencoder.trainable_variables)
    if int(optimizer.inner_optimizer.iterations) == 0:
        num_elements = math.prod(autoencoder.output_shape[1:])
        # A power of 2 loses no digits.
        optimizer.dynamic_scale.assign(2.0 ** (15 - math.ceil(math.log2(num_elements))))
