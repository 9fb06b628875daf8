"""Training on normal samples alone: what ``normal`` leaves out of training, and puts into the test split."""

import numpy as np
import pytest

import tfae


def write(path, num_rows=200):
    rng = np.random.default_rng(0)
    rows = [f"{a:.6f},{b:.6f},{int(index % 10 == 0)}" for index, (a, b) in enumerate(rng.normal(size=(num_rows, 2)))]
    path.write_text("\n".join(["a,b,Class", *rows]) + "\n")
    return path


@pytest.mark.parametrize("in_memory", [True, False])
def test_training_and_validation_hold_normal_samples_alone_and_the_test_split_all_others(tmp_path, in_memory):
    data = tfae.datasets.load(write(tmp_path / "table.csv"), normal="Class=0", in_memory=in_memory)
    assert data.feature_names == ("a", "b")
    assert [len(samples) for samples in data.raw] == [144, 18, 18 + 20]
    assert [set(labels.tolist()) for labels in data.labels] == [{0}, {0}, {0, 1}]
    assert data.is_anomaly.tolist() == (data.labels.test == 1).tolist()
    assert np.diff(data.origins.test).min() > 0  # In the order of the file.
    assert data.arguments["normal"] == "Class=0"


def test_the_scale_is_that_of_normal_samples(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,Class\n" + "".join(f"{index % 7},good\n" for index in range(70)) + "1000,bad\n" * 3)
    data = tfae.datasets.load(path, normal="Class=good", preprocessing="unit")
    assert float(data.bounds.train.max()) == 6
    assert data.is_anomaly.sum() == 3


def test_labels_that_come_with_the_data_need_no_column():
    data = tfae.datasets.load("digits", normal="0")
    assert {*data.labels.train.tolist()} == {0}
    assert data.is_anomaly.sum() == (data.labels.test != 0).sum() > 1000


def test_a_split_of_its_own_stays_as_it_is_and_training_loses_its_anomalies():
    rng = np.random.default_rng(0)
    splits = {name: {"samples": rng.normal(size=(40, 2)), "labels": np.arange(40) % 4} for name in ("train", "test")}
    import tensorflow as tf

    pipelines = {name: tf.data.Dataset.from_tensor_slices(each).batch(8) for name, each in splits.items()}
    data = tfae.datasets.load(pipelines, normal="0")
    assert (len(data.raw.train) + len(data.raw.validation), len(data.raw.test)) == (10, 40)
    assert data.is_anomaly.sum() == 30


def test_no_sample_is_both_in_training_and_an_anomaly(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,Class\n" + "".join(f"{index},0\n{index},1\n" for index in range(50)))
    with pytest.warns(UserWarning, match="left 45 samples"), pytest.raises(ValueError, match="splits that differ"):
        tfae.datasets.load(path, normal="Class=0")


def test_what_is_no_label_is_refused_with_those_there_are(tmp_path):
    path = write(tmp_path / "table.csv")
    with pytest.raises(ValueError, match=r"normal: expected a label, such as 0, 1; received 'good'"):
        tfae.datasets.load(path, normal="Class=good")
    with pytest.raises(ValueError, match=r"normal: expected data with labels; received 'array', which has none"):
        tfae.datasets.load(np.random.default_rng(0).normal(size=(20, 2)), normal="0")
    with pytest.raises(ValueError, match=r"normal: expected a value of the label, a=VALUE; received 'Class=0'"):
        tfae.datasets.load(path, label="a", normal="Class=0")
    with pytest.raises(ValueError, match="normal: expected None beside window"):
        tfae.datasets.load(path, window=3, normal="Class=0")
    with pytest.raises(ValueError, match="'Klasse'"):
        tfae.datasets.load(path, normal="Klasse=0")
