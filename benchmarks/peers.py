"""What a user might train the same autoencoder with instead; the extra ``bench`` installs it."""

import itertools
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH_SIZE = 128
WIDTHS = (512, 128)
LATENT_DIM = 32


def some_images(num_images: int) -> np.ndarray:
    """Images ``(n, 28, 28, 1)``, uint8, of noise: what they show does not matter here."""
    return np.random.default_rng(0).integers(0, 256, (num_images, 28, 28, 1)).astype(np.uint8)


def torch_dense(num_images: int) -> Callable[[], float]:
    """PyTorch as it comes, with its fused Adam: raw bytes in memory, a gather and a scaling per batch."""
    import torch

    images = some_images(num_images)
    model = _torch_dense(images[0].size)
    return _torch_epoch(torch.from_numpy(images.reshape(len(images), -1)), model)


def torch_convolutional(num_images: int, latent_dim: int) -> Callable[[], float]:
    """PyTorch with channels_last, the layout that is fast on CPUs; the model is that of ``models.convolutional``."""
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, latent_dim),
        nn.Linear(latent_dim, 64 * 7 * 7),
        nn.ReLU(),
        nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 64, 3, 2, 1, output_padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 3, 2, 1, output_padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 3, 1, 1),
    ).to(memory_format=torch.channels_last)
    samples = torch.from_numpy(some_images(num_images)).permute(0, 3, 1, 2)
    return _torch_epoch(samples, model)


def pyod(num_images: int) -> Callable[[], float]:
    """The training loop of PyOD's AutoEncoder, without batch norm and dropout, which the others have not."""
    import torch
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.base_dl import TorchDataset

    samples = some_images(num_images).reshape(num_images, -1) / np.float32(255)
    detector = AutoEncoder(
        epoch_num=1,
        batch_size=BATCH_SIZE,
        preprocessing=False,
        verbose=0,
        hidden_neuron_list=[*WIDTHS, LATENT_DIM],
        batch_norm=False,
        dropout_rate=0.0,
    )
    detector.data_num, detector.feature_size = samples.shape
    detector.build_model()
    detector.training_prepare()
    loader = torch.utils.data.DataLoader(TorchDataset(samples), batch_size=BATCH_SIZE, shuffle=True, drop_last=True)

    def epoch() -> float:
        detector.train(loader)
        return len(samples) // BATCH_SIZE * BATCH_SIZE

    return epoch


def keras_variational(features: Any, decoder: Any, latent_dim: int) -> Any:
    """Keras's example of a variational autoencoder, with its own sampling layer, train_step and optimizer.

    ``features`` is the model in front of mean and logarithm of the variance, ``decoder`` that from the latent to
    probabilities.
    """
    import keras
    import tensorflow as tf
    from keras import layers, ops

    class Sampling(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(0)

        def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            mean, log_variance = inputs
            return mean + ops.exp(log_variance / 2) * keras.random.normal(ops.shape(mean), seed=self.seed_generator)

    class Variational(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            mean, log_variance = layers.Dense(latent_dim)(features.output), layers.Dense(latent_dim)(features.output)
            self.encoder = keras.Model(features.input, [mean, log_variance, Sampling()([mean, log_variance])])
            self.decoder = decoder
            self.trackers = [keras.metrics.Mean(name) for name in ("loss", "reconstruction", "kl")]

        def train_step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.GradientTape() as tape:
                mean, log_variance, latent = self.encoder(x)
                crossentropy = keras.losses.binary_crossentropy(x, self.decoder(latent))
                reconstruction = ops.mean(ops.sum(crossentropy, axis=(1, 2)))
                kl = ops.mean(ops.sum(-0.5 * (1 + log_variance - mean**2 - ops.exp(log_variance)), axis=1))
                total = reconstruction + kl
            gradients = tape.gradient(total, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            for tracker, value in zip(self.trackers, (total, reconstruction, kl), strict=True):
                tracker.update_state(value)
            return {tracker.name: tracker.result() for tracker in self.trackers}

    model = Variational()
    model.compile("adam")
    return model


def keras_dense_variational(num_images: int) -> Callable[[], float]:
    """The dense model in Keras's example of a variational autoencoder."""
    import keras
    from keras import layers

    inputs = keras.Input((28, 28, 1))
    x = layers.Flatten()(inputs)
    for width in WIDTHS:
        x = layers.Dense(width, "relu")(x)
    features = keras.Model(inputs, x)
    inputs = x = keras.Input((LATENT_DIM,))
    for width in WIDTHS[::-1]:
        x = layers.Dense(width, "relu")(x)
    decoder = keras.Model(inputs, layers.Reshape((28, 28, 1))(layers.Dense(784, "sigmoid")(x)))
    model = keras_variational(features, decoder, LATENT_DIM)
    x = some_images(num_images) / np.float32(255)

    def epoch() -> float:
        model.fit(x, batch_size=BATCH_SIZE, verbose=0)
        return len(x)

    return epoch


def pythae(num_images: int, *, variational: bool = False) -> Callable[[], float]:
    """The training step of pythae's trainer on its AE, or its VAE."""
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import AE, VAE, AEConfig, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    images = some_images(num_images)
    layers = list(_torch_dense(images[0].size))
    middle = len(layers) // 2

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(*layers[:middle])
            self.log_variance = torch.nn.Linear(WIDTHS[-1], LATENT_DIM)

        def forward(self, x: torch.Tensor) -> ModelOutput:
            if not variational:
                return ModelOutput(embedding=self.layers(x.flatten(1)))
            h = self.layers[:-1](x.flatten(1))
            return ModelOutput(embedding=self.layers[-1](h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(*layers[middle:], *([torch.nn.Sigmoid()] if variational else []))

        def forward(self, z: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.layers(z))

    samples = torch.from_numpy(images.reshape(len(images), -1) / np.float32(255))
    options = {"input_dim": (samples.shape[1],), "latent_dim": LATENT_DIM}
    model = (
        VAE(VAEConfig(**options, reconstruction_loss="bce"), Encoder(), Decoder())
        if variational
        else AE(AEConfig(**options), Encoder(), Decoder())
    )
    trainer = BaseTrainer(
        model,
        train_dataset=BaseDataset(samples, torch.zeros(len(samples))),
        training_config=BaseTrainerConfig(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=1e-3,
            no_cuda=True,
            num_epochs=1,
        ),
    )
    trainer.prepare_training()

    def epoch() -> float:
        trainer.train_step(1)
        return len(samples)

    return epoch


def _torch_dense(num_elements: int):  # type: ignore[no-untyped-def]  # torch is an extra
    from torch import nn

    widths = (num_elements, *WIDTHS, LATENT_DIM)
    pairs = [*itertools.pairwise(widths), *itertools.pairwise(widths[::-1])]
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairs):
        layers.append(nn.Linear(inputs, outputs))
        if index not in (len(WIDTHS), len(pairs) - 1):  # The code and the output are linear.
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _torch_epoch(samples, model) -> Callable[[], float]:  # type: ignore[no-untyped-def]
    import torch

    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def epoch() -> float:
        for indices in torch.randperm(len(samples)).split(BATCH_SIZE):
            x = samples[indices].float() / 255
            loss = (model(x) - x).square().flatten(1).sum(1).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return len(samples)

    return epoch
