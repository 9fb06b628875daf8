"""What the Keras model answers to the signatures, and how far rounding can take another correct answer from that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, final

import keras
import numpy as np
import tensorflow as tf

from tfae.export.precision import computing_in, is_narrow
from tfae.losses import mask_of
from tfae.signatures import ExportedModel

#: How many times the largest rounding error that was found in Keras's answers is taken for possible. The order of
#: sums differs between Keras and a server's graph, and between batches; so each has errors of its own, about as large.
#: Of the slack, up to 6 % was used by dense, convolutional and recurrent models, in float32 and in mixed precision.
_ERRORS = 16
#: Sixteen units in the last place, relative to the largest value, are taken for possible, whatever was found.
_ULPS = 16 * 2.0**-23
#: Patterns of signs in which rounding is added to the model's outputs, each with its negative.
_NUM_PATTERNS = 4

Arrays = dict[str, np.ndarray]


class _Call(NamedTuple):
    """A call of a Keras model: the id of that, its output, and the same computed more exactly; None if that fails."""

    model: int
    output: tf.Tensor
    exact: tf.Tensor | None


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

    def __init__(self, autoencoder: keras.Model, preprocessing: Any) -> None:
        super().__init__(autoencoder, preprocessing)
        self._in_model_space: dict[bytes, tf.Tensor] = {}
        self._known: dict[tuple[int, bytes], _Call] = {}
        self._recorded: list[_Call] = []
        #: Outputs to give instead of those of the model, in the order of the calls.
        self._replayed: Iterator[tf.Tensor] | None = None

    def to_model_space(self, inputs: tf.Tensor) -> tf.Tensor:
        """As of every exported model; for the same inputs it is computed once."""
        key = _digest(inputs)
        if key not in self._in_model_space:
            self._in_model_space[key] = self.preprocessing(inputs)
        return self._in_model_space[key]

    def answer(
        self, functions: Sequence[Callable[[], Mapping[str, tf.Tensor]]]
    ) -> list[tuple[Arrays, dict[str, np.ndarray]]]:
        """Answers of functions that call this object's methods, each with its slack; both by name of the output.

        Returns:
            For each function the answers, strings as object arrays, and the slack, of the same shapes: float64 of
            floats, and bool of all else.
        """
        answers, calls = [], []
        for function in functions:
            self._recorded = []
            answers.append(_to_arrays(function()))
            calls.append(self._recorded)
        known = self._known.values()
        rounding = {model: _rounding([call for call in known if call.model == model]) for model, _ in self._known}
        return [
            (answer, self._slack(function, answer, recorded, rounding))
            for function, answer, recorded in zip(functions, answers, calls, strict=True)
        ]

    def _run(self, model: keras.Model, x: tf.Tensor) -> tf.Tensor:
        if self._replayed is not None:
            return next(self._replayed)
        key = id(model), _digest(x)
        if key not in self._known:
            output, exact = _float32(model(x, training=False)), self._run_more_exactly(model, x)
            self._known[key] = _Call(id(model), output, exact)
        self._recorded.append(self._known[key])
        return self._known[key].output

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

    def _slack(
        self,
        function: Callable[[], Mapping[str, tf.Tensor]],
        answer: Arrays,
        calls: Sequence[_Call],
        rounding: Mapping[int, np.ndarray],
    ) -> dict[str, np.ndarray]:
        slack = {name: np.zeros(array.shape, "float64" if _is_float(array) else bool) for name, array in answer.items()}
        for factor, outputs in _changed_outputs(calls, rounding):
            self._replayed = iter(outputs)
            try:
                changed = _to_arrays(function())
            finally:
                self._replayed = None
            for name, array in answer.items():
                if _is_float(array):
                    change = factor * np.abs(changed[name].astype("float64") - array)
                else:
                    change = np.asarray(changed[name] != array, bool)
                slack[name] = np.maximum(slack[name], change)
        return slack


def _changed_outputs(
    calls: Sequence[_Call], rounding: Mapping[int, np.ndarray]
) -> Iterator[tuple[int, list[tf.Tensor]]]:
    """Other outputs of the calls that rounding could lead to; and how many times their effect is possible."""
    if calls and all(call.exact is not None for call in calls):
        yield _ERRORS, [_float32(call.exact) for call in calls]
    for pattern in range(_NUM_PATTERNS if calls else 0):
        for sign in (1.0, -1.0):
            rng = np.random.default_rng(pattern)
            outputs = []
            for call in calls:
                output, error = call.output.numpy(), sign * rounding[call.model]
                changed = output + np.where(rng.integers(0, 2, output.shape, bool), error, -error)
                outputs.append(_with_mask(tf.constant(changed.astype("float32")), call.output))
            yield 1, outputs


def _rounding(calls: Sequence[_Call]) -> np.ndarray:
    """float64, of the shape of one row of the outputs of these calls."""
    values = np.concatenate([call.output.numpy().astype("float64") for call in calls])
    if any(call.exact is None for call in calls):
        return np.full(values.shape[1:], _ULPS * np.abs(values).max())
    errors = np.abs(values - np.concatenate([tf.cast(call.exact, tf.float64).numpy() for call in calls]))
    return _ULPS * np.abs(values).max(axis=0) + _ERRORS * errors.max(axis=0)


def _digest(tensor: Any) -> bytes:
    return hashlib.sha256(np.asarray(tensor).tobytes()).digest()


def _float32(output: tf.Tensor) -> tf.Tensor:
    return _with_mask(tf.cast(output, tf.float32), output)


def _with_mask(tensor: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """``tensor`` with the Keras mask of ``output``, if that has any."""
    if mask_of(output) is not None:
        tensor._keras_mask = mask_of(output)
    return tensor


def _to_arrays(outputs: Mapping[str, tf.Tensor]) -> Arrays:
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def _is_float(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"
