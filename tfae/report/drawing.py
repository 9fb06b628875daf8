"""The pictures of a model and its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from tfae import plots
from tfae.datasets import Data
from tfae.detection import Calibration
from tfae.losses import get_loss
from tfae.models.gaussian import find_gaussian
from tfae.models.structure import find_decoder, latent_dim_of
from tfae.moments import moments
from tfae.plots.style import add_axes, name_of
from tfae.report.page import Picture, draw_picture

#: Samples in a picture of reconstructions.
NUM_PICTURED = 8


def reconstruct(autoencoder: keras.Model, data: Data, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return reconstructions of test samples in the space of :func:`_originals`, ``(n, ...)``, and losses ``(n,)``."""
    loss, x = get_loss(autoencoder), data.preprocessing(data.raw.test[indices])
    inputs = x if data.inputs is None else data.preprocessing(data.inputs.test[indices])
    output = autoencoder(inputs, training=False)
    found = loss.reconstruction(output)
    if not data.preprocessing.is_mixed:
        found = data.preprocessing.inverse(found)
    return found.numpy(), loss.per_sample(x, output).numpy()


def _originals(data: Data, indices: np.ndarray) -> np.ndarray:
    """Return test samples to draw: in data space, or in model space where those of a table are codes."""
    samples = data.raw.test[indices]
    return data.preprocessing(samples).numpy() if data.preprocessing.is_mixed else samples


def first(data: Data) -> np.ndarray:
    """Return the indices of the first samples of the test split, or of all where there are fewer."""
    return np.arange(min(NUM_PICTURED, len(data.raw.test)))


def draw_samples(
    autoencoder: keras.Model, data: Data, indices: np.ndarray, pictures: dict[str, tuple[str, slice]]
) -> list[Picture]:
    """Draw test samples beside their reconstructions on one scale: by name what a picture shows in words, and which."""
    samples, (reconstruction, losses) = _originals(data, indices), reconstruct(autoencoder, data, indices)
    variants = {} if data.inputs is None else {"input": data.inputs.test[indices]}
    variants["reconstruction"] = reconstruction
    style = {**_style(data), "scores": losses, "score_name": "loss", "names": _names(data, indices)}
    found = []
    for name, (which, drawn) in pictures.items():
        figure = plots.side_by_side(samples, variants, drawn=drawn, **style)
        spanned = f"{losses[drawn].min():.4g} to {losses[drawn].max():.4g}"
        found.append(draw_picture(name, f"{which}: {_what_is_drawn(data)}. Losses from {spanned}.", figure))
    return found


def draw_side_by_side(name: str, models: dict[str, keras.Model], data: Data) -> Picture:
    """Draw the first samples of the test split beside the reconstructions of several models."""
    samples = _originals(data, first(data))
    of_each = {loss: reconstruct(model, data, first(data))[0] for loss, model in models.items()}
    figure = plots.side_by_side(samples, of_each, names=_names(data, first(data)), **_style(data))
    errors = ", ".join(
        f"{np.nanmean(np.abs(reconstruction - samples.astype('float64'))):.4g} under {loss.replace('_', ' ')}"
        for loss, reconstruction in of_each.items()
    )
    alt = (
        f"{number_of(len(samples), 'test sample')} and their reconstructions by the model of each loss: "
        f"{_what_is_drawn(data)}. Mean absolute error in units of the data: {errors}."
    )
    return draw_picture(name, alt, figure)


def draw_extremes(autoencoder: keras.Model, data: Data, losses: np.ndarray) -> list[Picture]:
    """Draw the samples of the test split of the highest and of the lowest loss."""
    order = np.argsort(losses, kind="stable")
    num = min(NUM_PICTURED, len(losses) // 2)
    if not num:
        return []
    count, both = number_of(num, "test sample"), np.concatenate([order[::-1][:num], order[:num]])
    worst, best = (f"The {count} of the {how} loss" for how in ("highest", "lowest"))
    return draw_samples(autoencoder, data, both, {"worst": (worst, slice(num)), "best": (best, slice(num, None))})


def draw_curves(histories: dict[str, dict[str, list[float]]]) -> Picture:
    """Draw losses by epoch, a chart for each history, as different losses can not share an axis."""
    figure, axes = _new_axes(len(histories), 6, 3.6)
    for ax, (name, history) in zip(axes, histories.items(), strict=True):
        plots.training_curves(history, ax=ax)
        if name:
            ax.set_title(f"{name.replace('_', ' ')}: {ax.get_title()}", fontsize="medium")
    titles = "; ".join(ax.get_title() for ax in axes)
    return draw_picture("training_curves", f"Training and validation loss by epoch, as lines: {titles}.", figure)


def draw_latents(models: dict[str, keras.Model], data: Data) -> Picture | None:
    """Draw the latents of the test split in a plane, for each model; None without any, and of a single sample."""
    models = {name: model for name, model in models.items() if isinstance(latent_dim_of(model, data.shape), int)}
    if len(data.raw.test) < 2 or not models:
        return None
    figure, axes = _new_axes(len(models), 6, 5)
    labels = _labels(data)
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        plots.latents(model, data.test, labels=labels, ax=ax)
        ax.set_title(name.replace("_", " "), fontsize="medium")
        legend = ax.get_legend()
        if legend is not None and ax is not axes[-1]:
            legend.remove()
    of_each = " of each model, under " + ", ".join(models) if len(models) > 1 else ""
    classes = [] if (legend := axes[-1].get_legend()) is None else [text.get_text() for text in legend.get_texts()]
    colored = f", with a colour and a marker for each class: {', '.join(classes)}" if classes else ""
    alt = (
        f"The latents of {number_of(len(data.raw.test), 'test sample')} as points{of_each.replace('_', ' ')}. "
        f"Horizontal: {axes[0].get_xlabel()}; vertical: {axes[0].get_ylabel() or 'spread at random'}{colored}."
    )
    return draw_picture("latents", alt, figure)


def draw_generated(autoencoder: keras.Model, data: Data) -> Picture | None:
    """Draw samples from the prior of a variational autoencoder; None of a model that can not make them."""
    if find_gaussian(autoencoder) is None or isinstance(find_decoder(autoencoder, data.shape), str):
        return None
    figure, (ax,) = _new_axes(1, 8, 3.6)
    plots.samples(autoencoder, 40, ax=ax)
    return draw_picture("samples", "40 samples that the model makes of draws from the prior of its latent.", figure)


def draw_histogram(losses: np.ndarray, unit: str | None, data: Data, calibration: Calibration | None) -> Picture:
    """Draw how the losses, or other scores, of the test split are distributed, and from where on there are alarms."""
    figure, (ax,) = _new_axes(1, 6, 3.6)
    of_alarms: dict[str, Any] = {}
    if calibration is not None:
        of_alarms = {"threshold": calibration.threshold, "false_alarm_rate": calibration.false_alarm_rate}
    if data.is_anomaly is not None:
        of_alarms["labels"] = np.where(data.is_anomaly, "anomaly", "normal")
    name = f"loss per sample{f', {unit}' if unit else ''}" if calibration is None else "score"
    plots.score_histogram(losses, score_name=name, ax=ax, **of_alarms)
    marked = ", ".join(text.get_text() for text in ax.texts)
    what = "losses" if calibration is None else "scores"
    alt = f"Histogram of the {what} of {number_of(len(losses), 'test sample')}: {marked}, highest {losses.max():.4g}."
    return draw_picture("score_histogram", alt, figure)


def number_of(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 epoch" and "8 epochs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _labels(data: Data) -> np.ndarray | None:
    """Return the labels of the test split, as the names of their classes where these are known."""
    if data.labels is None:
        return None
    labels, names = np.asarray(data.labels.test), data.label_names or ()
    if labels.dtype.kind in "iu" and len(labels) and labels.min() >= 0 and labels.max() < len(names):
        return np.array(names)[labels]
    return labels


def _names(data: Data, indices: np.ndarray) -> list[str]:
    """Return of samples of the test split the index in it, the file or the row that they come from, and the label."""
    names = [[f"test {index}"] for index in indices]
    if data.origins is not None:
        for name, origin in zip(names, data.origins.test[indices], strict=True):
            name.append(Path(origin).name if isinstance(origin, str) else f"row {origin}")
    if (labels := _labels(data)) is not None:
        for name, label in zip(names, labels[indices], strict=True):
            text = name_of(label)
            name.append(text if text.strip("0123456789.-") else f"label {text}")
    return ["\n".join(name) for name in names]


def _style(data: Data) -> dict[str, Any]:
    """Return how the samples of data are drawn: of a table, in deviations of the training split."""
    style: dict[str, Any] = {"value_range": data.value_range, "feature_names": data.feature_names}
    if data.preprocessing.is_mixed:
        names = [name for block in data.preprocessing.blocks for name in block.names]
        style |= {"feature_names": names, "moments": (np.zeros(len(names)), np.ones(len(names)))}
    elif data.kind == "table":
        # Samples at even distances tell a scale well enough.
        style["moments"] = moments(data.raw.train[:: 1 + len(data.raw.train) // 10_000])
    return style


def _what_is_drawn(data: Data) -> str:
    if len(data.shape) == 3:
        return "each original, its reconstruction, and below it a map of the error, darker where they differ more"
    form = "dots" if len(data.shape) == 1 else "lines"
    return f"the values of each original and of its reconstruction as {form} in one panel"


def _new_axes(number: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    # Without pyplot, which would keep the figure alive behind the caller's back.
    columns = min(number, 3)
    scale = 1 if columns == 1 else 0.75
    figure = Figure((scale * columns * width, scale * -(-number // columns) * height), layout="constrained")
    return figure, add_axes(figure, number, columns)
