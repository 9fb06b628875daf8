"""The measures of an evaluation, and how they read."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Mapping
from typing import Any

from tfae.evaluation.findings import Finding, percent


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What :func:`tfae.evaluation.evaluate` measured; None where a measure does not exist.

    All means are over samples, and all losses of a sample are in the loss's own ``sample_reduction`` and ``loss_unit``,
    without penalties of the layers. ``print`` shows a table, and the findings below it.
    """

    #: Name of the loss, ``autoencoder.loss.name``.
    loss_name: str
    #: How the loss makes a sample's elements one number, ``"sum"`` or ``"mean"``.
    sample_reduction: str
    #: Unit of the loss: ``"nats"`` for cross-entropy; None for losses in the (squared) unit of model space.
    loss_unit: str | None
    #: Mean per-sample loss.
    loss: float
    #: The same, averaged over the elements of a sample.
    loss_per_element: float
    #: Mean squared error per element, in the squared unit of model space.
    mse: float
    #: Mean absolute error per element, in the unit of model space.
    mae: float
    #: Mean over samples of the peak signal-to-noise ratio 10 log₁₀(data_range² / mseᵢ), in decibels. Exact
    #: reconstructions have an infinite one and are left out; infinite if all are exact, None if the data is constant.
    psnr: float | None
    #: Number of samples that are reconstructed exactly, and therefore are left out of ``psnr``.
    num_exact: int
    #: Mean structural similarity, at most 1; None where samples are not images of at least 7 × 7 pixels.
    ssim: float | None
    #: Difference between the largest and the smallest value the data can take, in model space.
    data_range: float
    #: Number of samples.
    num_samples: int
    #: Number of elements of one sample.
    num_elements: int
    #: Mean per-sample loss that no reconstruction of these samples can be below: 0, or the entropy for cross-entropy.
    floor: float = 0.0
    #: loss − floor, what a model could still take away.
    excess: float = 0.0
    #: Mean per-sample loss, on these samples, of the training split's best constant.
    constant_loss: float | None = None
    #: 1 − excess / excess of the constant: 1 is perfect, 0 no better than the constant.
    constant_skill: float | None = None
    #: Mean per-sample loss of PCA with ``latent_dim`` components of the training split.
    linear_loss: float | None = None
    #: 1 − excess / excess of PCA; negative if PCA is better.
    linear_skill: float | None = None
    #: Mean per-sample loss of the model on the training split.
    train_loss: float | None = None
    #: Mean cross-entropy per element, in nats; None unless all samples are in [0, 1].
    crossentropy: float | None = None
    #: How far from 0 and 1 reconstructions were kept for it; 0 where it is the model's own loss, which clips nothing.
    crossentropy_margin: float = 0.0
    #: The same in bits.
    bits: float | None = None
    #: Spectral energy of the reconstructions over that of the samples in the upper half of the spatial frequencies:
    #: 1 is as sharp as the data, less is blurred, more is noisy. None where samples are not images, or are flat.
    sharpness: float | None = None
    #: Number of units of the code; None without a sub-model "encoder".
    latent_dim: int | None = None
    #: Units whose standard deviation exceeds a thousandth of that of the unit that varies most.
    num_active_units: int | None = None
    #: Participation ratio (Σ λ)² / Σ λ² of the spectrum of the code's covariance, from 1 to ``latent_dim``.
    effective_dimension: float | None = None
    #: Spearman's rank correlation of the per-sample losses with Σ (x − training mean)².
    triviality: float | None = None
    #: The same with the losses of the training split's best constant, which need not rank as the distance does.
    constant_triviality: float | None = None
    #: What should worry the reader.
    findings: tuple[Finding, ...] = ()
    #: Why a measure is None, by the name of its field, where that is not clear by itself.
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values by field name, fit for JSON: findings as a list of dicts, and None for infinity."""
        values = {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        findings = [{k: _plain(v) for k, v in dataclasses.asdict(finding).items()} for finding in self.findings]
        return {**values, "findings": findings, "reasons": dict(self.reasons)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """The evaluation that ``as_dict`` was called on.

        Args:
            values: Plain values by field name.

        Raises:
            ValueError: If they are not of these fields.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if values.keys() != names:
            raise ValueError(
                f"values: expected what Evaluation.as_dict() returns; received "
                f"{', '.join(sorted(values)) or 'nothing'}. Measure again with tfae.evaluation.evaluate."
            )
        return cls(**{**values, "findings": tuple(Finding(**finding) for finding in values["findings"])})

    def __str__(self) -> str:
        """A small table, and the findings below it."""
        rows = self.rows()
        numbers = _aligned([number for _, number, _ in rows])
        lines = [f"{name:21}{number}  {note}".rstrip() for (name, _, note), number in zip(rows, numbers, strict=True)]
        title = f"{self.loss_name} on {self.num_samples:,} samples of {self.num_elements:,} elements"
        warnings = [
            textwrap.fill(
                f"{finding.name.replace('_', ' ')}: {finding.message}", 100, initial_indent="! ", subsequent_indent="  "
            )
            for finding in self.findings
        ]
        return "\n".join([title, *lines, *([""] if warnings else []), *warnings])

    def rows(self) -> list[tuple[str, float | None, str]]:
        """Name and number of every measure, and what it is, or why there is none; names of what is compared with the
        loss are indented."""
        reduced = {"sum": "the elements' sum", "mean": "the elements' mean"}[self.sample_reduction]
        left_out = f", {self.num_exact:,} exact left out" if self.num_exact else ""
        bits = "" if self.bits is None else f"nats per element; {self.bits:.5g} bits"
        if self.bits is not None and self.crossentropy_margin:
            bits += f"; of reconstructions kept {self.crossentropy_margin:.2g} from 0 and 1"
        components = "" if self.latent_dim is None else f" with {self.latent_dim:,} components"

        def row(name: str, field: str, note: str) -> tuple[str, float | None, str]:
            value = getattr(self, field)
            return name, value, note if value is not None else self.reasons.get(field, "")

        def skill(field: str) -> str:
            value = getattr(self, field)
            return f"skill {percent(value)}" if value is not None else f"skill n/a, {self.reasons.get(field, '')}"

        return [
            row("loss per sample", "loss", f"{self.loss_unit}, {reduced}" if self.loss_unit else reduced),
            row("  floor", "floor", "the least that any reconstruction can reach"),
            row("  excess", "excess", "loss − floor"),
            row("  constant baseline", "constant_loss", f"{skill('constant_skill')}; the training split's best one"),
            row("  linear baseline", "linear_loss", f"{skill('linear_skill')}; PCA{components}"),
            row("  training split", "train_loss", "the model's loss there"),
            row("loss per element", "loss_per_element", self.loss_unit or ""),
            row("MSE", "mse", "mean squared error"),
            row("MAE", "mae", "mean absolute error"),
            row("cross-entropy", "crossentropy", bits),
            row("PSNR", "psnr", f"dB, data range {self.data_range:.4g}{left_out}"),
            row("SSIM", "ssim", "structural similarity, at most 1"),
            row("sharpness", "sharpness", "energy in the upper half of the frequencies; 1 is as sharp as the data"),
            row("active units", "num_active_units", f"of {self.latent_dim or 0:,}"),
            row("effective dimension", "effective_dimension", "participation ratio of the code's covariance"),
            row("triviality", "triviality", "rank correlation of the loss with the distance from the training mean"),
            row("constant triviality", "constant_triviality", "rank correlation of the loss with that of the constant"),
        ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _aligned(numbers: list[float | None]) -> list[str]:
    """Five significant digits each, one decimal point below the other."""
    texts = ["n/a" if number is None or math.isnan(number) else f"{number:,.5g}" for number in numbers]
    parts = [text.partition(".") for text in texts]
    before, after = max(len(part[0]) for part in parts), max(len(part[2]) for part in parts)
    return [f"{left:>{before}}{point or ' '}{right:{after}}" for left, point, right in parts]
