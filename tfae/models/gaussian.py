"""The bottleneck of variational autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, final

import keras
import tensorflow as tf
from keras import layers, ops

from tfae.losses.loss_parts import Switch, noted
from tfae.models.bottlenecks import Bottleneck, bottlenecks_of, validate_weight

#: Has models be called as in training without being trained: divergences have their full weight in the block.
trying = Switch("trying")

#: What samples of a variational autoencoder can be scored by.
SCORES = ("reconstruction", "negative_elbo")


@final
@keras.saving.register_keras_serializable(package="tfae")
class Gaussian(Bottleneck):
    """Bottleneck of a variational autoencoder: the latent z is drawn from q(z|x) = N(μ, σ²), with prior N(0, 1).

    Beside the reconstruction loss stands ``kl_weight`` · KL(q(z|x) ‖ N(0, 1)), in nats, summed over the units of the
    latent and averaged over the batch:

    KL = ½ Σⱼ (μⱼ² + σⱼ² − 1 − log σⱼ²)

    In training z = μ + σ ε is drawn anew for each sample and step. In inference it is μ, so that scores and exports are
    deterministic.

    Args:
        kl_weight: Weight β of the divergence. With 1 and a loss that is a negative log-likelihood, training minimises
            the negative ELBO.
        kl_warmup: How long the weight rises, in a straight line from 0: a float is a share of the training, at most
            1, and an integer a number of steps. In inference, and so for ``val_loss``, the weight is the full one.
        free_bits: Nats of each unit, in the mean over the batch, below which the divergence costs nothing less.
        score: What samples are scored by: ``"reconstruction"``, the loss of the reconstruction from μ; or
            ``"negative_elbo"``, the sum of that and of the divergence.
        latent_dim: Width of the latent; None for the ``latent_dim`` of the builder.
        warmup_steps: What a share in ``kl_warmup`` comes to; :func:`tfae.training.compile` sets it.
        seed: Of the draws; None for a random one, which ``keras.utils.set_random_seed`` sets.
        name: Of the layer.
        **kwargs: As for every Keras layer.

    Raises:
        ValueError: If an argument is out of its range; in training, if ``kl_warmup`` is a share of unknown length.

    Example:
        >>> from tfae.models import dense
        >>> vae = dense((8,), latent_dim=2, bottleneck=Gaussian(kl_weight=0.5))
        >>> vae.get_layer("encoder").layers[-1].kl_weight
        0.5

    Reference:
        Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014. Higgins et al., beta-VAE, ICLR 2017. Bowman et
        al., Generating Sentences from a Continuous Space, 2016 (the warm-up). Kingma et al., Improved Variational
        Inference with Inverse Autoregressive Flow, NeurIPS 2016 (free bits).
    """

    def __init__(
        self,
        kl_weight: float = 1.0,
        *,
        kl_warmup: float | int = 0,
        free_bits: float = 0.0,
        score: Literal["reconstruction", "negative_elbo"] = "reconstruction",
        latent_dim: int | None = None,
        warmup_steps: int | None = None,
        seed: int | None = None,
        name: str = "gaussian",
        **kwargs: Any,
    ) -> None:
        super().__init__(latent_dim, name=name, **kwargs)
        self.kl_weight = validate_weight("kl_weight", kl_weight)
        self.kl_warmup = validate_weight("kl_warmup", kl_warmup)
        self.free_bits = validate_weight("free_bits", free_bits)
        if isinstance(kl_warmup, float) and kl_warmup > 1:
            raise ValueError(
                f"kl_warmup: expected a share of the training, at most 1.0, or an integer number of steps; received "
                f"{kl_warmup!r}."
            )
        if score not in SCORES:
            raise ValueError(f"score: expected {' or '.join(map(repr, SCORES))}; received {score!r}.")
        self.score, self.seed = score, seed
        self.warmup_steps = kl_warmup if isinstance(kl_warmup, int) else warmup_steps
        self.mean = layers.Dense(latent_dim or 1, dtype=self.dtype_policy, name="mean")
        self.log_variance = layers.Dense(latent_dim or 1, dtype=self.dtype_policy, name="log_variance")
        self._seeds = keras.random.SeedGenerator(seed)

    @property
    def parts(self) -> tuple[str, ...]:
        """The divergence and, where its weight is not 1 throughout, what it adds to the loss."""
        is_whole = self.kl_weight == 1 and not self.kl_warmup and not self.free_bits
        return ("kl",) if is_whole else ("kl", "kl_penalty")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights of the two linear layers and, for a warm-up, the number of steps so far."""
        super().build(input_shape)
        self.mean.build(input_shape)
        self.log_variance.build(input_shape)
        if self.kl_warmup:
            self.steps = self.add_weight((), "zeros", "int32", trainable=False, name="steps")

    def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the latent, ``(batch, latent_dim)``, of features, ``(batch, num_features)``: drawn in training."""
        mean = ops.cast(self.mean(features), "float32")
        log_variance = ops.cast(self.log_variance(features), "float32")
        of_units = ops.mean(kl_divergence(mean, log_variance), axis=0)
        penalty = self._weight(training) * ops.sum(ops.maximum(of_units, self.free_bits))
        self.add_loss(penalty)
        self.note("kl", ops.sum(of_units))
        self.note("kl_penalty", penalty)
        self.note("posterior", ops.stack([mean, log_variance], axis=1))
        if training:
            # XLA's own choice on a CPU, ThreeFry, would take a fifth of the time of a dense model's step.
            seed = tf.cast(self._seeds.next(), "int32")
            noise = tf.random.stateless_normal(tf.shape(mean), seed, alg="philox")
            mean = mean + ops.exp(log_variance / 2) * noise
        return ops.cast(mean, self.compute_dtype)

    def _weight(self, training: bool) -> Any:
        if not self.kl_warmup or not training or trying:
            return self.kl_weight
        if self.warmup_steps is None:
            raise ValueError(
                f"kl_warmup: expected steps, an integer, where the length of the training is not known; received the "
                f"share {self.kl_warmup}. Compile the model with tfae.training.compile, which knows it."
            )
        share = ops.minimum(ops.cast(self.steps, "float32") / max(1, self.warmup_steps), 1.0)
        self.steps.assign_add(1)
        return self.kl_weight * share

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal layer."""
        names = ("kl_weight", "kl_warmup", "free_bits", "score", "warmup_steps", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def kl_divergence(mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """Return KL(N(μ, σ²) ‖ N(0, 1)) in nats of each unit, of the shape of both.

    Example:
        >>> float(kl_divergence(ops.ones(()), ops.zeros(())))
        0.5
    """
    # σ² − 1 would cancel where the posterior is near the prior.
    return (mean**2 + (ops.expm1(log_variance) - log_variance)) / 2


def rate_per_sample(loss: Any, x: tf.Tensor, posterior: tf.Tensor) -> tf.Tensor:
    """Return what the divergence adds to the negative ELBO, ``(batch,)``: per element, if the loss is a mean."""
    mean, log_variance = tf.unstack(posterior, axis=1)
    rate = ops.sum(kl_divergence(mean, log_variance), axis=-1)
    return rate if loss.sample_reduction == "sum" else rate / tf.cast(tf.reduce_prod(tf.shape(x)[1:]), rate.dtype)


def find_gaussian(model: keras.Model) -> Gaussian | None:
    """Return the Gaussian bottleneck of a model; None unless it has exactly one."""
    found = [layer for layer in bottlenecks_of(model) if isinstance(layer, Gaussian)]
    return found[0] if len(found) == 1 else None


def tell_length(model: keras.Model, num_steps: int) -> None:
    """Tell the Gaussian bottlenecks of a model how many steps the training has of which ``kl_warmup`` is a share."""
    for layer in bottlenecks_of(model):
        if isinstance(layer, Gaussian) and isinstance(layer.kl_warmup, float):
            layer.warmup_steps = round(layer.kl_warmup * num_steps)


def scores_by_elbo(autoencoder: keras.Model) -> bool:
    """Return whether samples are scored by the negative ELBO at the mean."""
    gaussian = find_gaussian(autoencoder)
    return gaussian is not None and gaussian.score == "negative_elbo"


def find_posterior(autoencoder: keras.Model) -> Callable[..., tf.Tensor] | None:
    """Return the function from samples to μ and log σ² of latents, ``(batch, 2, latent_dim)``, if there is one."""
    gaussian = find_gaussian(autoencoder)
    if gaussian is None:
        return None

    def compute_posterior(x: tf.Tensor, training: bool = False) -> tf.Tensor:
        autoencoder(x, training=training)
        return noted(f"{gaussian.name}/posterior")

    return compute_posterior
