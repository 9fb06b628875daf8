"""The table of metrics, which evaluation, report, comparison and ``--json`` read.

A metric is a function with a decorator, which enters it into ``METRICS`` under the name of the function:

    per_sample    the function makes the quantity of each sample, whose mean over the samples is the metric
    per_split     the function computes the metric of what a pass over the data set gathered

    @per_sample("largest error", **COMPARED, better="lower", note="of any element")
    def largest_error(split):
        return lambda batch: tf.reduce_max(tf.abs(batch.x - batch.reconstruction), range(1, len(batch.x.shape)))
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tfae.evaluation.baselines import Baselines
from tfae.evaluation.batches import Quantity
from tfae.evaluation.totals import Totals
from tfae.losses import ReconstructionLoss, TableLoss

#: Headings under which tables show metrics, in their order.
GROUPS = LOSS, BOUND, SHARED, LATENT = (
    "Loss per sample",
    "Bounds of the negative log-likelihood per sample",
    "Shared by all losses, per element in model space",
    "Latent and score",
)

#: Options of a metric by which losses are compared.
COMPARED: dict[str, Any] = {"group": SHARED, "in_comparison": True}

#: Quantities of variational autoencoders by unit, ``(batch, latent_dim)``.
KL_BY_UNIT, VARIANCE_BY_UNIT = "kl by unit", "variance by unit"

#: Why a metric of variational autoencoders does not exist.
NOT_VARIATIONAL = "the model has no Gaussian bottleneck, or several"

_T = TypeVar("_T")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class UnavailableError(Exception):
    """A metric does not exist; the message says why."""


def available(value: _T | str) -> _T:
    """Return what a :class:`Split` has; raise :class:`UnavailableError` with the text that is there instead."""
    if isinstance(value, str):
        raise UnavailableError(value)
    return value


@dataclasses.dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes:
        name: In ``Evaluation.values`` and JSON.
        title: In tables.
        description: What it is.
        group: Heading that tables show it under; None for a number that only notes and page heads show.
        indent: Whether it is a part of the row above.
        unit: Of the value; "" where it is that of the loss, of model space, or none.
        better: "lower", "higher" or "near 1"; None where neither is, or where each loss has a unit of its own.
        in_comparison: Whether a comparison puts the losses side by side in it.
        note: Explanation beside the value, or a function of the ``Evaluation`` that makes it.
        quantities: Called with the :class:`Split`, returns what to measure of every sample, by name.
        compute: Called with the :class:`Split`, returns the value or raises :class:`UnavailableError`.
    """

    name: str
    title: str
    description: str
    compute: Callable[..., float]
    group: str | None = None
    indent: bool = False
    unit: str = ""
    better: str | None = None
    in_comparison: bool = False
    note: str | Callable[[Any], str] = ""
    quantities: Callable[[Split], Mapping[str, Quantity]] = lambda split: {}

    @property
    def heading(self) -> str:
        """Title and unit, as a cell of its own."""
        return f"{self.title[0].upper()}{self.title[1:]}{self.unit and f', {self.unit}'}"

    def shortfall(self, value: float) -> float:
        """How far a value is from the best one, but for a constant: the less, the better."""
        return abs(value - 1) if self.better == "near 1" else -value if self.better == "higher" else value


#: Every metric by name.
METRICS: dict[str, Metric] = {}


def enter(*metrics: Metric) -> None:
    """Enter rows that need no function of their own."""
    METRICS.update({metric.name: metric for metric in metrics})


def per_split(title: str, **options: Any) -> Callable[[_Function], _Function]:
    """Enter a metric that the function computes of a :class:`Split`, and its docstring's first paragraph describes."""

    def register(function: _Function) -> _Function:
        name, text = function.__name__, (inspect.getdoc(function) or "").partition("\n\n")[0]
        enter(Metric(name, title, " ".join(text.split()), **{"compute": function, **options}))
        return function

    return register


def per_sample(title: str, **options: Any) -> Callable[[_Function], _Function]:
    """Enter the mean over samples of the quantity that the function returns for a :class:`Split`; else likewise."""

    def register(function: _Function) -> _Function:
        name = function.__name__
        computed = {"compute": lambda split: split.mean(name), "quantities": lambda split: {name: function(split)}}
        return per_split(title, **computed, **options)(function)

    return register


@dataclasses.dataclass(frozen=True)
class Draws:
    """How bounds are estimated: by K draws z of q(z|x) for each sample, in memory that does not grow with K."""

    #: From latents to outputs, or why there is no such model.
    decoder: Any
    #: K; 0 to draw nothing.
    num_draws: int
    seed: int


@dataclasses.dataclass
class Split:
    """A model and the data set that it is measured on; text in place of a value says why there is none."""

    loss: ReconstructionLoss
    #: Of one sample.
    shape: tuple[int, ...]
    #: The values that the data can take, in model space; None for what samples span, if they are no images.
    given_interval: tuple[float, float] | None
    latent_dim: int | str
    #: What bounds of a variational autoencoder are estimated by.
    draws: Draws | str = NOT_VARIATIONAL
    #: What the pass over the training split gathered, of loss and floor alone.
    train: Totals | str = "no training split was given"
    #: Trivial models, fitted on the training split.
    baselines: Baselines | str = "no training split was given"
    #: What the pass over the data set gathered; not there before it.
    totals: Totals = dataclasses.field(init=False)
    #: What is known of the metrics, by name: the value, or why there is none.
    found: dict[str, float | str] = dataclasses.field(default_factory=dict)

    @property
    def interval(self) -> tuple[float, float]:
        """The values that the data can take, in model space."""
        return self.given_interval or likely_interval(*self.totals.samples)

    def quantities(self) -> dict[str, Quantity]:
        """Return what to measure of every sample for all metrics, by name."""
        quantities: dict[str, Quantity] = {}
        for metric in METRICS.values():
            try:
                quantities |= metric.quantities(self)
            except UnavailableError as error:
                self.found[metric.name] = str(error)
        return quantities | self._of_columns()

    def _of_columns(self) -> dict[str, Quantity]:
        """The loss of each column of a table, and that of its best constant; both ``(batch, num_columns)``."""
        if not isinstance(self.loss, TableLoss):
            return {}
        loss, readable, baselines = self.loss, self.loss.on_reconstructions(), self.baselines
        found: dict[str, Quantity] = {
            "loss by column": lambda batch: loss.per_feature(batch.x, batch.output, mask=batch.mask)
        }
        if not isinstance(baselines, str):
            found["constant by column"] = lambda batch: readable.per_feature(
                batch.x, tf.broadcast_to(baselines.constant, tf.shape(batch.x)), mask=batch.mask
            )
        return found

    def columns(self) -> dict[str, dict[str, float | None]]:
        """Return loss, loss of the best constant, and skill of each column of a table that has a loss per column."""
        if not isinstance(self.loss, TableLoss):
            return {}
        losses = self.totals.by_column["loss by column"].tolist()
        constants = self.totals.by_column.get("constant by column", np.full(len(losses), None)).tolist()
        return {
            block.column: {"loss": loss, "constant": constant, "skill": 1 - loss / constant if constant else None}
            for block, loss, constant in zip(self.loss.blocks, losses, constants, strict=True)
        }

    def units(self) -> tuple[dict[str, float], ...]:
        """Return divergence from the prior and variance of each unit of a variational autoencoder's latent."""
        if isinstance(self.draws, str):
            return ()
        of_units = zip(self.totals.by_column[KL_BY_UNIT], self.totals.by_column[VARIANCE_BY_UNIT], strict=True)
        return tuple({"kl": float(divergence), "variance": float(variance)} for divergence, variance in of_units)

    def mean(self, quantity: str) -> float:
        """Return the mean of a quantity over the samples; :class:`UnavailableError` if it leaves float32."""
        mean = self.totals.means[quantity]
        return available(mean if math.isfinite(mean) else "the values are too large for float32")

    def value(self, name: str) -> float:
        """Return the value of a metric; :class:`UnavailableError` if there is none."""
        if name not in self.found:
            try:
                self.found[name] = METRICS[name].compute(self)
            except UnavailableError as error:
                self.found[name] = str(error)
        return available(self.found[name])

    def measure(self) -> tuple[dict[str, float | None], dict[str, str]]:
        """Return the values of all metrics, None where there is none, and the reasons for that."""
        for name in METRICS:
            with contextlib.suppress(UnavailableError):
                self.value(name)
        values = {name: None if isinstance(self.found[name], str) else self.value(name) for name in METRICS}
        return values, {name: text for name, text in self.found.items() if isinstance(text, str)}


def likely_interval(low: float, high: float) -> tuple[float, float]:
    """Return the interval that data between ``low`` and ``high`` was most likely scaled to."""
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return float(low), float(high)
