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
from tfae.plots.labels import COLORS, MARKERS

_NAMED = 20  # feature names that find room below a panel
_CUT = 18  # characters of a name
_GREY = COLORS[3]  # which is hard to tell from the originals' dark grey


def panel_axes(
    num_samples: int,
    shape: tuple[int, ...],
    new_figure: Callable[..., Figure],
    feature_names: Sequence[str] | None,
) -> np.ndarray:
    """Axes ``(num_samples,)`` on a new figure; a single one for a table of one feature."""
    if shape == (1,):
        return np.array([new_figure(figsize=(7, 3), layout="constrained").subplots()])
    columns = min(num_samples, 2 if num_samples <= 16 else 4)
    rows = math.ceil(num_samples / columns)
    room = 0.4 + (0.05 * min(_CUT, max(map(len, feature_names))) if feature_names else 0)  # below: names are turned
    figure = new_figure(figsize=(4 * columns, 1.6 * rows + room), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[num_samples:]:
        ax.remove()
    return axes[:num_samples]


def draw_lines(x: np.ndarray, reconstruction: np.ndarray, titles: list[str], axes: np.ndarray) -> None:
    """Draw sequences ``(n, time, channels)``, or samples of another rank element by element."""
    xlabel = "time step" if x.ndim == 3 else "element"
    if x.ndim == 3:  # channels one below the other, on one scale, as recorders draw them
        x, reconstruction = (values - np.arange(x.shape[2]) * np.ptp(x) for values in (x, reconstruction))
    else:
        x, reconstruction = x.reshape(len(x), -1, 1), reconstruction.reshape(len(x), -1, 1)
    steps = np.arange(x.shape[1])
    for ax, original, reconstructed in zip(axes, x, reconstruction, strict=True):
        for pair in zip(original.T, reconstructed.T, strict=True):
            ax.fill_between(steps, *pair, color=BRIGHT, alpha=0.3, linewidth=0)
            for values, color in zip(pair, (DARK, BRIGHT), strict=True):
                ax.plot(steps, values, color=color, linewidth=1, marker="." if len(steps) <= 40 else None)
        if x.shape[2] > 1:
            ax.set_yticks([])
    _finish(axes, titles, xlabel)


def draw_points(
    x: np.ndarray,
    reconstruction: np.ndarray,
    titles: list[str],
    axes: np.ndarray,
    *,
    space: str,
    feature_names: Sequence[str] | None,
) -> None:
    """Draw a table ``(n, features)``: in data space, features need a scale each."""
    if space == "data":
        low, span = _scale_of_features(x)
        x, reconstruction = (x - low) / span, (reconstruction - low) / span
        ylabel = "each feature\non its own scale"
    else:
        ylabel = "model space"
    for ax, original, reconstructed in zip(axes, x, reconstruction, strict=True):
        _points(ax, original, reconstructed)
        if space == "data":
            _limit(ax, reconstructed, low=min(x.min(), reconstruction.min()), high=max(x.max(), reconstruction.max()))
            if len(x) > 1:
                ax.set_yticks([0, 1], ["lowest", "highest"])
                ax.grid(axis="y", color="#dddddd", linewidth=0.6)
        spec = ax.get_subplotspec()
        if spec is None or spec.is_first_col():
            ax.set_ylabel(ylabel, fontsize=SMALL)
    _finish(axes, titles, "feature", feature_names)


def draw_variants(
    x: np.ndarray, variants: Mapping[str, np.ndarray], axes: np.ndarray, *, feature_names: Sequence[str] | None
) -> None:
    """Draw samples in data space, and with them what each variant makes of them, in a colour each."""
    curves = {"original": x, **variants}
    if x.ndim == 2:  # Features need a scale each.
        low, span = _scale_of_features(x)
        curves = {name: ((values - low) / span)[..., None] for name, values in curves.items()}
    elif x.ndim == 3:  # Channels one below the other, as in draw_lines.
        curves = {name: values - np.arange(x.shape[2]) * np.ptp(x) for name, values in curves.items()}
    else:
        curves = {name: values.reshape(len(x), -1, 1) for name, values in curves.items()}
    colors, markers = (DARK, *(color for color in COLORS if color != _GREY)), itertools.cycle(MARKERS)
    low, high = (find(list(map(find, curves.values()))) for find in (np.min, np.max))
    drawn = []
    for index, ((name, values), color, marker) in enumerate(zip(curves.items(), itertools.cycle(colors), markers)):
        style: dict[str, Any] = {"color": color, "linewidth": 1 if index else 1.4}
        if x.ndim == 2:
            style = {"color": color, "linestyle": "", "marker": marker, "markerfacecolor": "none" if index else color}
        for ax, sample in zip(axes, values, strict=True):
            lines = ax.plot(sample, **style)
            if x.ndim == 2 and index:
                _limit(ax, sample[:, 0], low=low, high=high, color=color)
        drawn.append((lines[0], name.replace("_", " ")))
    for ax in axes:
        if x.ndim == 2:
            ax.set_yticks([0, 1], ["lowest", "highest"])
            ax.grid(axis="y", color="#dddddd", linewidth=0.6)
        elif x.ndim == 3 and x.shape[2] > 1:
            ax.set_yticks([])
    xlabel = {2: "feature", 3: "time step"}.get(x.ndim, "element")
    _finish(axes, [f"test sample {index + 1}" for index in range(len(x))], xlabel, feature_names)
    axes[0].get_legend().remove()
    axes[0].figure.legend(*zip(*drawn, strict=True), loc="outside upper right", ncols=3, frameon=False, fontsize=SMALL)


def draw_feature(
    x: np.ndarray,
    reconstruction: np.ndarray,
    title: str,
    ax: Axes,
    *,
    space: str,
    feature_names: Sequence[str] | None,
) -> None:
    """Draw a table ``(n, 1)`` over its samples."""
    _points(ax, x[:, 0], reconstruction[:, 0])
    name = "feature" if feature_names is None else feature_names[0]
    ax.set_ylabel(f"{name}, model space" if space == "model" else name, fontsize=SMALL)
    _finish(np.array([ax]), [title], "sample")


def _scale_of_features(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is 0 and how much is 1 for each feature of a table."""
    low, span = x.min(0), np.ptp(x, 0)
    # Of a feature that does not vary, errors are relative to its magnitude.
    return low, np.where(span > 0, span, np.where(low != 0, np.abs(low), 1))


def _points(ax: Axes, original: np.ndarray, reconstructed: np.ndarray) -> None:
    places = np.arange(len(original))
    size = 5 if len(places) <= 40 else 3
    ax.vlines(places, original, reconstructed, BRIGHT, linewidth=1.5, alpha=0.6)
    ax.plot(places, original, "o", color=DARK, markersize=size, markeredgewidth=0)
    ax.plot(places, reconstructed, "o", color=BRIGHT, markersize=size + 1.5, markerfacecolor="none")


def _limit(ax: Axes, reconstructed: np.ndarray, *, low: float, high: float, color: str = BRIGHT) -> None:
    """One range of values for all panels, at most twice that of the originals, 0 to 1.

    Reconstructions further off, which would flatten all the rest, become arrows at the edge.
    """
    low, high = max(low, -0.5), min(high, 1.5)
    margin = 0.1 * ((high - low) or 1)
    ax.set_ylim(low - margin, high + margin)
    for beyond, edge, marker in ((reconstructed > high, 1, "^"), (reconstructed < low, 0, "v")):
        places = np.flatnonzero(beyond)
        if len(places):
            edges, across = np.full(len(places), edge), ax.get_xaxis_transform()
            ax.plot(places, edges, marker, color=color, markersize=5, transform=across, clip_on=False)


def _finish(axes: np.ndarray, titles: list[str], xlabel: str, names: Sequence[str] | None = None) -> None:
    """Titles, legend, and what stands below the lowest panel of each column."""
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=SMALL, loc="left")
        ax.tick_params(labelsize=SMALL)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.spines[["top", "right"]].set_visible(False)
        if names is not None:
            places = range(0, len(names), math.ceil(len(names) / _NAMED))
            ax.set_xticks(places, [""] * len(places))
        if not _is_lowest(ax, axes):
            continue
        ax.set_xlabel(xlabel, fontsize=SMALL)
        if names is not None:
            shown = [names[i] if len(names[i]) <= _CUT else names[i][: _CUT - 1] + "…" for i in places]
            fits = max(map(len, shown)) * len(shown) <= 40
            turned = {} if fits else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
            ax.set_xticks(places, shown, **turned)
    key = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0, "ncols": 2, "fontsize": SMALL}
    axes[0].legend(axes[0].lines[:2], ("original", "reconstruction"), frameon=False, **key)


def _is_lowest(ax: Axes, axes: np.ndarray) -> bool:
    spec = ax.get_subplotspec()
    if spec is None:
        return True
    others = [other for other in (one.get_subplotspec() for one in axes) if other is not None]
    return not any(
        other.colspan.start == spec.colspan.start and other.rowspan.start > spec.rowspan.start for other in others
    )
