"""What goes wrong with runs on the command line is one line, which says how to go on."""

import functools
import json
import os
import re
import shutil
import signal
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.commands import run, train
from tfae import datasets, export, losses, runs, training
from tfae.serving.model_config import read_models, select_versions

TRAIN = ["train", "wine", "--epochs", "3", "--widths", "8", "--export-dir", "model", "--ignore", "constant"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(without_pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(without_pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(*TRAIN, "--run-dir", folder / "a run", "--export-dir", folder / "model")
    return folder / "a run"


@pytest.fixture
def run_dir(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "a run")
    return Path("a run")


def last_line(result):
    return result.stderr.splitlines()[-1]


def test_a_finished_run_is_not_in_use(run_dir):
    message = last_line(run(*TRAIN, "--run-dir", run_dir, code=2))
    assert message == (
        "Error: --run-dir: expected a new or empty directory; received a run, which holds a finished run. Choose "
        "another."
    )


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def alter(path):
    """A byte of the weights is another one."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        content[archive.getinfo("model.weights.h5").header_offset + 3000] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "it has no model.keras"),
        (cut, "its model.keras is damaged"),
        (alter, "its model.keras is damaged"),
        (lambda path: path.write_text("junk"), "its model.keras is damaged"),
    ],
    ids=["gone", "cut", "altered", "text"],
)
@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_a_damaged_model_is_said_to_be_so(run_dir, damage, reason, command):
    damage(run_dir / "model.keras")
    message = f"Error: RUN_DIR: expected the directory of a finished run; received a run ({reason})."
    assert last_line(run(command, run_dir, code=2)) == message


def test_a_model_that_does_not_fit_into_memory_is_one_line():
    message = last_line(run(*TRAIN, "--widths", 10**12, "--run-dir", "other", code=2))
    assert message.startswith("Error: expected memory for a tensor of shape [13,1000000000000]; there is not enough. ")


def interrupt(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("place", ["tfae.runs.fitting.evaluate", "tfae.report.write_run_page"])
def test_a_training_that_is_stopped_after_its_last_epoch_says_how_to_go_on_and_does(monkeypatch, place):
    with monkeypatch.context() as patch:
        patch.setattr(place, interrupt)
        result = run(*TRAIN, "--run-dir", "a run", code=130)
    assert last_line(result) == (
        "training: stopped at once. The last checkpoint is saved; go on with tfae train --resume 'a run'."
    )
    train("--resume", "a run")
    assert len(Path("a run", "history.csv").read_text().splitlines()) == 4


def test_a_second_order_to_stop_says_how_to_go_on(monkeypatch):
    def interrupt_twice(_, epoch, logs=None):
        if epoch == 1:
            interrupt()
            interrupt()

    with monkeypatch.context() as patch:
        patch.setattr(keras.callbacks.EarlyStopping, "on_epoch_begin", interrupt_twice)
        result = run(*TRAIN, "--run-dir", "a run", code=130)
    assert last_line(result).endswith("saved; go on with tfae train --resume 'a run'.")
    refused = last_line(run(*TRAIN, "--run-dir", "a run", code=2))
    assert "holds a training that was stopped. Choose another, or go on with tfae train --resume 'a run'." in refused
    train("--resume", "a run")
    assert len(Path("a run", "history.csv").read_text().splitlines()) == 4


def test_an_export_that_is_stopped_is_named_with_how_to_repeat_it(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("tfae.export.save", interrupt)
        result = run(*TRAIN, "--run-dir", "a run", code=130)
    command = f"tfae export 'a run' --export-dir {Path('model')}"
    assert last_line(result) == f"export: stopped; the run is finished. Export it with {command}."
    run("export", "a run", "--export-dir", "model")
    assert Path("model", "1", "saved_model.pb").is_file()


def test_what_is_stopped_before_there_is_anything_to_save_says_that_it_stopped(monkeypatch):
    monkeypatch.setattr("tfae.datasets.load", interrupt)
    assert last_line(run(*TRAIN, code=130)) == "Stopped."


def test_a_training_that_ends_early_says_why():
    early = ["--epochs", 40, "--patience", 0, "--learning-rate", 1]
    result = train(*TRAIN[1:], *early, "--run-dir", "run")
    num_epochs = len(Path("run", "history.csv").read_text().splitlines()) - 1
    assert num_epochs < 40
    said = f"stopped after epoch {num_epochs}: no better validation loss in 0, and the learning rate has decayed"
    assert said in result.stderr.splitlines()
    assert "stopped after" not in train(*TRAIN[1:], "--run-dir", "other").stderr


@pytest.fixture(scope="module")
def stopped_once(without_pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
        patch.setattr("tfae.runs.fitting.evaluate", interrupt)
        run(*TRAIN, "--run-dir", folder, code=130)
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def test_going_on_with_other_versions_is_warned_of(stopped):
    config = json.loads((stopped / "config.json").read_text())
    config["versions"] |= {"tfae": "0.0.1", "keras": "3.1"}
    (stopped / "config.json").write_text(json.dumps(config))
    message = r"began with tfae 0\.0\.1, keras 3\.1.* and goes on with .*: it does not end with the weights of a"
    with pytest.warns(UserWarning, match=message) as warned:
        runs.resume(stopped, verbose=0)
    assert sum(str(each.message).startswith("run_dir: ") for each in warned) == 1


def test_checkpoints_that_are_no_archives_are_passed_over_without_advice_to_unpickle_them(stopped):
    for path in (stopped / "checkpoints").iterdir():
        path.write_text("junk")
    with (
        pytest.warns(UserWarning, match="which is damaged$"),
        pytest.raises(ValueError, match=r"run has none that can be read\. Begin again in another directory"),
    ):
        runs.resume(stopped)


def test_arguments_that_there_are_not_are_named_with_the_function_that_was_called():
    x = np.random.default_rng(0).random((50, 3))
    with pytest.raises(ValueError, match=r"mse: expected arguments of SquaredError; received .*'foo'"):
        losses.get("mse", foo=3)
    with pytest.raises(TypeError, match=r"^load\(\): got an unexpected keyword argument 'foo'"):
        datasets.load(x, foo=1)
    with pytest.raises(TypeError, match=r"^open_source\(\): too many positional arguments"):
        datasets.open_source(x, 1)

    class Nothing(losses.ReconstructionLoss):
        def elementwise(self, x, output):
            """Forgets to return."""

    with pytest.raises(ValueError, match=r"Nothing\.elementwise and y_true: expected equal shapes; received \(\) and"):
        Nothing()(x, x)

    data = datasets.load(x)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(3)])
    training.compile(model, losses.SquaredError(), data, epochs=1)
    for name in ("epochs", "initial_epoch"):
        with pytest.raises(ValueError, match=f"{name}: expected an integer; received None"):
            model.fit(data.train, verbose=0, **{name: None})
    callbacks = keras.callbacks.CallbackList([keras.callbacks.ReduceLROnPlateau()])
    with pytest.raises(ValueError, match="expected none that sets the learning rate"):
        model.fit(data.train, verbose=0, callbacks=callbacks)


def test_a_folder_of_models_serves_them_all_and_deploys_none(tmp_path):
    for name in ("b/1", "a/2", "a/1", "runs/checkpoints", "c/x"):
        (tmp_path / "models" / name).mkdir(parents=True)
    for name in ("b/1", "a/2", "a/1", "c/x"):
        (tmp_path / "models" / name / "saved_model.pb").touch()
    models = read_models(tmp_path / "models")
    assert [(model.name, [*select_versions(model)]) for model in models] == [("a", [2]), ("b", [1])]
    (tmp_path / "models" / "d" / "1").mkdir(parents=True)
    (tmp_path / "models" / "d" / "1" / "saved_model.pb").touch()
    assert [model.name for model in read_models(tmp_path / "models")] == ["a", "b", "d"]
    for command in (
        ["serve", "models", "--name", "m"],
        ["serve", "models", "--label", "stable=1"],
        ["deploy", "models"],
    ):
        message = last_line(run(*command, code=2))
        assert "folder of one model's versions; received models, which holds those of a, b, d. Take one" in message
    command = run("serve", "models", "--engine", "docker", "--print").stdout
    assert all(f"models/{name}" in command for name in "abd")


def test_a_run_is_not_served(run_dir):
    message = last_line(run("serve", run_dir, code=2))
    assert message.endswith("received the run directory a run. Export it first: tfae export 'a run'.")


def test_a_number_that_is_too_large_is_told_with_its_row_and_column(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(60, 3))
    write = functools.partial(np.savetxt, delimiter=",", header="a,b,c", comments="")
    write("train.csv", rows)
    train("train.csv", "--epochs", 1, "--widths", 4, "--run-dir", "run", export_dir="model")
    monkeypatch.setattr("tfae.scoring.CHUNK", 10)  # The row is one of the file.
    for row, number, told in ((17, 1e300, "1e+300"), (3, -1e200, "-1e+200")):
        x = rows.copy()
        x[row, 1] = number
        write("scored.csv", x)
        message = run("score", "model", "scored.csv", "-o", "scores.csv").stderr.splitlines()[-1]
        assert message.startswith(f"1 of them have no score; the first is sample {row} of all: ")
        assert message.endswith(f"received one that is too large, which has {told} in column 'b'")
        with pytest.raises(ValueError, match=rf"sample {row}, which has {re.escape(told)} in column 'b'"):
            export.load("model").score(np.concatenate([x, x]))
