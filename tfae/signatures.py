"""The signatures of an exported autoencoder, in one table, and as methods of whoever answers.

Export, parity gate, golden requests, warm-up, ``SavedAutoencoder`` and ``Client`` read a signature from its row here,
and :func:`tfae.export.save` takes more rows. Neither TensorFlow nor Keras is imported, as the REST client does without.
"""

from __future__ import annotations

import abc
import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Dtypes that TensorFlow Serving's REST API can not carry, and the dtypes that are served instead.
WIDENED = {"float16": "float32", "uint16": "int32", "uint32": "int64", "uint64": "int64"}


@final
@dataclasses.dataclass(frozen=True)
class TensorKind:
    """What an input or output of a signature holds; the batch axis comes first.

    Attributes:
        dtype: NumPy's name of the dtype, ``"string"``, or ``"sample"`` for the dtype in which samples are served.
        shape: Shape of one row, or ``"sample"`` or ``"latent"`` for that of the model.
        meaning: For the documentation.
    """

    dtype: str
    shape: tuple[int, ...] | str = ()
    meaning: str = ""

    def row_shape(self, model: Any) -> tuple[int, ...]:
        """Shape of one row, without the batch axis, for this model."""
        if isinstance(self.shape, str):
            return model.sample_shape if self.shape == "sample" else model.latent_shape
        return self.shape

    def dtype_name(self, model: Any) -> str:
        """TensorFlow's name of the dtype, for this model."""
        return model.sample_dtype if self.dtype == "sample" else self.dtype

    def expand(self, name: str, model: Any) -> dict[str, TensorKind]:
        """The tensors that are served under a name: one for each column of a table with names, or none at all."""
        if self in (P_VALUE, IS_OUTLIER) and model.calibration is None:
            return {}
        if self == DEVIATION and not model.is_variational:
            return {}
        if self in (SAMPLES, RECONSTRUCTION) and model.columns:
            return {column.name: TensorKind(model.column_dtype(column, self)) for column in model.columns}
        return {name: self}


SAMPLES = TensorKind("sample", "sample", "samples in data space")
EXAMPLES = TensorKind("string", (), "serialized `tf.train.Example`, a feature `inputs` or the columns of a table")
IMAGE_BYTES = TensorKind("string", (), "PNG or JPEG files")
LATENT = TensorKind("float32", "latent", "the latent, `(batch, latent_dim)`")
DEVIATION = TensorKind("float32", "latent", "the standard deviation of its posterior")
NOISE = TensorKind("float32", "latent", "draws of the standard normal distribution")
RECONSTRUCTION = TensorKind("float32", "sample", "in data space")
SCORE = TensorKind("float32", (), "the loss of each sample")
FEATURE_SCORE = TensorKind("float32", "sample", "the loss of each element")
FLAG = TensorKind("bool", (), "yes or no")
P_VALUE = TensorKind("float32", (), "how likely normal samples have such a score or a higher one")
IS_OUTLIER = TensorKind("bool", (), "whether that is the false-alarm rate or less")


Function = Callable[..., Mapping[str, Any]]


@final
@dataclasses.dataclass(frozen=True)
class SignatureDefinition:
    """A row of the table: a function that is served.

    Attributes:
        name: What requests call it.
        function: Takes a :class:`tfae.exported_model.ExportedModel`, and the inputs by name as tensors; returns the
            outputs by name. It may use any operation of TensorFlow that only computes.
        inputs, outputs: Kinds by name; outputs may be of any dtype that TensorFlow Serving carries.
        golden_inputs: Takes the exported model and raw samples ``(batch, *sample_shape)``; returns an array for
            each input that is of none of the kinds above. Row i belongs to sample i.
        answer: What the Keras model has to answer, with the arguments of ``function``; by default ``function`` itself,
            run eagerly.
        is_available: Whether a model has the signature; by default every model has.

    Raises:
        ValueError: If a name of it, an input or an output is none of ASCII letters, digits and ``_``, a letter first.

    Example:
        >>> def screen(model, inputs):
        ...     score = model.score(inputs)
        ...     return {"instance_score": score, "is_large": score > 12.5}
        >>> screening = SignatureDefinition(
        ...     "screen", screen, {"inputs": SAMPLES}, {"instance_score": SCORE, "is_large": FLAG}
        ... )
    """

    name: str
    function: Function
    inputs: Mapping[str, TensorKind]
    outputs: Mapping[str, TensorKind]
    golden_inputs: Callable[[Any, np.ndarray], Mapping[str, npt.ArrayLike]] | None = None
    answer: Function | None = None
    is_available: Callable[[Any], bool] | None = None

    def __post_init__(self) -> None:
        for name in (self.name, *self.inputs, *self.outputs):
            if not isinstance(name, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
                raise ValueError(
                    "signatures: expected names of ASCII letters, digits and _, a letter first, for signatures, inputs "
                    f"and outputs; received {name!r}."
                )

    def tensors(self, side: str, model: Any) -> dict[str, TensorKind]:
        """Kinds of the ``"inputs"`` or ``"outputs"`` by name, the columns of a table among them.

        Raises:
            ValueError: If a column is called as another of them.
        """
        found: dict[str, TensorKind] = {}
        for name, kind in getattr(self, side).items():
            expanded = kind.expand(name, model)
            if both := found.keys() & expanded.keys():
                raise ValueError(
                    f"data: expected columns with other names than the {side} of signature {self.name}; received "
                    f"{both.pop()!r}. Rename it."
                )
            found |= expanded
        return found


_SCORED = {"instance_score": SCORE}
_DETECTED = {**_SCORED, "p_value": P_VALUE, "is_outlier": IS_OUTLIER}
_EXPLAINED = {**_SCORED, "feature_score": FEATURE_SCORE, "reconstruction": RECONSTRUCTION}

#: The signatures of every export.
SIGNATURES = (
    SignatureDefinition(
        "serving_default",
        lambda model, inputs: model.to_data_space(model.forward(model.to_model_space(inputs))),
        {"inputs": SAMPLES},
        {"reconstruction": RECONSTRUCTION},
    ),
    SignatureDefinition(
        "encode",
        lambda model, inputs: model.embed(inputs),
        {"inputs": SAMPLES},
        {"embedding": LATENT, "embedding_deviation": DEVIATION},
        is_available=lambda model: model.can_encode,
    ),
    SignatureDefinition(
        "decode",
        lambda model, embedding: model.to_data_space(model.decode(embedding)),
        {"embedding": LATENT},
        {"reconstruction": RECONSTRUCTION},
        is_available=lambda model: model.can_decode,
    ),
    SignatureDefinition(
        "sample",
        lambda model, noise: model.to_data_space(model.decode(noise, "noise")),
        {"noise": NOISE},
        {"reconstruction": RECONSTRUCTION},
        is_available=lambda model: model.can_decode and model.is_variational,
    ),
    SignatureDefinition(
        "score", lambda model, inputs: {"instance_score": model.score(inputs)}, {"inputs": SAMPLES}, _SCORED
    ),
    SignatureDefinition("explain", lambda model, inputs: model.explain(inputs), {"inputs": SAMPLES}, _EXPLAINED),
    SignatureDefinition(
        "detect",
        lambda model, inputs: model.detect(inputs),
        {"inputs": SAMPLES},
        _DETECTED,
        is_available=lambda model: model.calibration is not None,
    ),
    SignatureDefinition(
        "serve_tf_examples",
        lambda model, examples: model.detect(model.parse_examples(examples)),
        {"examples": EXAMPLES},
        _DETECTED,
    ),
    SignatureDefinition(
        "serve_image_bytes",
        lambda model, image_bytes: model.detect(model.decode_images(image_bytes)),
        {"image_bytes": IMAGE_BYTES},
        _DETECTED,
        is_available=lambda model: model.takes_images,
    ),
)


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
