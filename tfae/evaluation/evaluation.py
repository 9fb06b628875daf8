"""The values of the metrics for a data set, and how they read."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tfae.evaluation.metrics import BOUND, GROUPS, LOSS, METRICS

_WRAPPER = textwrap.TextWrapper(
    100, initial_indent="! ", subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
)

#: Columns of a table that are printed.
_NUM_COLUMNS = 20


@dataclasses.dataclass(frozen=True)
class Finding:
    """A warning."""

    #: What it is about, such as "worse_than_linear".
    name: str
    #: The number that led to it; None for a ratio to 0.
    figure: float | None
    #: One or two sentences: the figure, what it means, and the remedy.
    message: str


class MetricRow(NamedTuple):
    """A line of a table of metrics; ``indent`` is that of :class:`tfae.evaluation.metrics.Metric`."""

    group: str
    title: str
    indent: bool
    value: float | None
    note: str


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What :func:`tfae.evaluation.evaluate` measured.

    Every metric of ``tfae.evaluation.METRICS`` is an attribute, too, by its name: ``evaluation.loss``; None where it
    does not exist. All means are over samples, and all losses of a sample are in the loss's own ``sample_reduction``
    and ``loss_unit``, without penalties of the layers. ``print`` shows a table, and the findings below it.
    """

    #: Name of the loss, ``autoencoder.loss.name``.
    loss_name: str
    #: How the loss makes a sample's elements one number, ``"sum"`` or ``"mean"``.
    sample_reduction: str
    #: Unit of the loss: ``"nats"`` for cross-entropy; None for losses in the (squared) unit of model space.
    loss_unit: str | None
    #: Metrics by name; None where one does not exist.
    values: Mapping[str, float | None] = dataclasses.field(hash=False)
    #: What layers add to the loss in training, per batch mean, by name of the layer.
    penalties: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)
    #: What should worry the reader.
    findings: tuple[Finding, ...] = ()
    #: Why a metric is None, by its name, where that is not clear by itself.
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    #: Of a table with a loss per column, by name of the column: "loss", "constant", that of the best constant, and
    #: "skill" against it; the losses of all columns sum to the loss.
    columns: Mapping[str, Mapping[str, float | None]] = dataclasses.field(default_factory=dict, hash=False)
    #: Of a variational autoencoder, for each unit of the latent: "kl", its mean divergence from the prior in nats, and
    #: "variance", the mean variance of its posterior.
    units: tuple[Mapping[str, float], ...] = dataclasses.field(default=(), hash=False)

    def __getattr__(self, name: str) -> Any:
        """The value of a metric; None of one that is missing, as in the evaluation of an older version."""
        values = self.__dict__.get("values", {})  # Copying asks before there are any.
        if name not in values and name not in METRICS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute or metric {name!r}")
        return values.get(name)

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name, fit for JSON: metrics beside the attributes, and None for infinity."""
        others = dataclasses.asdict(self)
        values = {**dict.fromkeys(METRICS), **others.pop("values")}
        others |= {"findings": [_plain(each) for each in others["findings"]], "units": list(self.units)}
        return {**others, **_plain(values)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """The evaluation that ``as_dict`` was called on, in this version, an older or a newer one.

        Metrics that are missing are None; unknown ones are kept if they are numbers. ValueError if it is no evaluation.
        """
        if missing := {"loss_name", "sample_reduction", "loss"} - values.keys():
            raise ValueError(
                f"values: expected what Evaluation.as_dict() returns; received {', '.join(sorted(values)) or 'nothing'}"
                f", without {', '.join(sorted(missing))}. Measure again with tfae.evaluation.evaluate."
            )
        names = [field.name for field in dataclasses.fields(cls)]
        others: dict[str, Any] = {"loss_unit": None, **{name: values[name] for name in names if name in values}}
        found = [Finding(*map(each.get, ("name", "figure", "message"))) for each in others.get("findings", ())]
        others |= {"findings": tuple(found), "units": tuple(others.get("units", ()))}
        metrics = {
            name: value
            for name, value in {**dict.fromkeys(METRICS), **values}.items()
            if name not in names and isinstance(value, (int, float, type(None)))
        }
        return cls(**others, values=metrics)

    def __str__(self) -> str:
        """A small table, and the findings below it."""
        rows = self.rows()
        titles = [f"{'  ' * row.indent}{row.title}  " for row in rows]
        width = max(map(len, titles))
        lines = [
            f"{title:{width}}{number}  {row.note}".rstrip()
            for row, title, number in zip(rows, titles, align(map(_text, (row.value for row in rows))), strict=True)
        ]
        heading = f"{self.loss_name} on {self.num_samples or 0:,} samples of {self.num_elements or 0:,} elements"
        warnings = [_WRAPPER.fill(f"{each.name.replace('_', ' ')}: {each.message}") for each in self.findings]
        if warnings:
            guide = "variational" if self.kl is not None else "evaluation"
            warnings = ["", *warnings, f"`tfae docs {guide}` says more."]
        return "\n".join([heading, *lines, *self._column_lines(), *warnings])

    def _column_lines(self) -> list[str]:
        """A table of the columns, those with the largest losses first."""
        order = sorted(self.columns, key=lambda name: -(self.columns[name]["loss"] or 0))
        width = max(map(len, order), default=0)
        lines = ["", "loss by column, and skill against its best constant"] if order else []
        for name in order[:_NUM_COLUMNS]:
            loss, skill = self.columns[name]["loss"] or 0.0, self.columns[name]["skill"]
            lines.append(f"  {name:{width}}  {loss:<10.4g}{'' if skill is None else f'  {percent(skill)}'}")
        return lines + ([f"  and {len(order) - _NUM_COLUMNS} more"] if len(order) > _NUM_COLUMNS else [])

    def rows(self) -> list[MetricRow]:
        """Return every metric that has a group, with what it is or why there is none, and the penalties.

        Bounds are those of variational autoencoders.
        """
        groups: dict[str, list[MetricRow]] = {group: [] for group in GROUPS}
        for metric in METRICS.values():
            if metric.group is not None and (metric.group != BOUND or self.kl is not None):
                value, note = getattr(self, metric.name), metric.note
                if value is None:
                    note = self.reasons.get(metric.name, "")
                elif callable(note):
                    note = note(self)
                row = MetricRow(metric.group, metric.title, metric.indent, value, note)
                groups.setdefault(metric.group, []).append(row)
        if self.penalties:
            groups[LOSS] += [
                MetricRow(LOSS, f"penalty of {name}", False, value, "which training adds to the loss")
                for name, value in self.penalties.items()
            ]
            total = METRICS["penalized_loss"]
            groups[LOSS].append(MetricRow(LOSS, total.title, False, self.penalized_loss, str(total.note)))
        return [row for rows in groups.values() for row in rows]


def percent(skill: float) -> str:
    """A skill as it is shown: one decimal, or three digits where it is far below 0."""
    return f"{100 * skill:.1f} %" if abs(skill) < 100 else f"{100 * skill:.3g} %"


def _text(number: float | None) -> str:
    return "n/a" if number is None or math.isnan(number) else f"{number:,.5g}"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def align(numbers: Iterable[str], digit: str = " ", point: str = " ") -> list[str]:
    """Bring decimal points below each other, by spaces of the width of a digit and of the point."""
    parts = [number.partition(".") for number in numbers]
    before, after = max(len(part[0]) for part in parts), max(len(part[2]) for part in parts)
    blank = point * bool(after)
    return [f"{left:{digit}>{before}}{dot or blank}{right:{digit}<{after}}" for left, dot, right in parts]
