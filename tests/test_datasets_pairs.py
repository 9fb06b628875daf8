"""Pairs of noisy and clean samples, weights, and pipelines: by name, and row by row together."""

import keras
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
        (CLEAN, {"sample_weight": 0 * WEIGHTS}, "a positive weight in the train split; received 160 that are 0"),
        (CLEAN, {"sample_weight": NOISY}, r"received shape \(200, 4\)"),
        ((NOISY, CLEAN), {}, r"names for several arrays; received a tuple of 2.*load\(clean, inputs=noisy\)"),
        ([NOISY, CLEAN], {}, "names for several arrays; received a list of 2"),
        (CLEAN, {"sample_weight": 5}, "sample_weight: expected 200 rows, one for each sample; received 1"),
        (CLEAN, {"sample_weight": ["a"] * 200}, "^sample_weight: expected numbers, one for each sample; received list"),
        (CLEAN, {"sample_weight": "w"}, "^sample_weight: expected indices from 0 to 3, .* received 'w'"),
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


def slices(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0])


def generator(shape, *elements):
    signature = tf.TensorSpec(shape, "float32")
    return tf.data.Dataset.from_generator(lambda: iter(elements), output_signature=signature)


class Batches(keras.utils.PyDataset):
    """What a user of Keras writes."""

    def __init__(self, *arrays, size=30):
        super().__init__()
        self.arrays, self.size = arrays, size

    def __len__(self):
        return -(-len(self.arrays[0]) // self.size)

    def __getitem__(self, index):
        batch = tuple(each[index * self.size : (index + 1) * self.size] for each in self.arrays)
        return batch if len(batch) > 1 else batch[0]


SEQUENCES = CLEAN.reshape(100, 4, 2)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (slices(CLEAN), CLEAN),
        (slices(CLEAN).shuffle(1), CLEAN),
        (slices(CLEAN).batch(8, drop_remainder=True), CLEAN),
        (slices(SEQUENCES), SEQUENCES),
        (slices(SEQUENCES).batch(8).prefetch(2).unbatch().map(lambda x: x), SEQUENCES),
        (slices(SEQUENCES).batch(10, drop_remainder=True).map(lambda x: x), SEQUENCES),
        (slices(SEQUENCES).batch(8).map(lambda x: tf.reshape(x, (-1, 8))), SEQUENCES.reshape(100, 8)),
        (slices(SEQUENCES).batch(8).map(lambda x: tf.numpy_function(np.negative, [x], "float32")), -SEQUENCES),
        (tf.data.Dataset.from_tensors(SEQUENCES), SEQUENCES),
        (generator((4,), *CLEAN), CLEAN),
        (generator((None, 4), CLEAN[:150], CLEAN[150:]).unbatch().batch(16), CLEAN),
        (generator((None, 2), *SEQUENCES).padded_batch(16), SEQUENCES),
        (tf.data.Dataset.zip((slices(CLEAN).batch(8), slices(CLEAN).batch(8))), CLEAN),
        (slices(CLEAN).batch(8).cache().concatenate(slices(CLEAN + 50).batch(8)), np.concatenate([CLEAN, CLEAN + 50])),
        (Batches(CLEAN), CLEAN),
        (Batches(SEQUENCES, SEQUENCES), SEQUENCES),
        (slices({"samples": CLEAN}), CLEAN),
    ],
)
def test_whatever_makes_the_batches_of_a_pipeline_its_samples_are_those_of_the_array(dataset, expected):
    data = datasets.load(dataset)
    for ours, theirs in zip(data.raw, datasets.load(expected).raw, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("columns", "last"), [(None, 3), ("varying", 3), ([0, 2, 3], 2)])
def test_what_an_element_names_stays_together_in_any_order(columns, last):
    clean, noisy = (np.column_stack([each[:, :1], np.full(200, 7, "float32"), each[:, 1:]]) for each in (CLEAN, NOISY))
    named = {"samples": clean, "inputs": noisy, "sample_weight": WEIGHTS, "labels": LABELS}
    dataset = slices(named).shuffle(200, reshuffle_each_iteration=True).batch(16)
    data = datasets.load(dataset, columns=columns, preprocessing="none")
    seen = []
    for raw, inputs, weights, labels in zip(data.raw, data.inputs, data.sample_weight, data.labels, strict=True):
        np.testing.assert_array_equal(raw[:, 0], CLEAN[labels, 0])
        np.testing.assert_array_equal(raw[:, -1], CLEAN[labels, last])
        np.testing.assert_array_equal(inputs[:, -1], NOISY[labels, last])
        np.testing.assert_array_equal(weights, WEIGHTS[labels])
        seen += labels.tolist()
    assert sorted(seen) == list(range(200))


def test_what_ends_is_read_although_no_step_says_so():
    endless = slices(CLEAN).batch(50).repeat().filter(lambda x: True)
    assert sum(map(len, datasets.load(endless.take(4)).raw)) == 200
    assert sum(map(len, datasets.load(slices(CLEAN).filter(lambda x: True)).raw)) == 200


def test_what_fit_takes_as_sample_weight_is_taken():
    data = datasets.load(slices(CLEAN, CLEAN, WEIGHTS).shuffle(200).batch(9))
    order = [np.flatnonzero((row == CLEAN).all(axis=1))[0] for row in data.raw.test]
    np.testing.assert_array_equal(data.sample_weight.test, WEIGHTS[order])


@pytest.mark.parametrize(
    ("dataset", "match"),
    [
        (generator((None, 2), *SEQUENCES), r"elements of shape \(None, 2\) that no batch\(\) made"),
        (generator((4, 2), *SEQUENCES), r"add \.batch\(128\), .*; if each is a batch, add \.unbatch\(\)"),
        (slices(SEQUENCES).interleave(lambda x: slices(x).batch(2)), r"that no batch\(\) made"),
        (slices(SEQUENCES).batch(1).map(lambda x: x[0]), r"received elements of shape \(4, 2\) .* add \.batch\(128\)"),
        (slices(SEQUENCES).batch(2, True).map(lambda x: {"samples": x[0]}).prefetch(1), r"that no batch\(\) made"),
        (
            generator((None, 2), SEQUENCES[0], SEQUENCES[1, :2]).batch(1),
            r"of one shape; received \(4, 2\) and \(2, 2\)",
        ),
        (generator((None, 2), *SEQUENCES).batch(4).unbatch(), r"of one shape; received \(None, 2\)\. Pad them"),
        (
            tf.data.Dataset.from_tensors(SEQUENCES[0]).concatenate(tf.data.Dataset.from_tensors(SEQUENCES[1])),
            r"elements of shape \(4, 2\) that no batch\(\) made",
        ),
        (generator((None, 2), SEQUENCES[0], SEQUENCES[1, :2]).batch(4), r"\[4,2\] .* \[2,2\]\. Pad them"),
        (generator((4,), CLEAN[0], CLEAN[0, :2]), r"to be read to its end; received .* an element of shape \(2,\)"),
        (slices(CLEAN).batch(8).repeat().filter(lambda x: True).prefetch(1), "repeats forever"),
        (slices(({"a": CLEAN, "b": CLEAN}, LABELS)).batch(8), r"received elements of shapes \({'a': '\(None, 4\)'"),
        (slices(((CLEAN, NOISY), LABELS)).batch(8), r"elements of shapes \(\('\(None, 4\)', '\(None, 4\)'\), "),
        (slices({"samples": {"a": CLEAN}}).batch(8), r"elements of shapes {'samples': {'a': '\(None, 4\)'}}"),
        ([slices(CLEAN), slices(NOISY)], r"a list of 2\. .* a pipeline of dicts"),
        ((row for row in CLEAN), r"received generator for the array\. Make an array of it, np\.stack"),
        (slices(CLEAN).batch(8).repeat(), r"repeats forever. Use take\(\)"),
        (
            slices(NOISY, CLEAN).batch(8),
            r"pairs that differ\. Name what is which: dicts {\"samples\": x}, with \"inputs\"",
        ),
        (slices(CLEAN, CLEAN[:, :2]).batch(8), "pairs that differ"),
        (slices(CLEAN, NOISY, WEIGHTS).batch(8), "pairs that differ"),
        (slices(CLEAN, CLEAN, WEIGHTS, LABELS).batch(8), r"expected the pipeline to give x, \(x, x\), \(x, label\)"),
        (slices({"a": CLEAN}).batch(8), "or dicts {\"samples\": x}, .*; received dicts of 'a'"),
        (slices({"samples": CLEAN, "label": LABELS}).batch(8), "received dicts of 'samples', 'label'"),
        (slices([["a", "b"]]).batch(8), "to hold numbers"),
        (slices(CLEAN).take(0).batch(8), "to hold at least one sample; received none"),
        (tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1.0], [2.0, 3.0]])).batch(2), "to give tensors"),
        (slices(CLEAN).window(3), "to give tensors"),
        (Batches(NOISY, CLEAN), "pairs that differ"),
        (
            {"train": slices({"samples": CLEAN, "inputs": NOISY}), "test": CLEAN + 1},
            "inputs in each split; .* in train",
        ),
    ],
)
def test_a_pipeline_that_can_not_be_taken_is_refused(dataset, match):
    with pytest.raises(ValueError, match=match):
        datasets.load(dataset)


def test_pipelines_are_not_paired_with_each_other():
    with pytest.raises(ValueError, match=r"^inputs: .* a pipeline, which may come in another order than the samples"):
        datasets.load(slices(CLEAN), inputs=slices(NOISY))
    for weights in (slices(WEIGHTS).shuffle(200), Batches(WEIGHTS)):
        with pytest.raises(ValueError, match=r'^sample_weight: .* a pipeline.* {"samples": ..., "sample_weight": ...}'):
            datasets.load(CLEAN, sample_weight=weights)
        with pytest.raises(ValueError, match=r"^sample_weight: .* a pipeline"):
            datasets.load(slices(CLEAN).batch(8), sample_weight={"train": weights, "test": weights})
    with pytest.raises(ValueError, match=r"^inputs: expected None, since the pipeline gives them"):
        datasets.load(slices({"samples": CLEAN, "inputs": NOISY}), inputs=NOISY)


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 4, 6)).astype("uint8")


def test_inputs_that_are_scaled_already_are_refused():
    noisy = IMAGES.astype("float32") / 255
    match = r"inputs: expected values in the units of the samples, .* vary 0\.0039 times .* scaled already\."
    with pytest.raises(ValueError, match=match):
        datasets.load(IMAGES, inputs=noisy)
    x, clean = next(iter(datasets.load(IMAGES, inputs=255 * noisy).test))
    np.testing.assert_allclose(x, clean, atol=1e-6)
    # A mask leaves little.
    datasets.load(IMAGES, inputs=np.where(IMAGES > 200, IMAGES, 0).astype("float32"))


UNIT = IMAGES.astype("float32") / 255
NOISE = np.random.default_rng(1).normal(size=IMAGES.shape).astype("float32")


@pytest.mark.parametrize(
    ("clean", "inputs"),
    [
        (IMAGES, UNIT + NOISE),
        (IMAGES, 2 * UNIT - 1),
        (UNIT, IMAGES),
        (UNIT[..., None], 255 * UNIT[..., None]),
        (255 * UNIT[..., None], UNIT[..., None]),
        (IMAGES > 127, np.where(IMAGES > 127, 255, 0).astype("uint8")),
        (IMAGES.astype("uint16"), UNIT),
        (IMAGES[:, :, 0], UNIT[:, :, 0]),
        (CLEAN, CLEAN / 100 - 3),
    ],
)
def test_neither_side_of_a_pair_is_scaled_twice(clean, inputs):
    match = "^inputs: expected values in the units of the samples"
    with pytest.raises(ValueError, match=match):
        datasets.load(clean, inputs=inputs)
    with pytest.raises(ValueError, match=match):
        datasets.load(slices({"samples": clean, "inputs": inputs}).batch(9))
    data = datasets.load(clean, inputs=inputs, preprocessing="none")
    np.testing.assert_array_equal(next(iter(data.test))[0], data.inputs.test[: data.batch_size])


@pytest.mark.parametrize(
    ("clean", "inputs"),
    [
        (IMAGES, IMAGES // 60),  # Dark pictures.
        (IMAGES, 0 * IMAGES),
        (IMAGES, IMAGES + 255 * NOISE),
        (CLEAN, np.where(np.arange(200)[:, None] % 50 == 0, 1000 * CLEAN, CLEAN)),
        (CLEAN * [1, 1e6, 1, 1], CLEAN * [1, 0, 1, 1]),
    ],
)
def test_what_is_damaged_is_in_the_units_of_the_samples(clean, inputs):
    data = datasets.load(clean, inputs=inputs)
    x, expected = next(iter(data.test))[0], data.preprocessing(data.inputs.test[: data.batch_size])
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("channel", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("dtypes", [("uint8", "float32"), ("float32", "uint8"), ("uint8", "uint8")])
def test_gray_images_and_their_inputs_may_have_a_channel_axis_or_not(channel, dtypes):
    clean, noisy = ((IMAGES[..., None] if c else IMAGES).astype(d) for c, d in zip(channel, dtypes, strict=True))
    data = datasets.load(clean, inputs=noisy, preprocessing="none" if dtypes[0] == "float32" else "default")
    np.testing.assert_array_equal(data.inputs.test, data.raw.test)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        (np.full((200, 4), np.nan), "^inputs: expected finite numbers"),
        (np.zeros((200, 4), "complex64"), "^inputs: expected the array"),
        ("missing.npy", "^inputs: expected an existing file"),
        (3, "^inputs: expected a name such as"),
    ],
)
def test_errors_of_inputs_name_them(inputs, match):
    with pytest.raises(ValueError, match=match):
        datasets.load(CLEAN, inputs=inputs)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_weights_of_0_in_a_whole_split_are_refused(split):
    weights = {"train": WEIGHTS[:150], "validation": WEIGHTS[150:170], "test": 0 * WEIGHTS[170:]}
    samples = {"train": CLEAN[:150], "validation": CLEAN[150:170], "test": CLEAN[170:]}
    datasets.load(samples, sample_weight=weights)
    weights[split] = np.append(0 * weights[split][1:], 0)
    with pytest.raises(ValueError, match=f"sample_weight: expected a positive weight in the {split} split"):
        datasets.load(samples, sample_weight=weights)
    # Of one array, it depends on the split.
    kept = datasets.load(CLEAN, inputs=NOISY)
    of_split = rows_of(getattr(kept.inputs, split), getattr(kept.raw, split))
    with pytest.raises(
        ValueError, match=f"a positive weight in the {split} split; received {len(of_split)} that are 0"
    ):
        datasets.load(CLEAN, sample_weight=np.where(np.isin(np.arange(200), of_split), 0, WEIGHTS))


def test_train_takes_an_array_or_a_pipeline_and_states_the_split(tmp_path, capsys, without_pictures):
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
