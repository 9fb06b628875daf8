"""What the latent holds of labels that the model was never shown."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tfae.datasets import Data
from tfae.evaluation import Metric
from tfae.models.structure import find_encoder, latent_dim_of

#: Training samples of a class, on average, from which labels are taken for classes; fewer are measurements.
_SAMPLES_PER_CLASS = 5


def _probe(name: str, title: str, what: str, classifier: ClassifierMixin) -> Metric:
    pipeline = make_pipeline(StandardScaler(), classifier)

    def accuracy(train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
        return float(pipeline.fit(train, labels).score(test, test_labels))

    description = f"Share of the test samples whose label is predicted from their latent by {what}."
    return Metric(name, title, description, accuracy, unit="accuracy", better="higher", in_comparison=True)


#: They take labels, and so are not among the metrics of an evaluation.
PROBES = (
    _probe("linear_probe", "linear probe", "logistic regression", LogisticRegression(max_iter=2000)),
    _probe(
        "neighbor_accuracy",
        "nearest neighbours",
        "the majority of the 5 nearest training samples",
        KNeighborsClassifier(5),
    ),
)


def probe(autoencoder: keras.Model, data: Data) -> dict[str, float | None]:
    """Predict the labels of the test split from its latents.

    Both classifiers are scikit-learn's, fitted on the latents of the training split, standardised by its mean and
    deviation: a logistic regression, whose accuracy says how much of the classes lies open in the latent, and the 5
    nearest neighbours, whose accuracy says whether alike is close to alike. Samples without a label are left out.

    Returns:
        The accuracies by name, "linear_probe" and "neighbor_accuracy"; None without labels or a latent, and of one
        class or fewer than 5 training samples per class, as where the labels are measurements.
    """
    none: dict[str, float | None] = {metric.name: None for metric in PROBES}
    if data.labels is None or isinstance(latent_dim_of(autoencoder, data.shape), str):
        return none
    all_labels = [np.asarray(each) for each in (data.labels.train, data.labels.test)]
    # NaN is what differs from itself.
    labelled = [np.array([label is not None and label == label for label in each], bool) for each in all_labels]
    given = [each[chosen] for each, chosen in zip(all_labels, labelled, strict=True)]
    # As text: they need not be of one type.
    train_labels, test_labels = np.split(np.concatenate(given).astype(str), [len(given[0])])
    num_classes = len(np.unique(train_labels))
    if num_classes < 2 or len(train_labels) < _SAMPLES_PER_CLASS * num_classes or not len(test_labels):
        return none
    # In stored order, as the labels are.
    train = encode(autoencoder, data.feed.in_stored_order())[labelled[0]]
    test = encode(autoencoder, data.test)[labelled[1]]
    return {metric.name: metric.compute(train, train_labels, test, test_labels) for metric in PROBES}


def encode(autoencoder: keras.Model, dataset: tf.data.Dataset) -> np.ndarray:
    """Return the latents of a data set of batches ``(x, x)``, float32 ``(n, latent_dim)``, in its order."""
    encoder: Any = find_encoder(autoencoder, tuple(dataset.element_spec[0].shape[1:]))
    return np.concatenate([np.asarray(encoder(x, training=False), "float32").reshape(len(x), -1) for x, *_ in dataset])
