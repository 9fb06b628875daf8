"""What the latent holds of labels that the model was never shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from tfae.datasets import Data, Splits
from tfae.evaluation import Metric
from tfae.models.structure import find_encoder, latent_dim_of

#: Training samples of a class, on average, from which labels are taken for classes; fewer are measurements.
_SAMPLES_PER_CLASS = 5


def _accuracy_of(classifier: ClassifierMixin) -> Callable[..., float]:
    return lambda train, labels, test, test_labels: float(classifier.fit(train, labels).score(test, test_labels))


_SHARE = "Share of the test samples whose label is predicted from their latent by"
_ACCURACY: dict[str, Any] = {"unit": "accuracy", "better": "higher", "in_comparison": True}

#: They take labels, and so are not among the metrics of an evaluation.
PROBES = (
    Metric(
        "linear_probe",
        "linear probe",
        f"{_SHARE} logistic regression.",
        _accuracy_of(LogisticRegression(max_iter=2000)),
        **_ACCURACY,
    ),
    Metric(
        "neighbor_accuracy",
        "nearest neighbours",
        f"{_SHARE} the majority of the 5 nearest training samples.",
        _accuracy_of(KNeighborsClassifier(5)),
        **_ACCURACY,
    ),
)


def probe(autoencoder: keras.Model, data: Data) -> dict[str, float | None]:
    """Predict the labels of the test split from its latents.

    Both classifiers are scikit-learn's, fitted on the latents of the training split, standardised by its mean and
    deviation: a logistic regression, whose accuracy says how much of the classes lies open in the latent, and the 5
    nearest neighbours, whose accuracy says whether alike is close to alike. Samples without a label are left out.

    Returns:
        The accuracies by name, "linear_probe" and "neighbor_accuracy". They are None without labels or a latent, or of
        one class in the training split, or fewer than 5 training samples per class, as where the labels are
        measurements.
    """
    none: dict[str, float | None] = {metric.name: None for metric in PROBES}
    if data.labels is None or isinstance(latent_dim_of(autoencoder, data.shape), str):
        return none
    labels = Splits(*map(np.asarray, data.labels))
    labelled = [~_is_missing(labels.train), ~_is_missing(labels.test)]
    train_labels, test_labels = _number(labels.train[labelled[0]], labels.test[labelled[1]])
    num_classes = len(np.unique(train_labels))
    if num_classes < 2 or len(train_labels) < _SAMPLES_PER_CLASS * num_classes or not len(test_labels):
        return none
    # In stored order, as the labels are.
    train = encode(autoencoder, data.feed.in_stored_order())[labelled[0]]
    test = encode(autoencoder, data.test)[labelled[1]]
    return none | score_probes(train, train_labels, test, test_labels)


def encode(autoencoder: keras.Model, dataset: tf.data.Dataset) -> np.ndarray:
    """Return the latents of a data set of batches ``(x, x)``, float32 ``(n, latent_dim)``, in its order."""
    encoder: Any = find_encoder(autoencoder, tuple(dataset.element_spec[0].shape[1:]))
    return np.concatenate([np.asarray(encoder(x, training=False), "float32").reshape(len(x), -1) for x, *_ in dataset])


def score_probes(
    train_latents: np.ndarray, train_labels: np.ndarray, test_latents: np.ndarray, test_labels: np.ndarray
) -> dict[str, float]:
    """Return the accuracies on test latents ``(n, latent_dim)`` of classifiers fitted on the training latents."""
    scaler = StandardScaler().fit(train_latents)
    train, test = scaler.transform(train_latents), scaler.transform(test_latents)
    return {metric.name: metric.compute(train, train_labels, test, test_labels) for metric in PROBES}


def _is_missing(labels: np.ndarray) -> np.ndarray:
    # NaN is what differs from itself.
    return np.array([label is None or label != label for label in labels], bool)


def _number(*labels: np.ndarray) -> list[np.ndarray]:
    """Labels of any type as integers, equal where the labels are."""
    if any(array.dtype == object for array in labels):  # They need not be of one type, and could not be sorted.
        labels = tuple(array.astype(str) for array in labels)
    _, numbers = np.unique(np.concatenate(labels), return_inverse=True)
    return np.split(numbers, [len(labels[0])])
