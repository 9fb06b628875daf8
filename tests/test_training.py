import csv
import json

import keras
import numpy as np
import pytest

from tfae import datasets, models, runs
from tfae.losses import SquaredError

pytestmark = pytest.mark.usefixtures("without_pictures")


def table(n=200):
    codes = np.random.default_rng(0).normal(size=(n, 2))
    return codes @ np.random.default_rng(1).normal(size=(2, 5)) + 10


def compiled(learning_rate=1e-2):
    keras.utils.set_random_seed(0)
    model = models.dense((5,), latent_dim=2, widths=(8,))
    model.compile(keras.optimizers.Adam(learning_rate), loss=SquaredError())
    return model


@pytest.fixture(scope="module")
def data():
    return datasets.load(table(), batch_size=32)


@pytest.fixture(scope="module")
def run(without_pictures, data, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    return runs.train(compiled(), data, run_dir=run_dir, epochs=4, verbose=0)


def history(run_dir):
    with (run_dir / "history.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_a_run_equals_plain_fit_on_the_same_data(run):
    data, rows = datasets.load(table(), batch_size=32), history(run.directory)
    losses = compiled().fit(data.train, validation_data=data.validation, epochs=4, verbose=0, shuffle=False).history
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    np.testing.assert_allclose([row["loss"] for row in rows], losses["loss"], rtol=1e-5)
    np.testing.assert_allclose([row["val_loss"] for row in rows], losses["val_loss"], rtol=1e-5)
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]


def test_a_loaded_run_is_the_one_that_was_trained(run, data):
    loaded = runs.load_run(run.directory)
    x, _ = next(iter(data.test))
    np.testing.assert_allclose(loaded.autoencoder(x), run.autoencoder(x), rtol=1e-6)
    np.testing.assert_array_equal(loaded.preprocessing(data.raw.test), run.preprocessing(data.raw.test))
    assert loaded.autoencoder.loss.get_config() == run.autoencoder.loss.get_config()
    assert loaded.evaluation == run.evaluation
    assert json.loads((run.directory / "evaluation.json").read_text())["loss"] == run.evaluation.loss


def test_data_from_memory_can_not_be_loaded_again(run):
    with pytest.raises(ValueError, match="expected a run on a file or a named data set"):
        run.load_data()


def test_training_stops_early_and_keeps_the_weights_of_the_best_epoch(data, tmp_path):
    run = runs.train(compiled(learning_rate=1.0), data, run_dir=tmp_path, epochs=50, patience=2, verbose=0)
    losses = [row["val_loss"] for row in history(tmp_path)]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 50
    np.testing.assert_allclose(run.autoencoder.evaluate(data.validation, verbose=0), losses[best], rtol=1e-5)


def test_a_directory_in_use_and_a_file_in_the_way_are_refused_and_left_as_they_are(data, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for run_dir, message in (
        (tmp_path, "expected a new or empty directory"),
        (tmp_path / "notes.txt", "run_dir: expected a directory to write to"),
    ):
        with pytest.raises(ValueError, match=message):
            runs.train(compiled(), data, run_dir=run_dir, epochs=1, verbose=0)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_check_that_is_silenced_is_noted_for_those_that_come_after_the_training(data, tmp_path):
    model = models.dense((5,), latent_dim=2, widths=(), output_activation="tanh")
    with pytest.raises(ValueError, match=r"ends in tanh, .*ignore=\[\"range\"\]"):
        runs.train(model, data, loss=SquaredError(), run_dir=tmp_path / "run", epochs=1, verbose=0)
    assert not (tmp_path / "run").exists()
    run = runs.train(model, data, loss=SquaredError(), run_dir=tmp_path / "run", epochs=1, verbose=0, ignore=["range"])
    assert run.config["ignore"] == ["range"]


def test_models_without_a_tfae_loss_are_refused(data, tmp_path):
    model = models.dense((5,), latent_dim=2)
    model.compile("adam", loss="mse")
    with pytest.raises(ValueError, match=r"compiled with a loss of tfae\.losses"):
        runs.train(model, data, run_dir=tmp_path)
