import csv
import dataclasses
import json
import os
import re
import shutil
import signal
import sys
from types import SimpleNamespace

import filelock
import keras
import numpy as np
import pytest

from tests.crashes import CrashError, assert_same, at_call, crash
from tfae import datasets, losses, models, report, runs, schedule
from tfae.datasets import fingerprint
from tfae.runs import directory, fitting
from tfae.training import checkpoint, checkpoint_callback

pytestmark = pytest.mark.usefixtures("without_pictures", "evaluation_of_the_same_once")
EPOCHS = 4


def table(n=200):
    latents = np.random.default_rng(0).normal(size=(n, 2))
    return latents @ np.random.default_rng(1).normal(size=(2, 5)) + 10


def loaded(**arguments):
    return datasets.load(table(), batch_size=16, **arguments)  # 10 batches an epoch


@pytest.fixture(scope="module", autouse=True)
def checkpoints_after_every_call():
    """Of 4 batches: 4, 8 and 10 batches into an epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_callback, "_SECONDS_BETWEEN", -1.0)
        patch.setattr(checkpoint_callback, "_SECONDS_BETWEEN_EPOCHS", -1.0)
        patch.setattr(checkpoint_callback, "_SHARE_OF_WRITING", 1e9)
        patch.setattr(runs, "choose_execution", lambda *_, **__: {"program": "graph", "steps": 4})
        yield


def compiled(optimizer=None):
    """With noise on the input, so that there is a random state to keep, and a metric."""
    keras.utils.set_random_seed(0)
    model = models.dense((5,), latent_dim=2, widths=(8,), input_noise=0.1)
    model.compile(optimizer or schedule.adam(EPOCHS * 10, 5e-3), losses.SquaredError(), metrics=["mae"])
    return model


def begin(run_dir, data=None, optimizer=None, **arguments):
    options = {"epochs": EPOCHS, "patience": 2, "verbose": 0, **arguments}
    return runs.train(compiled(optimizer), data or loaded(), run_dir=run_dir, **options)


def resume(run_dir, **arguments):
    return runs.resume(run_dir, **{"data": loaded(), "verbose": 0, **arguments})


def history(run_dir):
    """The losses of every epoch."""
    with (run_dir / "history.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def undisturbed(without_pictures, evaluation_of_the_same_once, tmp_path_factory):
    return begin(tmp_path_factory.mktemp("undisturbed"))


def crashed(run_dir, call=7, train=begin, **arguments):
    """A training that crashes in a call of the train function, of which there are three in an epoch."""
    with pytest.MonkeyPatch.context() as patch:
        at_call(patch, call)
        with pytest.raises(CrashError):
            train(run_dir, **arguments)
    return run_dir


@pytest.fixture(scope="module")
def crashed_once(without_pictures, tmp_path_factory):
    return crashed(tmp_path_factory.mktemp("crashed") / "run")


@pytest.fixture
def run_dir(crashed_once, tmp_path):
    """A run that crashed in its third epoch, after the first of three calls."""
    shutil.copytree(crashed_once, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_equals_plain_fit_on_the_same_data(undisturbed):
    data, rows = loaded(), history(undisturbed.directory)
    options = {"epochs": EPOCHS, "verbose": 0, "shuffle": False}
    plain = compiled().fit(data.train, validation_data=data.validation, **options).history
    for name, values in {"epoch": range(1, 1 + EPOCHS), **plain}.items():
        np.testing.assert_allclose([row[name] for row in rows], values, rtol=1e-5)
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]


def test_a_loaded_run_is_the_one_that_was_trained(undisturbed):
    run, data = runs.load_run(undisturbed.directory), loaded()
    x, _ = next(iter(data.test))
    np.testing.assert_allclose(run.autoencoder(x), undisturbed.autoencoder(x), rtol=1e-6)
    np.testing.assert_array_equal(run.preprocessing(data.raw.test), undisturbed.preprocessing(data.raw.test))
    assert run.autoencoder.loss.get_config() == undisturbed.autoencoder.loss.get_config()
    assert run.evaluation == undisturbed.evaluation
    assert json.loads((run.directory / "evaluation.json").read_text())["loss"] == run.evaluation.loss
    with pytest.raises(ValueError, match="expected a run on a file or a named data set"):
        run.load_data()


def test_a_directory_in_use_and_a_file_in_the_way_are_refused_and_left_as_they_are(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for run_dir, message in (
        (tmp_path, "expected a new or empty directory"),
        (tmp_path / "notes.txt", "run_dir: expected a directory to write to"),
    ):
        with pytest.raises(ValueError, match=message):
            begin(run_dir)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_check_that_is_silenced_is_noted_for_those_that_come_after_the_training(tmp_path):
    model = models.dense((5,), latent_dim=2, widths=(), output_activation="tanh")
    options = {"loss": losses.SquaredError(), "run_dir": tmp_path / "run", "epochs": 1, "verbose": 0}
    with pytest.raises(ValueError, match=r"ends in tanh, .*ignore=\[\"range\"\]"):
        runs.train(model, loaded(), **options)
    assert not (tmp_path / "run").exists()
    assert runs.train(model, loaded(), **options, ignore=["range"]).config["ignore"] == ["range"]


def test_models_without_a_tfae_loss_are_refused(tmp_path):
    model = models.dense((5,), latent_dim=2)
    model.compile("adam", loss="mse")
    with pytest.raises(ValueError, match=r"compiled with a loss of tfae\.losses"):
        runs.train(model, loaded(), run_dir=tmp_path)


def test_a_training_that_crashes_again_and_again_ends_as_if_it_had_not(tmp_path, undisturbed):
    """Before its first step, in the last call of an epoch, in the first of the next and in the very last."""
    run_dir = crashed(tmp_path / "run", 0)
    for call in (2, 1, 8):  # Counted from where it goes on: of all calls 2, 3 and 11.
        crashed(run_dir, call, resume)
    assert_same(resume(run_dir), undisturbed)
    assert not (run_dir / "checkpoints").exists()
    runs.load_run(run_dir)


def test_early_stopping_keeps_the_best_epoch_and_goes_on_with_its_patience_and_its_best_weights(tmp_path):
    def train(run_dir):  # Soon worse than at the beginning.
        return begin(run_dir, optimizer=keras.optimizers.SGD(0.1), epochs=30, patience=3)

    expected = train(tmp_path / "expected")
    values = [row["val_loss"] for row in history(expected.directory)]
    best = int(np.argmin(values))
    assert 4 <= len(values) == best + 4 < 30
    assert expected.autoencoder.evaluate(loaded().validation, verbose=0)[0] == pytest.approx(values[best], rel=1e-5)
    assert_same(resume(crashed(tmp_path / "run", 3 * (len(values) - 1) + 1, train)), expected)


def raising(error):
    def function(*_, **__):
        raise error

    return function


# What a training comes to grief in, and whether it then trains no more when it goes on.
ENDS = {
    "before its first step": (checkpoint_callback.CheckpointCallback, "on_train_begin", crash, CrashError, None, False),
    "in the evaluation": (fitting, "evaluate", crash, CrashError, None, True),
    "with a full disk": (
        *(report, "write_run_page", raising(OSError(28, "No space left on device")), ValueError),
        "^run_dir: expected to write the finished run to .*; received .*No space left.* Nothing of the training",
        True,
    ),
    "by a signal at the very end": (
        *(keras.callbacks.History, "on_train_end", lambda *_: os.kill(os.getpid(), signal.SIGTERM)),
        *(runs.Interrupted, "after its last epoch, and saved", True),
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_training_that_ended_early_ends_as_if_it_had_not(tmp_path, monkeypatch, undisturbed, end):
    place, name, action, error, message, is_trained = ENDS[end]
    with monkeypatch.context() as patch:
        patch.setattr(place, name, action)
        with pytest.raises(error, match=message):
            begin(tmp_path / "run")
    with monkeypatch.context() as patch:
        if is_trained:
            at_call(patch, 0)
        assert_same(resume(tmp_path / "run"), undisturbed)


def test_data_that_changed_since_is_refused(tmp_path):
    np.save(tmp_path / "rows.npy", table())
    run_dir = crashed(tmp_path / "run", 0, data=datasets.load(tmp_path / "rows.npy", batch_size=16))
    np.save(tmp_path / "rows.npy", table() * 2)
    with pytest.raises(ValueError, match=r"rows\.npy' has changed since"):
        resume(run_dir, data=None)
    message = r"received other samples \(.*\) and preprocessing \(expected 'standard', received 'symmetric'\) and seed"
    with pytest.raises(ValueError, match=message):
        resume(run_dir, data=loaded(preprocessing="symmetric", seed=1))
    (tmp_path / "rows.npy").unlink()
    with pytest.raises(ValueError, match=r"rows\.npy"):
        resume(run_dir, data=None)


def save_labelled(path, labels):
    np.savez(path, x=table(), y=labels)
    return path


@pytest.fixture(scope="module")
def stopped(without_pictures, tmp_path_factory):
    """A file with labels, and a run on it that was stopped."""
    folder = tmp_path_factory.mktemp("stopped")
    path = save_labelled(folder / "rows.npz", np.arange(200) % 3)
    return path, crashed(folder / "run", 1, data=labelled(path))


def labelled(path, **arguments):
    options = {"preprocessing": "unit", "value_range": (-50, 50), "batch_size": 16, **arguments}
    return datasets.load(path, **options)


def with_data_config(run_dir, folder, change):
    """A copy of the run that says something else of its data."""
    shutil.copytree(run_dir, folder / "run")
    config = json.loads((folder / "run" / "config.json").read_text())
    change(config["data"])
    (folder / "run" / "config.json").write_text(json.dumps(config))
    return folder / "run"


def rescaled(data):
    config = {**data.preprocessing.get_config(), "offset": [0.1, 0.0, 0.0, 0.0, 0.0]}
    return dataclasses.replace(data, preprocessing=type(data.preprocessing).from_config(config))


@pytest.mark.parametrize(
    ("arguments", "name", "difference", "remedy"),
    [
        ({"value_range": (-50, 90)}, "value_range", r"\(-50.0, 50.0\), received \(-50.0, 90.0\)", r"=\(-50.0, 50.0\)"),
        ({"preprocessing": "none"}, "preprocessing", "'unit', received 'none'", "with preprocessing='unit'"),
        ({"batch_size": 8}, "batch_size", "16, received 8", "Load the data with batch_size=16"),
        ({"in_memory": False}, "order of training", "in memory, received streamed", "in_memory=True"),
        ({"seed": 1}, r"samples \(.*\) and seed", "0, received 1", "splits and columns, and with seed=0"),
        (rescaled, "scaling", "one of digest .*", "with the preprocessing that was fitted then, .*"),
    ],
)
def test_the_same_samples_scaled_batched_or_ordered_otherwise_are_refused(stopped, arguments, name, difference, remedy):
    path, run_dir = stopped
    data = rescaled(labelled(path)) if arguments is rescaled else labelled(path, **arguments)
    message = rf"other {name} \(expected {difference}\)\. .*{remedy}\.$"
    with pytest.raises(ValueError, match=f"^data: expected what .* in the same batches and order; .* {message}"):
        resume(run_dir, data=data)


def test_other_labels_are_refused_given_or_in_the_file(stopped, tmp_path):
    path, run_dir = stopped
    other = labelled(save_labelled(tmp_path / "rows.npz", np.arange(200) % 2))
    assert other.digest == labelled(path).digest
    with pytest.raises(ValueError, match=r"other labels \(expected some of digest .*, received some of digest"):
        resume(run_dir, data=other)
    with pytest.raises(ValueError, match=r"other labels \(expected some of digest .*, received none\)"):
        resume(run_dir, data=dataclasses.replace(other, labels=None))
    source = str(tmp_path / "rows.npz")
    copied = with_data_config(run_dir, tmp_path, lambda data: data["arguments"].update(source=source))
    with pytest.raises(ValueError, match=r"rows\.npz' has changed since: it gives other labels \(expected some"):
        resume(copied, data=None)


def test_a_window_of_another_size_is_another_order(stopped, monkeypatch):
    path, _ = stopped
    streamed = labelled(path, in_memory=False)
    described = fingerprint.fingerprint(streamed)
    assert fingerprint.differences(described, labelled(path, in_memory=False)) == []
    monkeypatch.setattr(fingerprint, "WINDOW_BYTES", 2**20)
    (found,) = fingerprint.differences(described, streamed)
    assert found.name == "order of training"
    assert found.expected != found.received
    assert {found.expected[:10], found.received[:10]} == {"streamed, "}
    assert found.remedy == "with the version of tfae that it began with"


def test_a_run_that_says_too_little_of_its_data_is_not_gone_on_with(stopped, tmp_path):
    path, run_dir = stopped
    copied = with_data_config(run_dir, tmp_path, lambda data: [data.pop(name) for name in ("scaling", "labels")])
    with pytest.raises(ValueError, match=r"one that says nothing of the data's scaling and labels\. Begin again"):
        resume(copied, data=labelled(path))


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_training_goes_on_in_memory_or_not_as_it_began_whatever_fits(tmp_path, monkeypatch, undisturbed, in_memory):
    np.save(tmp_path / "rows.npy", table())
    available = {True: 2**40, False: 0}
    monkeypatch.setattr("tfae.datasets.memory.available", lambda: available[in_memory])
    data, again = (datasets.load(tmp_path / "rows.npy", batch_size=16) for _ in range(2))
    assert isinstance(data.raw.train, datasets.StoredSamples) != in_memory
    crashed(tmp_path / "run", 4, data=data)
    monkeypatch.setattr("tfae.datasets.memory.available", lambda: available[not in_memory])
    run = resume(tmp_path / "run", data=None)
    assert_same(run, undisturbed if in_memory else begin(tmp_path / "undisturbed", again))
    assert run.config["data"]["arguments"]["in_memory"] is in_memory
    assert isinstance(run.load_data().raw.train, datasets.StoredSamples) != in_memory


def test_two_checkpoints_are_kept_and_a_damaged_one_falls_back_to_the_one_before_and_says_so(run_dir, undisturbed):
    before, newest = sorted((run_dir / "checkpoints").iterdir())
    assert (before.name, newest.name) == ("000002-000000000.npz", "000002-000000004.npz")
    whole = newest.read_bytes()
    flipped = bytearray(whole)
    flipped[flipped.index(b"\x93NUMPY") + 300] ^= 255
    for damaged in (whole[: len(whole) // 2], flipped, b"", b"?" * 500):
        newest.write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"passed over .*000002-000000004\.npz, which is damaged"):
            found = checkpoint.newest(run_dir / "checkpoints")
        assert (found.epoch, found.step) == (2, 0)
    with pytest.warns(UserWarning, match="which is damaged"):
        assert_same(resume(run_dir), undisturbed)


def test_what_crashed_before_there_was_a_run_can_begin_again_in_its_directory(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", crash)
        with pytest.raises(CrashError):
            begin(tmp_path / "run")
    (tmp_path / "run" / ".staging-abc").mkdir()
    with pytest.raises(ValueError, match="expected the directory of a training that was stopped"):
        resume(tmp_path / "run")
    crashed(tmp_path / "run", 0)
    assert not (tmp_path / "run" / ".staging-abc").exists()


def test_what_to_type_is_python_where_the_command_line_has_no_data(run_dir, stopped):
    with pytest.raises(ValueError, match=r"go on with tfae\.runs\.resume\('.*run', data=data\)\)\.$"):
        runs.load_run(run_dir)
    with pytest.raises(ValueError, match=r"go on with tfae train --resume .*run\)\.$"):
        runs.load_run(stopped[1])


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("1", None), ("0", "1")])
def test_other_kernels_of_tensorflow_are_told(before, after, run_dir, monkeypatch):
    config = json.loads((run_dir / "config.json").read_text())
    assert config["onednn"] == os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    (run_dir / "config.json").write_text(json.dumps({**config, "onednn": before}))
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if after is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", after)
    said = [f"TF_ENABLE_ONEDNN_OPTS {onednn or 'unset'}" for onednn in (before, after)]
    with pytest.warns(UserWarning, match=f"began with {said[0]} and goes on with {said[1]}:"):
        crashed(run_dir, 0, resume)


def test_finishing_keeps_the_best_epoch_so_far_and_clears_away_what_was_being_written(run_dir):
    (run_dir / "checkpoints" / ".staging-abc").mkdir()
    (run_dir / "checkpoints" / ".staging-abc" / "half.npz").touch()
    run = resume(run_dir, finish=True)
    assert len(history(run_dir)) == 2
    best = min(row["val_loss"] for row in history(run_dir))
    assert run.autoencoder.evaluate(loaded().validation, verbose=0)[0] == pytest.approx(best, rel=1e-5)
    assert "2 of at most 4 epochs" in (run_dir / "report.html").read_text()
    assert not list(run_dir.rglob(".staging-*"))


def test_what_can_not_go_on_is_refused(run_dir, stopped, undisturbed, tmp_path):
    path, without_an_epoch = stopped
    with pytest.raises(ValueError, match="expected a run with a complete epoch"):
        resume(without_an_epoch, data=labelled(path), finish=True)
    for path in (run_dir / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(ValueError, match="expected a checkpoint to go on"):
        resume(run_dir)
    for folder, message in (
        (undisturbed.directory, "expected a run that is not finished"),
        (tmp_path, "expected the directory of a training that was stopped"),
        (tmp_path / "nowhere", "which is none"),
    ):
        with pytest.raises(ValueError, match=message):
            runs.resume(folder)


@pytest.mark.parametrize(("number", "is_read"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_a_signal_lets_the_steps_under_way_end_and_saves_whether_or_not_anybody_reads_that(
    tmp_path, monkeypatch, undisturbed, number, is_read, capfd
):
    def interrupt():
        with monkeypatch.context() as patch:
            if not is_read:
                patch.setattr(sys, "stderr", SimpleNamespace(write=raising(BrokenPipeError())))
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        at_call(patch, 4, interrupt)
        handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        with pytest.raises(runs.Interrupted, match=r"in epoch 2, after batch 8 of 10, and saved.*resume") as error:
            begin(tmp_path / "run")
    assert error.value.signal_number == number
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert ("Stopping after the steps under way" in capfd.readouterr().err) == is_read
    assert (tmp_path / "run" / "checkpoints" / "000001-000000008.npz").exists()
    if is_read:  # Once is enough.
        assert_same(resume(tmp_path / "run"), undisturbed)


def test_two_can_not_train_in_one_directory(run_dir, tmp_path):
    with filelock.FileLock(run_dir / ".lock"), pytest.raises(ValueError, match="a directory that no other process"):
        resume(run_dir)
    crashed(run_dir, 0, resume)
    (tmp_path / "new").mkdir()
    with filelock.FileLock(tmp_path / "new" / ".lock"), pytest.raises(ValueError, match="no other process trains in"):
        begin(tmp_path / "new")


def test_a_disk_without_room_is_told_before_the_training_and_after_making_room_it_trains(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(directory.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
        message = r"expected 10 MB for checkpoints and pictures; .* has 1 MB left.*Make room"
        with pytest.raises(ValueError, match=message):
            begin(tmp_path / "run")
    crashed(tmp_path / "run", 0)


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(tmp_path, monkeypatch, undisturbed):
    savez = np.savez
    calls = iter(range(10**6))

    def full(path, *arrays, **state):
        if next(calls) == 4:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        savez(path, *arrays, **state)

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(
            ValueError, match=r"No space left on device: .*npz'\. The last checkpoint is kept: make room, and"
        ):
            begin(tmp_path / "run")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2
    assert_same(resume(tmp_path / "run"), undisturbed)


def test_a_loss_that_is_not_finite_names_epoch_batch_and_samples_and_keeps_a_good_state(tmp_path):
    data = loaded()
    message = r"received NaN or infinity in epoch 1, batch (\d+), of the training samples (\d+), "
    with pytest.raises(ValueError, match=message) as e:
        begin(tmp_path, data, keras.optimizers.SGD(1e4))
    batch, first = map(int, re.search(message, str(e.value)).groups())
    assert first == data.training_batch(0, batch - 1)[0]
    assert "Lower the learning rate" in str(e.value)
    state = checkpoint.newest(tmp_path / "checkpoints")
    assert all(np.isfinite(value).all() for value in state.variables)


def test_a_validation_loss_that_is_not_finite_stops_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "evaluate", lambda *_, **__: {"loss": float("nan"), "mae": 0.0})
    with pytest.raises(ValueError, match="expected a finite validation loss; received nan after epoch 1"):
        begin(tmp_path)


def test_a_file_that_changes_under_the_training_is_named_and_the_training_can_go_on(tmp_path, monkeypatch):
    path = tmp_path / "rows.npy"
    np.save(path, table())
    content, times = path.read_bytes(), path.stat()
    with monkeypatch.context() as patch:
        at_call(patch, 4, path.unlink)
        with pytest.raises(ValueError, match=r"expected the file to stay as it was.*rows\.npy.* is no longer there"):
            begin(tmp_path / "run", datasets.load(path, batch_size=16, in_memory=False))
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    crashed(tmp_path / "run", 0, resume, data=None)


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"], indirect=True)
def test_a_training_in_half_precision_that_crashed_ends_as_if_it_had_not(tmp_path, policy):
    expected = begin(tmp_path / "undisturbed")
    assert_same(resume(crashed(tmp_path / "run")), expected)


def test_a_variational_training_that_crashed_ends_as_if_it_had_not(tmp_path):
    """What its latents are drawn from, and how far the weight of the divergence has risen, are part of the state."""

    def train(run_dir):
        keras.utils.set_random_seed(0)
        vae = models.dense((5,), latent_dim=2, widths=(8,), bottleneck=models.Gaussian(kl_warmup=0.8))
        return runs.train(vae, loaded(), run_dir=run_dir, loss=losses.SquaredError(), epochs=EPOCHS, verbose=0)

    expected = train(tmp_path / "undisturbed")
    assert {"reconstruction", "kl", "kl_penalty", "val_kl"} <= history(expected.directory)[0].keys()
    assert expected.evaluation.negative_elbo > 0
    assert_same(resume(crashed(tmp_path / "run", 7, train)), expected)


def test_a_model_that_was_evaluated_before_is_validated_on_all_batches(tmp_path):
    model = compiled()
    data = datasets.load(table(), batch_size=4, splits=(0.5, 0.25, 0.25))  # 13 batches to validate on
    model.evaluate(data.validation, verbose=0)
    run = runs.train(model, data, run_dir=tmp_path / "run", epochs=1, verbose=0)
    (measured,) = history(run.directory)
    assert model.evaluate(data.validation, verbose=0)[0] == pytest.approx(measured["val_loss"], rel=1e-5)


def test_a_repeated_call_goes_on_or_returns_the_run_and_one_with_other_arguments_is_refused(run_dir, undisturbed):
    for changed, message in (
        ({"epochs": 5}, "epochs: expected 4, with which the run .* began; received 5"),
        ({"patience": 3}, "patience: expected 2"),
    ):
        with pytest.raises(ValueError, match=message):
            begin(run_dir, or_resume=True, **changed)
    other = models.dense((5,), latent_dim=1, widths=(8,))
    other.compile("adam", losses.AbsoluteError())
    with pytest.raises(ValueError, match=r"autoencoder: expected .*'latent_dim': 2.* received .*'latent_dim': 1"):
        runs.train(other, loaded(), run_dir=run_dir, epochs=EPOCHS, patience=2, or_resume=True, verbose=0)
    other = compiled()
    other.compile("adam", losses.AbsoluteError())
    with pytest.raises(ValueError, match=r"loss: expected SquaredError, .* received AbsoluteError"):
        runs.train(other, loaded(), run_dir=run_dir, epochs=EPOCHS, patience=2, or_resume=True, verbose=0)
    assert_same(begin(run_dir, or_resume=True), undisturbed)
    assert begin(run_dir, or_resume=True).evaluation == undisturbed.evaluation
