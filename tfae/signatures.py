"""The signatures of an exported autoencoder, in one table.

Export, parity gate, golden requests, warm-up, ``SavedAutoencoder`` and ``Client`` read a signature from its row here,
and :func:`tfae.export.save` takes more rows. Neither TensorFlow nor Keras is imported, as the REST client does without.
"""

from __future__ import annotations

import abc
import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

from tfae.columns import REST, Column

if TYPE_CHECKING:
    import keras
    import numpy as np
    import numpy.typing as npt
    import tensorflow as tf

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

    def row_shape(self, model: ExportedModel) -> tuple[int, ...]:
        """Shape of one row, without the batch axis, for this model."""
        if isinstance(self.shape, str):
            return model.sample_shape if self.shape == "sample" else model.latent_shape
        return self.shape

    def dtype_name(self, model: ExportedModel) -> str:
        """TensorFlow's name of the dtype, for this model."""
        return model.sample_dtype if self.dtype == "sample" else self.dtype

    def expand(self, name: str, model: ExportedModel) -> dict[str, TensorKind]:
        """The tensors that are served under a name: one for each column of a table with names, or none at all."""
        if self in (P_VALUE, IS_OUTLIER) and model.calibration is None:
            return {}
        if self in (SAMPLES, RECONSTRUCTION) and model.columns:
            return {column.name: TensorKind(model.column_dtype(column, self)) for column in model.columns}
        return {name: self}


SAMPLES = TensorKind("sample", "sample", "samples in data space")
EXAMPLES = TensorKind("string", (), "serialized `tf.train.Example`, a feature `inputs` or the columns of a table")
IMAGE_BYTES = TensorKind("string", (), "PNG or JPEG files")
LATENT = TensorKind("float32", "latent", "the latent, `(batch, latent_dim)`")
RECONSTRUCTION = TensorKind("float32", "sample", "in data space")
SCORE = TensorKind("float32", (), "the loss of each sample")
FEATURE_SCORE = TensorKind("float32", "sample", "the loss of each element")
FLAG = TensorKind("bool", (), "yes or no")
P_VALUE = TensorKind("float32", (), "how likely normal samples have such a score or a higher one")
IS_OUTLIER = TensorKind("bool", (), "whether that is the false-alarm rate or less")


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
    """

    def __init__(self, autoencoder: keras.Model, preprocessing: Any, calibration: Any = None) -> None:
        self.autoencoder = autoencoder
        self.loss: Any = autoencoder.loss
        self.preprocessing = preprocessing
        self.calibration = calibration
        self.sample_shape: tuple[int, ...] = preprocessing.sample_shape
        self.columns: tuple[Column, ...] = preprocessing.columns
        self.allows_gaps: bool = preprocessing.fill is not None
        self.sample_dtype: str = WIDENED.get(preprocessing.sample_dtype, preprocessing.sample_dtype)
        # Here, since the client reads the table and does without TensorFlow.
        from tfae.models.structure import find_decoder, find_encoder, latent_shape_of

        shape = preprocessing.model_shape
        encoder, decoder = find_encoder(autoencoder, shape), find_decoder(autoencoder, shape)
        self._encoder: Any = None if isinstance(encoder, str) else encoder
        self._decoder: Any = None if isinstance(decoder, str) else decoder
        self._scorer: Any = None
        if hasattr(autoencoder, "score_elements"):
            self._scorer = lambda x, training: autoencoder.score_elements(x)
        shape = latent_shape_of(autoencoder, shape)
        self.latent_shape: Any = None if isinstance(shape, str) else shape

    @property
    def takes_images(self) -> bool:
        """Whether samples can come as PNG or JPEG files."""
        return self.sample_dtype == "uint8" and len(self.sample_shape) == 3 and self.sample_shape[-1] in (1, 3, 4)

    def column_dtype(self, column: Column, kind: TensorKind) -> str:
        """Name of the dtype of a column as an input, or as a reconstruction."""
        if column.kind == "category":
            return "string"
        if column.kind == "yes/no" and self.preprocessing.is_mixed:
            return "bool" if kind is RECONSTRUCTION or not self.allows_gaps else "float64"
        return kind.dtype_name(self)

    @property
    def can_encode(self) -> bool:
        """Whether the model has an encoder that emits one latent."""
        return self._encoder is not None

    @property
    def can_decode(self) -> bool:
        """Whether the model has a decoder that makes the latent its reconstruction."""
        return self._decoder is not None

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

    def decode(self, latent: tf.Tensor) -> tf.Tensor:
        """Outputs of the network, ``(batch, *sample_shape)``, for latents; served ones have to be finite."""
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
        import tensorflow as tf

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
            return self.loss.per_sample(x, self.forward(x))
        return _sum(self._run(self._scorer, x))

    def explain(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores, those of the features, of which they are the sum or mean, and reconstructions."""
        x = self.to_samples(inputs)
        output = self.forward(x)
        if self._scorer is None:
            # Elements that a mask of the model leaves out have score 0 and are no part of the sum.
            score, features = self.loss.per_sample(x, output), self.loss.per_feature(x, output)
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
        import tensorflow as tf

        name = self.calibration.column
        if name is None or isinstance(inputs, dict):
            return None if name is None else tf.strings.strip(inputs[name])
        index = next(index for index, column in enumerate(self.columns) if column.name == name)
        codes = inputs[:, index]
        return self._from_number(self.columns[index], tf.where(tf.math.is_nan(codes), tf.cast(-1, codes.dtype), codes))


def _sum(elements: tf.Tensor) -> tf.Tensor:
    """Sums over the elements of each sample, ``(batch,)``."""
    import tensorflow as tf

    return tf.reduce_sum(elements, axis=range(1, elements.shape.rank))


Function = Callable[..., Mapping[str, Any]]


@final
@dataclasses.dataclass(frozen=True)
class SignatureDefinition:
    """A row of the table: a function that is served.

    Attributes:
        name: What requests call it.
        function: Takes an :class:`ExportedModel`, and the inputs by name as tensors; returns the outputs by name. It
            may use any operation of TensorFlow that only computes.
        inputs, outputs: Kinds by name; outputs may be of any dtype that TensorFlow Serving carries.
        golden_inputs: Takes the :class:`ExportedModel` and raw samples ``(batch, *sample_shape)``; returns an array for
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
    golden_inputs: Callable[[ExportedModel, np.ndarray], Mapping[str, npt.ArrayLike]] | None = None
    answer: Function | None = None
    is_available: Callable[[ExportedModel], bool] | None = None

    def __post_init__(self) -> None:
        for name in (self.name, *self.inputs, *self.outputs):
            if not isinstance(name, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
                raise ValueError(
                    "signatures: expected names of ASCII letters, digits and _, a letter first, for signatures, inputs "
                    f"and outputs; received {name!r}."
                )

    def tensors(self, side: str, model: ExportedModel) -> dict[str, TensorKind]:
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
        lambda model, inputs: {"embedding": model.encode(model.to_model_space(inputs))},
        {"inputs": SAMPLES},
        {"embedding": LATENT},
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
