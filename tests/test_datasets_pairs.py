"""Pairs of noisy and clean samples, weights, and pipelines: by name, and row by row together."""

import numpy as np
import pytest
import tensorflow as tf

import tfae
from tests.commands import run, train
from tfae import datasets, evaluation, models, runs
from tfae.losses import SquaredError

CLEAN = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
NOISY = CLEAN + 100 + np.arange(200)[:, None].astype("float32")  # The row shows in each number.
WEIGHTS = np.linspace(0.5, 2, 200).astype("float32")


def rows_of(noisy, clean):
    return np.rint((noisy - clean).mean(axis=1) - 100).astype(int)


def test_rows_stay_together_in_every_split_and_order():
    data = datasets.load(CLEAN, inputs=NOISY, sample_weight=WEIGHTS, preprocessing="none", seed=3)
    seen = []
    for dataset, raw, inputs, weights in zip(
        (data.train, data.validation, data.test), data.raw, data.inputs, data.sample_weight, strict=True
    ):
        np.testing.assert_allclose(WEIGHTS[rows_of(inputs, raw)], weights)
        batches = list(dataset.as_numpy_iterator())
        noisy, clean, weight = (np.concatenate(each) for each in zip(*batches, strict=True))
        rows = rows_of(noisy, clean)
        np.testing.assert_array_equal(clean, CLEAN[rows])
        np.testing.assert_allclose(weight, WEIGHTS[rows])
        seen += rows.tolist()
    assert sorted(seen) == list(range(200))
    first = next(iter(data.train_from(2)))
    np.testing.assert_array_equal(first[1], data.raw.train[data.training_batch(2, 0)])
    np.testing.assert_array_equal(first[0], data.inputs.train[data.training_batch(2, 0)])


def test_inputs_are_scaled_as_the_samples_are():
    data = datasets.load(CLEAN, inputs=CLEAN + 1)
    noisy, clean = next(iter(data.test))
    np.testing.assert_allclose(noisy - clean, np.tile(1 / data.preprocessing.scale, (len(clean), 1)), rtol=1e-4)
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4)).astype("uint8")
    data = datasets.load(images[..., None], inputs=images[..., None].astype("float32") - 51)
    noisy, clean = next(iter(data.test))
    np.testing.assert_allclose(clean - noisy, np.full(clean.shape, 0.2), atol=1e-6)


def denoiser():
    return models.dense((4,), latent_dim=2, widths=(8,))


def test_training_learns_the_clean_samples_and_the_evaluation_is_of_pairs(tmp_path):
    noise = np.random.default_rng(1).normal(size=CLEAN.shape).astype("float32")
    data = datasets.load(CLEAN, inputs=CLEAN + noise, sample_weight=WEIGHTS)
    options = {"loss": SquaredError(), "epochs": 2, "verbose": 0, "ignore": ["constant"]}
    run = runs.train(denoiser(), data, run_dir=tmp_path / "run", **options)
    x, inputs = (data.preprocessing(each).numpy() for each in (data.raw.test, data.inputs.test))
    expected = ((x - run.autoencoder(inputs).numpy()) ** 2).sum(axis=1)
    np.testing.assert_allclose(evaluation.scores(run.autoencoder, data.test), expected, rtol=1e-5)
    assert run.evaluation.loss == pytest.approx(expected.mean(), rel=1e-5)
    # Keras weighs, and divides by the number of samples.
    weighted = run.autoencoder.evaluate(data.test, verbose=0)
    assert weighted == pytest.approx((data.sample_weight.test * expected).mean(), rel=1e-5)
    other = datasets.load(CLEAN, inputs=CLEAN - noise, sample_weight=WEIGHTS)
    assert other.digest != data.digest


def test_files_and_columns_are_taken_on_the_command_line_and_again_from_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, array in (("clean", CLEAN), ("noisy", NOISY), ("weights", WEIGHTS)):
        np.save(f"{name}.npy", array)
    options = ["--epochs", 1, "--widths", 8, "--run-dir", "run"]
    output = train("clean.npy", "--inputs", "noisy.npy", "--sample-weight", "weights.npy", *options).output
    assert "float32, with inputs, with sample_weight; 160 train" in output
    data = runs.load_run("run").load_data()
    np.testing.assert_array_equal(data.raw.test, CLEAN[rows_of(data.inputs.test, data.raw.test)])
    run("evaluate", "run")
    np.savetxt("t.csv", np.column_stack([CLEAN, WEIGHTS]), delimiter=",", header="a,b,c,d,w", comments="")
    data = datasets.load(tmp_path / "t.csv", sample_weight="w")
    assert data.feature_names == ("a", "b", "c", "d")
    order = [np.flatnonzero(np.isclose(CLEAN[:, 0], value))[0] for value in data.raw.test[:, 0]]
    np.testing.assert_allclose(data.sample_weight.test, WEIGHTS[order], rtol=1e-6)
    again = datasets.load(**data.arguments)
    assert again.digest == data.digest


def test_splits_have_their_own(tmp_path):
    splits = {"train": CLEAN[:150], "test": CLEAN[150:]}
    noisy, weights = {"train": NOISY[:150], "test": NOISY[150:]}, {"train": WEIGHTS[:150], "test": WEIGHTS[150:]}
    data = datasets.load(splits, inputs=noisy, sample_weight=weights)
    for raw, inputs in zip(data.raw, data.inputs, strict=True):
        np.testing.assert_array_equal(raw, CLEAN[rows_of(inputs, raw)])
    assert len(data.raw.validation) > 0


@pytest.mark.parametrize(
    ("source", "options", "match"),
    [
        (CLEAN, {"inputs": NOISY[:-1]}, "inputs: expected 200 rows, one for each sample; received 199"),
        (CLEAN, {"inputs": NOISY[:, :3]}, r"inputs: expected the shape of the samples, \(4,\); received \(3,\)"),
        (CLEAN, {"inputs": np.where(NOISY > 102, np.nan, NOISY)}, "expected finite numbers; received NaN"),
        (CLEAN, {"inputs": {"train": NOISY, "test": NOISY}}, "inputs: expected one array; received train, test"),
        (CLEAN, {"inputs": NOISY, "in_memory": False}, "in_memory: expected None or True"),
        (CLEAN, {"sample_weight": WEIGHTS[:3]}, "sample_weight: expected 200 rows, one for each sample; received 3"),
        (CLEAN, {"sample_weight": -WEIGHTS}, "expected finite weights of 0 or more.* from -2 to -0.5"),
        (CLEAN, {"sample_weight": 0 * WEIGHTS}, "not all 0"),
        (CLEAN, {"sample_weight": NOISY}, r"received shape \(200, 4\)"),
        ((NOISY, CLEAN), {}, r"names for several arrays; received a tuple of 2.*load\(clean, inputs=noisy\)"),
        ([NOISY, CLEAN], {}, "names for several arrays; received a list of 2"),
        (((CLEAN, WEIGHTS), (CLEAN, WEIGHTS)), {}, r'{"train": x_train, "test": x_test}'),
    ],
)
def test_what_does_not_belong_together_is_refused(source, options, match):
    with pytest.raises(ValueError, match=match):
        datasets.load(source, **options)


LABELS = np.arange(200)


@pytest.mark.parametrize(
    "arrays", [CLEAN, (CLEAN, CLEAN), (CLEAN, LABELS)], ids=["samples", "samples twice", "samples and labels"]
)
@pytest.mark.parametrize("in_memory", [None, True])
def test_a_pipeline_is_loaded_as_the_array_is(arrays, in_memory):
    dataset = tf.data.Dataset.from_tensor_slices(arrays).batch(7)
    data, expected = datasets.load(dataset, in_memory=in_memory), datasets.load(CLEAN)
    for ours, theirs in zip(data.raw, expected.raw, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if isinstance(arrays, tuple) and arrays[1] is LABELS:
        np.testing.assert_array_equal(CLEAN[data.labels.test], data.raw.test)


def test_a_shuffled_pipeline_is_read_once():
    dataset = tf.data.Dataset.from_tensor_slices(CLEAN).shuffle(200).batch(50)
    data = datasets.load({"train": dataset, "test": CLEAN[:20] + 9})
    assert len(np.unique(np.concatenate(data.raw[:2]), axis=0)) == 200


@pytest.mark.parametrize(
    ("dataset", "match"),
    [
        (tf.data.Dataset.from_tensor_slices(CLEAN), r"received \(4,\)\. Batch it, dataset\.batch\(128\)"),
        (tf.data.Dataset.from_tensor_slices(CLEAN).batch(8, drop_remainder=True), "leave drop_remainder out"),
        (tf.data.Dataset.from_tensor_slices(CLEAN).batch(8).repeat(), r"repeats forever. Use take\(\)"),
        (tf.data.Dataset.from_tensor_slices((NOISY, CLEAN)).batch(8), r"pairs that differ. .*inputs=noisy"),
        (tf.data.Dataset.from_tensor_slices((CLEAN, CLEAN[:, :2])).batch(8), r"a label of shape \(None,\)"),
        (tf.data.Dataset.from_tensor_slices({"a": CLEAN}).batch(8), r"expected the pipeline to give batches x"),
        (tf.data.Dataset.from_tensor_slices([["a", "b"]]).batch(8), "to hold numbers"),
    ],
)
def test_a_pipeline_that_can_not_be_taken_is_refused(dataset, match):
    with pytest.raises(ValueError, match=match):
        datasets.load(dataset)


def test_train_takes_an_array_or_a_pipeline_and_states_the_split(tmp_path, capsys):
    keywords = {"loss": SquaredError(), "epochs": 1, "ignore": ["constant"], "verbose": 2}
    run = runs.train(denoiser(), CLEAN, run_dir=tmp_path / "a", **keywords)
    assert (
        "array: table data of shape (4,), float32; 160 train, 20 validation, 20 test; batches of 16; "
        in capsys.readouterr().out
    )
    dataset = tf.data.Dataset.from_tensor_slices(CLEAN).batch(9)
    again = runs.train(denoiser(), dataset, run_dir=tmp_path / "b", **keywords)
    assert again.config["data"]["digest"] == run.config["data"]["digest"]
    with pytest.raises(ValueError, match=r"data: expected what tfae\.datasets\.load returns; received _BatchDataset"):
        tfae.training.compile(denoiser(), SquaredError(), dataset, epochs=1)
