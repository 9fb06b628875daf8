"""Split conformal calibration: p-values that hold, thresholds, and what is refused."""

import json

import numpy as np
import pytest
from scipy import stats

from tfae.detection.calibration import MOST_KEPT, Calibration, Quantiles, least_samples


def calibrate(scores, rate=0.1, **options):
    return Calibration(false_alarm_rate=rate, quantiles=Quantiles.of(scores), **options)


def test_p_values_count_calibration_scores_that_are_at_least_as_high_ties_among_them():
    calibration = calibrate([1, 2, 2, 3, 5, 8, 9, 10, 11])
    assert calibration.p_values([0, 2, 2.5, 11, 12]) == pytest.approx([1, 0.9, 0.7, 0.2, 0.1])
    assert calibration.is_outlier([11, 12]).tolist() == [False, True]
    assert calibration.threshold == pytest.approx(11, rel=1e-4)


def test_the_threshold_itself_raises_no_alarm_and_what_is_above_it_does():
    calibration = calibrate(np.arange(1, 100), rate=0.05)
    threshold = np.float32(calibration.threshold)
    assert calibration.is_outlier([threshold, np.nextafter(threshold, np.float32(np.inf))]).tolist() == [False, True]
    # As float64: NumPy 1 compares float32 with 0.05 so, and NumPy 2 does not.
    at, above = calibration.p_values([threshold, threshold * 1.001]).astype(float)
    assert at > 0.055 > above


def test_rounding_tells_no_score_from_that_of_a_calibration_sample():
    scores = np.random.default_rng(0).lognormal(size=200).astype("float32")
    calibration = calibrate(scores)
    assert np.array_equal(calibration.p_values(scores), calibration.p_values(scores * np.float32(1 + 3e-7)))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1])
def test_alarms_of_exchangeable_samples_are_as_many_as_promised(rate):
    rng, n, num_alarms = np.random.default_rng(0), 300, []
    for _ in range(400):
        scores = rng.lognormal(size=n + 100).astype("float32").round(2)  # With ties.
        num_alarms.append(calibrate(scores[:n], rate).is_outlier(scores[n:]).sum())
    # Of m more samples, the alarms are beta-binomial (Vovk 2013); ties make them fewer.
    of_one = stats.betabinom(100, np.floor(rate * (n + 1)), n + 1 - np.floor(rate * (n + 1)))
    bound = of_one.mean() + 3 * of_one.std() / np.sqrt(len(num_alarms))
    assert 0.7 * 100 * rate < np.mean(num_alarms) < bound


def test_of_very_many_scores_some_are_kept_and_p_values_are_at_most_a_little_too_large():
    scores = np.random.default_rng(0).lognormal(size=50_000).astype("float32")
    calibration = calibrate(scores, rate=0.01)
    assert len(calibration.quantiles.scores) <= MOST_KEPT
    asked = np.random.default_rng(1).lognormal(size=3000).astype("float32")
    exact = (1 + (scores[:, None] >= asked * (1 - 1e-5)).sum(axis=0)) / (len(scores) + 1)
    found = calibration.p_values(asked)
    assert (found >= exact - 1e-4).all()
    assert (found - exact).max() < 1e-3
    rare = exact < 0.05  # Where alarms are, all of them are kept.
    assert found[rare] == pytest.approx(exact[rare], abs=2 / 50_000)


def test_a_rate_that_the_samples_are_too_few_for_is_refused_with_the_number_that_it_takes():
    assert least_samples(0.01) == 99
    calibrate(np.arange(99), rate=0.01)
    with pytest.raises(ValueError, match=r"at least 1 / 99, .* received 0.01, which takes 99 samples"):
        calibrate(np.arange(98), rate=0.01)
    for rate in (0, 1, -0.1, float("nan")):
        with pytest.raises(ValueError, match="false_alarm_rate: expected a number between 0 and 1"):
            calibrate(np.arange(98), rate=rate)


def test_groups_have_calibrations_of_their_own_and_others_that_of_all():
    groups = {"a": Quantiles.of(np.arange(1, 100)), "b": Quantiles.of(10 * np.arange(1, 100))}
    calibration = calibrate(np.arange(1, 1000), column="kind", groups=groups)
    p_values = calibration.p_values([50.5, 50.5, 50.5], ["a", "b", "other"])
    assert p_values == pytest.approx([0.5, 0.95, 0.95])
    assert calibration.is_outlier([95.5, 95.5, 995], ["a", "b", "other"]).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="groups: expected the categories of 'kind'; received None"):
        calibration.p_values([1.0])


def test_infinity_has_the_smallest_p_value_and_what_is_no_number_has_none():
    calibration = calibrate(np.arange(1, 20))
    assert calibration.p_values([np.inf, np.nan]) == pytest.approx([1 / 20, np.nan], nan_ok=True)
    assert calibration.is_outlier([np.inf, np.nan]).tolist() == [True, False]


def test_it_is_stored_as_json():
    groups = {"a": Quantiles.of([3.0] * 19)}
    calibration = calibrate(np.arange(1, 20), column="kind", groups=groups, figures={"drift": 0.25})
    back = Calibration.from_dict(json.loads(json.dumps(calibration.as_dict())))
    assert back.describe() == calibration.describe()
    assert json.dumps(back.describe())
    assert np.array_equal(back.p_values([3, 18], ["a", ""]), calibration.p_values([3, 18], ["a", ""]))
    assert back.with_rate(0.2).threshold < back.threshold
    larger = calibrate(np.arange(1, 200), column="kind", groups=groups).with_rate(0.01)
    assert larger.groups == {}
    assert larger.p_values([3], ["a"]) == pytest.approx(198 / 200)
