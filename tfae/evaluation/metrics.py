"""The table of metrics, which evaluation, report, comparison and ``--json`` read.

A metric is a function with a decorator, which enters it into ``METRICS``:

    per_sample    the function makes the quantity of each sample, whose mean over the samples is the metric
    per_split     the function computes the metric of what a pass over the data set gathered

    @per_sample("largest error", group=SHARED, better="lower", note="of any element")
    def largest_error(subject):
        return lambda batch: tf.reduce_max(tf.abs(batch.x - batch.reconstruction), range(1, len(batch.x.shape)))
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tfae.evaluation.baselines import Baselines
from tfae.evaluation.batches import Quantity
from tfae.evaluation.totals import Totals
from tfae.losses import ReconstructionLoss

#: Headings under which tables show metrics, in their order.
GROUPS = LOSS, SHARED, LATENT = (
    "Loss per sample",
    "Shared by all losses, per element in model space",
    "Latent and score",
)

#: Why there is no number where float32 has none.
OVERFLOW = "the values are too large for float32"

#: How far a value is from the best one, but for a constant, by what "better" says.
_SHORTFALL: dict[str, Callable[[float], float]] = {
    "lower": lambda value: value,
    "higher": lambda value: -value,
    "near 1": lambda value: abs(value - 1),
}

_Function = TypeVar("_Function", bound=Callable[..., Any])


class UnavailableError(Exception):
    """A metric does not exist; the message says why."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is measured."""

    loss: ReconstructionLoss
    #: Of one sample.
    shape: tuple[int, ...]
    #: The values that the data can take, in model space; None for what the samples span, if they are no images.
    interval: tuple[float, float] | None
    #: Width of the latent; None without one, and then why.
    latent_dim: int | None
    no_latent: str | None
    #: Trivial models, fitted on the training split; None without them, and then why.
    baselines: Baselines | None
    no_baselines: str | None


@dataclasses.dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes:
        name: In ``Evaluation.values`` and JSON.
        title: In tables.
        description: What it is.
        group: Heading that tables show it under; None for a number that only notes and page heads show.
        indent: Whether it is shown as a part of, or beside, the row above.
        unit: Of the value; "" where it is that of the loss, of model space, or none.
        better: "lower", "higher" or "near 1"; None where more is neither better nor worse, or where the losses of a
            comparison measure it in units of their own.
        in_comparison: Whether a comparison puts the losses side by side in it.
        note: Explanation beside the value, or a function of the ``Evaluation`` that makes it.
        per_sample: Whether it is a mean over samples.
        quantities: Called with the :class:`Subject`, returns what is measured of every sample, by name.
        ranked: Quantities whose values are kept, to be ranked.
        compute: Called with the :class:`Split`, returns the value or raises :class:`UnavailableError`.
    """

    name: str
    title: str
    description: str
    group: str | None = None
    indent: bool = False
    unit: str = ""
    better: str | None = None
    in_comparison: bool = False
    note: str | Callable[[Any], str] = ""
    per_sample: bool = False
    quantities: Callable[[Subject], Mapping[str, Quantity]] = lambda subject: {}
    ranked: tuple[str, ...] = ()
    compute: Callable[..., float] | None = None

    @property
    def heading(self) -> str:
        """Title and unit, as a cell of its own."""
        return f"{self.title[0].upper()}{self.title[1:]}{self.unit and f', {self.unit}'}"

    def shortfall(self, value: float) -> float:
        """How far a value is from the best one, but for a constant: the less, the better."""
        return _SHORTFALL[self.better or "lower"](value)


#: Every metric by name.
METRICS: dict[str, Metric] = {}


def per_sample(title: str, **options: Any) -> Callable[[_Function], _Function]:
    """Enter a metric that is a mean over samples; the function returns the quantity for a :class:`Subject`.

    Args:
        title: In tables.
        **options: Other attributes of :class:`Metric`; the name is that of the function, and the description the first
            paragraph of its docstring.
    """

    def register(define: _Function) -> _Function:
        name = define.__name__
        METRICS[name] = Metric(
            name,
            title,
            _description(define),
            per_sample=True,
            quantities=lambda subject: {name: define(subject)},
            compute=lambda split: split.mean(name),
            **options,
        )
        return define

    return register


def per_split(title: str, **options: Any) -> Callable[[_Function], _Function]:
    """Enter a metric that the function computes of a :class:`Split`; arguments as for :func:`per_sample`."""

    def register(compute: _Function) -> _Function:
        METRICS[compute.__name__] = Metric(compute.__name__, title, _description(compute), compute=compute, **options)
        return compute

    return register


class Split:
    """The metrics of a data set, as far as they have been computed.

    Args:
        subject: What is measured.
        totals: What the pass over the data set gathered.
        train: Likewise of the training split, loss and floor alone; None without one.
        unavailable: Why quantities of metrics could not be measured, by name of the metric.
    """

    def __init__(self, subject: Subject, totals: Totals, train: Totals | None, unavailable: Mapping[str, str]) -> None:
        self.subject, self.totals, self.train = subject, totals, train
        self.reasons = dict(unavailable)
        self._values: dict[str, float] = {}

    @property
    def interval(self) -> tuple[float, float]:
        """The values that the data can take, in model space."""
        return self.subject.interval or likely_interval(self.totals.low, self.totals.high)

    def mean(self, quantity: str) -> float:
        """The mean of a quantity over the samples.

        Raises:
            UnavailableError: If it leaves float32.
        """
        mean = self.totals.means[quantity]
        if not math.isfinite(mean):
            raise UnavailableError(OVERFLOW)
        return mean

    def value(self, name: str) -> float:
        """The value of a metric, by name.

        Raises:
            UnavailableError: If there is none; ``reasons`` keeps why.
        """
        if name not in self._values and name not in self.reasons:
            compute = METRICS[name].compute
            assert compute is not None
            try:
                self._values[name] = compute(self)
            except UnavailableError as error:
                self.reasons[name] = str(error)
        if name in self.reasons:
            raise UnavailableError(self.reasons[name])
        return self._values[name]

    def values(self) -> dict[str, float | None]:
        """The values of all metrics, None where there is none."""
        for name in METRICS:
            try:
                self.value(name)
            except UnavailableError:
                continue
        return {name: self._values.get(name) for name in METRICS}


def collect_quantities(subject: Subject) -> tuple[dict[str, Quantity], dict[str, str]]:
    """Return the quantities of all metrics by their names, and why some metrics have none by the metrics' names."""
    quantities: dict[str, Quantity] = {}
    unavailable = {}
    for metric in METRICS.values():
        try:
            quantities |= metric.quantities(subject)
        except UnavailableError as error:
            unavailable[metric.name] = str(error)
    return quantities, unavailable


def likely_interval(low: float, high: float) -> tuple[float, float]:
    """The interval that data between ``low`` and ``high`` was most likely scaled to."""
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return float(low), float(high)


def _description(function: Callable[..., Any]) -> str:
    return " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
