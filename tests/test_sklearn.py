"""The detector for scikit-learn: its checks, thresholds, and what pipelines, searches, pickles and exports need."""

import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from sklearn.base import clone
from sklearn.metrics import make_scorer, recall_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

import tfae
from tests.samples import normal

pytest.importorskip("sklearn", minversion="1.8")  # Or its checks do not take xfail_strict.

from sklearn.utils.estimator_checks import parametrize_with_checks

from tfae.sklearn import AutoencoderDetector


def dependent(num_rows, seed=0):
    """Columns that are multiples of each other, but for a tenth; one of them is constant."""
    return np.c_[
        normal(num_rows, 1, seed=seed) * [1, -2, 3] + 0.1 * normal(num_rows, 3, seed=seed + 1), np.ones(num_rows)
    ]


def broken(num_rows, seed=10):
    """Rows with an element that does not fit the others, but its column."""
    X = dependent(num_rows, seed)
    X[:, 1] *= -1
    return X[np.abs(X[:, 1]) > 1]


@pytest.fixture(scope="module")
def detector():
    return AutoencoderDetector(false_alarm_rate=0.05, steps=300, width=16, random_state=0).fit(dependent(1000))


@pytest.fixture
def eagerly():
    """Nothing is traced, which would take most of the time of short trainings."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


#: Scores are of float32, whose last digit depends on what else is in the batch; that they agree but for it is tested
#: below.
ROUNDED = "scores of a row in other batches differ by the rounding of float32, and the check asks for that of float64"
EXPECTED = dict.fromkeys(["check_methods_subset_invariance", "check_methods_sample_order_invariance"], ROUNDED)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.filterwarnings("ignore:false_alarm_rate", "ignore:Even though the `tf.config")
@parametrize_with_checks(
    [AutoencoderDetector(steps=1, width=8)], expected_failed_checks=lambda _: EXPECTED, xfail_strict=False
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_scores_are_the_same_in_any_batch_and_order(detector):
    X = dependent(1500, seed=5)
    scores, restored = detector.score_samples(X), detector.transform(X)
    order = np.random.default_rng(0).permutation(len(X))[:20]
    assert detector.score_samples(X[order]) == pytest.approx(scores[order], rel=1e-5)
    assert [detector.score_samples(X[[i]])[0] for i in order] == pytest.approx(scores[order], rel=1e-5)
    assert detector.transform(X[order]) == pytest.approx(restored[order], abs=1e-5)


def test_anomalies_score_below_normal_rows_and_are_restored_to_what_fits(detector):
    fine, wrong = dependent(500, seed=5), broken(500)
    scores = detector.score_samples(np.concatenate([fine, wrong]))
    assert roc_auc_score(np.arange(len(scores)) < len(fine), scores) > 0.99
    contributions = detector.explain(wrong)
    assert contributions.shape == wrong.shape
    assert contributions.sum(axis=1) == pytest.approx(-scores[len(fine) :], rel=1e-5)
    assert (contributions.argmin(axis=1) == 3).all()  # The constant one, which is as ever.
    restored = detector.transform(wrong)  # Closer to what they were.
    assert (np.abs(restored[:, 1] + wrong[:, 1]) < np.abs(2 * wrong[:, 1])).mean() > 0.8


def test_a_column_that_was_constant_gives_another_value_away(detector):
    X = dependent(10, seed=5)
    X[:, 3] = 20
    assert (detector.predict(X) == -1).all()
    assert (detector.explain(X).argmax(axis=1) == 3).all()


def test_of_normal_rows_no_more_than_promised_are_called_outliers(detector):
    X = dependent(2000, seed=5)
    is_outlier = detector.predict(X) == -1
    assert (is_outlier == (detector.p_values(X) <= 0.05)).all()
    assert (is_outlier == (detector.decision_function(X) < 0)).all()
    held_out = detector.calibration_.quantiles.num_samples
    assert held_out == 100
    allowed = int(0.05 * (held_out + 1))
    expected = stats.betabinom(len(X), allowed, held_out + 1 - allowed)  # Vovk 2013.
    assert expected.ppf(0.001) <= is_outlier.sum() <= expected.ppf(0.999)


def test_contamination_is_a_share_of_the_rows_of_fit():
    X = dependent(200)
    detector = AutoencoderDetector(contamination=0.1, steps=5, width=8, random_state=0).fit(X)
    assert (detector.predict(X) == -1).sum() == 20
    assert detector.offset_ == pytest.approx(np.percentile(detector.score_samples(X), 10))
    with pytest.raises(ValueError, match="contamination: expected None"):
        detector.p_values(X)


def test_too_few_rows_to_calibrate_by_are_told_and_give_no_p_values():
    X = dependent(200)
    detector = AutoencoderDetector(false_alarm_rate=0.04, steps=5, width=8, random_state=0)
    with pytest.warns(UserWarning, match="at least 24 held-out rows for 0.04; received 20 of 200") as caught:
        detector.fit(X)
    assert caught[0].filename == __file__
    assert (detector.predict(X) == -1).sum() == 8
    assert detector.calibration_ is None
    with pytest.raises(
        ValueError,
        match=r"at least 24 held-out rows for 0.04; received 20 of 200\. Give more rows, a larger calibration_",
    ):
        detector.p_values(X)
    detector.set_params(calibration_fraction=0.12).fit(X)
    assert detector.calibration_.quantiles.num_samples == 24


def test_columns_far_from_zero_and_of_huge_units_are_told_apart_as_all_others():
    scale, offset = np.array([1e30, 1e-30, 1, 1]), np.array([0, 0, 1e9, 0])
    options = {"false_alarm_rate": 0.05, "steps": 50, "width": 8, "random_state": 0}
    X = dependent(300)
    plain = AutoencoderDetector(contamination=0.1, **options).fit(X)
    moved = AutoencoderDetector(contamination=0.1, **options).fit(X * scale + offset)
    assert moved.score_samples(X * scale + offset) == pytest.approx(plain.score_samples(X), rel=1e-2)
    assert moved.transform(X * scale + offset) == pytest.approx(plain.transform(X) * scale + offset, rel=1e-2)


@pytest.mark.parametrize("value", [1e8, 1e20, 1e200, -1e308])
def test_scores_of_extreme_rows_are_finite_and_low(detector, value):
    X = np.array([[0, 0, 0, 1], [value, 0, 0, 1], [value, value, value, value]])
    scores = detector.score_samples(X)
    assert np.isfinite(scores).all()
    assert (scores[1:] < 1e6 * scores[0]).all()
    assert detector.predict(X[1:]).tolist() == [-1, -1]


def test_training_depends_on_the_seed_alone_and_leaves_the_random_numbers_of_others():
    X, options = dependent(100), {"contamination": 0.1, "steps": 5, "width": 8}
    before = random.getstate(), np.random.get_state()[1].tolist()
    first = AutoencoderDetector(**options, random_state=3).fit(X)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    random.seed(7)
    again = clone(first).fit(X)
    assert np.array_equal(first.score_samples(X), again.score_samples(X))
    other = clone(first).set_params(random_state=4).fit(X)
    assert not np.allclose(first.score_samples(X), other.score_samples(X), rtol=1e-3)


def test_pipelines_searches_and_cross_validation_take_it(capfd):
    X = np.concatenate([dependent(150), broken(60)])
    y = np.where(np.arange(len(X)) < 150, 1, -1)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    split = ShuffleSplit(1, test_size=0.5, random_state=0)
    detector = AutoencoderDetector(contamination=0.2, steps=100, width=8, random_state=0)
    pipeline = make_pipeline(QuantileTransformer(n_quantiles=50), detector)
    widths = {"autoencoderdetector__width": [4, np.int64(16)]}
    search = GridSearchCV(pipeline, widths, scoring="roc_auc", cv=split).fit(X, y)
    assert search.best_score_ > 0.6
    fitted = search.best_estimator_
    assert fitted[-1].model_.width == search.best_params_["autoencoderdetector__width"]
    assert fitted.predict(X).shape == (len(X),)
    assert fitted.get_feature_names_out().tolist() == ["x0", "x1", "x2", "x3"]
    (recall,) = cross_val_score(pipeline, X, y, scoring=make_scorer(recall_score), cv=split)
    assert recall > 0.6
    assert capfd.readouterr().out == ""


def test_a_pickle_scores_the_same_in_another_process(detector, tmp_path):
    X = broken(50)
    (tmp_path / "detector.pkl").write_bytes(pickle.dumps(detector))
    np.save(tmp_path / "rows.npy", X)
    code = (
        "import pickle, numpy; detector = pickle.load(open('detector.pkl', 'rb')); X = numpy.load('rows.npy'); "
        "numpy.savez('answers.npz', scores=detector.score_samples(X), p_values=detector.p_values(X))"
    )
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], cwd=tmp_path, check=True)
    answers = np.load(tmp_path / "answers.npz")
    assert answers["scores"] == pytest.approx(detector.score_samples(X), rel=1e-5)
    assert answers["p_values"] == pytest.approx(detector.p_values(X))
    assert clone(pickle.loads(pickle.dumps(AutoencoderDetector(width=7)))).get_params()["width"] == 7


def test_an_export_has_the_same_score(detector, tmp_path):
    path = detector.export(tmp_path / "detector")
    X = np.concatenate([dependent(20), broken(20)])
    assert tfae.export.load(path).score(X) == pytest.approx(-detector.score_samples(X), rel=1e-4)


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("contamination", 0.6, ValueError),
        ("contamination", 0, ValueError),
        ("contamination", "auto", TypeError),
        ("false_alarm_rate", 1.0, ValueError),
        ("calibration_fraction", 0.0, ValueError),
        ("steps", 0, ValueError),
        ("steps", 2.5, TypeError),
        ("batch_size", 0, ValueError),
        ("width", -1, ValueError),
        ("learning_rate", 0, ValueError),
    ],
)
def test_parameters_out_of_their_ranges_are_refused(option, value, error):
    with pytest.raises(error, match=option):
        AutoencoderDetector(**{option: value}).fit(dependent(10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X[:, :2], "X has 2 features, but AutoencoderDetector is expecting 4 features"),
        (lambda X: np.where(X > 0, np.nan, X), "contains NaN"),
        (lambda X: np.where(X > 0, np.inf, X), "contains infinity"),
        (lambda X: X[0], "Expected 2D array"),
    ],
)
@pytest.mark.parametrize("method", ["predict", "p_values", "explain", "transform"])
def test_rows_that_do_not_fit_are_refused(detector, method, change, message):
    with pytest.raises(ValueError, match=message):
        getattr(detector, method)(change(dependent(10)))


def test_a_training_that_diverges_is_told():
    with pytest.raises(ValueError, match="learning_rate: expected one that training converges with; received 1e\\+30"):
        AutoencoderDetector(contamination=0.1, steps=20, width=8, learning_rate=1e30).fit(dependent(50))


def test_one_column_is_enough():
    X = normal(300, 1)
    detector = AutoencoderDetector(contamination=0.1, steps=50, width=8, random_state=0).fit(X)
    assert detector.predict([[10.0], [0.0]]).tolist() == [-1, 1]
