"""What labels say of a detector: figures as scikit-learn's, intervals that cover, baselines, and what is refused."""

import json

import numpy as np
import pytest
from sklearn import metrics

from tfae.detection.truth import compare_with_truth, measure, trivial_scores

FIGURES = ("auroc", "average_precision", "precision", "recall", "f1", "false_alarm_rate")


def draw(num_normal=300, num_anomalies=40, seed=0, decimals=9):
    rng = np.random.default_rng(seed)
    scores = np.append(rng.normal(size=num_normal), rng.normal(1.5, 1, num_anomalies)).round(decimals)
    labels = np.arange(num_normal + num_anomalies) >= num_normal
    order = rng.permutation(len(labels))
    return scores[order], labels[order]


@pytest.mark.parametrize("decimals", [9, 1, 0])
def test_figures_are_those_of_scikit_learn_ties_included(decimals):
    scores, labels = draw(decimals=decimals)
    alarms = scores > 1
    truth = measure(scores, labels, is_alarm=alarms)
    expected = [
        metrics.roc_auc_score(labels, scores),
        metrics.average_precision_score(labels, scores),
        metrics.precision_score(labels, alarms),
        metrics.recall_score(labels, alarms),
        metrics.f1_score(labels, alarms),
        1 - metrics.recall_score(~labels, ~alarms),
    ]
    assert [getattr(truth, name).value for name in FIGURES] == pytest.approx(expected)
    assert (truth.num_anomalies, truth.num_normal) == (40, 300)


def test_resamples_are_those_of_each_class():
    scores, labels = draw(60, 15, decimals=1)
    truths = [measure(scores, labels, is_alarm=scores > 1, seed=seed) for seed in range(20)]
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(1000):
        rows = np.concatenate([rng.choice(np.flatnonzero(labels == flag), (labels == flag).sum()) for flag in (0, 1)])
        y, x = labels[rows], scores[rows]
        drawn.append([metrics.roc_auc_score(y, x), metrics.average_precision_score(y, x), (x > 1)[~y].mean()])
    for name, values in zip(("auroc", "average_precision", "false_alarm_rate"), np.transpose(drawn), strict=True):
        found = np.mean([[getattr(each, name).low, getattr(each, name).high] for each in truths], axis=0)
        assert found == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.02)


def test_intervals_cover_the_figures_of_the_population():
    scores, labels = draw(100_000, 100_000)
    population = measure(scores, labels, is_alarm=scores > 1)
    estimates = []
    for seed in range(1, 101):
        scores, labels = draw(seed=seed)
        estimates.append(measure(scores, labels, is_alarm=scores > 1))
    for name in ("auroc", "recall", "false_alarm_rate"):
        expected = getattr(population, name).value
        covered = [getattr(each, name).low <= expected <= getattr(each, name).high for each in estimates]
        assert 0.85 <= np.mean(covered) <= 0.995


def test_scores_of_the_same_order_are_the_same_infinite_ones_too():
    scores, labels = draw()
    assert measure(np.exp(scores), labels.astype("int8")) == measure(scores, labels.tolist())
    assert measure(np.where(scores == scores.max(), np.inf, scores), labels) == measure(scores, labels)
    assert measure(-scores, labels).auroc.value == pytest.approx(1 - measure(scores, labels).auroc.value)


def test_without_alarms_there_is_no_precision_and_without_a_threshold_none_of_the_figures():
    scores, labels = draw()
    silent = measure(scores, labels, is_alarm=np.zeros(len(labels)))
    assert silent.precision is None
    assert [silent.recall.value, silent.f1.value, silent.false_alarm_rate.value] == [0, 0, 0]
    truth = measure(scores, labels)
    assert [getattr(truth, name) for name in FIGURES[2:]] == [None] * 4
    assert "recall" not in str(truth)
    assert json.loads(json.dumps(truth.as_dict()))["auroc"]["value"] == truth.auroc.value


def test_print_shows_every_figure_with_its_interval():
    scores, labels = draw()
    truth = measure(scores, labels, is_alarm=scores > 1)
    lines = str(truth).splitlines()
    for name, line in zip(FIGURES, lines[1:], strict=False):
        assert line.split("  ")[0] == name.replace("_", " ")
        assert line.endswith(str(getattr(truth, name)))
    assert lines[-2].startswith("40 anomalies and 300 normal samples")
    assert lines[-1].endswith(f"{40 / 340:.3f}")


def plane(num_samples, seed):
    """Samples on a plane in five dimensions, of unequal scales and with a little noise."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(num_samples, 2)) @ np.random.default_rng(9).normal(size=(2, 5))
    return (rows + 0.05 * rng.normal(size=rows.shape)) * [1, 10, 100, 1, 1] + 7


def test_baselines_are_what_their_names_say():
    train, samples = plane(100, 0), plane(30, 1)
    scores = trivial_scores(train.reshape(100, 5, 1), samples.reshape(30, 5, 1))
    x, z = ((rows - train.mean(axis=0)) / train.std(axis=0) for rows in (train, samples))
    assert scores["distance from the mean"] == pytest.approx((z**2).sum(axis=1))
    values, vectors = np.linalg.eigh(np.cov(x.T))
    axes = vectors[:, ::-1][:, : 1 + np.searchsorted(np.cumsum(values[::-1]) / values.sum(), 0.9)]
    assert scores["PCA residual"] == pytest.approx(((z - z @ axes @ axes.T) ** 2).sum(axis=1))
    distances = np.linalg.norm(z[:, None] - x, axis=-1)
    assert scores["nearest neighbours"] == pytest.approx(np.sort(distances, axis=1)[:, 4])


def test_baselines_take_gaps_as_means_and_elements_that_do_not_vary():
    train, samples = plane(100, 0), plane(30, 1)
    gaps = samples.copy()
    gaps[:, 1], samples[:, 1] = np.nan, train[:, 1].mean()
    for name, scores in trivial_scores(train, samples).items():
        assert trivial_scores(train, gaps)[name] == pytest.approx(scores)
    train[::2, 0], train[:, 2], train[:, 3] = np.nan, 3, np.nan
    scores = trivial_scores(
        train, np.where(np.arange(30)[:, None] == 5, [7, 7, 30, 7, 7], gaps * [1, 1, 0, 1, 1] + [0, 0, 3, 0, 0])
    )
    assert all(np.isfinite(each).all() and each.argmax() == 5 for each in scores.values())
    assert not trivial_scores(train[:3, :1] * 0 + 1, np.ones((2, 1)))["PCA residual"].any()


def test_a_residual_that_is_rounding_is_none():
    line = np.random.default_rng(0).normal(size=(100, 1))
    assert trivial_scores(line * [1.0, 2.0, 3.0], 50 * line * [1.0, 2.0, 3.0])["PCA residual"].tolist() == [0.0] * 100


def test_losing_to_a_baseline_is_a_finding_with_both_figures():
    train, samples = plane(500, 0), plane(400, 1)
    labels = np.arange(400) < 40
    samples[labels] += np.random.default_rng(2).normal(size=(40, 5)) * 0.5 * samples.std(axis=0)  # Off the plane.
    scores = samples[:, 0]
    found = compare_with_truth(scores, train, samples, labels, is_alarm=scores > 8, seed=3)
    residual = found.baselines["PCA residual"]
    assert residual == measure(trivial_scores(train, samples)["PCA residual"], labels, seed=3)
    assert residual.auroc.value > 0.9
    (finding,) = (each for each in found.findings if "PCA residual" in each)
    assert finding.startswith("losing to a baseline")
    assert f"{found.auroc.value:.3f}" in finding
    assert f"{residual.auroc.value:.3f}" in finding
    assert f"! {finding}" in str(found)
    assert str(residual.auroc) in str(found)
    assert found.false_alarm_rate == measure(scores, labels, is_alarm=scores > 8, seed=3).false_alarm_rate
    assert json.loads(json.dumps(found.as_dict()))["findings"] == list(found.findings)


def test_as_good_as_a_baseline_or_better_is_no_finding():
    train, samples = plane(500, 0), plane(400, 1)
    labels = np.arange(400) < 40
    samples[labels] += 3 * samples.std(axis=0)
    perfect = labels + np.random.default_rng(0).random(400) / 2
    assert compare_with_truth(perfect, train, samples, labels).findings == ()
    for name, scores in trivial_scores(train, samples).items():
        findings = compare_with_truth(scores, train, samples, labels).findings
        assert not any(name in each for each in findings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [0, 0]), "is_anomaly: expected some of both; received 0 anomalies of 2 samples"),
        (([1.0, 2.0], [True, True]), "received 2 anomalies of 2 samples"),
        (([], []), "received 0 anomalies of 0 samples"),
        (([1.0, np.nan], [0, 1]), "scores: expected a number for each sample; received NaN at 1"),
        (([[1.0, 2.0]], [0, 1]), r"received shape \(1, 2\)"),
        (([1.0, 2.0], [0, 1, 1]), r"is_anomaly: expected 0 or 1 for each of 2 scores; received shape \(3,\)"),
        (([1.0, 2.0], [1, 2]), r"is_anomaly: .* received \[1, 2\]"),
        (([1.0, 2.0], [0, 1], [0]), r"is_alarm: .* received shape \(1,\)"),
        (([1.0, 2.0], [0, 1], [0, -1]), r"is_alarm: .* received \[-1, 0\]"),
    ],
)
def test_what_is_refused(arguments, message):
    scores, labels, *alarms = arguments
    with pytest.raises(ValueError, match=message):
        measure(scores, labels, is_alarm=alarms[0] if alarms else None)


def test_training_samples_of_another_shape_are_refused():
    for train in (np.ones((5, 2)), np.ones((0, 3))):
        with pytest.raises(ValueError, match=r"train: expected samples \(n, \*\(3,\)\), as to score; received"):
            trivial_scores(train, np.ones((4, 3)))
