"""What Keras answers to raw samples, and how far rounding can take another correct answer from that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfae.export.precision import computing_in, is_narrow
from tfae.export.signatures import Signatures
from tfae.losses import mask_of

#: How many times the largest rounding error that was found in Keras's answers is taken for possible. The order of
#: sums differs between Keras and a server's graph, and between batches; so each has errors of its own, about as large.
#: Of the slack, up to 6 % was used by dense, convolutional and recurrent models, in float32 and in mixed precision.
_ERRORS = 16
#: Sixteen units in the last place, relative to the largest value, are taken for possible, whatever was found.
_ULPS = 16 * 2.0**-23

Arrays = dict[str, np.ndarray]


class Answers:
    """What preprocessing, model and loss say about batches of raw samples; each answer with its slack.

    The slack of an output of the model is found per feature, over the rows of all batches: rounding errors are as large
    as the terms of a sum, which are seldom small in every row even where they cancel out in one; and a feature whose
    numbers are small is not excused by another whose numbers are large. It is 16 times the largest difference between
    the model and itself with layers that compute in float64 (under mixed precision: float32), plus 16 units in the
    last place of float32 of the feature's largest value. Where a layer refuses float64, the slack of all features is 16
    units in the last place of the largest value of any.

    Args:
        signatures: Whose model it is.
        batches: Raw samples, ``(batch, *shape)`` each.
    """

    def __init__(self, signatures: Signatures, batches: Sequence[np.ndarray]) -> None:
        self._loss, self._preprocessing = signatures.loss, signatures.preprocessing
        self._signatures = signatures
        self._x = [signatures.preprocessing(raw) for raw in batches]
        self._codes = [_numpy(signatures.encoder(x, training=False)) for x in self._x]
        self._values = self._computed()
        self._exact = self._computed_more_exactly()
        self._rounding = {name: self._rounding_of(name) for name in self._values}

    def code(self, batch: int) -> np.ndarray:
        """float32 ``(batch, *embedding_shape)``, what ``decode`` is asked."""
        return self._codes[batch]

    def embedding(self, batch: int) -> tuple[Arrays, Arrays]:
        """What ``encode`` has to answer to a batch, and the slack of it; both by name of the output."""
        code = self._codes[batch]
        return {"embedding": code}, {"embedding": np.broadcast_to(self._rounding["embedding"], code.shape)}

    def reconstruction(self, batch: int) -> tuple[Arrays, Arrays]:
        """Likewise of ``serving_default``."""
        return self._reconstruction_of("output", batch)

    def decoded(self, batch: int) -> tuple[Arrays, Arrays]:
        """Likewise of ``decode``, asked ``code(batch)``."""
        return self._reconstruction_of("decoded", batch)

    def score(self, batch: int) -> tuple[Arrays, Arrays]:
        """Likewise of ``score``, however the samples come."""
        score = _numpy(self._loss.per_sample(self._x[batch], self._values["output"][batch]))
        value, slack = (_rows(each) for each in self._explained(batch))
        # Errors of the elements add up like independent ones; a sum of the slacks would hide true differences.
        total = np.sqrt((slack**2).sum(axis=1))
        if self._exact is not None:  # Errors of the code are in all elements at once.
            exact = _rows(self._elementwise(batch, _numpy(self._exact["output"][batch])))
            total = np.maximum(total, _ERRORS * np.abs((exact - value).sum(axis=1)))
        if self._loss.sample_reduction == "mean":  # A mask leaves elements out of it.
            sums = value.sum(axis=1)
            total *= np.divide(score, sums, out=np.full(len(score), 1 / value.shape[1]), where=sums > 0)
        return {"instance_score": score}, {"instance_score": total}

    def explanation(self, batch: int) -> tuple[Arrays, Arrays]:
        """Likewise of ``explain``."""
        value, slack = self._explained(batch)
        score, reconstruction = self.score(batch), self.reconstruction(batch)
        return (
            {**score[0], **reconstruction[0], "feature_score": value},
            {**score[1], **reconstruction[1], "feature_score": slack},
        )

    def _computed(self) -> dict[str, list[Any]]:
        """The model's outputs, per batch."""
        autoencoder, encoder, decoder = self._signatures.autoencoder, self._signatures.encoder, self._signatures.decoder
        return {
            "output": [autoencoder(x, training=False) for x in self._x],
            "embedding": [encoder(x, training=False) for x in self._x],
            "decoded": [decoder(code, training=False) for code in self._codes],
        }

    def _computed_more_exactly(self) -> dict[str, list[Any]] | None:
        """As ``_computed``, next to which rounding errors show; None if a layer of the model takes float32 only."""
        model = self._signatures.autoencoder
        if is_narrow(model):
            with computing_in("float32", model):
                return self._computed()
        try:
            with computing_in("float64", model):
                return self._computed()
        except (AttributeError, NotImplementedError, TypeError, ValueError, tf.errors.OpError):
            return None

    def _rounding_of(self, name: str) -> np.ndarray:
        """float64, of the shape of one row."""
        values = _joined(self._values[name])
        if self._exact is None:
            return np.full(values.shape[1:], _ULPS * np.abs(values).max())
        errors = np.abs(values - _joined(self._exact[name]))
        return _ULPS * np.abs(values).max(axis=0) + _ERRORS * errors.max(axis=0)

    def _explained(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        return self._with_slack(lambda output: self._elementwise(batch, output), "output", batch)

    def _elementwise(self, batch: int, output: np.ndarray) -> Any:
        mask = mask_of(self._values["output"][batch])
        return self._loss.per_element(self._x[batch], output, mask=mask)

    def _reconstruction_of(self, name: str, batch: int) -> tuple[Arrays, Arrays]:
        value, slack = self._with_slack(
            lambda output: self._preprocessing.inverse(self._loss.reconstruction(output)), name, batch
        )
        return {"reconstruction": value}, {"reconstruction": slack}

    def _with_slack(self, function: Callable[[Any], Any], name: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """``function`` of an output of the model, and how much it changes if rounding changes that."""
        output = _numpy(self._values[name][batch])
        value = _numpy(function(output))
        shifted = [
            _numpy(function((output + sign * self._rounding[name]).astype("float32"))).astype("float64")
            for sign in (1, -1)
        ]
        return value, np.max([np.abs(other - value) for other in shifted], axis=0)


def _numpy(tensor: Any) -> np.ndarray:
    return np.asarray(tf.cast(tensor, tf.float32))


def _joined(batches: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.asarray(tf.cast(batch, tf.float64)) for batch in batches])


def _rows(values: Any) -> np.ndarray:
    """float64, one row per sample."""
    values = np.asarray(values, "float64")
    return values.reshape(len(values), math.prod(values.shape[1:]))
