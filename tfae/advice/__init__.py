"""Which reconstruction loss and which preprocessing fit a data set, and why.

The nature of the data decides: the likelihood of what is 0 or 1 is the cross-entropy, and what has outliers should not
be squared. :func:`advise` looks at the training split and says what it found.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfae import losses
from tfae.activations import Clip
from tfae.advice import columns, rules
from tfae.advice.rules import Choice
from tfae.advice.statistics import Statistics, find_unit_scale, measure, sample_evenly
from tfae.datasets import Data, load_if_needed
from tfae.datasets.defects import percent
from tfae.preprocessing import RANGES

__all__ = ["Advice", "Choice", "Statistics", "advise"]


@dataclass(frozen=True)
class Advice:
    """What :func:`advise` recommends; ``print`` shows it as a page."""

    #: Name of the data set.
    data_name: str
    #: The short name of the loss, as ``tfae.losses.get`` takes it.
    loss: str
    #: Of the model's last layer, with the loss of that name and that preprocessing, as Keras takes it.
    output_activation: str | Clip
    #: The preprocessing that goes with the loss, as ``tfae.datasets.load`` takes it.
    preprocessing: str
    #: The preprocessing that the data was loaded with.
    loaded_preprocessing: str
    #: The loss for the data as it was loaded. Another one than ``loss`` only where that has a domain, such as [0, 1] of
    #: cross-entropy, and ``loaded_preprocessing`` takes the data elsewhere.
    loaded_loss: str
    #: The smallest loss per sample that any reconstruction can reach under ``loss``, in its unit.
    floor: float
    #: One sentence each, with its figure and its source; the first one is what decided for the loss.
    reasons: tuple[str, ...]
    #: What the reasons cite, in full.
    sources: tuple[str, ...]
    #: Other losses that the data allows, and when to prefer them.
    alternatives: tuple[Choice, ...]
    #: What was measured.
    statistics: Statistics

    def as_dict(self) -> dict[str, Any]:
        """Return plain values by field name, fit for JSON; the output activation as its text."""
        return {**dataclasses.asdict(self), "output_activation": str(self.output_activation)}

    def __str__(self) -> str:
        loss = losses.get(self.loss)
        activation = f"{self.output_activation}, of {loss!r}" if loss.reads_link else self.output_activation
        in_use = "" if self.preprocessing == self.loaded_preprocessing else f", not {self.loaded_preprocessing}"
        lines = [
            f"{'loss':20}{self.loss}, {loss.title}",
            f"{'preprocessing':20}{self.preprocessing}{in_use}",
            f"{'output activation':20}{activation}",
            f"{'floor':20}{format_floor(self.floor, self.loss, ' per sample')}, the least loss that a reconstruction "
            "can reach",
            "",
            "why",
            *(f"  {reason}" for reason in self.reasons),
            "",
            "or",
            *(
                f"  {choice.loss}, with preprocessing {choice.preprocessing}; floor "
                f"{format_floor(choice.floor, choice.loss, ' per sample')}: {choice.when}"
                for choice in self.alternatives
            ),
            "",
            "sources",
            *(f"  {source}" for source in self.sources),
            "",
            *_table(self.statistics),
        ]
        return "\n".join([f"{self.data_name}, {self.statistics.num_samples:,} training samples", *lines])


def advise(data: Data | Any) -> Advice:
    """Advise on the loss, output activation and preprocessing for a data set, with reasons.

    The first rule of ``tfae.advice.rules`` that applies decides for the loss:

    - one of the values along the last axis is 1 and the others are 0: categorical cross-entropy;
    - every feature takes two values: cross-entropy;
    - outliers, or tails heavier than those of Student's t with 4 degrees of freedom: absolute error;
    - small counts: Poisson's loss;
    - all else, such as images, values in [0, 1] and measurements: squared error.

    Of a table with categories, yes and no, or gaps, that is the loss of its numbers; the other columns have the
    cross-entropies of their kinds, as in :class:`tfae.losses.TableLoss`.

    Args:
        data: What ``tfae.datasets.load`` returned, or takes. Its training split is looked at, in data space, and is
            read twice in blocks where it is on disk; of the other splits, whether they are in [0, 1] too. Medians are
            those of every k-th sample, about a million values.

    Raises:
        ValueError: If the values are so large that their deviations leave float64.

    Example:
        >>> import numpy as np
        >>> from tfae.datasets import load
        >>> data = load(np.random.default_rng(0).random((100, 40)) < 0.3)
        >>> advice = advise(data)
        >>> advice.loss, advice.preprocessing, advice.output_activation, advice.floor
        ('bce', 'unit', 'linear', 0.0)
        >>> print(advice.reasons[0].replace(", and", ",\\nand"))
        every value is one of two, 30.2 % of them 1,
        and cross-entropy is the negative log-likelihood of such (Bishop 2006, §4.3.2)
    """
    data = load_if_needed(data)
    loaded, is_mixed = data.preprocessing.method, data.preprocessing.is_mixed
    has_numbers = not is_mixed or any(column.kind == "number" for column in data.columns)
    rows = sample_evenly(data.raw.train, len(data.columns), least=columns.MIN_ROWS) if data.columns else None
    numbers = columns.numbers_of(data, rows) if rows is not None and is_mixed and has_numbers else data
    statistics = measure(numbers)
    loss, reason = rules.loss(statistics)
    if is_mixed and losses.get(loss).domain is not None:
        loss, reason = "mse", "the numbers of a table with other columns have a loss of any real number"
    preprocessing, scaling_reason = rules.preprocessing(statistics, loss, loaded)
    output_range = data.output_range
    if preprocessing != loaded:
        output_range = RANGES.get(preprocessing) if data.kind == "image" else None
    activation, activation_reason = rules.output_activation(statistics, loss, preprocessing, output_range)
    reasons = [reason, scaling_reason, activation_reason, *rules.remarks(statistics)]
    if is_mixed:
        kinds = list(columns.describe_kinds(data))
        # Without numbers there is nothing to say of them.
        reasons = [reasons[0], *kinds, *reasons[1:]] if has_numbers else kinds
    if rows is not None:
        reasons += columns.find_suspects(data, rows)
    return Advice(
        data_name=data.name,
        loss=loss,
        output_activation=activation,
        preprocessing=preprocessing,
        loaded_preprocessing=loaded,
        loaded_loss="mse" if losses.get(loss).domain and loaded != preprocessing else loss,
        floor=_find_floor(data, statistics, loss, preprocessing) or 0.0,
        reasons=tuple(reasons),
        sources=tuple(text for cited, text in rules.SOURCES.items() if any(cited in each for each in reasons)),
        alternatives=tuple(
            choice
            for choice in rules.alternatives(
                statistics, loss, preprocessing, loaded, functools.partial(_find_floor, data, statistics)
            )
            if not is_mixed or (losses.get(choice.loss).domain is None and choice.floor is not None)
        ),
        statistics=statistics,
    )


def _find_floor(data: Data, statistics: Statistics, name: str, preprocessing: str) -> float | None:
    """The mean floor of samples; None where it is known after a training only, as with noise that is to be fitted."""
    loss = losses.get(name, dtype="float64")
    if isinstance(loss, losses.BinaryCrossentropy):
        return statistics.entropy or 0.0
    if loss.domain is None:
        return None if loss.depends_on_batch else 0.0
    offset, scale = find_unit_scale(data)[1:] if math.isfinite(loss.domain[1]) else (0.0, 1.0)
    samples = sample_evenly(data.raw.train, data.shape[-1]).reshape(-1, *data.shape)
    return float(np.mean(loss.floor((samples - offset) / scale)))


def _table(s: Statistics) -> list[str]:
    """The statistics, a line each."""
    known = "" if s.value_range is None else f", of {s.value_range[0]:.6g} to {s.value_range[1]:.6g} possible"

    values = "values" if s.value_range is None else "values, scaled to [0, 1]"
    outlying, weight = (each if each is None else percent(each) for each in (s.share_outlying, s.outlying_energy))

    def show(template: str, *values: object) -> str:
        return "n/a" if None in values else template.format(*values)

    rows = {
        "range": f"{s.low:.6g} to {s.high:.6g}{known}",
        "exactly 0, 1": f"{percent(s.share_zero)}, {percent(s.share_one)} of {values}",
        "inside (0, 1)": f"{percent(s.share_inside)} of {values}",
        "floor of bce": show('{:.4g} nats per sample, with preprocessing "{}"', s.entropy, s.unit_scale),
        "outliers": show("{} of values, over 5 times as far from the median as typical (normal: 0.07 %)", outlying),
        "their weight": show("{} of the sum of squared distances (normal: 1 %)", weight),
        "two values": f"{percent(s.share_binary)} of features that vary",
        "whole numbers ≥ 0": f"{percent(s.share_counts)} of features that vary",
        "mostly one value": f"{percent(s.share_sparse)} of features that vary",
        "constant features": f"{round(s.share_constant * s.num_features):,} of {s.num_features:,}",
        "standard deviation": show("{:.4g} to {:.4g}, by feature", *(s.deviations or [None])),
    }
    return [f"{name:20}{row}" for name, row in rows.items()]


def format_floor(floor: float | None, loss: str, ending: str = "") -> str:
    """Return the floor of a loss with its unit, if that is known, and what comes behind that."""
    if floor is None:
        return "known once the noise is"
    unit = getattr(losses.find(loss), "unit", None)
    return f"{floor:.4g} {unit}{ending}" if unit else f"{floor:.4g}"
