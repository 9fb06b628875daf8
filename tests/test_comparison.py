import dataclasses
import itertools
import json
import math
import operator
import os
import shutil
import signal
from functools import partial
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.commands import run
from tests.crashes import CrashError, at_call, crash
from tfae import comparison, datasets, losses, models, runs
from tfae.activations import Clip
from tfae.comparison import Corruption, SeedValues, corrupt, find_winner
from tfae.comparison.probes import PROBES, encode, probe
from tfae.evaluation import METRICS
from tfae.training import execution

pytestmark = pytest.mark.usefixtures("without_pictures", "evaluation_of_the_same_once")
EPOCHS = 2


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    """A .csv file: 120 samples of three classes in four columns, in [0, 1]."""
    path = tmp_path_factory.mktemp("data") / "blobs.csv"
    random = np.random.RandomState(0)
    classes = np.arange(120) % 3
    values = np.clip(np.array([0.2, 0.5, 0.8])[classes, None] + random.normal(0, 0.05, (120, 4)), 0, 1)
    rows = [",".join(map(str, (*row, "xyz"[label]))) for row, label in zip(values.tolist(), classes, strict=True)]
    path.write_text("\n".join(["a,b,c,d,class", *rows, ""]))
    return path


@pytest.fixture(scope="module")
def data(blobs):
    return load(blobs)


def load(path, **arguments):
    options = {"label": "class", "batch_size": 16, "preprocessing": "unit", "value_range": (0, 1), **arguments}
    return datasets.load(path, **options)


def build(output_activation="linear", **arguments):
    return models.dense((4,), **{"latent_dim": 2, "widths": (8,), **arguments}, output_activation=output_activation)


def compare(data, run_dir, names=("mse", "mae"), **arguments):
    options = {"seeds": 2, "epochs": EPOCHS, "build": build, "verbose": False, "corruptions": ["outliers=0.1"]}
    return comparison.compare(data, names, run_dir=run_dir, **{**options, **arguments})


@pytest.fixture(scope="module")
def recorded():
    """What every training of the comparison began with and was fed, in their order, and what TensorFlow logged."""
    return SimpleNamespace(trainings=[], messages=[])


@pytest.fixture(scope="module")
def found(without_pictures, evaluation_of_the_same_once, data, recorded, tmp_path_factory):
    """A comparison of two losses, two seeds, clean and corrupted: eight trainings."""
    original = execution.Execution.__call__
    seen = []

    def recording(self, iterator):
        if self not in seen:
            seen.append(self)
            recorded.trainings.append((self._autoencoder.loss.name, self._autoencoder.get_weights(), []))
        batches = list(itertools.islice(iterator, self.steps))
        recorded.trainings[seen.index(self)][2].extend(np.array(batch[0]) for batch in batches)
        return original(self, iter(batches))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution.Execution, "__call__", recording)
        patch.setattr(tf.get_logger(), "callHandlers", lambda record: recorded.messages.append(record.getMessage()))
        return compare(data, tmp_path_factory.mktemp("found") / "run")


def equal(arrays, others):
    for array, other in zip(arrays, others, strict=True):
        np.testing.assert_array_equal(array, other)


def test_all_losses_of_a_seed_begin_with_the_same_weights_and_see_the_same_batches_in_all_epochs(found, recorded, data):
    assert [name for name, _, _ in recorded.trainings] == ["squared_error", "absolute_error"] * 4
    num_batches = math.ceil(len(data.raw.train) / 16)
    for ours, theirs in zip(recorded.trainings[::2], recorded.trainings[1::2], strict=True):
        (_, weights, batches), (_, other_weights, other_batches) = ours, theirs
        assert len(batches) == len(other_batches) >= EPOCHS * num_batches
        equal(weights, other_weights)
        equal(batches, other_batches)
    paths = [path for row in found.rows for path in row.runs]
    assert {len((path / "history.csv").read_text().splitlines()) for path in paths} == {1 + EPOCHS}
    # TensorFlow does not warn of models that are traced one after the other.
    assert [message for message in recorded.messages if "retracing" in message] == []


def test_seeds_differ_in_the_weights_and_corruption_in_the_batches(found, recorded):
    clean, damaged, other_seed, other_damage = recorded.trainings[::2]
    assert not np.array_equal(clean[1][0], other_seed[1][0])
    np.testing.assert_array_equal(clean[1][0], damaged[1][0])
    np.testing.assert_array_equal(clean[2], other_seed[2])
    assert not np.array_equal(clean[2][0], damaged[2][0])
    assert not np.array_equal(np.concatenate(damaged[2]), np.concatenate(other_damage[2]))


def test_the_first_run_is_that_of_a_training_with_the_seed_of_the_data(found, data, tmp_path):
    keras.utils.set_random_seed(data.seed)
    options = {"epochs": EPOCHS, "patience": 9, "verbose": 0}
    run = runs.train(build(), data, loss=losses.SquaredError(), run_dir=tmp_path, **options)
    first = runs.load_run(found.rows[0].runs[0])
    equal(first.autoencoder.get_weights(), run.autoencoder.get_weights())
    assert first.load_data().digest == data.digest


def test_a_row_holds_what_the_evaluations_and_probes_of_its_runs_say(found):
    trained = itertools.product(("clean", "outliers=0.1"), ("squared_error", "absolute_error"))
    assert [(row.corruption, row.loss) for row in found.rows] == list(trained)
    for row in found.rows:
        assert [path.name for path in row.runs] == ["seed_0", "seed_1"]
        measured = [json.loads((path / "evaluation.json").read_text()) for path in row.runs]
        probed = [json.loads((path / "probes.json").read_text()) for path in row.runs]
        for name in ("mse", "bits", "num_active_units"):
            values = tuple(each[name] for each in measured)
            assert row.values[name] == (None if None in values else SeedValues(values))
        assert row.values["num_active_units"].mean >= 1
        assert row.values["linear_probe"] == SeedValues(tuple(each["linear_probe"] for each in probed))
        assert row.values["ssim"] is None  # of a table


def test_a_run_trains_on_corrupted_data_and_is_measured_on_the_clean_test_split(found, data):
    row = found.rows[2]
    run = runs.load_run(row.runs[0])
    assert run.config["data"]["digest"] == corrupt(data, Corruption("outliers", 0.1), seed=0).digest != data.digest
    x, _ = next(iter(data.test))
    reconstruction = run.autoencoder(x, training=False).numpy().astype("float64")
    assert row.values["mse"].values[0] == pytest.approx(np.mean((x.numpy() - reconstruction) ** 2), rel=1e-5)


def test_a_finished_comparison_is_read_back_wherever_it_is_and_trains_nothing_again(found, data, tmp_path, monkeypatch):
    at_call(monkeypatch, 0)
    assert compare(data, found.directory) == comparison.load_comparison(found.directory) == found
    shutil.copytree(found.directory, tmp_path / "moved")
    moved = comparison.load_comparison(tmp_path / "moved")
    assert moved.as_dict() == found.as_dict()
    assert moved.rows[0].runs[0] == tmp_path / "moved" / "clean" / "squared_error" / "seed_0"
    runs.load_run(moved.rows[0].runs[0])
    with pytest.raises(ValueError, match="expected the directory of a finished comparison"):
        comparison.load_comparison(tmp_path)


def crash_at(monkeypatch, call, *arguments, **options):
    """A comparison that crashes at a call of the training."""
    with monkeypatch.context() as patch:
        at_call(patch, call)
        with pytest.raises(CrashError):
            compare(*arguments, **options)


def unfinished(found, folder, *missing):
    """A copy of a comparison that has these runs still to do."""
    shutil.copytree(found.directory, folder / "run")
    (folder / "run" / "comparison.json").unlink()
    for name in missing:
        shutil.rmtree(folder / "run" / name)
    return folder / "run"


def test_a_comparison_that_crashed_ends_as_if_it_had_not(found, data, tmp_path, monkeypatch):
    run_dir = unfinished(found, tmp_path, "outliers=0.1/absolute_error/seed_1")
    crash_at(monkeypatch, 1, data, run_dir)
    again = compare(data, run_dir)
    assert again.as_dict() == found.as_dict()
    assert str(again) == str(found)
    assert not list(run_dir.rglob("checkpoints"))


def test_a_comparison_that_crashed_before_a_run_or_before_its_probes_goes_on(found, data, tmp_path, monkeypatch):
    first, following = "clean/squared_error/seed_0", "clean/absolute_error/seed_0"
    run_dir = unfinished(found, tmp_path, first, following)
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "probe", crash)
        with pytest.raises(CrashError):
            compare(data, run_dir)
    assert (run_dir / first / "evaluation.json").exists()
    (run_dir / following / "checkpoints").mkdir(parents=True)  # Killed when there was not yet a model beside it.
    (run_dir / following / "checkpoints" / "000000-000000000.npz").write_bytes(b"half")
    assert compare(data, run_dir).as_dict() == found.as_dict()


def test_a_signal_stops_after_the_steps_under_way_and_says_how_to_go_on(found, data, tmp_path, monkeypatch):
    run_dir = unfinished(found, tmp_path, "clean/absolute_error/seed_0")
    with monkeypatch.context() as patch:
        at_call(patch, 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(comparison.Interrupted, match=r"stopped in absolute_error, clean data, seed 0.* again") as e:
            compare(data, run_dir)
    assert e.value.signal_number == signal.SIGTERM
    assert not (run_dir / "comparison.json").exists()
    assert compare(data, run_dir).as_dict() == found.as_dict()


@pytest.mark.parametrize(
    ("arguments", "differing"),
    [
        (
            {"names": ["mse"]},
            r"losses \(it has {'squared_.*'absolute_.*, and received {'squared_.*\)",
        ),
        ({"seeds": 3}, r"seeds \(it has \[0, 1\], and received \[0, 1, 2\]\)"),
        ({"corruptions": []}, r"corruptions \(it has \['outliers=0\.1'\], and received \[\]\)"),
        ({"epochs": 3}, r"epochs \(it has 2, and received 3\)"),
        ({"learning_rate": 0.1}, r"learning_rate \(it has 0\.005, and received 0\.1\)"),
        (
            {"build": partial(build, activation="tanh")},
            r"model \(it has .* 118, .*, and received .* 118, .*\)",
        ),
    ],
)
def test_a_directory_of_another_comparison_is_refused(found, data, arguments, differing):
    with pytest.raises(ValueError, match=rf"holds one with other {differing}\. Choose another"):
        compare(data, found.directory, **arguments)


def test_a_directory_of_a_comparison_on_other_data_is_refused(found, blobs, tmp_path):
    expected = (
        r"with other data's samples \(expected 96/12/12 of float64 \(4,\), digest .*, received .*\) and data's seed "
        r"\(expected 0, received 1\) and seeds .* Load the data from what it came from then, .* and with seed=0\.$"
    )
    with pytest.raises(ValueError, match=expected):
        compare(load(blobs, seed=1), found.directory)
    (tmp_path / "thesis.pdf").touch()
    with pytest.raises(ValueError, match=r"which holds thesis\.pdf"):
        compare(load(blobs), tmp_path)


def with_labels(data, train, test):
    return dataclasses.replace(data, labels=datasets.Splits(train, data.labels.validation, test))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _, path: load(path, batch_size=8), r"batch_size \(expected 16, received 8\).* with batch_size=16\.$"),
        (
            lambda data, _: with_labels(data, data.labels.train, data.labels.test[::-1]),
            r"labels \(expected some of digest .*, received some of digest .*\)",
        ),
    ],
)
def test_neither_a_comparison_nor_its_page_is_made_on_the_same_samples_in_another_way(
    found, data, blobs, tmp_path, change, message
):
    """In which ways they can be others, test_resuming.py has."""
    changed = change(data, blobs)
    assert changed.digest == data.digest
    with pytest.raises(ValueError, match=f"^run_dir: .* holds one with other data's {message}"):
        compare(changed, found.directory, corruptions=[])
    with pytest.raises(ValueError, match=f"^data: expected what the comparison was made on, blobs; .* other {message}"):
        comparison.write_page(found, changed, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_data_that_is_loaded_or_labelled_anew_in_the_same_way_is_the_same(found, data, blobs):
    again = load(blobs, in_memory=True)
    wider = with_labels(again, *(np.asarray(each, object) for each in (again.labels.train, again.labels.test)))
    for same in (data, again, wider):
        found.validate_data(same)


def test_the_table_has_a_block_for_each_kind_of_training_data(found):
    text = str(found)
    assert (
        "2 losses on 12 test samples of blobs, latent_dim 2, 2 epochs; mean ± standard deviation over 2 seeds" in text
    )
    assert text.index("trained on clean data") < text.index("trained on outliers=0.1 data")
    assert text.count("\nMSE ") == text.count("\nLinear probe, accuracy ") == 2
    assert found.table("clean")["MAE"][0][0] in text
    assert f"{found.rows[0].values['mae'].mean:.3f}" in text
    assert "SSIM" in text.splitlines()[-1].partition("n/a for all: ")[2]


def test_the_winners_are_marked_in_table_and_dictionary(found):
    values = [
        {"mse": SeedValues((1.0, 1.2)), "mae": SeedValues((3.0, 3.1))},
        {"mse": SeedValues((2.0, 2.2)), "mae": None},
    ]
    none = dict.fromkeys(found.rows[0].values)
    rows = [dataclasses.replace(row, values={**none, **own}) for row, own in zip(found.rows, values, strict=False)]
    table = dataclasses.replace(found, rows=tuple(rows))
    assert table.as_dict()["winners"] == {"clean": {"mse": "squared_error"}}
    lines = str(table).splitlines()
    assert lines[3].split() == ["squared_error", "absolute_error"]
    assert lines[4].split() == ["MSE", "1.10", "±", "0.14", "*", "2.10", "±", "0.14"]
    assert lines[5].split() == ["MAE", "3.050", "±", "0.071", "n/a"]


# By hand: of (1, 3) the mean is 2 and the deviation √2; two of them combine to 2.
@pytest.mark.parametrize(
    ("better", "others", "expected"),
    [
        ("lower", (3.0, 5.0), None),  # 2 apart, which does not exceed 2
        ("lower", (3.1, 5.1), "a"),
        ("higher", (3.1, 5.1), "b"),
        ("higher", (2.9, 4.9), None),
        ("lower", (-1.1, 0.9), "b"),
        (None, (31.0, 51.0), None),
        ("lower", None, None),
        ("near 1", (7.0, 9.0), "a"),
        ("near 1", (1.0, 1.0), None),  # a is 0 and 2 away from 1, so 1 on average, with √2 between them
    ],
)
def test_the_winner_is_ahead_by_more_than_the_deviations_combined(better, others, expected):
    values = {"a": SeedValues((1.0, 3.0)), "b": None if others is None else SeedValues(others)}
    assert find_winner(dataclasses.replace(METRICS["mse"], better=better), values) == expected


def test_there_is_no_winner_without_a_spread_or_a_rival():
    mse = METRICS["mse"]
    alike, clear = SeedValues((1.0, 1.0)), SeedValues((9.0, 9.1))
    for values in ({"a": SeedValues((1.0,)), "b": SeedValues((9.0,))}, {"a": alike}, {"a": alike, "b": alike}):
        assert find_winner(mse, values) is None
    # Against the next, not the last.
    assert find_winner(mse, {"c": clear, "a": SeedValues((1.0, 1.1)), "b": SeedValues((1.1, 1.2))}) is None


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.0, 0.0), "0 ± 0"),
        ((1234.0, 1300.0), "1,267 ± 47"),
        ((1.0, 1.0 + 1e-5), "1.0000 ± 7e-06"),
        ((20.702, 20.712), "20.707 ± 0.007"),
        ((2.5,), "2.5"),
    ],
)
def test_a_spread_shows_two_digits_of_its_deviation(values, text):
    assert str(SeedValues(values)) == text


@pytest.fixture(scope="module")
def images():
    return datasets.load(np.random.RandomState(0).randint(100, 150, size=(200, 16, 16, 3)).astype("uint8"))


def test_salt_and_pepper_hits_its_share_of_the_elements_with_both_ends_of_the_declared_range(images):
    raw, damaged = images.raw.train, corrupt(images, Corruption("salt_and_pepper", 0.05), seed=0).raw.train
    changed, deviation = damaged != raw, math.sqrt(0.05 * 0.95 / raw.size)
    assert set(damaged[changed]) == {0, 255}
    assert abs(changed.mean() - 0.05) < 4 * deviation
    assert abs((damaged == 255).mean() - 0.025) < 4 * deviation
    # Not whole pixels, rows or samples.
    assert abs((changed[..., 0] & changed[..., 1]).mean() - 0.05**2) < 4 * math.sqrt(0.05**2 / changed[..., 0].size)


def test_salt_and_pepper_takes_the_ends_of_each_column_where_no_range_is_declared():
    table = datasets.load(np.random.RandomState(0).normal((0, 100), (1, 20), size=(500, 2)).astype("float32"))
    raw, damaged = table.raw.train, corrupt(table, Corruption("salt_and_pepper", 0.3), seed=0).raw.train
    for column in (0, 1):
        changed = damaged[:, column] != raw[:, column]
        assert set(damaged[changed, column]) == {raw[:, column].min(), raw[:, column].max()}


def test_outliers_replace_their_share_of_the_samples_ten_deviations_away_but_no_constant_column():
    random = np.random.RandomState(0)
    columns = [random.normal((0, 100), (1, 20), (500, 2)), np.full(500, 7.0)]
    table = datasets.load(np.column_stack(columns), preprocessing="none")
    raw, damaged = table.raw.train, corrupt(table, Corruption("outliers", 0.02), seed=0).raw.train
    assert (damaged[:, 2] == 7).all()
    changed = (damaged != raw).any(axis=1)
    assert changed.sum() == 8  # of 400
    distances = (damaged[changed] - raw.mean(axis=0))[:, :2] / raw.std(axis=0)[:2]
    np.testing.assert_allclose(np.abs(distances), 10)
    assert set(np.sign(distances).ravel()) == {-1, 1}
    assert len(np.unique(np.sign(distances), axis=0)) > 2  # Each element draws its own sign.


def test_outliers_stay_in_the_declared_range(images):
    damaged = corrupt(images, Corruption("outliers", 0.1), seed=0).raw.train
    changed = (damaged != images.raw.train).all(axis=(1, 2, 3))
    assert changed.sum() == 16
    low, high = np.unique(damaged[changed])[[0, -1]]
    # By hand: the mean of 100 to 149 is 124.5, the deviation √((50² − 1)/12) = 14.43, and 124.5 + 144.3 > 255.
    assert (low, high) == (0, 255)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("name", ["salt_and_pepper", "outliers"])
def test_every_dtype_stays_as_it_is_and_finite(dtype, name):
    top = 1 if dtype == "bool" else 60000 if dtype == "float16" else 100
    x = (np.random.RandomState(0).randint(0, 2, size=(100, 6)) * top).astype(dtype)
    if dtype == "int64":
        x[0] = np.iinfo("int64").max // 2
    table = datasets.load(x)
    damaged = corrupt(table, Corruption(name, 0.2), seed=0)
    assert damaged.raw.train.dtype == dtype
    assert np.isfinite(damaged.raw.train.astype("float64")).all()
    assert (damaged.raw.train != table.raw.train).any()


@pytest.mark.parametrize("name", ["salt_and_pepper", "outliers"])
def test_the_same_seed_corrupts_the_same_and_nothing_but_the_training_split_whose_order_stays(images, name):
    damaged, again, other = (corrupt(images, Corruption(name, 0.1), seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(damaged.raw.train, again.raw.train)
    assert not np.array_equal(damaged.raw.train, other.raw.train)
    assert all(map(operator.is_, damaged.raw[1:], images.raw[1:]))
    assert damaged.preprocessing is images.preprocessing
    assert damaged.raw.train.dtype == np.uint8
    assert damaged.digest == again.digest != images.digest
    np.testing.assert_array_equal(damaged.bounds.train, [damaged.raw.train.min(0), damaged.raw.train.max(0)])
    x, y = next(iter(damaged.train))
    np.testing.assert_array_equal(x, y)
    np.testing.assert_allclose(x, damaged.raw.train[images.training_batch(0, 0)] / 255, rtol=1e-6)


def test_a_corruption_that_does_not_exist_or_of_streamed_data_is_refused(blobs):
    messages = {
        "pepper=0.1": "expected one of salt_and_pepper, outliers; received 'pepper'",
        "outliers": "expected NAME=SHARE, such as outliers=0.05; received 'outliers'",
        "outliers=some": "expected NAME=SHARE",
        "outliers=0": r"share between 0 and 1; received 0\.0",
        "outliers=1": "share between 0 and 1",
        "outliers=nan": "share between 0 and 1; received nan",
    }
    for text, message in messages.items():
        with pytest.raises(ValueError, match=message):
            Corruption.parse(text)
    assert str(Corruption("outliers", np.float32(0.25))) == "outliers=0.25"
    with pytest.raises(ValueError, match=r"expected outliers with a share between 0 and 1; received '0\.1'"):
        Corruption("outliers", "0.1")
    with pytest.raises(ValueError, match="in_memory=True"):
        corrupt(load(blobs, in_memory=False), Corruption("outliers", 0.1), seed=0)


COUNTER = itertools.count(1)  # By which every call builds another model.


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"names": ["log_cosh"]}, "received 'log_cosh'"),
        ({"names": ["mse", "squared_error"]}, "expected each loss once; received 'squared_error'"),
        ({"names": []}, r"losses: expected a list .* received \[\]"),
        ({"names": "mse"}, "losses: expected a list"),
        ({"names": [losses.SquaredError(name="../x")]}, r"received '\.\./x'"),
        ({"seeds": 0}, "seeds: expected an integer of at least 1; received 0"),
        ({"seeds": 1.5}, r"seeds: expected an integer of at least 1; received 1\.5"),
        ({"epochs": 0}, "epochs: expected an integer of at least 1"),
        ({"learning_rate": math.nan}, "learning_rate: expected a positive number"),
        ({"corruptions": ["outliers=0.1", Corruption("outliers", 0.1)]}, r"received outliers=0\.1 more than once"),
        ({"corruptions": "outliers=0.1"}, "corruptions: expected a list"),
        (
            {"build": lambda **_: models.dense((5,), latent_dim=2)},
            r"expected a model for samples of shape \(4,\), those of the data; received one for \(5,\)",
        ),
        ({"build": lambda **_: None}, "received NoneType"),
        (
            {"build": lambda **_: keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])},
            r"received float32 of shape \(3,\)",
        ),
        ({"build": lambda **_: build(widths=(next(COUNTER),))}, "the same layers and initial weights"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_the_training(data, tmp_path, arguments, match):
    with pytest.raises(ValueError, match=match):
        compare(data, tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_models_of_images_end_in_an_activation_that_is_bounded_as_pixels_are(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1)).astype("uint8")
    received = []

    def build(output_activation):
        received.append(output_activation)
        return models.dense(images.shape[1:], latent_dim=2, widths=(4,), output_activation=output_activation)

    data = datasets.load(images)
    comparison.compare(data, ["mse", "bce"], run_dir=tmp_path, seeds=1, epochs=1, build=build, verbose=False)
    assert received == 2 * [Clip(0, 1), "linear"]  # Cross-entropy takes logits.


def begin(monkeypatch, *arguments, **options):
    """The plan of a comparison that crashes in its first training."""
    crash_at(monkeypatch, 0, *arguments, **options)
    return json.loads((arguments[1] / "plan.json").read_text())


def test_a_loss_that_is_not_defined_on_the_data_is_refused_or_left_out_of_all(blobs, data, tmp_path, monkeypatch):
    standard = load(blobs, preprocessing="standard")
    with pytest.raises(ValueError, match=r"BinaryCrossentropy is defined on .* That is binary_crossentropy on blobs"):
        compare(standard, tmp_path / "run", ["mse", "bce"])
    train = np.random.RandomState(0).rand(50, 4)
    inner = train[:20] * 0.5 + train.mean(0) * 0.5
    undeclared = datasets.load({"train": train, "validation": inner[:10], "test": inner[10:]}, preprocessing="unit")
    with pytest.raises(ValueError, match=r"the train split spans .* is binary_crossentropy on array\+outliers=0\.1"):
        compare(undeclared, tmp_path / "run", ["mse", "bce"])
    assert list(begin(monkeypatch, standard, tmp_path / "run", None)["losses"]) == ["squared_error", "absolute_error"]
    planned = begin(monkeypatch, data, tmp_path / "all", None)["losses"]
    assert list(planned) == ["squared_error", "absolute_error", "binary_crossentropy"]
    assert planned["binary_crossentropy"]["from_logits"] is True


def test_the_default_model_is_that_of_tfae_train_and_names_tell_losses_of_one_class_apart(data, tmp_path, monkeypatch):
    both = [losses.SquaredError(), losses.SquaredError(sample_reduction="mean", name="per_element")]
    plan = begin(monkeypatch, data, tmp_path, both, build=None)
    assert list(plan["losses"]) == ["squared_error", "per_element"]
    assert plan["model"]["parameters"] == models.dense((4,), latent_dim=2).count_params()  # half of four columns


def test_a_training_split_smaller_than_the_latent_is_compared(tmp_path):
    tiny = datasets.load(np.random.RandomState(0).rand(8, 40), splits=(0.5, 0.25, 0.25))
    found = comparison.compare(tiny, ["mse"], run_dir=tmp_path, seeds=1, epochs=1, verbose=False)
    assert found.plan["model"]["latent_dim"] > len(tiny.raw.train)
    (row,) = found.rows
    assert row.values["mse"] is not None
    assert row.values["linear_skill"] is row.values["linear_probe"] is None


def test_the_probes_are_those_of_scikit_learn_on_standardised_latents(data):
    keras.utils.set_random_seed(0)
    model = build()
    encoder = keras.Model(model.inputs, model.get_layer("encoder")(model.inputs[0]))
    train, test = (encoder.predict(x, verbose=0) for x in map(data.preprocessing, (data.raw.train, data.raw.test)))
    expected = [
        make_pipeline(StandardScaler(), classifier).fit(train, data.labels.train).score(test, data.labels.test)
        for classifier in (LogisticRegression(max_iter=2000), KNeighborsClassifier(5))
    ]
    found = probe(model, data)
    assert [found["linear_probe"], found["neighbor_accuracy"]] == pytest.approx(expected)
    assert found["linear_probe"] > 0.4


def scored(*latents_and_labels):
    return {metric.name: metric.compute(*latents_and_labels) for metric in PROBES}


def test_the_probes_tell_a_linear_latent_from_one_that_only_keeps_neighbours():
    random = np.random.RandomState(0)
    corners = random.randint(0, 2, size=(400, 2))
    latents = (corners * 2 - 1) * [1, 1000] + random.normal(0, [0.1, 100], (400, 2))
    linear = scored(latents[:300], corners[:300, 0], latents[300:], corners[300:, 0])
    assert (linear["linear_probe"], linear["neighbor_accuracy"]) == (1, 1)
    exclusive_or = corners[:, 0] ^ corners[:, 1]
    found = scored(latents[:300], exclusive_or[:300], latents[300:], exclusive_or[300:])
    assert found["neighbor_accuracy"] == 1
    assert 0.3 < found["linear_probe"] < 0.8


def test_there_are_no_probes_without_classes(data):
    train, test = data.labels.train, data.labels.test
    one_class = with_labels(data, np.full_like(train, train[0]), test)
    fractions = with_labels(data, np.arange(len(train)) / 7, np.arange(len(test)) / 7)
    missing = with_labels(data, train, np.full(len(test), None, object))
    for without in (dataclasses.replace(data, labels=None), one_class, fractions, missing):
        assert probe(build(), without) == {"linear_probe": None, "neighbor_accuracy": None}


def test_samples_without_a_label_are_left_out_of_the_probes_and_fractions_that_repeat_are_classes(data):
    model = build()
    there = np.arange(len(data.labels.train)) % 4 > 0
    labels = data.labels.train.astype(object)
    labels[~there] = None
    latents = encode(model, data.feed.in_stored_order())[there]
    test = encode(model, data.test)
    expected = scored(latents, np.asarray(labels[there], str), test, data.labels.test)
    assert probe(model, with_labels(data, labels, data.labels.test)) == expected
    classes = {"x": 0.5, "y": 1.5, "z": 2.5}
    as_numbers = [np.array([classes[label] for label in labels]) for labels in (data.labels.train, data.labels.test)]
    assert probe(model, with_labels(data, *as_numbers)) == probe(model, data)


@pytest.fixture
def pages(monkeypatch):
    """Of which comparisons, on which data and to where the command has pages written, without writing them."""
    written = []
    monkeypatch.setattr(comparison, "write_page", lambda *arguments: written.append(arguments))
    return written


def options(blobs, run_dir, *more):
    return [
        *("compare", blobs, "--label", "class", "--preprocessing", "unit", "--value-range", 0, 1, "--run-dir", run_dir),
        *("--loss", "bce", "--seeds", 1, "--epochs", 1, "--latent-dim", 2, "--widths", 8, *more),
    ]


def test_the_command_compares_and_prints_the_table(blobs, data, tmp_path, pages):
    arguments = options(blobs, tmp_path / "run", "--batch-size", 16, "--corrupt", "outliers=0.1")
    result = run(*arguments)
    assert "1 loss on 12 test samples of blobs" in result.stdout
    kinds = [line for line in result.stdout.splitlines() if line.startswith("trained on")]
    assert kinds == ["trained on clean data", "trained on outliers=0.1 data"]
    assert f"runs      {tmp_path / 'run'}" in result.stdout
    assert "binary_crossentropy, outliers=0.1 data, seed 0: MSE " in result.stderr
    printed = json.loads(run(*arguments, "--json").stdout)
    assert printed == json.loads((tmp_path / "run" / "comparison.json").read_text())
    found = comparison.load_comparison(tmp_path / "run")
    assert printed == found.as_dict()
    page = (found, data.digest, tmp_path / "run" / "report.html")
    assert [(of, on.digest, path) for of, on, path in pages] == [page, page]
    assert found.rows[0].values["bits"].mean == pytest.approx(found.rows[0].values["crossentropy"].mean / math.log(2))
    assert found.rows[0].values["mse"].deviation is None
    assert "one seed, so no spread" in result.stdout
    assert not set("*±") & set(result.stdout)
    result = run(*options(blobs, tmp_path / "other", "--corrupt", "pepper=0.1"), code=2)
    assert result.stderr.endswith("Error: --corrupt: expected one of salt_and_pepper, outliers; received 'pepper'.\n")


def test_the_command_stopped_by_a_signal_goes_on_where_the_data_is_where_it_was(blobs, tmp_path, monkeypatch, pages):
    arguments = options(blobs, tmp_path / "run")
    with monkeypatch.context() as patch:
        at_call(patch, 0, lambda: os.kill(os.getpid(), signal.SIGINT))
        result = run(*arguments, code=130)
    assert "comparison: stopped in binary_crossentropy, clean data, seed 0, and saved." in result.stderr
    monkeypatch.setattr("tfae.datasets.memory.available", lambda: 0)  # By which data is streamed.
    result = run(*arguments, code=2)
    assert "order of training (expected in memory, received streamed)" in result.stderr
    assert "Load the data with --in-memory." in result.stderr
    run(*arguments, "--in-memory")
    assert (tmp_path / "run" / "comparison.json").exists()
