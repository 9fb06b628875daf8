"""What the Keras model answers to the signatures, and how far rounding can take another correct answer from that."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf

from tfae.exported_model import ExportedModel
from tfae.losses import mask_of

#: How many times the largest rounding error that was found in Keras's answers is taken for possible. The order of
#: sums differs between Keras and a server's graph, and between batches; so each has errors of its own, about as large.
#: Of the slack, up to 6 % was used by dense, convolutional and recurrent models, in float32 and in mixed precision.
_ERRORS = 16
#: Sixteen units in the last place, relative to the largest value, are taken for possible, whatever was found.
_ULPS = 16 * 2.0**-23
#: Patterns of signs in which rounding is added to the model's outputs, each with its negative.
_NUM_PATTERNS = 4
#: Dtypes of mixed precision, that round to three digits or fewer.
_NARROW = ("float16", "bfloat16")

Arrays = dict[str, np.ndarray]
Function = Callable[[], Mapping[str, tf.Tensor]]
#: Identity of a Keras model, and digest of its input.
Call = tuple[int, bytes]


def is_narrow(model: keras.Model) -> bool:
    """Whether a layer of the model, or in its layers, computes in float16 or bfloat16."""
    return any(layer.compute_dtype in _NARROW for layer in model._flatten_layers())


@contextlib.contextmanager
def computing_in(dtype: str, model: keras.Model) -> Iterator[None]:
    """Have the model's layers, and those in its layers, compute in ``dtype``; nobody else may use the model meanwhile.

    ``"float64"`` is for all layers, ``"float32"`` only for those in narrower dtypes. The variables stay as they are and
    are cast as they are read. Quantized layers stay as they are; so does what a layer casts by hand, and what enters a
    model within the model, which Keras casts to the dtype of its input.
    """
    policies = {
        layer: layer.dtype_policy
        for layer in model._flatten_layers()
        if (dtype == "float64" or layer.compute_dtype in _NARROW)
        and not isinstance(layer.dtype_policy, keras.dtype_policies.DTypePolicyMap)
        and layer.dtype_policy.quantization_mode is None
    }
    try:
        for layer in policies:
            layer.dtype_policy = keras.DTypePolicy(dtype)
        yield
    finally:
        for layer, policy in policies.items():
            layer.dtype_policy = policy


@final
class KerasAnswers(ExportedModel):
    """Runs the functions of signatures eagerly, on the Keras model and plain calls of preprocessing and loss.

    The slack of an answer is how much it changes if the outputs of encoder, decoder and autoencoder change by their
    rounding. That is found per feature, over the rows of all calls: rounding errors are as large as the terms of a sum,
    which are seldom small in every row even where they cancel out in one; and a feature whose numbers are small is not
    excused by another whose numbers are large. It is 16 times the largest difference between the model and itself
    with layers that compute in float64 (under mixed precision: float32), plus 16 units in the last place of float32 of
    the feature's largest value. Where a layer takes no float64, the rounding of all features is 16 units in the last
    place of the largest value of any.

    Rounding is added in random patterns of signs, since the errors of elements are independent: the slack of a sum over
    elements grows with the root of their number, and not with the number, which would hide true differences. Errors of
    the latent are in all elements at once; so the slack is at least 16 times the change that the more exact model
    makes. Answers that are no floats have a slack of True where any of these changes makes them another one.
    """

    def __init__(self, autoencoder: keras.Model, preprocessing: Any, calibration: Any = None) -> None:
        super().__init__(autoencoder, preprocessing, calibration)
        self._in_model_space: dict[bytes, tf.Tensor] = {}
        self._outputs: dict[Call, tf.Tensor] = {}
        #: The same computed more exactly, for those calls whose rounding is found; None if that fails.
        self._exact: dict[Call, tf.Tensor | None] = {}
        self._is_measuring = False
        #: What rounding could make of the output of a call; None to leave it as it is.
        self._change: Callable[[Call, tf.Tensor], tf.Tensor] | None = None

    def to_model_space(self, inputs: tf.Tensor) -> tf.Tensor:
        """As of every exported model; for the same inputs it is computed once."""
        key = _digest(inputs)
        if key not in self._in_model_space:
            self._in_model_space[key] = self.preprocessing(inputs)
        return self._in_model_space[key]

    def answer(self, function: Function) -> Arrays:
        """Answer of a function that calls this object's methods, by name of the output; strings as object arrays."""
        return {name: tensor.numpy() for name, tensor in function().items()}

    def find_slack(self, functions: Sequence[Function]) -> list[Arrays]:
        """Slack of each function's answer, by name and of the shapes of that: float64 of floats, bool of all else."""
        self._is_measuring = True
        answers = [self.answer(function) for function in functions]
        self._is_measuring = False
        slacks: list[Arrays] = [
            {name: np.zeros(array.shape, "float64" if _is_float(array) else bool) for name, array in answer.items()}
            for answer in answers
        ]
        for factor, change in self._list_changes():
            self._change = change
            for function, answer, slack in zip(functions, answers, slacks, strict=True):
                changed = self.answer(function)
                for name, array in answer.items():
                    if _is_float(array):
                        effect = factor * np.abs(changed[name].astype("float64") - array)
                    else:
                        effect = np.asarray(changed[name] != array, bool)
                    slack[name] = np.maximum(slack[name], effect)
        self._change = None
        return slacks

    def _run(self, model: keras.Model, x: tf.Tensor) -> tf.Tensor:
        call = id(model), _digest(x)
        if call not in self._outputs:
            output = model(x, training=False)
            self._outputs[call] = _with_mask_of(tf.cast(output, tf.float32), output)
        if self._is_measuring and call not in self._exact:
            self._exact[call] = self._run_more_exactly(model, x)
        output = self._outputs[call]
        return output if self._change is None else _with_mask_of(self._change(call, output), output)

    def _run_more_exactly(self, model: keras.Model, x: tf.Tensor) -> tf.Tensor | None:
        """The output next to which rounding errors show; None if a layer of the model takes float32 only."""
        if is_narrow(self.autoencoder):
            with computing_in("float32", self.autoencoder):
                return model(x, training=False)
        try:
            with computing_in("float64", self.autoencoder):
                return model(x, training=False)
        except (AttributeError, NotImplementedError, TypeError, ValueError, tf.errors.OpError):
            return None

    def _list_changes(self) -> Iterator[tuple[int, Callable[[Call, tf.Tensor], tf.Tensor]]]:
        """What rounding could make of the outputs of calls; and how many times the effect of that is possible."""

        def compute_exactly(call: Call, output: tf.Tensor) -> tf.Tensor:
            exact = self._exact.get(call)
            return tf.identity(output) if exact is None else tf.cast(exact, tf.float32)

        yield _ERRORS, compute_exactly
        models = {model for model, _ in self._exact}
        rounding = {model: self._find_rounding([call for call in self._exact if call[0] == model]) for model in models}
        for pattern, sign in itertools.product(range(_NUM_PATTERNS), (1, -1)):

            def add_errors(call: Call, output: tf.Tensor, pattern: int = pattern, sign: int = sign) -> tf.Tensor:
                rng = np.random.default_rng([pattern, *call[1]])
                errors = rng.choice([-sign, sign], output.shape) * rounding[call[0]]
                return tf.constant(output.numpy() + errors, tf.float32)

            yield 1, add_errors

    def _find_rounding(self, calls: Sequence[Call]) -> np.ndarray:
        """float64, of the shape of one row of the outputs of these calls."""
        values = np.concatenate([self._outputs[call].numpy().astype("float64") for call in calls])
        exact = [self._exact[call] for call in calls]
        if any(output is None for output in exact):
            return np.full(values.shape[1:], _ULPS * np.abs(values).max())
        errors = np.abs(values - np.concatenate([tf.cast(output, tf.float64).numpy() for output in exact]))
        return _ULPS * np.abs(values).max(axis=0) + _ERRORS * errors.max(axis=0)


def _digest(tensor: Any) -> bytes:
    return hashlib.sha256(np.asarray(tensor).tobytes()).digest()


def _with_mask_of(tensor: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """``tensor`` with the Keras mask of ``output``, if that has any."""
    if mask_of(output) is not None:
        tensor._keras_mask = mask_of(output)
    return tensor


def _is_float(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"
