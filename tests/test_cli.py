import csv
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from PIL import Image

import tfae
from tests.commands import begin, run, train
from tfae.cli import main
from tfae.servable import read_warmup


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def process(code, folder, **environment):
    """A process of its own, in which TensorFlow has not been imported yet."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"} | environment
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


#: What is under way is said on stderr, in a log file too.
STAGES = [
    "loading TensorFlow",
    "reading digits",
    "evaluating the training split",
    "fitting the baselines",
    "evaluating the data",
    "drawing pictures",
    "exporting 7 signatures",
    "comparing the answers of the export with those of the model",
]


@pytest.fixture(scope="module")
def trained(folder):
    """What the command prints that trains on the digits for a short time, its run directory and its export."""
    command = "train digits --epochs 2 --widths 32 --latent-dim 4 --loss bce --run-dir run --export-dir digits "
    command += "--ignore constant --tensorboard"
    result = process(f"from tfae.cli import main; main({command.split()})", folder)
    # TensorFlow 2.18 says something that is for its developers.
    said = [line for line in result.stderr.splitlines() if not re.match(r"I0000|WARNING: All log messages", line)]
    assert (result.returncode, said) == (0, STAGES)
    return result.stdout, folder / "run", folder / "digits"


def test_train_goes_from_a_data_set_to_scores_of_the_exported_model(trained):
    output, run_dir, export_dir = trained
    assert "digits: image data of shape (8, 8, 1), uint8; 1,438 train, 179 validation, 180 test" in output
    assert "BinaryCrossentropy, sum over elements" in output
    assert "binary_crossentropy on 180 samples of 64 elements" in output
    assert json.loads((run_dir / "config.json").read_text())["onednn"] == "1"
    measured = json.loads((run_dir / "evaluation.json").read_text())["loss"]
    assert "scored    180 test samples with it: mean " in output
    assert float(output.rsplit("mean ", 1)[1]) == pytest.approx(measured, rel=1e-5)
    scores = tfae.export.load(export_dir).score(tfae.datasets.load("digits").raw.test)
    np.testing.assert_allclose(scores.mean(dtype="float64"), measured, rtol=1e-5)
    files = {"config.json", "evaluation.json", "history.csv", "model.keras", "preprocessing.json", "report.html"}
    assert {path.name for path in run_dir.iterdir()} == files | {"pictures", "tensorboard"}
    assert {path.suffix for path in (run_dir / "pictures").iterdir()} == {".png"}


def test_train_imports_only_what_it_uses(tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60, 3)))
    others = ("tensorflow_datasets", "pyarrow.parquet", "grpc", "sklearn", "scipy.stats", "matplotlib.pyplot", "pandas")
    code = (
        "import sys; from tfae.cli import main, tensorflow; tensorflow.import_tensorflow()\n"
        "from tfae import report; report.draw_pictures = lambda *_: {}\n"
        "command = 'train rows.npy --epochs 1 --widths 4 --latent-dim 1 --loss mse --ignore constant'\n"
        "main(command.split(), standalone_mode=False)\n"
        f"print([name for name in {others} if name in sys.modules])"
    )
    result = process(code, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"


def test_results_come_before_the_pictures(tmp_path, monkeypatch):
    def draw(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfae.report.draw_pictures", draw)
    refused = run("train", *WINE, "--run-dir", "run", code=2)
    assert "samples of 13 elements" in refused.stdout
    assert "No space left" in refused.stderr
    assert not Path("run", "evaluation.json").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "samples of 13 elements" in train("--resume", "run").stdout


def test_evaluate_finds_the_numbers_of_the_training_again(trained):
    _, run_dir, _ = trained
    again = json.loads(run("evaluate", run_dir, "--json").stdout)
    before = json.loads((run_dir / "evaluation.json").read_text())
    assert again.keys() == before.keys()
    names = [[finding["name"] for finding in found.pop("findings")] for found in (again, before)]
    assert names[0] == names[1]
    for name, value in before.items():  # Which kernels multiply may be another one here.
        assert again[name] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value), name


def test_export_writes_the_next_version_and_asks_about_the_data_or_made_samples_where_it_is_gone(trained, tmp_path):
    _, run_dir, export_dir = trained
    digits = tfae.datasets.load("digits").raw.test

    def num_of_the_data(path):
        asked = [request.inputs["inputs"] for request in read_warmup(path) if request.signature == "score"]
        return (np.concatenate(asked)[:, None] == digits[None]).all(axis=(2, 3, 4)).any(axis=1).sum()

    assert run("export", run_dir, "--export-dir", export_dir).stdout == f"{export_dir / '2'}\n"
    assert num_of_the_data(export_dir / "2") >= 10
    scores = [tfae.export.load(export_dir / version).score(digits) for version in ("1", "2")]
    np.testing.assert_allclose(*scores, rtol=1e-6)
    shutil.copytree(run_dir, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["data"]["arguments"]["source"] = str(tmp_path / "gone.csv")
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    result = run("export", tmp_path / "run", "--export-dir", tmp_path / "gone")
    assert num_of_the_data(tmp_path / "gone" / "1") == 0
    assert "Compared on made samples: " in result.stderr
    assert "gone.csv" in result.stderr


def test_inspect_says_what_is_in_a_saved_model(trained):
    _, _, export_dir = trained
    page = run("inspect", export_dir / "1").stdout
    for line in (
        "data           name digits, kind image, seed 0",
        "BinaryCrossentropy, sum over elements",
        "  → inputs          uint8 (batch, 8, 8, 1)",
        "  ← instance_score  float32 (batch,)",
        "serve_image_bytes",
    ):
        assert line in page
    assert json.loads(run("inspect", export_dir / "1", "--json").stdout)["description"]["data"]["name"] == "digits"


@pytest.mark.parametrize(("suffix", "read"), [("csv", pyarrow.csv.read_csv), ("parquet", pyarrow.parquet.read_table)])
def test_score_writes_a_row_for_every_sample(trained, folder, suffix, read):
    _, _, export_dir = trained
    run("score", export_dir, "digits", "-o", folder / f"scores.{suffix}")
    columns = read(folder / f"scores.{suffix}").to_pydict()
    assert list(columns) == ["part", "index", "label", "instance_score", "reason"]
    samples, labels = tfae.datasets.open_source("digits").parts["all"].read()
    np.testing.assert_array_equal(np.asarray(columns["label"], int), labels)
    assert columns["index"] == list(range(1797))
    expected = tfae.export.load(export_dir).score(samples)
    np.testing.assert_allclose(columns["instance_score"], expected, rtol=1e-5)


def test_reconstruct_draws_a_picture(trained, folder):
    run("reconstruct", trained[2], "digits", "-o", folder / "picture.png", "--num-samples", 3)
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def table(folder):
    path = folder / "machines.csv"
    rng = np.random.default_rng(0)
    rows = [[f"{a:.6f}", f"{b:.6f}", "ok"] for a, b in rng.normal([20, 1e6], [2, 5e4], (60, 2))]
    path.write_text("\n".join(",".join(row) for row in [["temperature", "load", "state"], *rows]))
    return path


@pytest.fixture(scope="module")
def table_model(table, folder):
    options = ["--epochs", 1, "--widths", "4", "--latent-dim", 1, "--label", "state"]
    train(table, *options, "--run-dir", folder / "table-run", export_dir=folder / "machines")
    return folder / "machines"


def test_score_takes_the_columns_that_the_model_was_trained_on_by_name_whatever_their_order(table_model, folder):
    (folder / "week.csv").write_text("load,site,temperature\n1000000,north,20\n1.1e6,south,-40\n")
    expected = tfae.export.load(table_model).score([[20.0, 1e6], [-40.0, 1.1e6]])
    assert expected[1] > expected[0]
    for options in ([], ["--columns", "load,temperature"]):
        run("score", table_model, folder / "week.csv", "-o", folder / "week-scores.csv", *options)
        scores = [float(row["instance_score"]) for row in rows_of(folder / "week-scores.csv")]
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_evaluate_takes_columns_by_name_as_well(table, table_model, folder):
    swapped = folder / "swapped.csv"
    rows = [f"{row['load']},ok,{row['temperature']}" for row in rows_of(table)]
    swapped.write_text("\n".join(["load,state,temperature", *rows]))
    run_dir = folder / "table-run"
    expected = json.loads(run("evaluate", run_dir, table, "--label", "state", "--json").stdout)
    found = json.loads(run("evaluate", run_dir, swapped, "--json").stdout)
    assert (found["num_samples"], found["loss"]) == (60, pytest.approx(expected["loss"], rel=1e-6))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("temperature,load\n1,2\n3,4\n", ["--columns", "load"], "was trained on, temperature, load; received load"),
        ("temperature,weight\n1,2\n", [], "'load'.* The model was trained on columns temperature, load."),
    ],
    ids=["not chosen", "missing"],
)
def test_columns_that_do_not_fit_are_one_clear_line_and_leave_no_file(table_model, folder, text, options, message):
    (folder / "other.csv").write_text(text)
    result = run("score", table_model, folder / "other.csv", "-o", folder / "no.csv", *options, code=2)
    assert re.search(message, result.stderr)
    assert not (folder / "no.csv").exists()
    result = run("evaluate", folder / "table-run", folder / "other.csv", *options, code=2)
    assert "'load'" in result.stderr or "received load" in result.stderr
    assert "Traceback" not in result.output


def test_a_run_notices_that_its_source_has_changed(table, table_model, folder):
    assert "on 6 samples" in run("evaluate", folder / "table-run").stdout
    before = table.read_text()
    try:
        table.write_text(before.replace("1", "2", 1))
        assert "has changed since" in run("evaluate", folder / "table-run", code=2).stderr
    finally:
        table.write_text(before)


WINE = ["wine", "--epochs", 1, "--widths", 4]


@pytest.fixture(scope="module")
def wine(folder):
    """A short training on a table: what it said, and its weights."""
    return train(*WINE, "--run-dir", folder / "wine"), weights(folder / "wine")


def weights(run_dir):
    return np.concatenate([weight.ravel() for weight in tfae.runs.load_run(run_dir).autoencoder.get_weights()])


def test_a_latent_that_compresses_nothing_is_warned_of_and_is_not_the_default(wine, folder):
    warned, (default, _) = train(*WINE, "--run-dir", folder / "wide", "--latent-dim", 13), wine
    assert "! latent as wide: The latent has 13 numbers, and a sample 13: it compresses nothing" in warned.stdout
    assert "latent_dim 6;" in default.stdout
    assert "compresses nothing" not in default.stdout


def test_a_handful_of_samples_is_enough(folder):
    np.save(folder / "few.npy", np.random.default_rng(0).random((10, 3)))
    result = train(folder / "few.npy", "--epochs", 1, "--run-dir", folder / "few-run", export_dir=folder / "few")
    assert "scored    1 test samples" in result.stdout


def test_runs_of_the_same_second_get_a_directory_each_and_of_the_same_seed_one_model(wine, tmp_path, monkeypatch):
    clock = SimpleNamespace(now=lambda: datetime.datetime(2026, 11, 28, 12, 30))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["tfae.cli.train"], "datetime", SimpleNamespace(datetime=clock))
    names = [f"wine-20261128-123000{end}" for end in ("", "-2", "-3", "-4")]
    for name in names[:2]:
        (tmp_path / "runs" / name).mkdir(parents=True)
    train(*WINE)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == names[:3]
    np.testing.assert_array_equal(weights(Path("runs", names[2])), wine[1])
    train(*WINE, "--seed", 2)
    assert np.abs(weights(Path("runs", names[3])) - wine[1]).max() > 0.01


def test_a_reader_that_leaves_early_is_no_mistake(monkeypatch):
    def leave(*_, **__):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("tfae.datasets.load", leave)
    result = CliRunner().invoke(main, ["train", "wine"])
    assert result.exit_code == 1
    assert result.stderr in ("", "loading TensorFlow\n")


def test_the_options_of_train_reach_the_training(folder):
    options = (
        "--epochs 3 --patience 1 --learning-rate 0.02 --sample-reduction mean --seed 7 --latent-dim 3 --loss mae "
        "--batch-size 40 --preprocessing symmetric --bottleneck sparse --l1 0.5 --ignore reduction "
        "--splits 0.5 0.25 0.25 --widths 9,8 --input-noise 0.25"
    )
    begin("wine", *options.split(), "--run-dir", folder / "options-run")
    config = json.loads((folder / "options-run" / "config.json").read_text())
    assert (config["epochs"], config["patience"]) == (3, 1)
    assert config["optimizer"]["learning_rate"]["config"]["peak"] == pytest.approx(0.02)
    assert (config["loss"]["class_name"], config["loss"]["sample_reduction"]) == ("AbsoluteError", "mean")
    assert config["data"]["seed"] == 7
    assert config["data"]["num_samples"] == {"train": 89, "validation": 45, "test": 44}
    assert config["data"]["preprocessing"] == "symmetric"
    assert config["data"]["arguments"]["batch_size"] == 40
    model = keras.models.load_model(folder / "options-run" / "model.keras")
    assert [layer.units for layer in model.get_layer("encoder").layers if hasattr(layer, "units")] == [9, 8]
    assert model.get_layer("encoder").get_layer("sparse").l1 == 0.5
    assert model.get_layer("input_noise").stddev == 0.25


def test_scores_are_numbered_through_over_chunks_and_named_after_files(trained, folder, monkeypatch):
    _, _, export_dir = trained
    monkeypatch.setattr(tfae.scoring, "CHUNK", 4)
    images = tfae.datasets.load("digits").raw.test[:10]
    (folder / "pictures").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / "pictures" / f"{number}.png")
    run("score", export_dir, folder / "pictures", "-o", folder / "named.csv")
    rows = rows_of(folder / "named.csv")
    assert [(row["index"], row["file"]) for row in rows] == [(str(i), f"{i}.png") for i in range(10)]
    expected = tfae.export.load(export_dir).score(images)
    np.testing.assert_allclose([float(row["instance_score"]) for row in rows], expected, rtol=1e-5)


def test_tensorboard_logs_hold_reconstructions(trained):
    of_epochs = [*(trained[1] / "tensorboard" / "images").iterdir()]
    assert of_epochs
    assert all(b"original above reconstruction" in images.read_bytes() for images in of_epochs)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train no_such_set", "no_such_set"),
        ("train nowhere/data.csv", "nowhere/data.csv"),
        ("train digits --loss bce --preprocessing standard", "BinaryCrossentropy is defined on [0.0, 1.0]"),
        ("train wine --model convolutional", "(height, width, channels) or (time, channels)"),
        ("train digits --splits 0.5 0.5 0.5", "sum to 1"),
        ("train digits --widths 32,x", "expected integers separated by commas"),
        ("train digits --learning-rate nan", "expected a finite number; received nan"),
        ("train digits --bottleneck sparse", "--l1: expected the weight of the penalty of --bottleneck sparse"),
        ("compare digits --bottleneck sparse --l1 -1", "Invalid value for '--l1': -1.0 is not in the range"),
        (
            "train digits --free-bits 1",
            "--free-bits: expected it with --bottleneck gaussian; received --bottleneck plain",
        ),
        ("train digits --bottleneck gaussian --kl-warmup 1.5", "expected a share of the training in [0, 1], such as"),
        ("compare digits --learning-rate inf", "expected a finite number; received inf"),
        (
            "train digits --loss rmse",
            "squared_error (mse), absolute_error (mae), binary_crossentropy (bce), gaussian_nll (gaussian), ",
        ),
        ("train {run}", "received"),
        ("train digits --run-dir {run}", "--run-dir: expected a new or empty directory; received {run}"),
        ("train wine --export-dir {run}/model.keras/wine --run-dir run", "--export-dir: expected a folder to write to"),
        ("train", "expected a SOURCE to train on, or --resume RUN_DIR"),
        ("train digits --finish", "expected --finish together with --resume RUN_DIR"),
        ("train digits --resume {run}", "expected --resume without '[SOURCE]'"),
        ("train --resume {run}", "expected a run that is not finished; {run} is. Export it with tfae export {run}"),
        ("train --resume {empty}", "expected the directory of a training that was stopped; received {empty}"),
        ("evaluate {model}", "an exported model, which tfae score takes"),
        ("evaluate {model}/1", "an exported model, which tfae score takes"),
        ("evaluate {empty}", "expected the directory of a finished run; received {empty} (which holds none)."),
        ("evaluate {run} --columns a", "expected --columns only with SOURCE"),
        ("inspect {empty}", "numbered versions of one; received {empty}"),
        ("score {model} wine -o {empty}/scores.csv", "expected samples of shape (8, 8, 1)"),
        ("score {model} digits -o {empty}/scores.xlsx", "expected a file that ends with .csv or .parquet"),
        ("score {model} digits", "Missing option '-o'"),
        ("score {model} digits -o {run}/model.keras/scores.csv", "expected a file that can be written"),
        ("score {run} digits -o {empty}/scores.csv", "received the run directory {run}. Export it first"),
        ("reconstruct {model} digits -o {empty}/picture.doc", "ends with .png, .pdf, .svg"),
    ],
)
@pytest.mark.filterwarnings("ignore:skipped what is not")  # A run directory holds no pictures to train on.
def test_a_mistake_is_one_clear_line_and_exit_code_2(trained, tmp_path, monkeypatch, command, message):
    _, run_dir, export_dir = trained
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    places = {"run": run_dir, "model": export_dir, "empty": tmp_path / "empty"}
    result = run(*(argument.format(**places) for argument in command.split()), code=2)
    lines = [line for line in result.stderr.splitlines() if line]
    assert message.format(**places) in lines[-1]
    assert lines[-1].startswith("Error: ")
    assert "Traceback" not in result.output
    assert list((tmp_path / "empty").iterdir()) == []
    assert not (tmp_path / "saved_models").exists()
    assert not (tmp_path / "run").exists()


def test_an_order_to_stop_leaves_nothing_half_written(trained, tmp_path, monkeypatch):
    _, _, export_dir = trained
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tfae.export.SavedAutoencoder, "score", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    run("score", export_dir, "digits", "-o", "scores.csv", code=128 + signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_is_interrupted_says_how_to_go_on_and_does_or_keeps_its_best_epoch(tmp_path, monkeypatch):
    def interrupt(_, epoch, logs=None):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfae.report.draw_pictures", lambda *_: {})
    command = "train digits --epochs 3 --widths 8 --latent-dim 2 --run-dir run --export-dir exported "
    command += "--ignore constant"
    with monkeypatch.context() as patch:
        patch.setattr(keras.callbacks.EarlyStopping, "on_epoch_begin", interrupt)
        result = run(*command.split(), code=130)
    assert result.stderr.splitlines()[-1] == (
        "training: stopped in epoch 2, after batch 12 of 12, and saved. Go on with tfae train --resume run, or keep "
        "the best epoch so far with tfae train --resume run --finish."
    )
    assert "Traceback" not in result.stderr
    assert "go on with tfae train --resume run)" in run("evaluate", "run", code=2).stderr
    assert "expected --resume without '--epochs'" in run("train", "--resume", "run", "--epochs", 5, code=2).stderr
    shutil.copytree("run", "copy")
    assert "scored    180 test samples" in run("train", "--resume", "run").stdout
    assert "expected a run that is not finished" in run("train", "--resume", "run", code=2).stderr
    train("--resume", "copy", "--finish")
    for directory, num_epochs in (("run", 3), ("copy", 1)):
        assert len(Path(directory, "history.csv").read_text().splitlines()) == 1 + num_epochs
    assert Path("exported", "1", "saved_model.pb").is_file()


def test_traceback_shows_where_an_error_comes_from():
    result = CliRunner().invoke(main, ["--traceback", "train", "no_such_set"])
    assert isinstance(result.exception, ValueError)


def test_help_names_every_command_and_imports_no_tensorflow(folder):
    code = (
        "import sys; from tfae.cli import main; main(['--help'], standalone_mode=False); "
        "print([m for m in ('tensorflow', 'keras', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    output = process(code, folder).stdout
    for command in ("advise", "train", "evaluate", "score", "reconstruct", "export", "inspect"):
        assert f"\n  {command} " in output
    assert output.endswith("[]\n")


@pytest.mark.parametrize("command", main.commands.values(), ids=main.commands.keys())
def test_every_option_has_help(command):
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name


class NoTensorFlow:
    """Ends an import of TensorFlow, which takes seconds."""

    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise ImportError("not now")


@pytest.mark.parametrize(
    ("command", "begun_with", "used"),
    [
        ("train wine", None, "1"),
        ("compare wine", None, "1"),
        *((command, onednn, onednn) for command in ("train --resume .", "evaluate .") for onednn in (None, "0", "1")),
        ("export .", "1", "1"),
        ("score . wine -o ../scores.csv", "1", None),
        ("reconstruct . wine -o ../pairs.png", "1", None),
        ("inspect .", "1", None),
        ("serve .", "1", None),
        ("deploy . -o ../deploy", "1", None),
        ("advise wine", "1", None),
    ],
)
def test_trainings_run_on_onednn_what_evaluates_them_too_and_models_of_others_as_tensorflow_has_it(
    command, begun_with, used, tmp_path, monkeypatch
):
    (tmp_path / "config.json").write_text(json.dumps({"onednn": begun_with}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(sys, "meta_path", [NoTensorFlow(), *sys.meta_path])
    result = CliRunner().invoke(main, command.split())
    assert str(result.exception) == "not now", result.output
    assert os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None) == used


def test_kernels_that_the_user_has_chosen_are_kept(tmp_path):
    """What the environment says when TensorFlow is imported, in whose place a module says it."""
    (tmp_path / "config.json").write_text(json.dumps({"onednn": "1"}))
    (tmp_path / "tensorflow.py").write_text("import os, sys; sys.exit(os.environ.get('TF_ENABLE_ONEDNN_OPTS'))")
    code = "from tfae.cli import main; main(['train', '--resume', '.'])"
    result = process(code, tmp_path, TF_ENABLE_ONEDNN_OPTS="0")
    assert result.stderr.splitlines() == ["loading TensorFlow", "0"]
