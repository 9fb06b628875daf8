"""The base of the reconstruction losses: shapes, masks, weights and reductions."""

from __future__ import annotations

import abc
import re
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

from tfae import activations  # Not from it: where it is imported first, it imports this, by way of Keras.
from tfae.losses.total import Total, each_element, sum_per_sample

#: How far rounding may take a sample beyond the edge of a loss's domain, in model space.
DOMAIN_TOLERANCE = 1e-5

#: From the gradient by a loss to those by ``x`` and by ``output``.
Derivative = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def mask_of(output: Any) -> tf.Tensor | None:
    """The mask that Keras layers, such as ``Masking``, have sent along with a model's output; bool, or None."""
    return getattr(output, "_keras_mask", None)


class _Reduction(keras.losses.Loss):
    """Keras's reduction of values that are per sample already; ``y_true`` is not looked at."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return y_pred


class ReconstructionLoss(keras.losses.Loss, abc.ABC):
    """Base of the reconstruction losses: one elementwise term, summed per sample, averaged over the batch.

    Training, evaluation and the served score all call :meth:`per_sample`, so that they can not drift apart.
    Computations are in float32 or wider whatever ``dtype`` and mixed-precision policy say: a float16 sum over
    the elements of a 512×512×3 image overflows.

    Args:
        sample_reduction: How the elements of a sample become one number: ``"sum"``, or ``"mean"`` for the
            per-element (for images, per-pixel) form.
        reduction: How the samples of a batch become one number; as in :class:`keras.losses.Loss`.
        name: Name of the loss, its class in snake case by default.
        dtype: Dtype of the computation, ``keras.config.floatx()`` by default; float16 and bfloat16 are
            widened to float32.

    Raises:
        ValueError: If ``sample_reduction`` is neither ``"sum"`` nor ``"mean"``.
    """

    #: Range of the samples for which the loss is defined, or None where every real number is welcome.
    domain: ClassVar[tuple[float, float] | None] = None
    #: Unit of the loss; None where it is that of the data in model space, or its square.
    unit: ClassVar[str | None] = None
    #: Whether it is the cross-entropy of samples in [0, 1], in nats.
    is_crossentropy: ClassVar[bool] = False

    def __init__(
        self,
        *,
        sample_reduction: str = "sum",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        name = name or re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if sample_reduction not in ("sum", "mean"):
            raise ValueError(
                f'sample_reduction: expected "sum" or "mean"; received {sample_reduction!r}. "sum" adds up the '
                'elements of a sample, "mean" averages them.'
            )
        self.sample_reduction = sample_reduction
        self._compute_dtype = keras.backend.result_type(self.dtype, "float32")
        self._reduce = _Reduction(name="reduce", reduction=reduction, dtype=self._compute_dtype)

    @abc.abstractmethod
    def _value_and_derivative(self, x: tf.Tensor, output: tf.Tensor, total: Total) -> tuple[tf.Tensor, Derivative]:
        """The ``total`` of the elementwise loss, and a function that returns its derivatives by ``x`` and ``output``.

        The derivative is written by hand because it is exact where automatic differentiation of a clipped or
        piecewise form is not, and because it needs a third of the passes over memory.
        """

    def output_activation(self, output_range: tuple[float, float] | None = None) -> str | activations.Clip:
        """Activation of the last layer that suits this loss, as every Keras layer takes it.

        Args:
            output_range: What reconstructions are bounded by in model space, as ``tfae.datasets.Data`` has it; None
                where nothing bounds them.

        Returns:
            :class:`tfae.activations.Clip` to the range, or ``"linear"``. Pixels are at the ends of their range more
            often than not. A linear layer has to hit these numbers, and a sigmoid that is on the wrong side no longer
            learns: on mnist absolute error then stays at the median (see docs/which_loss.md).
        """
        return "linear" if output_range is None else activations.Clip(*output_range)

    def elementwise(self, x: Any, output: Any, *, mask: Any = None) -> tf.Tensor:
        """Loss of each element.

        Args:
            x: Samples in model space, ``(batch, ...)``.
            output: What the model emits for them, of the same shape.
            mask: As in :meth:`per_sample`; masked elements have loss 0.

        Returns:
            float tensor of the shape of ``x``.

        Raises:
            ValueError: If the shapes differ. Nothing is broadcast.
        """
        mask = mask_of(output) if mask is None else mask
        x, output = self._tensors(x, output)
        if mask is None:
            return self._differentiable(x, output, each_element)
        mask = _spread(ops.convert_to_tensor(mask, "bool"), x, "mask")
        # Blank both sides first: NaN · 0 is NaN, in the value as in the gradient.
        zero = ops.zeros((), x.dtype)
        values = self._differentiable(ops.where(mask, x, zero), ops.where(mask, output, zero), each_element)
        return ops.where(mask, values, zero)

    def _differentiable(self, x: tf.Tensor, output: tf.Tensor, total: Total) -> tf.Tensor:
        """The ``total`` of the elementwise loss, with the derivative by hand; one step for both spares an array."""

        @ops.custom_gradient
        def differentiable(x: tf.Tensor, output: tf.Tensor) -> tuple[tf.Tensor, Callable]:
            value, derivative = self._value_and_derivative(x, output, total)

            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                # Or a graph might start on the derivative while the terms of the loss still take memory.
                with tf.control_dependencies([upstream]):
                    return derivative(_with_rank(upstream, len(x.shape)))

            return value, gradient

        return differentiable(x, output)

    def per_sample(self, x: Any, output: Any, *, mask: Any = None, weight: Any = None) -> tf.Tensor:
        """Loss of each sample: the sum, or the mean, of its elements' losses.

        Args:
            x: Samples in model space, ``(batch, ...)``, of rank 2 or more.
            output: What the model emits for them, of the same shape.
            mask: bool, of the leading dimensions of ``x``: ``(batch, time)`` drops time steps, the shape of
                ``x`` drops elements. Where it is False the element counts for nothing, NaN included, and the
                mean is over those that are left. A sample with nothing left has loss 0. By default the Keras
                mask that came with ``output``, if any.
            weight: float, of the leading dimensions of ``x``. Multiplies the elements' losses; the mean
                still divides by the number of elements, as Keras does.

        Returns:
            float tensor of shape ``(batch,)``.

        Raises:
            ValueError: If shapes differ or the rank is below 2. Nothing is broadcast.

        Example:
            >>> import tfae
            >>> tfae.losses.SquaredError().per_sample([[0.0, 1.0, 2.0]], [[0.0, 2.0, 4.0]]).numpy()
            array([5.], dtype=float32)
        """
        mask = mask_of(output) if mask is None else mask
        x, output = self._tensors(x, output)
        if mask is None and weight is None:
            sums = self._differentiable(x, output, sum_per_sample)
        else:
            values = self.elementwise(x, output, mask=mask)
            if weight is not None:
                values = values * _spread(ops.convert_to_tensor(weight, values.dtype), x, "sample_weight")
            sums = sum_per_sample(values)
        return self._reduced(sums, x, mask)

    def _reduced(self, sums: tf.Tensor, x: tf.Tensor, mask: Any = None) -> tf.Tensor:
        """``sums`` over the elements of each sample of ``x``, as ``sample_reduction`` wants them."""
        if self.sample_reduction == "sum":
            return sums
        if mask is None:
            return ops.divide_no_nan(sums, tf.cast(tf.reduce_prod(tf.shape(x)[1:]), x.dtype))
        kept = ops.ones_like(x) * _spread(ops.convert_to_tensor(mask, x.dtype), x, "mask")
        return ops.divide_no_nan(sums, sum_per_sample(kept))

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Loss of each sample, ``(batch,)``; what Keras asks a loss for."""
        return self.per_sample(y_true, y_pred)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        """Loss of the batch.

        Keras would apply the mask of ``y_pred`` and every ``sample_weight`` to the per-sample losses, where a
        mask over time steps no longer fits (https://github.com/keras-team/keras/issues/23228). Here masks
        and weights of rank 2 or more act on the elements, and weights of shape ``(batch,)`` on the samples.

        Args:
            y_true: Samples, ``(batch, ...)``.
            y_pred: Output of the model, of the same shape; its Keras mask, if any, is respected.
            sample_weight: ``(batch,)``, or of the leading dimensions of ``y_true`` up to all of them.

        Returns:
            float scalar; ``(batch,)`` if ``reduction`` is None.
        """
        y_true = ops.convert_to_tensor(y_true, self._compute_dtype)
        weight = None
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight, self._compute_dtype)
            if len(sample_weight.shape) > 1:
                weight, sample_weight = sample_weight, None
            elif len(sample_weight.shape) == 1:
                sample_weight = _of_leading_shape(sample_weight, y_true, "sample_weight")
        with keras.name_scope(self.name):
            values = self.per_sample(y_true, y_pred, weight=weight)
            return self._reduce(values, values, sample_weight)

    def reconstruction(self, output: Any) -> tf.Tensor:
        """Reconstruction x̂ in model space that the model's ``output`` stands for; same shape."""
        return ops.convert_to_tensor(output, self._compute_dtype)

    def floor(self, x: Any) -> tf.Tensor:
        """Smallest loss ``(batch,)`` that any reconstruction of each sample can reach: 0, but for cross-entropy."""
        x = ops.convert_to_tensor(x, self._compute_dtype)
        return self._reduced(self._floor(x), x)

    def _floor(self, x: tf.Tensor) -> tf.Tensor:
        return ops.zeros(ops.shape(x)[:1], x.dtype)

    def best_constant(self, x: Any) -> tf.Tensor:
        """The one reconstruction that, given to all samples, has the least loss on ``x``.

        Args:
            x: Samples in model space, ``(num_samples, ...)``.

        Returns:
            float tensor of the shape of one sample, in model space: the mean for squared error and
            cross-entropy, the median for absolute error, over the samples.
        """
        return ops.mean(ops.convert_to_tensor(x, self._compute_dtype), axis=0)

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal loss; ``dtype`` included."""
        return {**super().get_config(), "sample_reduction": self.sample_reduction, "dtype": self.dtype}

    def _tensors(self, x: Any, output: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """``x`` and ``output`` in the dtype of the computation, their shapes compared."""
        x = ops.convert_to_tensor(x, self._compute_dtype)
        output = ops.convert_to_tensor(output, self._compute_dtype)
        _check_same_shape(x.shape, output.shape, "y_true", "y_pred")
        if len(x.shape) < 2:
            raise ValueError(
                f"y_true: expected shape (batch, ...) of rank 2 or more; received {tuple(x.shape)}. Add an axis "
                "to samples that are single numbers: x[:, None]."
            )
        if not (x.shape.is_fully_defined() and output.shape.is_fully_defined()):
            output = _run_time_checked(output, tf.shape(x), "y_true and y_pred: expected equal shapes.")
            # XLA drops assertions, but can not reshape to another number of elements: nothing is broadcast.
            output = ops.reshape(output, ops.shape(x))
        return x, output


def _check_same_shape(first: Any, second: Any, first_name: str, second_name: str) -> None:
    """Raise unless the shapes are equal wherever both are known."""
    first, second = tf.TensorShape(first), tf.TensorShape(second)
    if not first.is_compatible_with(second):
        raise ValueError(
            f"{first_name} and {second_name}: expected equal shapes; received {tuple(first)} and {tuple(second)}. "
            "Nothing is broadcast: reshape one of them, or check which output the model is trained on."
        )


def _run_time_checked(tensor: tf.Tensor, shape: tf.Tensor, message: str) -> tf.Tensor:
    """``tensor``, once its shape, unknown while tracing, is found to be ``shape`` when the graph runs."""
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(tensor), shape, message=message)]):
        return tf.identity(tensor)


def _of_leading_shape(coefficients: tf.Tensor, x: tf.Tensor, name: str) -> tf.Tensor:
    """``coefficients``, once their shape is found to be that of the leading dimensions of ``x``."""
    rank = len(coefficients.shape)
    expected = f"the leading dimensions, y_true.shape[:{rank}]"
    if rank == 2 and coefficients.shape[1] == 1 != x.shape[1]:
        raise ValueError(
            f"{name}: expected shape (batch,) for a weight per sample; received {tuple(coefficients.shape)}. Drop the "
            "last axis: w[:, 0]."
        )
    _check_same_shape(coefficients.shape, x.shape[:rank], name, expected)
    if coefficients.shape.is_fully_defined() and x.shape[:rank].is_fully_defined():
        return coefficients
    return _run_time_checked(coefficients, tf.shape(x)[:rank], f"{name}: expected the shape of {expected}.")


def _spread(coefficients: tf.Tensor, x: tf.Tensor, name: str) -> tf.Tensor:
    """``coefficients`` of the leading dimensions of ``x``, with axes of length 1 for the dimensions that follow."""
    coefficients = _of_leading_shape(coefficients, x, name)
    return _with_rank(coefficients, len(x.shape))


def _with_rank(tensor: tf.Tensor, rank: int) -> tf.Tensor:
    """``tensor`` with axes of length 1 appended, up to that rank."""
    return ops.expand_dims(tensor, tuple(range(len(tensor.shape), rank)))
