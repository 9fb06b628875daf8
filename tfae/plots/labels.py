"""Labels of samples, and the colours and markers of classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Colours and markers of classes. Colour vision deficiencies leave these colours distinct (Petroff, arXiv:2107.02270).
COLORS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadb")
MARKERS = ("o", "^", "s", "v", "D", "P", "X", "<", ">", "p")
_OTHERS = "#dddddd"


def validate_labels(labels: npt.ArrayLike | None, num_samples: int) -> np.ndarray | None:
    """Return labels as an array ``(num_samples,)``."""
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.shape != (num_samples,):
        raise ValueError(f"labels: expected shape ({num_samples},), one per sample; received {array.shape}.")
    if array.dtype.kind == "O":  # Texts or numbers with missing ones between them.
        # TFDS stores texts as bytes.
        texts = (label.decode("utf-8", "replace") if isinstance(label, bytes) else label for label in array)
        array = np.array(["missing" if label is None else str(label) for label in texts])
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array


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
        (f"{name:g}" if labels.dtype.kind == "f" else str(name), labels == name, color, marker)
        for name, color, marker in zip(frequent, COLORS, MARKERS, strict=False)
    ]
    if len(names) > len(frequent):
        others, number = ~np.isin(labels, frequent), len(names) - len(frequent)
        classes.insert(0, (f"{number} other{'s' * (number > 1)}", others, _OTHERS, "."))
    return classes
