"""Bounds of the likelihood that a variational autoencoder gives its samples, by draws of their latents."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tfae.evaluation.batches import Batch
from tfae.losses import ReconstructionLoss

#: Draws of each latent where the evaluation of a run asks for bounds.
NUM_DRAWS = 16


@dataclasses.dataclass(frozen=True)
class Draws:
    """How bounds are estimated: by K draws z of q(z|x) for each sample, in memory that does not grow with K."""

    #: From latents to outputs, or why there is no such model.
    decoder: Any
    #: K; 0 to draw nothing.
    num_draws: int
    seed: int

    def measure(self, batch: Batch, loss: ReconstructionLoss) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the distortion and the importance-weighted bound of each sample, both ``(batch,)``.

        distortion = (1/K) Σ −log p(x|z);  bound = −log (1/K) Σ p(x|z) p(z) / q(z|x)

        −log p(x|z) is the loss, summed over elements.
        """
        mean, log_variance = tf.unstack(batch.posterior, axis=1)

        def draw(
            number: tf.Tensor, distortion: tf.Tensor, largest: tf.Tensor, rest: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
            counted = tf.cast(batch.index, "int64") * self.num_draws + tf.cast(number, "int64")
            seed = tf.stack([tf.constant(self.seed, "int64"), counted])
            noise = tf.random.stateless_normal(tf.shape(mean), seed)
            latent = mean + tf.exp(log_variance / 2) * noise
            losses = tf.cast(loss.per_sample(batch.x, self.decoder(latent, training=False), mask=batch.mask), "float32")
            # Of the two normal densities, 2π cancels.
            log_prior_ratio = tf.reduce_sum(noise**2 + log_variance - latent**2, axis=1) / 2
            log_weight = log_prior_ratio - losses
            above = tf.maximum(largest, log_weight)  # exp of the weights themselves would underflow.
            rest = rest * tf.exp(largest - above) + tf.exp(log_weight - above)
            return number + 1, distortion + losses, above, rest

        zeros = tf.zeros(tf.shape(mean)[:1])
        _, distortion, largest, rest = tf.while_loop(
            lambda number, *_: number < self.num_draws,
            draw,
            (tf.constant(0), zeros, zeros - float("inf"), zeros),
            parallel_iterations=1,
        )
        return distortion / self.num_draws, tf.math.log(float(self.num_draws)) - largest - tf.math.log(rest)
