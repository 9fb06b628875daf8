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

from tfae.plots.style import BRIGHT, COLORS, DARK, MARKERS, SMALL, add_axes, shorten

_NAMED = 20  # feature names that find room below a panel
_CUT = 18  # characters of a name
_GREY = COLORS[3]  # which is hard to tell from the originals' dark grey


def draw_panels(
    x: np.ndarray,
    variants: Mapping[str, np.ndarray],
    titles: Sequence[str],
    new_figure: Callable[..., Figure],
    *,
    space: str,
    feature_names: Sequence[str] | None,
    moments: tuple[np.ndarray, np.ndarray] | None,
    drawn: slice,
) -> np.ndarray:
    """Draw samples and their reconstructions, whose error is shaded where there is one variant; return the Axes.

    In data space the scale holds all samples, of which those ``drawn`` have Axes and titles.
    """
    columns = min(len(titles), 2 if len(titles) <= 16 else 4)
    rows = math.ceil(len(titles) / columns)
    room = 0.4 + (0.05 * min(_CUT, max(map(len, feature_names))) if feature_names else 0)  # below: names are turned
    figure = new_figure(figsize=(4 * columns, 1.75 * rows + room), layout="constrained")
    axes = add_axes(figure, len(titles), columns)
    is_table, several = x.ndim == 2, len(variants) > 1
    is_scaled = is_table and space == "data"
    curves, xlabel, ylabel = _curves({"original": x, **variants}, space, moments)
    shown = {name: values[drawn] for name, values in curves.items()}
    palette = itertools.cycle([color for color in COLORS if color != _GREY] if several else [BRIGHT])
    colors = [DARK, *itertools.islice(palette, len(variants))]
    is_short = curves["original"].shape[1] <= 40
    styles: list[dict[str, Any]]
    if is_table:
        markers, size = itertools.cycle(MARKERS if several else "o"), 5 if is_short else 3
        hollow = {"linestyle": "", "markersize": size + 1.5, "markerfacecolor": "none"}
        styles = [{"color": color, "marker": next(markers), **hollow} for color in colors]
        styles[0] |= {"markersize": size, "markerfacecolor": DARK, "markeredgewidth": 0}
    else:
        styles = [{"color": color, "linewidth": 1, "marker": "." if is_short else None} for color in colors]
        styles[0]["linewidth"] = 1.4 if several else 1
    for ax, *samples in zip(axes, *shown.values(), strict=True):
        for pair in () if several else zip(*(values.T for values in samples), strict=True):
            if is_table:
                ax.vlines(range(len(pair[0])), *pair, BRIGHT, linewidth=1.5, alpha=0.6)
            else:
                ax.fill_between(range(len(pair[0])), *pair, color=BRIGHT, alpha=0.3, linewidth=0)
        handles = [ax.plot(values, **style)[0] for values, style in zip(samples, styles, strict=True)]
        if is_scaled:
            _limit(ax, samples[1:], colors[1:], bounds=[(np.nanmin(each), np.nanmax(each)) for each in curves.values()])
            ax.axhline(0, color="#dddddd", linewidth=0.8, zorder=0)
        elif space == "data":
            low, high = (find(list(map(find, curves.values()))) for find in (np.nanmin, np.nanmax))
            ax.set_ylim(low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1))
        if x.ndim == 3 and x.shape[2] > 1:
            ax.set_yticks([])
        if ax.get_subplotspec().is_first_col():
            ax.set_ylabel(ylabel, fontsize=SMALL)
    if is_scaled and not several:
        original, reconstruction = shown.values()
        titles, (values,) = list(titles), variants.values()
        for k, feature in enumerate(np.nan_to_num(np.abs(reconstruction - original))[..., 0].argmax(1)):
            name = f"feature {feature}" if feature_names is None else shorten(feature_names[feature])
            change = f"{x[drawn][k, feature]:.4g} → {values[drawn][k, feature]:.4g}"
            titles[k] = f"{titles[k]}\nlargest error: {name}, {change}".strip()
    _label(axes, titles, xlabel, feature_names)
    labels = [name.replace("_", " ") for name in curves]
    key: dict[str, Any] = {"handles": handles, "labels": labels, "frameon": False, "fontsize": SMALL}
    if space == "data":
        figure.legend(loc="outside upper right", ncols=3, **key)
    else:
        axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=2, **key)
    return axes


def _curves(
    samples: dict[str, np.ndarray],
    space: str,
    moments: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[dict[str, np.ndarray], str, str]:
    """Return what to draw of originals and variants, ``(panels, places, channels)``, and the names of both axes."""
    x, unit = samples["original"], "model space" if space == "model" else "value"
    if x.ndim == 3:  # Channels one below the other, on one scale, as recorders draw them.
        channels = x.shape[2]
        curves = {name: values - np.arange(channels) * np.ptp(x) for name, values in samples.items()}
        return curves, "time step", unit if channels == 1 else f"channels 0 to {channels - 1},\nfrom the top"
    if x.ndim == 2 and space == "data":
        mean, deviation = (np.nanmean(x, 0), np.nanstd(x, 0)) if moments is None else moments
        # The scale of a feature that does not vary, but for rounding errors, is its magnitude.
        magnitude = np.where(mean != 0, np.abs(mean), 1)
        deviation = np.where(deviation > 1e-12 * magnitude, deviation, magnitude)
        samples = {name: (values - mean) / deviation for name, values in samples.items()}
        unit = f"standard deviations\nfrom the {'' if moments is None else 'training '}mean"
        if moments is not None and not np.any(mean) and np.all(deviation == 1):  # They are scaled already.
            unit = "model space"
    curves = {name: values.reshape(len(x), -1, 1) for name, values in samples.items()}
    return curves, "feature" if x.ndim == 2 else "element", unit


def _limit(
    ax: Axes, reconstructions: Sequence[np.ndarray], colors: Sequence[str], *, bounds: list[tuple[float, float]]
) -> None:
    """Set one range of values for all panels, at most twice that of the originals, of which the first bounds are.

    Reconstructions further off, which would flatten all the rest, become arrows at the edge.
    """
    beyond = np.ptp(bounds[0]) / 2 or 0.5
    low, high = max(np.min(bounds), bounds[0][0] - beyond), min(np.max(bounds), bounds[0][1] + beyond)
    margin = 0.1 * ((high - low) or 1)
    ax.set_ylim(low - margin, high + margin)
    for values, color in zip(reconstructions, colors, strict=True):
        for is_beyond, edge, marker in ((values[:, 0] > high, 1, "^"), (values[:, 0] < low, 0, "v")):
            for place in np.flatnonzero(is_beyond):
                across = ax.get_xaxis_transform()
                ax.plot(place, edge, marker, color=color, markersize=5, transform=across, clip_on=False)


def _label(axes: np.ndarray, titles: Sequence[str], xlabel: str, names: Sequence[str] | None) -> None:
    """Set the titles, and what stands below the lowest panel of each column."""
    specs = [ax.get_subplotspec() for ax in axes]
    for ax, spec, title in zip(axes, specs, titles, strict=True):
        ax.set_title(title, fontsize=SMALL, loc="left")
        ax.tick_params(labelsize=SMALL)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.spines[["top", "right"]].set_visible(False)
        if names is not None:
            places = range(0, len(names), math.ceil(len(names) / _NAMED))
            ax.set_xticks(places, [""] * len(places))
        if any(
            other.colspan.start == spec.colspan.start and other.rowspan.start > spec.rowspan.start for other in specs
        ):
            continue
        ax.set_xlabel(xlabel, fontsize=SMALL)
        if names is not None:
            shown = [shorten(names[i], _CUT) for i in places]
            fits = max(map(len, shown)) * len(shown) <= 40
            turned = {} if fits else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
            ax.set_xticks(places, shown, **turned)
