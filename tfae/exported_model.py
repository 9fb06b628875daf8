"""An autoencoder with its preprocessing, as what is exported sees it."""

from __future__ import annotations

import abc
from typing import Any

import keras
import tensorflow as tf

from tfae.columns import REST, Column
from tfae.models.gaussian import find_posterior, rate_per_sample, scores_by_elbo
from tfae.models.structure import find_decoder, find_encoder, latent_shape_of
from tfae.signatures import RECONSTRUCTION, WIDENED, TensorKind


class ExportedModel(abc.ABC):
    """An autoencoder with its preprocessing, as the function of a signature sees it.

    The function runs twice: traced into the graph that is served, where the methods also validate the inputs, and
    eagerly on the Keras model, whose answers the served ones have to equal.

    Attributes:
        autoencoder: The Keras model. Call it, its encoder and its decoder through the methods here, which keep account
            of rounding.
        loss: The reconstruction loss that it is compiled with.
        preprocessing: From data space to model space.
        calibration: What makes scores p-values and alarms, a :class:`tfae.detection.Calibration`; None without one.
        sample_shape: Of one sample in data space.
        columns: Of a table with names; each is an input and an output of its own.
        allows_gaps: Whether values of a table may be missing.
        latent_shape: Of one latent; None for a model without an encoder that emits one.
        sample_dtype: Name of the dtype in which samples are served.
        takes_images: Whether samples can come as PNG or JPEG files.
        can_encode: Whether the model has an encoder that emits one latent.
        can_decode: Whether the model has a decoder that makes the latent its reconstruction.
        is_variational: Whether a Gaussian bottleneck says how the latent of a sample is distributed.
    """

    def __init__(self, autoencoder: keras.Model, preprocessing: Any, calibration: Any = None) -> None:
        self.autoencoder = autoencoder
        self.loss: Any = autoencoder.loss
        self.preprocessing = preprocessing
        self.calibration: Any = calibration
        self.sample_shape: tuple[int, ...] = preprocessing.sample_shape
        self.columns: tuple[Column, ...] = preprocessing.columns
        self.allows_gaps: bool = preprocessing.fill is not None
        self.sample_dtype: str = WIDENED.get(preprocessing.sample_dtype, preprocessing.sample_dtype)
        shape = preprocessing.model_shape
        encoder, decoder = find_encoder(autoencoder, shape), find_decoder(autoencoder, shape)
        self._encoder: Any = None if isinstance(encoder, str) else encoder
        self._decoder: Any = None if isinstance(decoder, str) else decoder
        self._posterior: Any = find_posterior(autoencoder)
        self._scores_by_elbo = scores_by_elbo(autoencoder)
        self._scorer: Any = None
        if hasattr(autoencoder, "score_elements"):
            self._scorer = lambda x, training: autoencoder.score_elements(x)
        shape = latent_shape_of(autoencoder, shape)
        self.latent_shape: Any = None if isinstance(shape, str) else shape
        is_image = len(self.sample_shape) == 3 and self.sample_shape[-1] in (1, 3, 4)
        self.takes_images = is_image and self.sample_dtype == "uint8"
        self.can_encode, self.can_decode = self._encoder is not None, self._decoder is not None
        self.is_variational = self._posterior is not None

    def column_dtype(self, column: Column, kind: TensorKind) -> str:
        """Name of the dtype of a column as an input, or as a reconstruction."""
        if column.kind == "category":
            return "string"
        if column.kind == "yes/no" and self.preprocessing.is_mixed:
            return "bool" if kind is RECONSTRUCTION or not self.allows_gaps else "float64"
        return kind.dtype_name(self)

    @abc.abstractmethod
    def _run(self, model: keras.Model, x: tf.Tensor) -> tf.Tensor:
        """Output of the autoencoder, its encoder or its decoder."""

    def to_model_space(self, inputs: tf.Tensor) -> tf.Tensor:
        """Samples in model space, float32; served ones have to be finite, and of a table are a dict of its columns."""
        return self.preprocessing(inputs)

    def require_domain(self, x: tf.Tensor) -> tf.Tensor:
        """``x`` in model space; served samples have to be where the loss is defined."""
        return x

    def encode(self, x: tf.Tensor) -> tf.Tensor:
        """Latents ``(batch, *latent_shape)`` of samples in model space."""
        return self._run(self._encoder, x)

    def embed(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Latents of samples in data space and, of a variational autoencoder, the deviations of their posterior."""
        x = self.to_model_space(inputs)
        if self._posterior is None:
            return {"embedding": self.encode(x)}
        mean, log_variance = tf.unstack(self._run(self._posterior, x), axis=1)
        return {"embedding": mean, "embedding_deviation": tf.exp(log_variance / 2)}

    def decode(self, latent: tf.Tensor, name: str = "embedding") -> tf.Tensor:
        """Outputs of the network, ``(batch, *sample_shape)``, for latents, an input; served ones have to be finite."""
        return self._run(self._decoder, latent)

    def forward(self, x: tf.Tensor) -> tf.Tensor:
        """Outputs of the network, ``(batch, *sample_shape)``, for samples in model space."""
        return self._run(self.autoencoder, x)

    def parse_examples(self, examples: tf.Tensor) -> tf.Tensor:
        """Samples in data space from serialized ``tf.train.Example``; Keras is given the samples themselves."""
        return examples

    def decode_images(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """Samples in data space from PNG or JPEG files; Keras is given the samples themselves."""
        return image_bytes

    def to_data_space(self, output: tf.Tensor) -> dict[str, tf.Tensor]:
        """Reconstructions in data space from outputs of the network: ``reconstruction``, or a table's columns."""
        found = self.preprocessing.inverse(self.loss.reconstruction(output))
        if not self.columns:
            return {"reconstruction": found}
        return {column.name: self._from_number(column, found[:, index]) for index, column in enumerate(self.columns)}

    def _from_number(self, column: Column, numbers: tf.Tensor) -> tf.Tensor:
        if column.kind == "category":
            return tf.gather([*column.vocabulary, REST], tf.cast(numbers, "int32") % (len(column.vocabulary) + 1))
        return tf.cast(numbers, self.column_dtype(column, RECONSTRUCTION))

    def to_samples(self, inputs: tf.Tensor) -> tf.Tensor:
        """Samples in model space that can be scored, of samples in data space."""
        return self.require_domain(self.to_model_space(inputs))

    def score(self, inputs: tf.Tensor) -> tf.Tensor:
        """Scores of samples in data space, ``(batch,)``: ``loss.per_sample``, or what a detector has in its place."""
        x = self.to_samples(inputs)
        if self._scorer is None:
            return self._score(x, self.forward(x))
        return _sum(self._run(self._scorer, x))

    def _score(self, x: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        score = self.loss.per_sample(x, output)
        return score + rate_per_sample(self.loss, x, self._run(self._posterior, x)) if self._scores_by_elbo else score

    def explain(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores, those of the features, of which they are the sum or mean but for a rate, and reconstructions."""
        x = self.to_samples(inputs)
        output = self.forward(x)
        if self._scorer is None:
            # Elements that a mask of the model leaves out have score 0 and are no part of the sum.
            score, features = self._score(x, output), self.loss.per_feature(x, output)
        else:
            elements = self._run(self._scorer, x)
            score, features = _sum(elements), self.loss.sum_features(elements)
        return {"instance_score": score, "feature_score": features, **self.to_data_space(output)}

    def detect(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores, and with a calibration p-values and whether there is an alarm; ``(batch,)`` each."""
        score = self.score(inputs)
        if self.calibration is None:
            return {"instance_score": score}
        return {"instance_score": score, **self.calibration.judge(score, self._find_groups(inputs))}

    def _find_groups(self, inputs: Any) -> tf.Tensor | None:
        """The categories that have calibrations of their own, text ``(batch,)``; None if all samples have one."""
        name = self.calibration.column
        if name is None or isinstance(inputs, dict):
            return None if name is None else tf.strings.strip(inputs[name])
        index = next(index for index, column in enumerate(self.columns) if column.name == name)
        codes = inputs[:, index]
        return self._from_number(self.columns[index], tf.where(tf.math.is_nan(codes), tf.cast(-1, codes.dtype), codes))


def _sum(elements: tf.Tensor) -> tf.Tensor:
    """Sums over the elements of each sample, ``(batch,)``."""
    return tf.reduce_sum(elements, axis=range(1, elements.shape.rank))
