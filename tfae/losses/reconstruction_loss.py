"""The base of the reconstruction losses."""

from __future__ import annotations

import abc
import inspect
import math
import re
from typing import Any, ClassVar, Literal

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfae import activations  # Not from it: where it is imported first, it imports this, by way of Keras.
from tfae.losses import shapes
from tfae.losses.constants import find_best_constant
from tfae.losses.domain import validate_domain
from tfae.losses.loss_parts import note
from tfae.losses.reduction import BatchReduction, reduce_elements, sum_per_sample
from tfae.moments import Moments


class ReconstructionLoss(keras.losses.Loss, abc.ABC):
    """Base of the reconstruction losses: an elementwise term, summed per sample, averaged over the batch.

    A subclass writes :meth:`elementwise`; everything else has a default. Training, evaluation and the served score all
    call :meth:`per_sample`, so that they can not drift apart. Computations are in float32 or wider whatever ``dtype``
    and mixed-precision policy say: a float16 sum over the elements of a 512×512×3 image overflows.

    Args:
        sample_reduction: How elements become the number of a sample: ``"sum"``, or ``"mean"`` for a loss per pixel.
        reduction: How the samples of a batch become one number; as in :class:`keras.losses.Loss`.
        name: Name of the loss, its class in snake case by default.
        dtype: Dtype of the computation, ``keras.config.floatx()`` by default; float16 and bfloat16 become float32.

    Raises:
        ValueError: If ``sample_reduction`` is neither ``"sum"`` nor ``"mean"``.

    Example:
        >>> class Quartic(ReconstructionLoss):
        ...     def elementwise(self, x, output):
        ...         return (output - x) ** 4
        >>> float(Quartic()([[0.0, 0.0]], [[1.0, 2.0]]))  # 1 + 16
        17.0
    """

    #: Its names: the class in snake case, one for the command line, and one to be read.
    long_name: ClassVar[str]
    short_name: ClassVar[str]
    title: ClassVar[str]
    #: Arguments that it has where it is built by name.
    config_by_name: ClassVar[dict[str, Any]] = {}
    #: When to prefer it, as the advice on a data set says; None to be left out there.
    advice: ClassVar[str | None] = None
    #: Range of the samples for which the loss is defined, or None where every real number is welcome.
    domain: ClassVar[tuple[float, float] | None] = None
    #: Unit of the loss; None where it is that of the data in model space, or its square.
    unit: ClassVar[str | None] = None
    #: Least loss of an element in the domain, where samples outside of it have less; None to not look for these.
    lower_bound: ClassVar[float | None] = None
    #: What stands for reconstructions in the output of a model where the loss is built with ``from_<link>=True``.
    link: ClassVar[str] = "logits"
    #: Activation of a model that emits reconstructions, as Keras names it; None for one that follows their range.
    bounding_activation: ClassVar[str | None] = None
    #: Whether a comparison takes it where no losses are named.
    in_comparison: ClassVar[bool] = True
    #: Whether no linear autoencoder has a smaller loss than PCA.
    pca_is_optimal: ClassVar[bool] = False
    #: What the best constant reconstruction is; None to have it searched.
    known_constant: ClassVar[Literal["mean", "median"] | None] = None
    #: Below and above, reconstructions, or arrays of these, near to which the loss of a sample elsewhere has no bound.
    asymptotes: tuple[Any, Any] = (-math.inf, math.inf)
    #: Whether the loss of a sample depends on the others of its batch in training, until :meth:`adapt` is called.
    depends_on_batch: bool = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.long_name = re.sub("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()
        for attribute, default in {"short_name": cls.long_name, "title": cls.long_name.replace("_", " ")}.items():
            setattr(cls, attribute, cls.__dict__.get(attribute, default))

    def __init__(
        self,
        *,
        sample_reduction: str = "sum",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name or self.long_name, reduction=reduction, dtype=dtype)
        if sample_reduction not in ("sum", "mean"):
            raise ValueError(
                f'sample_reduction: expected "sum" or "mean"; received {sample_reduction!r}. "sum" adds up the '
                'elements of a sample, "mean" averages them.'
            )
        self.sample_reduction = sample_reduction
        self._compute_dtype = keras.backend.result_type(self.dtype, "float32")
        self._reduce_batch = BatchReduction(name="reduce", reduction=reduction, dtype=self._compute_dtype)

    @abc.abstractmethod
    def elementwise(self, x: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Return the loss of each element: the formula of the loss.

        Samples ``x`` in model space and what the model emits for them are float32 or float64 of one shape
        ``(batch, ...)``, and so is the result. :meth:`per_element` checks shapes, and this need not.
        """

    def gradients(self, x: tf.Tensor, output: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the derivatives of :meth:`elementwise` by ``x`` and by ``output``, each times ``upstream``.

        They are found by automatic differentiation, which computes the elementwise loss again and keeps nothing of it.
        Override this where a formula by hand is more exact, as at kinks, or faster.

        Both are of the shape of ``x``, to which that of ``upstream``, the derivatives by the elementwise loss,
        broadcasts.
        """
        with tf.GradientTape() as tape:
            tape.watch((x, output))
            values = self.elementwise(x, output)
        upstream = tf.broadcast_to(upstream, tf.shape(values))
        return tuple(tape.gradient(values, (x, output), upstream, unconnected_gradients="zero"))

    def output_activation(self, output_range: tuple[float, float] | None = None) -> str | activations.Clip:
        """Return the activation of the last layer that suits this loss, as every Keras layer takes it.

        It is "linear" for logits and their like, and else ``bounding_activation``. Without that it is
        :class:`tfae.activations.Clip`, which says why, to what bounds reconstructions in model space: ``output_range``,
        as ``tfae.datasets.Data`` has it, or else the ``domain`` of the loss; without either "linear".
        """
        if self.reads_link or self.bounding_activation:
            return "linear" if self.reads_link else str(self.bounding_activation)
        bounds = output_range or self.domain
        return "linear" if bounds is None else activations.Clip(*bounds)

    def reconstruction(self, output: Any) -> tf.Tensor:
        """Return the reconstruction x̂ in model space that the model's ``output`` stands for; same shape."""
        output = ops.convert_to_tensor(output, self._compute_dtype)
        return self.inverse_link(output) if self.reads_link else output

    def inverse_link(self, output: tf.Tensor) -> tf.Tensor:
        """Return the reconstructions that logits and their like stand for, as their sigmoid."""
        return output

    @property
    def reads_link(self) -> bool:
        """Whether outputs stand for reconstructions, as logits do: what the argument ``from_<link>`` says."""
        return bool(getattr(self, f"from_{self.link}", False))

    def replace(self, **config: Any) -> ReconstructionLoss:
        """Return a copy of the loss with other arguments."""
        return self.from_config({**self.get_config(), **config})

    def on_reconstructions(self) -> ReconstructionLoss:
        """Return the same loss as a function of reconstructions; itself, unless it reads logits or their like."""
        return self.replace(**{f"from_{self.link}": False}) if self.reads_link else self

    def explain_undefined(self, x: np.ndarray) -> str | None:
        """Return why the loss is not defined on samples in its domain, and what to do; None where it is."""
        return None

    def for_model(self) -> ReconstructionLoss:
        """Return the loss that one model is compiled with: itself or, where :meth:`adapt` changes it, a copy."""
        return self.replace() if self.depends_on_batch else self

    def adapt(self, autoencoder: Any, dataset: tf.data.Dataset) -> None:
        """Find what scores need to know of a trained model and data; nothing, unless a loss overrides it."""

    def floor(self, x: Any, mask: Any = None) -> tf.Tensor:
        """Return the smallest loss ``(batch,)`` that any reconstruction of each sample can reach: that of ``x`` itself.

        Samples ``x`` are in model space, ``(batch, ...)``; ``mask`` is as in :meth:`per_sample`.
        """
        return self.on_reconstructions().per_sample(x, x, mask=mask)

    def best_constant(self, samples: Any, *, moments: Moments | None = None) -> np.ndarray:
        """Find the one reconstruction that, given to all samples, has the least loss, in memory that does not grow.

        It is each element's mean or median where ``known_constant`` says so. Otherwise the zero of the derivative is
        bracketed in passes over the samples; the loss has to fall and then rise in the output, as convex ones do.

        Args:
            samples: Array ``(num_samples, ...)`` in model space, or a ``tf.data.Dataset`` of batches ``(x, x)``. The
                result is a float64 array of the shape of one.
            moments: Of the samples, if they are known.
        """
        return find_best_constant(self, samples, moments)

    def per_element(self, x: Any, output: Any, *, mask: Any = None) -> tf.Tensor:
        """Return the loss of each element, :meth:`elementwise` with shapes checked and masks respected.

        Arguments and errors are those of :meth:`per_sample`; masked elements have loss 0. Returns float of the shape of
        ``x``.
        """
        x, output, mask = self._prepare(x, output, mask)
        if mask is None:
            return reduce_elements(self, x, output, tf.identity)
        mask = shapes.expand_leading(mask, x, "mask", "bool")
        # Blank both sides first: NaN · 0 is NaN, in the value as in the gradient.
        zero = ops.zeros((), x.dtype)
        values = reduce_elements(self, ops.where(mask, x, zero), ops.where(mask, output, zero), tf.identity)
        return ops.where(mask, values, zero)

    def per_feature(self, x: Any, output: Any, *, mask: Any = None) -> tf.Tensor:
        """Return the loss of each feature that a user knows: of each element, and of a table's columns."""
        return self.sum_features(self.per_element(x, output, mask=mask))

    def sum_features(self, values: tf.Tensor) -> tf.Tensor:
        """Return numbers of features for numbers of elements, ``(batch, ...)``."""
        return values

    def per_sample(self, x: Any, output: Any, *, mask: Any = None, weight: Any = None) -> tf.Tensor:
        """Return the loss of each sample: the sum, or the mean, of its elements' losses.

        Args:
            x: Samples in model space, ``(batch, ...)``, of rank 2 or more.
            output: What the model emits for them, of the same shape.
            mask: bool, of the leading dimensions of ``x``: ``(batch, time)`` drops time steps, the shape of ``x`` drops
                elements. Elements where it is False count for nothing, NaN included, and the mean is over the others. A
                sample with nothing left has loss 0. By default the Keras mask that came with ``output``, if any.
            weight: float, of the leading dimensions of ``x``. Multiplies the elements' losses; the mean still divides
                by the number of elements, as Keras does.

        Returns:
            float tensor of shape ``(batch,)``.

        Raises:
            ValueError: If shapes differ or the rank is below 2. Nothing is broadcast.

        Example:
            >>> import tfae
            >>> tfae.losses.SquaredError().per_sample([[0.0, 1.0, 2.0]], [[0.0, 2.0, 4.0]]).numpy()
            array([5.], dtype=float32)
        """
        x, output, mask = self._prepare(x, output, mask)
        if mask is None and weight is None:
            sums = reduce_elements(self, x, output, sum_per_sample)
        else:
            values = self.per_element(x, output, mask=mask)
            if weight is not None:
                values = values * shapes.expand_leading(weight, x, "sample_weight", values.dtype)
            sums = sum_per_sample(values)
        if self.sample_reduction == "sum":
            return sums
        if mask is None:
            return ops.divide_no_nan(sums, tf.cast(tf.reduce_prod(tf.shape(x)[1:]), x.dtype))
        kept = ops.ones_like(x) * shapes.expand_leading(mask, x, "mask", x.dtype)
        return ops.divide_no_nan(sums, sum_per_sample(kept))

    def per_sample_in_batch(self, x: Any, output: Any, *, mask: Any, weight: Any, sample_weight: Any) -> tf.Tensor:
        """Return what each sample adds to the loss of its batch, to be weighed by ``sample_weight``: its loss."""
        return self.per_sample(x, output, mask=mask, weight=weight)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Return the loss of each sample, ``(batch,)``; what Keras asks a loss for."""
        return self.per_sample(y_true, y_pred)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        """Return the loss of the batch, a float scalar, or ``(batch,)`` if ``reduction`` is None.

        Keras would apply the mask of ``y_pred`` and every ``sample_weight`` to the per-sample losses, where a mask over
        time steps no longer fits (https://github.com/keras-team/keras/issues/23228). Here masks act on the elements,
        weights of shape ``(batch,)`` on the samples, and those of more of its leading dimensions on elements.

        Raises:
            ValueError: If shapes do not fit.
            tf.errors.InvalidArgumentError: Likewise, in a graph; or if a loss is below its ``lower_bound``, to which
                only samples outside of its domain take it. Under XLA, which raises nothing, it is NaN then.
        """
        y_true, y_pred, mask = self._prepare(y_true, y_pred, None)
        weight = None
        if sample_weight is not None:
            weight, sample_weight = shapes.split_weight(sample_weight, y_true, self._compute_dtype, self.reduction)
        with keras.name_scope(self.name):
            values = self.per_sample_in_batch(y_true, y_pred, mask=mask, weight=weight, sample_weight=sample_weight)
            values = validate_domain(values, y_true, self, is_weighted=weight is not None)
            loss = self._reduce_batch(values, values, sample_weight)
            # Keras has divided it by the number of replicas, over which it adds up.
            note("reconstruction", loss * tf.distribute.get_strategy().num_replicas_in_sync)
            return loss

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal loss."""
        config = {**super().get_config(), "sample_reduction": self.sample_reduction, "dtype": self.dtype}
        link = f"from_{self.link}"
        return {**config, link: getattr(self, link)} if hasattr(self, link) else config

    def __repr__(self) -> str:
        """The call that builds it, without the arguments that every loss has."""
        common, parameters = (inspect.signature(each).parameters for each in (ReconstructionLoss, type(self)))
        config = {name: value for name, value in self.get_config().items() if name in parameters.keys() - common.keys()}
        given = [f"{name}={value!r}" for name, value in config.items() if value != parameters[name].default]
        return f"{type(self).__name__}({', '.join(given)})"

    def _prepare(self, x: Any, output: Any, mask: Any) -> tuple[tf.Tensor, tf.Tensor, Any]:
        """Samples and outputs as tensors of one shape; and the mask that is given, or comes with the output, if any."""
        mask = shapes.mask_of(output) if mask is None else mask
        return *shapes.convert_pair(x, output, self._compute_dtype), mask
