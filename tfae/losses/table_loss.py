"""The loss of a table, whose columns have one each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfae.columns import Block
from tfae.losses import shapes
from tfae.losses.binary_crossentropy import BinaryCrossentropy
from tfae.losses.categorical_crossentropy import CategoricalCrossentropy
from tfae.losses.constants import moments_of, rows_of
from tfae.losses.reconstruction_loss import ReconstructionLoss
from tfae.losses.squared_error import SquaredError
from tfae.moments import Moments


@final
@keras.saving.register_keras_serializable(package="tfae")
class TableLoss(ReconstructionLoss):
    """A loss per kind of column, and one sum per sample: each column has the loss that its nature asks for.

    per-sample loss = Σ over numbers of ``numbers`` + Σ over categories of −Σₖ xₖ log softmax(z)ₖ + Σ over yes/no of
    −[x log σ(z) + (1 − x) log(1 − σ(z))]. The cross-entropies are negative log-likelihoods in nats; so is squared error
    of numbers scaled to deviation 1, up to a constant, for Gaussian noise of variance ½. The model emits logits z of
    categories and of yes and no. A gap, NaN in ``x``, costs nothing, whatever the model makes of it.

    Args:
        blocks: The elements of each column in model space, ``data.preprocessing.blocks``, or their fields as dicts.
        numbers: The loss of columns that hold numbers; one that reads reconstructions.
        weights: By name of the column, what its loss is multiplied by; 1 unless given.
        from_logits: Whether the model emits logits of categories, yes and no, instead of probabilities.
        **options: As in :class:`ReconstructionLoss`.

    Raises:
        ValueError: If ``numbers`` or ``weights`` are not as above.

    Example:
        >>> blocks = [Block("size", "number", ("size",)), Block("color", "category", ("color=red", "color=(rest)"))]
        >>> loss = TableLoss(blocks)
        >>> round(float(loss([[1.0, 1.0, 0.0]], [[3.0, 0.0, 0.0]])), 4)  # (1 − 3)² + log 2
        4.6931
    """

    title = "a loss per kind of column"

    def __init__(
        self,
        blocks: Sequence[Block | Mapping[str, Any]],
        *,
        numbers: ReconstructionLoss | None = None,
        weights: Mapping[str, float] | None = None,
        from_logits: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.blocks = [each if isinstance(each, Block) else Block(**each) for each in blocks]
        self.numbers = numbers or SquaredError()
        if (
            not isinstance(self.numbers, ReconstructionLoss)
            or self.numbers.domain is not None
            or self.numbers.reads_link
            or self.numbers.depends_on_batch
        ):
            raise ValueError(
                "numbers: expected a loss of any real number and of known scale, such as SquaredError(); received "
                f"{self.numbers!r}."
            )
        self.weights = dict(weights or {})
        names = [block.column for block in self.blocks]
        if unknown := self.weights.keys() - set(names):
            raise ValueError(f"weights: expected columns, which are {', '.join(names)}; received {', '.join(unknown)}.")
        self.from_logits = from_logits
        self._of_kind: dict[str, ReconstructionLoss] = {
            "number": self.numbers,
            "yes/no": BinaryCrossentropy(from_logits=from_logits, dtype=self._compute_dtype),
            "category": CategoricalCrossentropy(from_logits=from_logits, dtype=self._compute_dtype),
        }
        # Columns of one kind that stand side by side are computed as one; categories each have a softmax.
        runs = itertools.groupby(
            enumerate(self.blocks), lambda pair: (pair[1].kind, pair[1].kind == "category" and pair[0])
        )
        self._kinds, self._widths = [], []
        for (kind, _), run in runs:
            self._kinds.append(kind)
            self._widths.append(sum(block.width for _, block in run))
        of_elements = [block for block in self.blocks for _ in block.names]
        self._weights = np.array([float(self.weights.get(block.column, 1)) for block in of_elements])
        self._is_number = np.array([block.kind == "number" for block in of_elements])
        self.asymptotes = np.where(self._is_number, -np.inf, 0.0), np.where(self._is_number, np.inf, 1.0)

    def elementwise(self, x: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Return the loss of each element; those of a category sum to its cross-entropy."""
        parts = [self._of_kind[kind].elementwise(*pair) for kind, *pair in self._runs(x, output)]
        return ops.concatenate(parts, axis=-1) * ops.cast(self._weights, x.dtype)

    def gradients(self, x: tf.Tensor, output: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the derivatives by kind of column; of logits, for which they are by hand."""
        if not self.from_logits:
            return super().gradients(x, output, upstream)
        upstream = tf.broadcast_to(upstream, tf.shape(x)) * ops.cast(self._weights, x.dtype)
        pairs = [self._of_kind[kind].gradients(*parts) for kind, *parts in self._runs(x, output, upstream)]
        by_x, by_output = (ops.concatenate(parts, axis=-1) for parts in zip(*pairs, strict=True))
        return by_x, by_output

    def sum_features(self, values: tf.Tensor) -> tf.Tensor:
        """Return sums over the elements of each column, ``(batch, num_columns)``."""
        parts = ops.split(values, np.cumsum([block.width for block in self.blocks])[:-1].tolist(), axis=-1)
        return ops.stack([ops.sum(part, axis=-1) for part in parts], axis=-1)

    def inverse_link(self, output: tf.Tensor) -> tf.Tensor:
        """Return numbers as they are, and the probabilities of categories and of yes."""
        parts = [self._of_kind[kind].inverse_link(part) for kind, part in self._runs(output)]
        return ops.concatenate(parts, axis=-1)

    def output_activation(self, output_range: tuple[float, float] | None = None) -> str:
        """Return ``"linear"``: numbers are not bounded, and of all else there are logits."""
        return "linear"

    def best_constant(self, samples: Any, *, moments: Moments | None = None) -> np.ndarray:
        """As of every loss; of cross-entropies it is the mean, and of numbers that of their loss."""
        constant = np.array((moments or moments_of(samples)).mean)
        for index in np.flatnonzero(self._is_number) if self.numbers.known_constant != "mean" else ():
            present = [column[~np.isnan(column)] for rows in rows_of(samples) for column in [rows[:, index]]]
            constant[index] = self.numbers.best_constant(np.concatenate(present)[:, None]).item()
        return constant

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal loss."""
        return {
            **super().get_config(),
            "blocks": [{**vars(block), "names": list(block.names)} for block in self.blocks],
            "numbers": keras.saving.serialize_keras_object(self.numbers),
            "weights": self.weights,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TableLoss:
        """Build the loss that ``get_config`` describes."""
        return cls(**{**config, "numbers": keras.saving.deserialize_keras_object(config["numbers"])})

    def __repr__(self) -> str:
        """The kinds of its columns."""
        counts = {kind: sum(block.kind == kind for block in self.blocks) for kind in ("number", "category", "yes/no")}
        listed = ", ".join(f"{count} of kind {kind}" for kind, count in counts.items() if count)
        return f"TableLoss({listed}; numbers={self.numbers!r})"

    def _runs(self, *tensors: tf.Tensor) -> Any:
        """The kind of each run of elements, and its part of each tensor."""
        return zip(self._kinds, *(tf.split(tensor, self._widths, axis=-1) for tensor in tensors), strict=True)

    def _prepare(self, x: Any, output: Any, mask: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """As of every loss, with a mask of the shape of ``x``, in which a gap counts for nothing."""
        x, output, mask = super()._prepare(x, output, mask)
        is_present = ops.logical_not(ops.isnan(x))
        if mask is not None:
            is_present &= shapes.expand_leading(mask, x, "mask", "bool")
        return x, output, is_present


def for_table(loss: ReconstructionLoss, preprocessing: Any) -> ReconstructionLoss:
    """Return the loss of a table whose numbers have the given one; that itself where not each column needs its own.

    Args:
        loss: Squared error, absolute error, or another of any real number.
        preprocessing: That of the data, which says what its columns hold.

    Raises:
        ValueError: The loss is not one of any real number.
    """
    if not preprocessing.is_mixed:
        return loss
    if loss.domain is not None:
        raise ValueError(
            f"loss: expected that of the numbers of a table, such as mse or mae; received {loss.short_name}. "
            "Categories, yes and no have cross-entropies by themselves."
        )
    return TableLoss(preprocessing.blocks, numbers=loss, sample_reduction=loss.sample_reduction)
