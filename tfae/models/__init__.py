"""Autoencoders as functional Keras models, with sub-models named "encoder" and "decoder".

A model knows its shapes and its output activation, never its loss; `compile` brings the two together:

    loss = tfae.losses.BinaryCrossentropy(from_logits=True)
    activation = loss.output_activation(data.output_range)
    autoencoder = tfae.models.dense(data.shape, latent_dim=16, output_activation=activation)
    autoencoder.compile(optimizer="adam", loss=loss)
"""

from tfae.models.bottlenecks import Bottleneck, Sparse, bottlenecks_of
from tfae.models.builders import convolutional, default_latent_dim, dense
from tfae.models.denoiser import Denoiser, denoiser
from tfae.models.gaussian import Gaussian
from tfae.models.generation import interpolate, sample, traverse
from tfae.models.standardized import StandardizedScore
from tfae.models.structure import select_output

__all__ = [
    "Bottleneck",
    "Denoiser",
    "Gaussian",
    "Sparse",
    "StandardizedScore",
    "bottlenecks_of",
    "convolutional",
    "default_latent_dim",
    "denoiser",
    "dense",
    "interpolate",
    "sample",
    "select_output",
    "traverse",
]
