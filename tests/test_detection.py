"""Alarms, from a trained model to those who ask a server: one number wherever they are asked for."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import tensorflow as tf

import tfae
from tests.commands import run, train
from tests.exports import DIGITS, built
from tfae.columns import split_matrix
from tfae.detection import (
    Calibration,
    Quantiles,
    calibrate,
    calibrate_scores,
    compare_halves,
    compare_with_uniform,
    find_events,
    read_categories,
    tell_truth,
)
from tfae.losses import SquaredError, for_table
from tfae.serving import LocalServer


def write_payments(path, num_rows=1200, seed=0, shift=0.0):
    """Rows of a table of which one in twenty does not go together, and says so in its label."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(2, 4))
    hidden = rng.normal(size=(num_rows, 2))
    amounts = hidden @ mixing + 0.1 * rng.normal(size=(num_rows, 4)) + shift
    is_wrong = np.arange(num_rows) % 20 == 7
    for column in amounts.T:
        column[is_wrong] = rng.permutation(column[is_wrong]) + 3
    table = {f"amount {index}": column.round(4) for index, column in enumerate(amounts.T)}
    table["country"] = np.array(["DE", "FR", "US"])[(hidden[:, 0] > 0).astype(int) + (hidden[:, 1] > 1)]
    table["Class"] = is_wrong.astype(int)
    pa.csv.write_csv(pa.table(table), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("detection")


@pytest.fixture(scope="module")
def payments(folder):
    return tfae.datasets.load(write_payments(folder / "payments.csv"), normal="Class=0")


@pytest.fixture(scope="module")
def denoiser(payments):
    keras.utils.set_random_seed(0)
    model = tfae.models.denoiser(payments, width=16)
    loss = for_table(SquaredError(), payments.preprocessing)
    tfae.training.compile(model, loss, payments, epochs=10, learning_rate=3e-3)
    model.fit(payments.train, epochs=10, verbose=0, shuffle=False)
    return model


@pytest.fixture(scope="module")
def calibration(denoiser, payments):
    return calibrate(denoiser, payments, false_alarm_rate=0.1, by="country")


@pytest.fixture(scope="module")
def exported(denoiser, payments, calibration, folder):
    return tfae.export.save(denoiser, folder / "payments", data=payments, calibration=calibration)


def test_the_model_the_export_and_a_server_raise_the_same_alarms(exported, denoiser, payments, calibration):
    raw = payments.raw.test
    countries = split_matrix(raw, payments.columns)["country"].astype(str)
    scores = tfae.evaluation.scores(denoiser, payments.test)
    model = tfae.export.load(exported)
    found = model.detect(raw)
    assert found["instance_score"] == pytest.approx(scores, rel=1e-5)
    assert np.array_equal(found["p_value"], calibration.p_values(scores, countries))
    assert np.array_equal(found["is_outlier"], calibration.is_outlier(scores, countries))
    assert found["is_outlier"].any()
    assert not found["is_outlier"].all()
    records = [
        {**{f"amount {index}": row[index] for index in range(4)}, "country": country}
        for row, country in zip(raw[:5].tolist(), countries, strict=False)
    ]
    with LocalServer(exported.parent) as server:
        for client in (server.client(), server.client(grpc=True)):
            with client:
                answer = client.detect(records)
                assert np.array_equal(answer["p_value"], found["p_value"][:5])
                assert np.array_equal(answer["is_outlier"], found["is_outlier"][:5])
    assert answer["is_outlier"].dtype == bool
    assert model.explain(raw)["feature_score"].sum(axis=1) == pytest.approx(scores, rel=1e-4)


def test_what_servers_are_sent_as_examples_or_pictures_raises_alarms_too(exported, payments, tmp_path):
    model, raw = tfae.export.load(exported), payments.raw.test[:4]
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    **{
                        f"amount {index}": tf.train.Feature(float_list=tf.train.FloatList(value=[row[index]]))
                        for index in range(4)
                    },
                    "country": tf.train.Feature(bytes_list=tf.train.BytesList(value=[country])),
                }
            )
        ).SerializeToString()
        for row, country in zip(raw, split_matrix(raw, payments.columns)["country"], strict=True)
    ]
    found = model.call("serve_tf_examples", examples=examples)
    assert found["p_value"] == pytest.approx(model.detect(raw)["p_value"], abs=0.02)
    autoencoder, preprocessing = built()
    scores = np.random.default_rng(0).permutation(30)
    path = tfae.export.save(
        autoencoder,
        tmp_path / "digits",
        preprocessing=preprocessing,
        calibration=calibrate_scores(scores, false_alarm_rate=0.1),
    )
    model = tfae.export.load(path)
    pictures = [tf.io.encode_png(image).numpy() for image in DIGITS[:3]]
    found = model.call("serve_image_bytes", image_bytes=pictures)
    assert np.array_equal(found["p_value"], model.detect(DIGITS[:3])["p_value"])


def test_another_rate_is_another_version_without_the_keras_model(exported, payments, calibration):
    model, raw = tfae.export.load(exported), payments.raw.test
    path = tfae.export.recalibrate(model, calibration.with_rate(0.3))
    assert path == exported.with_name("2")
    other = tfae.export.load(path)
    before, after = model.detect(raw), other.detect(raw)
    assert np.array_equal(before["p_value"], after["p_value"])
    assert after["is_outlier"].sum() > before["is_outlier"].sum()
    assert other.description["calibration"]["false_alarm_rate"] == 0.3
    for signature in ("score", "explain", "serving_default"):
        own, others = (each.call(signature, inputs=raw) for each in (model, other))
        assert own.keys() == others.keys()
        assert all(np.array_equal(own[name], others[name]) for name in own)
    assert tfae.export.check_health(path).healthy


def test_an_export_without_alarms_gets_them(tmp_path):
    autoencoder, preprocessing = built()
    model = tfae.export.load(tfae.export.save(autoencoder, tmp_path / "digits", preprocessing=preprocessing))
    assert not model.detects
    calibration = calibrate_scores(model.score(DIGITS), false_alarm_rate=0.2)
    again = tfae.export.load(tfae.export.recalibrate(model, calibration))
    assert np.array_equal(again.detect(DIGITS)["p_value"], calibration.p_values(model.score(DIGITS)))
    assert again.detect(DIGITS)["is_outlier"].sum() <= 0.2 * 31
    with pytest.raises(ValueError, match="by: expected a column of categories, of which the model takes none"):
        tfae.export.recalibrate(model, calibrate_scores([1.0, 2.0], false_alarm_rate=0.5, by="kind", groups=["", ""]))


def test_groups_that_are_too_small_are_told_and_have_the_threshold_of_all(payments, denoiser):
    with pytest.warns(UserWarning, match=r"takes 33 calibration samples of each category of 'country'; .*'US' \("):
        calibration = calibrate(denoiser, payments, false_alarm_rate=0.03, by="country")
    assert "US" not in calibration.groups
    with pytest.raises(ValueError, match="by: expected a column of categories, country; received 'amount 0'"):
        calibrate(denoiser, payments, by="amount 0")
    with pytest.raises(ValueError, match="which takes 9,999 samples"):
        calibrate(denoiser, payments, false_alarm_rate=0.0001)
    with pytest.raises(ValueError, match="scores: expected finite numbers"):
        calibrate_scores([1.0, np.nan], false_alarm_rate=0.5)


def test_labels_tell_how_good_the_alarms_are(payments, denoiser, calibration):
    truth = tell_truth(tfae.evaluation.scores(denoiser, payments.test), payments, calibration)
    assert (truth.num_anomalies, truth.num_normal) == (60, 114)
    assert truth.auroc.value > 0.9
    assert set(truth.baselines) == {"distance from the mean", "PCA residual", "nearest neighbours"}
    assert truth.recall.value > 0.5


def test_drift_is_found_in_the_order_of_the_file_and_in_p_values():
    rng = np.random.default_rng(0)
    assert not compare_halves(rng.normal(size=500)).is_found
    assert compare_halves(rng.normal(size=500) + np.arange(500) / 500).is_found
    with pytest.warns(UserWarning, match="the data drifts"):
        calibrate_scores(rng.normal(size=500) + np.arange(500) / 300, false_alarm_rate=0.1)
    assert not compare_with_uniform(rng.random(300), 300).is_found
    assert compare_with_uniform(rng.random(300) ** 2, 300).is_found
    found = [compare_with_uniform(rng.random(200), 100).p_value for _ in range(200)]
    assert np.mean(np.array(found) < 0.05) < 0.12  # Of a test that is none too eager.


@pytest.mark.parametrize("name", ["40_vowels", "47_yeast"])
def test_false_alarms_are_as_rare_as_promised_in_200_splits_of_real_rows(name):
    root = Path(os.environ.get("TFAE_DATA_DIR", Path(__file__).parents[2] / "shared" / "data"))
    if not (path := root / "adbench" / f"{name}.npz").exists():
        pytest.skip(f"needs {path.name} under $TFAE_DATA_DIR")
    with np.load(path) as archive:
        x = archive["X"][archive["y"] == 0].astype("float32")
    rng = np.random.default_rng(0)
    train_rows, others = np.array_split(rng.permutation(x), 2)
    scores = (((others - train_rows.mean(axis=0)) / train_rows.std(axis=0)) ** 2).sum(axis=1)  # Any scores will do.
    for rate in (0.01, 0.05, 0.1):
        alarms = []
        for _ in range(200):
            calibrated, fresh = np.array_split(rng.permutation(scores), 2)
            alarms.append(calibrate_alarms(calibrated, rate).is_outlier(fresh).mean())
        allowed = np.floor(rate * (len(calibrated) + 1)) / (len(calibrated) + 1)
        spread = 4 * np.std(alarms) / np.sqrt(200)
        assert allowed - spread - 0.002 < np.mean(alarms) < allowed + spread


def calibrate_alarms(scores, rate):
    return Calibration(false_alarm_rate=rate, quantiles=Quantiles.of(scores))


def test_alarms_of_a_series_are_events():
    scores = np.array([0, 5, 6, 1, 7, 0, 0, 9, np.nan])
    events = find_events(scores > 4, scores, max_gap=2)
    assert [tuple(event) for event in events] == [(1, 4, 4, 3), (7, 7, 7, 1)]
    assert find_events(np.zeros(4, bool), np.ones(4)) == []
    with pytest.raises(ValueError, match="scores: expected one for each of the 3 steps"):
        find_events([True] * 3, [1.0])


@pytest.fixture(scope="module")
def commanded(folder):
    """A run and an export of ``tfae train --detect``."""
    path = write_payments(folder / "again.csv")
    options = ("--normal", "Class=0", "--detect", "--false-alarm-rate", "0.1", "--epochs", "8", "--seed", "1")
    printed = train(path, *options, "--run-dir", folder / "run", export_dir=folder / "models").output
    return path, folder / "run", folder / "models", printed


def test_train_detect_calibrates_and_says_what_labels_say(commanded):
    _, run_dir, models, printed = commanded
    assert "denoiser" in printed
    assert "alarms    above a score of" in printed
    assert "false alarm rate" in printed
    assert json.loads((run_dir / "truth.json").read_text())["num_anomalies"] == 60
    assert tfae.runs.load_run(run_dir).calibration.false_alarm_rate == 0.1
    assert tfae.export.load(models).detects
    page = (run_dir / "report.html").read_text()
    assert "There is an alarm above a score of" in page


def test_inspect_says_where_alarms_begin(commanded):
    output = run("inspect", commanded[2]).output
    assert "alarms         above a score of" in output
    assert "at a false-alarm rate of 0.1; 114 samples of the validation split" in output


def test_score_writes_p_values_alarms_and_what_was_expected(commanded, tmp_path):
    path, _, models, _ = commanded
    output = run("score", models, path, "-o", tmp_path / "scores.parquet", "--explain", "2").output
    assert "alarms, at a false-alarm rate of 0.1" in output
    table = pa.parquet.read_table(tmp_path / "scores.parquet")
    model = tfae.export.load(models)
    assert table["is_outlier"].to_numpy()[7]
    row = table.slice(7, 1).to_pylist()[0]
    given = {each: pa.csv.read_csv(path)[each][7].as_py() for each in ("amount 0", "amount 1", "amount 2", "amount 3")}
    assert row["feature_1"].startswith("amount")
    assert float(row["feature_value_1"]) == pytest.approx(given[row["feature_1"]], rel=1e-5)
    assert row["feature_expected_1"] != row["feature_value_1"]
    assert row["p_value"] <= model.description["calibration"]["false_alarm_rate"]


def test_evaluate_and_score_warn_of_drift(commanded, tmp_path):
    _, run_dir, models, _ = commanded
    shifted = write_payments(tmp_path / "shifted.csv", shift=1.0)
    output = run("evaluate", run_dir, shifted).output
    assert "! the p-values of these samples are not uniform" in output
    found = json.loads(run("evaluate", run_dir, "--json").stdout)
    assert found["alarms"]["false_alarm_rate"] == 0.1
    assert found["truth"]["auroc"]["value"] > 0.9
    output = run("score", models, shifted, "-o", tmp_path / "scores.csv").output
    assert "Warning: the p-values of these samples are not uniform" in output
    assert (
        "events: expected None for what is no time series"
        in run(
            "score", models, shifted, "-o", tmp_path / "scores.csv", "--events", tmp_path / "events.csv", code=2
        ).output
    )


def test_calibrate_gives_a_run_and_an_export_another_rate(commanded, tmp_path, monkeypatch):
    _path, run_dir, models, _ = commanded
    normal = tmp_path / "normal.csv"
    table = pa.csv.read_csv(write_payments(tmp_path / "more.csv", num_rows=2000, seed=5))
    pa.csv.write_csv(table.filter(pa.compute.equal(table["Class"], 0)), normal)
    output = run("calibrate", run_dir, "--false-alarm-rate", "0.05", "--export-dir", models).output
    assert "false-alarm rate of 0.05, calibrated on 114 samples of the validation split" in output
    version = run("calibrate", models, normal, "--false-alarm-rate", "0.01", "--by", "country").stdout.split()[-1]
    assert tfae.export.load(version).description["calibration"]["num_samples"] == 1900
    with monkeypatch.context() as patch:
        patch.setattr(tfae.runs.Run, "export", lambda run, export_dir, **_: export_dir / "1")
        output = run("calibrate", run_dir, normal, "--false-alarm-rate", "0.02", "--export-dir", tmp_path).stdout
    assert output.strip() == str(tmp_path / "1")
    assert tfae.runs.load_run(run_dir).calibration.false_alarm_rate == 0.02
    assert "expected a SOURCE of normal samples" in run("calibrate", models, code=2).output
    assert (
        "--false-alarm-rate: expected at least 1 / 115"
        in run("calibrate", run_dir, "--false-alarm-rate", "0.001", code=2).output
    )
    assert "--by: expected a column of categories, country" in run("calibrate", run_dir, "--by", "Class", code=2).output
    assert (
        "expected no --export-dir" in run("calibrate", models, "nowhere.csv", "--export-dir", tmp_path, code=2).output
    )


def test_a_series_has_an_alarm_per_step_and_events(tmp_path):
    steps = np.arange(700)
    values = np.sin(steps / 5) + 0.05 * np.random.default_rng(0).normal(size=700)
    values[640:643] += 3
    pa.csv.write_csv(pa.table({"minute": steps, "value": values.round(4)}), tmp_path / "series.csv")
    series = ("--window", "8", "--time", "minute")
    train(
        tmp_path / "series.csv", *series, "--detect", "--false-alarm-rate", "0.05", "--epochs", "3", "--run-dir",
        tmp_path / "run", export_dir=tmp_path / "models",
    )  # fmt: skip
    files = ("-o", tmp_path / "scores.csv", "--events", tmp_path / "events.csv", "--explain", "1")
    run("score", tmp_path / "models", tmp_path / "series.csv", *files)
    scores = pa.csv.read_csv(tmp_path / "scores.csv")
    assert scores["is_outlier"].null_count == scores["p_value"].null_count == 7  # No window ends there.
    assert scores["is_outlier"].slice(640, 3).to_pylist() == [True] * 3
    events = pa.csv.read_csv(tmp_path / "events.csv").to_pylist()
    (event,) = (each for each in events if each["start"] == 640)
    assert 642 <= event["end"] <= 650
    assert event["peak"] in range(640, 651)
    assert event["feature_1"] == "value"


def test_categories_are_read_from_codes():
    data = tfae.datasets.load(pa.table({"a": np.arange(40.0) % 7, "kind": ["x", "y"] * 20}))
    assert read_categories([data.raw.test], data.columns, "kind").tolist() == [
        text.decode() for text in split_matrix(data.raw.test, data.columns)["kind"]
    ]
