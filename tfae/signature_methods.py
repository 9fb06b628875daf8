"""The signatures of an exported autoencoder as methods, of whoever answers: a loaded export, or a client."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from tfae.signatures import SIGNATURES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class SignatureMethods(abc.ABC):
    """The signatures that every export has, as methods; ``options`` are those of ``call``.

    All arrays are in data space: samples go in raw, and reconstructions come back in the same units.
    """

    @abc.abstractmethod
    def call(self, signature: str, /, **inputs: Any) -> dict[str, np.ndarray]:
        """All outputs of any signature, by name."""

    @abc.abstractmethod
    def _call_with(self, signature: str, array: Any, options: Any) -> dict[str, np.ndarray]:
        """All outputs of a signature with a single input."""

    def reconstruct(self, inputs: Any, **options: Any) -> Any:
        """Reconstructions of raw samples, float32, both ``(batch, *sample_shape)`` in data space.

        Of a table with names the inputs are a data frame, records, or a dict of columns, and the reconstructions are a
        dict of columns, ``(batch,)`` each; texts are bytes.

        Raises:
            ValueError: If shape, dtype or values do not fit the model, or it has no such signature.
            ServingError: From a client, if the server refuses the request or does not answer.
        """
        return self._output_of("serving_default", inputs, options)

    def encode(self, inputs: npt.ArrayLike, **options: Any) -> np.ndarray:
        """Latents of raw samples, float32 ``(batch, latent_dim)``; arguments and errors as of :meth:`reconstruct`."""
        return self._output_of("encode", inputs, options)

    def decode(self, embedding: npt.ArrayLike, **options: Any) -> np.ndarray:
        """Reconstructions, float32 ``(batch, *sample_shape)``, of finite latents ``(batch, latent_dim)``."""
        return self._output_of("decode", embedding, options)

    def sample(self, noise: npt.ArrayLike, **options: Any) -> Any:
        """New samples in data space, float32, of a variational autoencoder.

        Args:
            noise: Draws of the standard normal distribution, ``(batch, latent_dim)``:
                ``numpy.random.default_rng(0).normal(size=(10, 16))``.
            **options: Those of ``call``.
        """
        return self._output_of("sample", noise, options)

    def score(self, inputs: npt.ArrayLike, **options: Any) -> np.ndarray:
        """Scores of raw samples, mostly ``loss.per_sample``, float32 ``(batch,)``; higher is more anomalous."""
        return self._output_of("score", inputs, options)

    def detect(self, inputs: Any, **options: Any) -> dict[str, np.ndarray]:
        """Alarms of raw samples, arrays ``(batch,)``: ``instance_score``, ``p_value``, and bool ``is_outlier``.

        Only of a model that was exported with a calibration.
        """
        return self._call_with("detect", inputs, options)

    def explain(self, inputs: Any, **options: Any) -> dict[str, Any]:
        """Scores with their reasons, float32: ``instance_score`` ``(batch,)``, ``feature_score``
        ``(batch, *sample_shape)``, the loss of each element, and ``reconstruction`` in data space.
        """
        outputs = self._call_with("explain", inputs, options)
        names = outputs.keys() - {"instance_score", "feature_score", "reconstruction"}
        if "reconstruction" in outputs or not names:
            return outputs
        columns = {name: outputs.pop(name) for name in list(outputs) if name in names}
        return {**outputs, "reconstruction": self._gather(columns, inputs)}

    def _gather(self, columns: dict[str, np.ndarray], inputs: Any) -> Any:
        """The reconstruction of a table, in the form in which the inputs are given."""
        return columns

    def _output_of(self, signature: str, array: Any, options: Any) -> Any:
        """The only output, or the first one, that the table has for a signature."""
        name, *_ = next(row.outputs for row in SIGNATURES if row.name == signature)
        outputs = self._call_with(signature, array, options)
        if name == "reconstruction" and name not in outputs:
            return self._gather(outputs, array)
        if name not in outputs:
            raise ValueError(
                f"model: expected an output {name} of signature {signature}, as models of tfae have; received "
                f'{", ".join(outputs)}. Use call("{signature}", …).'
            )
        return outputs[name]
