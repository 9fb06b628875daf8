"""Scores in which all elements of a sample weigh alike."""

from __future__ import annotations

from typing import Any, final

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfae.models.structure import find_part

#: An element's mean loss is taken for at least this share of the mean over all of them.
_LEAST_SHARE = 1e-2


@final
@keras.saving.register_keras_serializable(package="tfae")
class StandardizedScore(keras.Model):
    """A trained autoencoder whose score is Σⱼ lossⱼ / (mean of lossⱼ over training samples).

    Without that, the elements that are reconstructed worst, such as the edges of digits, decide the score, and an error
    where there is none otherwise counts little. Reconstructions are those of the autoencoder.

    Args:
        autoencoder: Compiled with a loss of :mod:`tfae.losses`.
        **options: As for every Keras model.

    Example:
        >>> from tfae.losses import SquaredError
        >>> halves = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(0.5)])
        >>> halves.compile(loss=SquaredError())
        >>> standardized = StandardizedScore(halves)
        >>> standardized.adapt_score(np.array([[2.0, 20.0], [-2.0, -20.0]]))
        >>> standardized.score_elements(np.array([[2.0, 40.0]])).numpy().round(3).tolist()
        [[1.0, 4.0]]
    """

    def __init__(self, autoencoder: keras.Model, **options: Any) -> None:
        super().__init__(**{"name": f"standardized_{autoencoder.name}", **options})
        self.autoencoder = autoencoder
        self.build((None, *autoencoder.input_shape[1:]))
        if autoencoder.compiled:
            self.compile("sgd", loss=autoencoder.loss)  # It is trained already.

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create the weights of the elements."""
        if not self.built:
            self.scale = self.add_weight(shape[1:], "ones", trainable=False, name="scale")
        super().build(shape)

    @property
    def encoder(self) -> Any:
        """That of the autoencoder."""
        return find_part(self.autoencoder, "encoder")

    @property
    def decoder(self) -> Any:
        """That of the autoencoder."""
        return find_part(self.autoencoder, "decoder")

    def call(self, x: tf.Tensor, training: bool = False, as_scores: bool = False) -> tf.Tensor:
        """Return reconstructions, or what each element adds to the score."""
        output = self.autoencoder(x, training=training)
        return self.loss.per_element(x, output) * self.scale if as_scores else output

    def score_elements(self, x: Any) -> tf.Tensor:
        """Return what each element adds to the score of samples in model space, float ``(batch, *shape)``."""
        return self(ops.convert_to_tensor(x, self.compute_dtype), training=False, as_scores=True)

    def adapt_score(self, data: Any, held_out: Any = None) -> None:
        """Set what losses are relative to.

        Args:
            data: Training samples in model space, ``(n, *shape)``, or batches ``(x, x)`` of them.
            held_out: Not looked at.
        """
        batches = data if isinstance(data, tf.data.Dataset) else [(data, np.asarray(data, "float32"))]
        total, count = np.zeros(self.scale.shape), 0
        for _, x, *_ in batches:
            losses = self.loss.per_element(x, self.autoencoder(x, training=False)).numpy()
            total, count = total + losses.sum(axis=0, dtype="float64"), count + len(losses)
        means = total / count
        # An element that is always right, such as a corner that is black, would weigh endlessly.
        self.scale.assign(1 / np.maximum(means, _LEAST_SHARE * means.mean()))

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal model."""
        return {"name": self.name, "autoencoder": keras.saving.serialize_keras_object(self.autoencoder)}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Do nothing: the autoencoder brings its loss."""

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> StandardizedScore:
        """Build the model that ``get_config`` describes."""
        inner = keras.saving.deserialize_keras_object(config["autoencoder"], custom_objects)
        return cls(**{**config, "autoencoder": inner})
