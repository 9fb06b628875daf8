"""One panel per sample: lines of sequences and points of tables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfae.plots.figures import BRIGHT, DARK, SMALL
from tfae.plots.labels import COLORS, MARKERS, shorten

_NAMED = 20  # feature names that find room below a panel
_CUT = 18  # characters of a name
_GREY = COLORS[3]  # which is hard to tell from the originals' dark grey


def panel_axes(
    num_samples: int, shape: tuple[int, ...], new_figure: Callable[..., Figure], feature_names: Sequence[str] | None
) -> np.ndarray:
    """Return Axes ``(num_samples,)`` on a new figure; a single one for a table of one feature."""
    if shape == (1,):
        return np.array([new_figure(figsize=(7, 3), layout="constrained").subplots()])
    columns = min(num_samples, 2 if num_samples <= 16 else 4)
    rows = math.ceil(num_samples / columns)
    room = 0.4 + (0.05 * min(_CUT, max(map(len, feature_names))) if feature_names else 0)  # below: names are turned
    figure = new_figure(figsize=(4 * columns, 1.75 * rows + room), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[num_samples:]:
        ax.remove()
    return axes[:num_samples]


def draw_panels(
    x: np.ndarray,
    variants: Mapping[str, np.ndarray],
    axes: np.ndarray,
    titles: Sequence[str],
    *,
    space: str,
    feature_names: Sequence[str] | None,
    moments: tuple[np.ndarray, np.ndarray] | None,
) -> None:
    """Draw samples and their reconstructions, whose error is shaded where there is one variant.

    Sequences, ``(n, time, channels)``, are lines. Rows of a table, ``(n, features)``, are points; in data space each
    feature is in its standard deviations. A table of one feature is a single panel over its samples. Samples of another
    rank are lines over their elements. Axes are as :func:`panel_axes` returns them. There may be more samples than
    Axes: in data space the scale holds all of them.
    """
    is_table, is_single = x.ndim == 2, x.shape[1:] == (1,)
    is_scaled = is_table and not is_single and space == "data"
    curves, xlabel, ylabel = _curves({"original": x, **variants}, space, feature_names, moments)
    num_places = curves["original"].shape[1]
    several = len(variants) > 1
    colors = itertools.cycle([color for color in COLORS if color != _GREY] if several else [BRIGHT])
    styles: list[dict[str, Any]] = []
    for name, color, marker in zip(
        curves, itertools.chain([DARK], colors), itertools.cycle(MARKERS if several else "o")
    ):
        size = 5 if num_places <= 40 else 3
        if not is_table:
            style: dict[str, Any] = {
                "linewidth": 1.4 if several and name == "original" else 1,
                "marker": "." if num_places <= 40 else None,
            }
        elif name == "original":
            style = {"linestyle": "", "marker": marker, "markersize": size, "markeredgewidth": 0}
        else:
            style = {"linestyle": "", "marker": marker, "markersize": size + 1.5, "markerfacecolor": "none"}
        styles.append({"color": color, **style})
    for ax, *samples in zip(axes, *curves.values(), strict=False):
        if not several:
            _shade_error(ax, *samples, as_lines=not is_table)
        handles = [ax.plot(values, **style)[0] for values, style in zip(samples, styles, strict=True)]
        if is_scaled:
            _limit(ax, samples[1:], styles[1:], bounds=[(each.min(), each.max()) for each in curves.values()])
            ax.axhline(0, color="#dddddd", linewidth=0.8, zorder=0)
        elif space == "data" and not is_single:
            low, high = (find(list(map(find, curves.values()))) for find in (np.min, np.max))
            ax.set_ylim(low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1))
        if x.ndim == 3 and x.shape[2] > 1:
            ax.set_yticks([])
        spec = ax.get_subplotspec()
        if spec is None or spec.is_first_col():
            ax.set_ylabel(ylabel, fontsize=SMALL)
    if is_scaled and not several:
        titles = [
            f"{title}\n{_most_off(k, [x, *variants.values()], list(curves.values()), feature_names)}".strip()
            for k, title in enumerate(titles)
        ]
    _label(axes, titles, xlabel, None if is_single else feature_names)
    labels = [name.replace("_", " ") for name in curves]
    key: dict[str, Any] = {"handles": handles, "labels": labels, "frameon": False, "fontsize": SMALL}
    if space == "data":
        axes[0].figure.legend(loc="outside upper right", ncols=3, **key)
    else:
        axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=2, **key)


def _curves(
    samples: dict[str, np.ndarray],
    space: str,
    feature_names: Sequence[str] | None,
    moments: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[dict[str, np.ndarray], str, str]:
    """Return what to draw of originals and variants, ``(panels, places, channels)``, and the names of both axes."""
    x = samples["original"]
    if x.shape[1:] == (1,):
        feature = "feature" if feature_names is None else feature_names[0]
        curves = {name: values[None] for name, values in samples.items()}
        return curves, "sample", f"{feature}, model space" if space == "model" else feature
    if x.ndim == 2:
        if space == "model":
            return {name: values[..., None] for name, values in samples.items()}, "feature", "model space"
        mean, deviation = (x.mean(0), x.std(0)) if moments is None else moments
        # The scale of a feature that does not vary, but for rounding errors, is its magnitude.
        magnitude = np.where(mean != 0, np.abs(mean), 1)
        deviation = np.where(deviation > 1e-12 * magnitude, deviation, magnitude)
        curves = {name: ((values - mean) / deviation)[..., None] for name, values in samples.items()}
        return curves, "feature", f"standard deviations\nfrom the {'' if moments is None else 'training '}mean"
    ylabel = "value" if space == "data" else "model space"
    if x.ndim == 3 and x.shape[2] > 1:
        ylabel = f"channels 0 to {x.shape[2] - 1},\nfrom the top"
    if x.ndim == 3:  # channels one below the other, on one scale, as recorders draw them
        return (
            {name: values - np.arange(x.shape[2]) * np.ptp(x) for name, values in samples.items()},
            "time step",
            ylabel,
        )
    return {name: values.reshape(len(x), -1, 1) for name, values in samples.items()}, "element", ylabel


def _most_off(k: int, values: list[np.ndarray], scaled: list[np.ndarray], names: Sequence[str] | None) -> str:
    """Return in words, in the table's own values, which feature of a sample is reconstructed worst."""
    feature = int(np.argmax(np.abs(scaled[1][k] - scaled[0][k])))
    name = f"feature {feature}" if names is None else shorten(names[feature])
    return f"largest error: {name}, {values[0][k, feature]:.4g} → {values[1][k, feature]:.4g}"


def _shade_error(ax: Axes, original: np.ndarray, reconstruction: np.ndarray, *, as_lines: bool) -> None:
    places = np.arange(len(original))
    for pair in zip(original.T, reconstruction.T, strict=True):
        if as_lines:
            ax.fill_between(places, *pair, color=BRIGHT, alpha=0.3, linewidth=0)
        else:
            ax.vlines(places, *pair, BRIGHT, linewidth=1.5, alpha=0.6)


def _limit(
    ax: Axes, reconstructions: Sequence[np.ndarray], styles: Sequence[dict], *, bounds: list[tuple[float, float]]
) -> None:
    """Set one range of values for all panels, at most twice that of the originals, of which the first bounds are.

    Reconstructions further off, which would flatten all the rest, become arrows at the edge.
    """
    beyond = np.ptp(bounds[0]) / 2 or 0.5
    low, high = max(np.min(bounds), bounds[0][0] - beyond), min(np.max(bounds), bounds[0][1] + beyond)
    margin = 0.1 * ((high - low) or 1)
    ax.set_ylim(low - margin, high + margin)
    for values, style in zip(reconstructions, styles, strict=True):
        for is_beyond, edge, marker in ((values[:, 0] > high, 1, "^"), (values[:, 0] < low, 0, "v")):
            places = np.flatnonzero(is_beyond)
            if len(places):
                edges, across = np.full(len(places), edge), ax.get_xaxis_transform()
                ax.plot(places, edges, marker, color=style["color"], markersize=5, transform=across, clip_on=False)


def _label(axes: np.ndarray, titles: Sequence[str], xlabel: str, names: Sequence[str] | None) -> None:
    """Set the titles, and what stands below the lowest panel of each column."""
    specs = [spec for spec in (ax.get_subplotspec() for ax in axes) if spec is not None]
    for ax, title in zip(axes, titles, strict=False):
        ax.set_title(title, fontsize=SMALL, loc="left")
        ax.tick_params(labelsize=SMALL)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.spines[["top", "right"]].set_visible(False)
        if names is not None:
            places = range(0, len(names), math.ceil(len(names) / _NAMED))
            ax.set_xticks(places, [""] * len(places))
        spec = ax.get_subplotspec()
        if spec is not None and any(
            other.colspan.start == spec.colspan.start and other.rowspan.start > spec.rowspan.start for other in specs
        ):
            continue
        ax.set_xlabel(xlabel, fontsize=SMALL)
        if names is not None:
            shown = [shorten(names[i], _CUT) for i in places]
            fits = max(map(len, shown)) * len(shown) <= 40
            turned = {} if fits else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
            ax.set_xticks(places, shown, **turned)
