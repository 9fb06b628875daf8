"""An anomaly detector with scikit-learn's interface, for pipelines, searches and cross-validation."""

from __future__ import annotations

import os
import random
import warnings
from numbers import Integral, Real
from pathlib import Path
from typing import Any, final

import numpy as np
import tensorflow as tf
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, OutlierMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, check_scalar, gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from tfae import export, schedule
from tfae.detection import Calibration, Quantiles, least_samples
from tfae.losses import SquaredError
from tfae.models import Denoiser
from tfae.preprocessing import Preprocessing

__all__ = ["AutoencoderDetector"]

_LARGEST = float(np.finfo("float32").max)
#: Steps per call of the compiled training, at most; and rows and elements per call of the scores.
_STEPS, _ROWS, _ELEMENTS = 50, 1024, 2**20


@final
class AutoencoderDetector(OneToOneFeatureMixin, OutlierMixin, TransformerMixin, BaseEstimator):
    """Detects anomalies in tables of numbers by how badly a :class:`tfae.models.Denoiser` restores their rows.

    Rows are standardised in float64; columns that are constant in ``fit`` are only centred. There are no gaps: put an
    imputer before it. Training draws from ``random_state`` alone, and leaves the random numbers of Python and NumPy as
    they were. It can be pickled.

    The threshold is one of two. With ``contamination=None``, a share of the rows is held out of training, and
    a row is an outlier where its conformal p-value is at most ``false_alarm_rate``: of new rows from where those came
    from, no larger share is, on average over the rows that are held out. That takes 1 / ``false_alarm_rate`` − 1 of
    them; where there are fewer, ``fit`` warns, trains on all rows, and takes ``contamination=false_alarm_rate``. With a
    number, that share of the rows given to ``fit`` are outliers, as elsewhere in scikit-learn; of new rows it may be
    more, and there are no p-values.

    Args:
        contamination: Share of the rows given to ``fit`` that are outliers, in (0, 0.5]; None where all are normal.
        false_alarm_rate: Share of normal rows that may be called outliers, in (0, 1).
        calibration_fraction: Share of the rows that is held out for it, in (0, 1).
        steps: Batches to train on.
        batch_size: Rows of a batch.
        learning_rate: Its peak.
        width: Units of the hidden layers.
        random_state: Seed, ``RandomState``, or None for NumPy's own.

    Attributes:
        offset_: The score, as of ``score_samples``, below which a row is an outlier.
        calibration_: The :class:`tfae.detection.Calibration` of the held-out rows; None without.
        model_: The trained Keras model, of standardised rows.
        scaler_: What standardises them.
        n_features_in_: How many columns there are.
        feature_names_in_: Their names, of a data frame.

    Raises:
        ValueError: If ``fit`` finds a parameter out of its range, rows that are not finite numbers, or a training that
            diverges; TypeError for parameters of other types.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(300, 1)) * [1, 2]  # The second is twice the first.
        >>> detector = AutoencoderDetector(false_alarm_rate=0.05, steps=100, width=16, random_state=0).fit(X)
        >>> detector.predict([[1, 2], [1, -2]]).tolist()
        [1, -1]
        >>> detector.explain([[1, -2]]).shape
        (1, 2)
    """

    def __init__(
        self,
        *,
        contamination: float | None = None,
        false_alarm_rate: float = 0.01,
        calibration_fraction: float = 0.1,
        steps: int = 2000,
        batch_size: int = 128,
        learning_rate: float = 0.001,
        width: int = 128,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.contamination = contamination
        self.false_alarm_rate = false_alarm_rate
        self.calibration_fraction = calibration_fraction
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.width = width
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> AutoencoderDetector:
        """Train on rows, ``(n, num_columns)``, and find the threshold; ``y`` is not looked at."""
        self._validate_parameters()
        X = self._validate(X, reset=True, ensure_min_samples=2)
        rng = check_random_state(self.random_state)
        self._uncalibrated = "contamination: expected None, for p-values are by held-out rows; received a share."
        share, rows = self.contamination, rng.permutation(len(X))
        held_out, trained = np.split(rows, [int(self.calibration_fraction * len(X)) if share is None else 0])
        if share is None and len(held_out) < least_samples(self.false_alarm_rate):
            share, trained = self.false_alarm_rate, rows
            self._uncalibrated = (
                f"false_alarm_rate: expected at least {least_samples(share):,} held-out rows for {share:g}; received "
                f"{len(held_out)} of {len(X)}. Give more rows, a larger calibration_fraction or false_alarm_rate, or "
                "contamination, the share of these rows that are outliers."
            )
            warnings.warn(f"{self._uncalibrated} Until then, it is {share:g} of these rows.", stacklevel=2)
        self.scaler_ = StandardScaler().fit(X[trained])
        self.model_ = self._train(
            self._standardise(X[trained]), rng, self._standardise(X[held_out]) if share is None else None
        )
        self._elements = self._trace()
        self.calibration_ = None
        if share is None:
            quantiles = Quantiles.of(self._scores(X[held_out]))
            self.calibration_ = Calibration(
                false_alarm_rate=self.false_alarm_rate, quantiles=quantiles, source="held-out rows"
            )
            self.offset_ = -self.calibration_.threshold
        else:
            self.offset_ = float(np.percentile(-self._scores(X), 100 * share))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Return how normal rows are, float64 ``(n,)``: the score of the denoiser, negated; higher is more normal."""
        return -self._scores(self._validate(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """Return ``score_samples(X) - offset_``, float64 ``(n,)``, negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Return -1 for outliers and 1 for others, int ``(n,)``."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> np.ndarray:
        """Return conformal p-values, float32 ``(n,)``: of normal rows, at most a share r has p ≤ r, for every r.

        Raises:
            ValueError: No rows were held out, for there is a ``contamination``, or there were too few.
        """
        X = self._validate(X)
        if self.calibration_ is None:
            raise ValueError(self._uncalibrated)
        return self.calibration_.p_values(self._scores(X))

    def explain(self, X: Any) -> np.ndarray:
        """Return what each column adds to the score of rows, float32 ``(n, num_columns)``: rows sum to the score.

        The score is ``-score_samples(X)``; higher is more anomalous.
        """
        return self._explain(self._validate(X))

    def transform(self, X: Any) -> np.ndarray:
        """Return the reconstructions of rows, float64 ``(n, num_columns)``, in the units of the data.

        They are what the columns would be if they fitted each other, and have the names of the columns.
        """
        z = self._standardise(self._validate(X))
        restored = self.model_.predict(z, batch_size=_ROWS, verbose=0)
        return self.scaler_.inverse_transform(restored.astype("float64"))

    def export(self, directory: str | os.PathLike[str]) -> Path:
        """Write a SavedModel of rows and their scores, with the calibration, as :func:`tfae.export.save` does."""
        check_is_fitted(self)
        preprocessing = Preprocessing(
            "standard",
            sample_shape=(self.n_features_in_,),
            sample_dtype="float64",
            offset=self.scaler_.mean_,
            scale=self.scaler_.scale_,
        )
        return export.save(self.model_, directory, preprocessing=preprocessing, calibration=self.calibration_)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_elements"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_" in state:
            self._elements = self._trace()

    def _validate_parameters(self) -> None:
        for name in ("false_alarm_rate", "calibration_fraction"):
            check_scalar(getattr(self, name), name, Real, min_val=0, max_val=1, include_boundaries="neither")
        if self.contamination is not None:
            check_scalar(self.contamination, "contamination", Real, min_val=0, max_val=0.5, include_boundaries="right")
        check_scalar(self.learning_rate, "learning_rate", Real, min_val=0, include_boundaries="neither")
        for name in ("steps", "batch_size", "width"):
            check_scalar(getattr(self, name), name, Integral, min_val=1)

    def _validate(self, X: Any, *, reset: bool = False, **options: Any) -> np.ndarray:
        if not reset:
            check_is_fitted(self)
        return validate_data(self, X, dtype="float64", reset=reset, **options)

    def _standardise(self, X: np.ndarray) -> np.ndarray:
        return np.clip(self.scaler_.transform(X), -_LARGEST, _LARGEST).astype("float32")

    def _explain(self, X: np.ndarray) -> np.ndarray:
        z = self._standardise(X)
        blocks = gen_batches(len(z), max(1, min(_ROWS, _ELEMENTS // z.shape[1])))
        return np.concatenate([self._elements(tf.constant(z[rows])).numpy() for rows in blocks])

    def _scores(self, X: np.ndarray) -> np.ndarray:
        return self._explain(X).sum(axis=1).astype("float64")

    def _train(self, z: np.ndarray, rng: np.random.RandomState, held_out: np.ndarray | None) -> Denoiser:
        """Return a denoiser of standardised rows, and with the scale of the scores of others."""
        steps, num_rows = int(self.steps), int(self.steps) * int(self.batch_size)
        order = np.concatenate([rng.permutation(len(z)) for _ in range(-(-num_rows // len(z)))])[:num_rows]
        state = random.getstate()
        random.seed(int(rng.randint(2**31 - 1)))  # Keras draws its seeds from Python's random numbers.
        try:
            model = Denoiser((z.shape[1],), width=int(self.width))
        finally:
            random.setstate(state)
        model.adapt(z)
        model.compile(
            schedule.adam(steps, float(self.learning_rate)),
            SquaredError(),
            # Keras takes only whole calls. XLA would repay its compilation on a GPU alone.
            steps_per_execution=max(number for number in range(1, _STEPS + 1) if steps % number == 0),
            jit_compile=False,
        )
        model.optimizer.build(model.trainable_variables)  # In a graph it takes a second.
        rows = tf.constant(z)
        batches = tf.data.Dataset.from_tensor_slices(order.reshape(steps, -1)).map(
            lambda batch: (tf.gather(rows, batch),) * 2
        )
        if not np.isfinite(model.fit(batches, verbose=0, shuffle=False).history["loss"]).all():
            raise ValueError(
                f"learning_rate: expected one that training converges with; received {self.learning_rate}."
            )
        model.adapt_score(z, held_out)
        model.compile("sgd", SquaredError())  # Without the moments of Adam, it takes a third of the memory.
        return model

    def _trace(self) -> Any:
        signature = [tf.TensorSpec((None, self.model_.num_elements), "float32")]
        return tf.function(self.model_.score_elements, input_signature=signature, autograph=False)
