"""What plots share: colours, markers and sizes, new figures, and how labels of samples are written."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Of original and reconstruction, and of training and validation. They differ in grey print, too.
DARK, BRIGHT = "#333333", "#e76300"

#: Points, of titles and labels where many Axes share a figure.
SMALL = 8

#: Colours and markers of classes. Colour vision deficiencies leave these colours distinct (Petroff, arXiv:2107.02270).
COLORS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadb")
MARKERS = ("o", "^", "s", "v", "D", "P", "X", "<", ">", "p")
OTHERS = "#dddddd"


def prepare_axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the Axes, or some on a new pyplot figure of a size in inches, which notebooks show; open to two sides."""
    if ax is None:
        from matplotlib import pyplot as plt

        ax = plt.subplots(figsize=size, layout="constrained")[1]
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def write_beside(ax: Axes, text: str, point: tuple[float, float], **style: Any) -> None:
    """Write to the right of a point."""
    ax.annotate(text, point, (4, 0), textcoords="offset points", **style)


def add_axes(figure: Figure, number: int, columns: int) -> np.ndarray:
    """Return Axes ``(number,)`` on a figure, row by row."""
    axes = figure.subplots(math.ceil(number / columns), columns, squeeze=False).ravel()
    for ax in axes[number:]:
        ax.remove()
    return axes[:number]


def validate_labels(labels: npt.ArrayLike | None, num_samples: int) -> np.ndarray | None:
    """Return labels as an array ``(num_samples,)``."""
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.dtype.kind == "O" and all(value is None or isinstance(value, numbers.Real) for value in array.flat):
        array = np.array([math.nan if value is None else value for value in array.flat], "float64").reshape(array.shape)
    if array.shape != (num_samples,):
        raise ValueError(f"labels: expected shape ({num_samples},), one per sample; received {array.shape}.")
    if array.dtype.kind == "f" and (missing := np.isnan(array)).any() and are_classes(array[~missing]):
        array = array.astype("O")
    return np.array([name_of(label) for label in array]) if array.dtype.kind in "OSU" else array


def name_of(label: Any) -> str:
    """Return how a label is written: bytes, as TFDS stores texts, as text, and one that is too long cut."""
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    if label is None or label != label:  # NaN
        return "missing"
    if isinstance(label, (float, np.floating)):
        return f"{label:g}"
    # A lone dollar is one, two would be mathematics.
    return shorten(str(label)).replace("$", r"\$")


def shorten(text: str, length: int = 30) -> str:
    """Cut the middle out of text that is too long, whose end tells it from others as often as its beginning."""
    return text if len(text) <= length else f"{text[: (length - 1) // 2]}…{text[len(text) - length // 2 :]}"


def are_classes(labels: np.ndarray) -> bool:
    """Return whether labels name classes: texts, or at most ten whole numbers."""
    if labels.dtype.kind not in "iuf":
        return True
    values = np.unique(labels)
    return len(values) <= len(COLORS) and bool((values == np.round(values)).all())


def are_names_of_samples(labels: np.ndarray) -> bool:
    """Return whether most samples have a label of their own, such as a name or a time."""
    counts = np.unique(labels, return_counts=True)[1]
    return len(counts) > len(COLORS) and 2 * int(np.count_nonzero(counts == 1)) > len(labels)


def classes_of(labels: np.ndarray) -> list[tuple[str, np.ndarray, str, str]]:
    """Return name, members (bool), colour and marker of the ten most frequent classes, after one of all others."""
    names, counts = np.unique(labels, return_counts=True)
    frequent = names[np.sort(np.argsort(-counts, kind="stable")[: len(COLORS)])]
    classes = [
        (name_of(name), labels == name, color, marker)
        for name, color, marker in zip(frequent, COLORS, MARKERS, strict=False)
    ]
    if len(names) > len(frequent):
        others, number = ~np.isin(labels, frequent), len(names) - len(frequent)
        classes.insert(0, (f"{number} other{'s' * (number > 1)}", others, OTHERS, "."))
    return classes


def titles_of(x: np.ndarray, scores: np.ndarray | None, score_name: str) -> list[str]:
    """Return the titles of the samples."""
    if scores is None:
        return ["" if x.ndim == 4 else f"sample {k + 1}" for k in range(len(x))]
    return [f"{score_name} {score:.4g}" for score in scores]
