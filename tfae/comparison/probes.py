"""What a code knows of labels that the model was never shown."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from tfae.datasets import Data, Splits

NUM_NEIGHBORS = 5
#: Training samples of a class, on average, from which labels are taken for classes; fewer are measurements.
_SAMPLES_PER_CLASS = 5


@dataclasses.dataclass(frozen=True)
class Probes:
    """Shares of the test samples whose label is predicted from their code, in [0, 1]; None where there are no classes.

    Attributes:
        linear_probe: By logistic regression.
        neighbor_accuracy: By the majority of the 5 nearest training samples.
    """

    linear_probe: float | None
    neighbor_accuracy: float | None


def probe(autoencoder: keras.Model, data: Data) -> Probes:
    """Predict the labels of the test split from its codes.

    Both classifiers are scikit-learn's, fitted on the codes of the training split, standardised by its mean and
    deviation: a logistic regression, whose accuracy says how much of the classes lies open in the code, and the 5
    nearest neighbours, whose accuracy says whether alike is close to alike. Samples without a label are left out.

    Args:
        autoencoder: Has a layer "encoder".
        data: The clean data.

    Returns:
        The accuracies. They are None where there are no labels, or only one class in the training split, or fewer than
        5 training samples per class, as where the labels are measurements.
    """
    none = Probes(None, None)
    if data.labels is None:
        return none
    labels = Splits(*map(np.asarray, data.labels))
    labelled = [~_is_missing(labels.train), ~_is_missing(labels.test)]
    train_labels, test_labels = _numbered(labels.train[labelled[0]], labels.test[labelled[1]])
    num_classes = len(np.unique(train_labels))
    if num_classes < 2 or len(train_labels) < _SAMPLES_PER_CLASS * num_classes or not len(test_labels):
        return none
    # In stored order, as the labels are.
    batches = (data.feed.in_stored_order(), data.test)
    train_codes, test_codes = (
        codes(autoencoder, batches_of)[there] for batches_of, there in zip(batches, labelled, strict=True)
    )
    return accuracies(train_codes, train_labels, test_codes, test_labels)


def codes(autoencoder: keras.Model, dataset: tf.data.Dataset) -> np.ndarray:
    """The codes of all samples of a data set of batches ``(x, x)``, float32 ``(n, latent_dim)``, in its order."""
    encoder = autoencoder.get_layer("encoder")
    encode = tf.function(
        lambda x: encoder(x, training=False),
        input_signature=[tf.TensorSpec((None, *autoencoder.input_shape[1:]), tf.float32)],
        autograph=False,
    ).get_concrete_function()
    return np.concatenate([np.asarray(encode(x), "float32") for x, _ in dataset])


def accuracies(
    train_codes: np.ndarray, train_labels: np.ndarray, test_codes: np.ndarray, test_labels: np.ndarray
) -> Probes:
    """Both accuracies on the test codes, ``(n, latent_dim)``, of classifiers that are fitted on the training codes."""
    scaler = StandardScaler().fit(train_codes)
    train, test = scaler.transform(train_codes), scaler.transform(test_codes)
    linear = LogisticRegression(max_iter=2000).fit(train, train_labels)
    neighbors = KNeighborsClassifier(min(NUM_NEIGHBORS, len(train))).fit(train, train_labels)
    return Probes(float(linear.score(test, test_labels)), float(neighbors.score(test, test_labels)))


def _is_missing(labels: np.ndarray) -> np.ndarray:
    # NaN is what differs from itself.
    return np.array([label is None or label != label for label in labels], bool)


def _numbered(*labels: np.ndarray) -> list[np.ndarray]:
    """Labels of any type as integers, equal where the labels are."""
    if any(array.dtype == object for array in labels):  # They need not be of one type, and could not be sorted.
        labels = tuple(array.astype(str) for array in labels)
    _, numbers = np.unique(np.concatenate(labels), return_inverse=True)
    return np.split(numbers, [len(labels[0])])
