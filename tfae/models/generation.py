"""New samples of a variational autoencoder, in model space: ``data.preprocessing.inverse`` takes them to data space."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt

from tfae.losses.registry import get_loss
from tfae.models.gaussian import find_posterior, kl_divergence
from tfae.models.structure import find_decoder, sample_shape_of

_BATCH = 1024
#: Nats of divergence from which on a unit tells something of a sample.
_TELLING = 0.01


def sample(vae: keras.Model, num_samples: int, *, seed: int = 0) -> np.ndarray:
    """Draw latents from the prior, and return the means of what they are decoded to.

    Args:
        vae: Variational autoencoder, compiled with a loss of :mod:`tfae.losses`.
        num_samples: How many, 1 or more.
        seed: Of the latents.

    Returns:
        float32 ``(num_samples, *sample_shape)``, in model space.

    Raises:
        ValueError: If the model has no Gaussian bottleneck, or no decoder.

    Example:
        >>> import tfae
        >>> vae = tfae.models.dense((8,), latent_dim=2, bottleneck=tfae.models.Gaussian())
        >>> vae.compile("adam", loss=tfae.losses.SquaredError())
        >>> sample(vae, 3).shape
        (3, 8)
    """
    if num_samples < 1:
        raise ValueError(f"num_samples: expected 1 or more; received {num_samples}.")
    return decode(vae, np.random.default_rng(seed).normal(size=(num_samples, latent_dim_of_prior(vae))))


def interpolate(vae: keras.Model, first: npt.ArrayLike, second: npt.ArrayLike, *, num_steps: int = 8) -> np.ndarray:
    """Decode the points of a straight line between the latents of two samples.

    Args:
        vae: As of :func:`sample`.
        first, second: Samples in model space, ``(*sample_shape)``.
        num_steps: How many points, both ends among them, 2 or more.

    Returns:
        float32 ``(num_steps, *sample_shape)``, in model space.
    """
    if num_steps < 2:
        raise ValueError(f"num_steps: expected 2 or more, both ends among them; received {num_steps}.")
    ends, _ = _posterior_of(vae, np.stack([np.asarray(first, "float32"), np.asarray(second, "float32")]))
    return decode(vae, np.linspace(ends[0], ends[1], num_steps))


def traverse(
    vae: keras.Model,
    x: npt.ArrayLike,
    *,
    units: Sequence[int] | None = None,
    values: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
) -> tuple[np.ndarray, list[int]]:
    """Decode the latent of a sample with one unit after the other set to other values.

    Args:
        vae: As of :func:`sample`.
        x: Sample in model space, ``(*sample_shape)``.
        units: Which units of the latent, counted from 0; None for up to eight that tell most of the sample, by the
            divergence of their posterior from the prior, and more than 0.01 nats, or for the first one where none is.
        values: What they are set to; the prior has mean 0 and standard deviation 1.

    Returns:
        float32 ``(num_units, num_values, *sample_shape)``, in model space, and the units.
    """
    mean, log_variance = _posterior_of(vae, np.asarray(x, "float32")[None])
    if units is None:
        nats = np.asarray(kl_divergence(mean, log_variance))[0]
        order = np.argsort(-nats, kind="stable")[:8].tolist()
        units = [unit for unit in order if nats[unit] > _TELLING] or order[:1]
    if not len(units) or not 0 <= min(units) <= max(units) < mean.shape[1]:
        raise ValueError(f"units: expected some of 0 to {mean.shape[1] - 1}; received {units}.")
    latents = np.tile(mean, (len(units), len(values), 1))
    for row, unit in enumerate(units):
        latents[row, :, unit] = values
    return decode(vae, latents), list(units)


def decode(vae: keras.Model, latents: npt.ArrayLike) -> np.ndarray:
    """Return what latents ``(..., latent_dim)`` are decoded to, float32 ``(..., *sample_shape)`` in model space."""
    decoder = find_decoder(vae, _shape_of(vae))
    if isinstance(decoder, str):
        raise ValueError(f"vae: expected a model that can decode latents; received one that can not: {decoder}.")
    latents = np.asarray(latents, "float32")
    rows, loss = latents.reshape(-1, latents.shape[-1]), get_loss(vae)
    found = [
        np.asarray(loss.reconstruction(decoder(rows[start : start + _BATCH], training=False)), "float32")
        for start in range(0, len(rows), _BATCH)
    ]
    return np.concatenate(found).reshape(*latents.shape[:-1], *found[0].shape[1:])


def latent_dim_of_prior(vae: keras.Model) -> int:
    """Return how many units the latent of a variational autoencoder has."""
    return _posterior_of(vae, np.zeros((1, *_shape_of(vae)), "float32"))[0].shape[-1]


def _posterior_of(vae: keras.Model, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and logarithms of the variances of the latents of samples."""
    posterior = find_posterior(vae)
    if posterior is None:
        raise ValueError(
            "vae: expected a model with one Gaussian bottleneck, whose prior says how latents are distributed; "
            "received one without. Build it with bottleneck=tfae.models.Gaussian()."
        )
    mean, log_variance = np.moveaxis(np.asarray(posterior(x)), 1, 0)
    return mean, log_variance


def _shape_of(vae: keras.Model) -> tuple[int, ...]:
    shape = sample_shape_of(vae)
    if shape is None or None in shape:
        raise ValueError(f"vae: expected a model for samples of one shape; received one for {shape}.")
    return tuple(side for side in shape if side is not None)
