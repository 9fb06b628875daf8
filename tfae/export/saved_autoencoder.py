"""An exported autoencoder, loaded back: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfae.preprocessing import cast_exactly
from tfae.servable import Servable, TensorInfo

#: Samples that go through a signature at once; more only costs memory.
BATCH_SIZE = 1024


@final
class SavedAutoencoder:
    """The signatures of a SavedModel as methods. Made by :func:`tfae.export.load`.

    All arrays are in data space: what goes in is raw, and reconstructions come back in the same units.

    Attributes:
        path: Folder of the version.
        description: What ``save`` wrote into ``tfae.json``.
        sample_shape: Shape of one sample.
        sample_dtype: Dtype of the inputs.
    """

    def __init__(self, path: Path, description: dict[str, Any]) -> None:
        self.path = path
        self.description = description
        self._servable = Servable(path)
        inputs = _input_of(self._servable, "score", "inputs")
        self._code_shape = _sides(_input_of(self._servable, "decode", "embedding"))
        self.sample_shape: tuple[int, ...] = _sides(inputs)
        self.sample_dtype: np.dtype = np.dtype(inputs.dtype.as_numpy_dtype)

    def reconstruct(self, inputs: npt.ArrayLike) -> np.ndarray:
        """Reconstructions of raw samples.

        Args:
            inputs: ``(batch, *sample_shape)``, data space.

        Returns:
            float32, of the shape of ``inputs``, data space.

        Raises:
            ValueError: If shape, dtype or values do not fit.
        """
        return self._call("serving_default", inputs=self._samples(inputs))["reconstruction"]

    def encode(self, inputs: npt.ArrayLike) -> np.ndarray:
        """Codes of raw samples, float32 ``(batch, latent_dim)``; arguments as for :meth:`reconstruct`."""
        return self._call("encode", inputs=self._samples(inputs))["embedding"]

    def decode(self, embedding: npt.ArrayLike) -> np.ndarray:
        """Reconstructions, float32 ``(batch, *sample_shape)``, of codes ``(batch, latent_dim)``.

        Raises:
            ValueError: If the codes are not of that shape, or not finite.
        """
        code = np.asarray(embedding, "float32")
        if code.ndim == 0 or code.shape[1:] != self._code_shape:
            raise ValueError(f"embedding: expected shape {_with_batch(self._code_shape)}; received {code.shape}.")
        return self._call("decode", embedding=code)["reconstruction"]

    def score(self, inputs: npt.ArrayLike) -> np.ndarray:
        """Per-sample losses of raw samples, float32 ``(batch,)``; higher is more anomalous.

        Args:
            inputs: ``(batch, *sample_shape)``, data space.

        Returns:
            What the Keras model's ``loss.per_sample`` gives for the same samples, to float32 precision.

        Raises:
            ValueError: If shape, dtype or values do not fit.
        """
        return self._call("score", inputs=self._samples(inputs))["instance_score"]

    def explain(self, inputs: npt.ArrayLike) -> dict[str, np.ndarray]:
        """Scores with their reasons; arguments as for :meth:`score`.

        Returns:
            ``instance_score`` ``(batch,)``, ``feature_score`` ``(batch, *sample_shape)``, the loss of each
            element, and ``reconstruction`` in data space. All float32.
        """
        return self._call("explain", inputs=self._samples(inputs))

    def _samples(self, inputs: npt.ArrayLike) -> np.ndarray:
        """``inputs`` in the shape and dtype of the signature."""
        given = np.asarray(inputs)
        if given.shape[1:] != self.sample_shape or given.ndim == 0:
            raise ValueError(
                f"inputs: expected shape {_with_batch(self.sample_shape)}; received {given.shape}."
                + (" Add the batch axis: x[None]." if given.shape == self.sample_shape else "")
            )
        return cast_exactly(given, self.sample_dtype)

    def _call(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        ((name, array),) = inputs.items()
        if not len(array):  # The graph refuses an empty batch.
            return {
                key: np.zeros((0, *_sides(info)), info.dtype.as_numpy_dtype)
                for key, info in self._servable.signatures[signature].outputs.items()
            }
        chunks = []
        for start in range(0, len(array), BATCH_SIZE):
            try:
                chunks.append(self._servable.run(signature, {name: array[start : start + BATCH_SIZE]}))
            except tf.errors.InvalidArgumentError as error:
                raise ValueError(_assertion_message(error)) from None
        return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}


def _input_of(servable: Servable, signature: str, name: str) -> TensorInfo:
    """The only input of a signature, which every export has."""
    found = servable.signatures.get(signature)
    if found is None or found.inputs.keys() != {name}:
        raise ValueError(
            f'path: expected a SavedModel with a signature "{signature}" of {name}; received {servable.path}.'
        )
    return found.inputs[name]


def _sides(info: TensorInfo) -> tuple[int, ...]:
    """Shape of one row of an input or output."""
    return tuple(side for side in (info.shape or ())[1:] if side is not None)


def _with_batch(shape: tuple[int, ...]) -> str:
    return f"(batch{''.join(f', {side}' for side in shape)})"


def _assertion_message(error: tf.errors.InvalidArgumentError) -> str:
    """What the model's author wrote, without TensorFlow's account of where in the graph it stands."""
    message = error.message
    marker = "assertion failed: ["
    if marker not in message:
        return message
    return message.split(marker, 1)[1].split("\n")[0].replace("] [", " ").rstrip("]").strip()
