import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import filelock
import keras
import numpy as np
import pytest

from tfae import datasets, losses, models, training
from tfae.training import checkpoint, directory, execution, identity, safekeeping

EPOCHS = 4


def table(n=200):
    codes = np.random.default_rng(0).normal(size=(n, 2))
    return codes @ np.random.default_rng(1).normal(size=(2, 5)) + 10


def loaded(**arguments):
    return datasets.load(table(), batch_size=16, **arguments)  # 10 batches an epoch


@pytest.fixture(scope="module", autouse=True)
def without_pictures():
    """They take most of the time and are none of the matter here."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("tfae.report.draw_pictures", lambda *_: None)
        yield


@pytest.fixture(autouse=True)
def checkpoints_after_every_call(monkeypatch):
    """Of 4 batches: 4, 8 and 10 batches into an epoch."""
    monkeypatch.setattr(safekeeping, "_SECONDS_BETWEEN", -1.0)
    monkeypatch.setattr(safekeeping, "_SECONDS_BETWEEN_EPOCHS", -1.0)
    monkeypatch.setattr(safekeeping, "_SHARE_OF_WRITING", 1e9)
    monkeypatch.setattr(
        training, "execution_of", lambda model, data, epochs: execution.Execution(model, "graph", steps=4)
    )


def begin(run_dir, data=None, **arguments):
    """With noise on the input, so that there is a random state to keep, and a metric."""
    keras.utils.set_random_seed(0)
    model = models.dense((5,), latent_dim=2, widths=(8,), input_noise=0.1)
    model.compile(training.optimizer.adam(EPOCHS * 10, 5e-3), losses.SquaredError(), metrics=["mae"])
    return training.train(
        model, data or loaded(), run_dir=run_dir, **{"epochs": EPOCHS, "patience": 2, "verbose": 0, **arguments}
    )


def history(run_dir):
    with (run_dir / "history.csv").open() as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(
            training, "execution_of", lambda model, data, epochs: execution.Execution(model, "graph", steps=4)
        )
        return begin(tmp_path_factory.mktemp("undisturbed"))


class CrashError(Exception):
    """What stands for the end of the process."""


def crash_in(monkeypatch, call):
    """CrashError in a call of the train function, counted from 0: there are three in an epoch."""
    original = execution.Execution.__call__
    calls = iter(range(10**6))

    def crashing(self, iterator):
        if next(calls) == call:
            raise CrashError
        return original(self, iterator)

    monkeypatch.setattr(execution.Execution, "__call__", crashing)


def crashed(run_dir, monkeypatch, call=7, data=None):
    with monkeypatch.context() as patch:
        crash_in(patch, call)
        with pytest.raises(CrashError):
            begin(run_dir, data)


def assert_same(run, expected):
    for value, other in zip(run.autoencoder.get_weights(), expected.autoencoder.get_weights(), strict=True):
        np.testing.assert_array_equal(value, other)
    assert history(run.directory) == history(expected.directory)
    assert run.evaluation == expected.evaluation


@pytest.mark.parametrize("call", [0, 1, 2, 3, 7, 11])
def test_a_training_that_crashed_ends_as_if_it_had_not(tmp_path, monkeypatch, undisturbed, call):
    with monkeypatch.context() as patch:
        crash_in(patch, call)
        with pytest.raises(CrashError):
            begin(tmp_path / "run")
    run = training.resume(tmp_path / "run", data=loaded(), verbose=0)
    assert_same(run, undisturbed)
    assert not (tmp_path / "run" / "checkpoints").exists()
    training.load_run(tmp_path / "run")


def test_a_training_that_crashes_again_and_again_ends_as_if_it_had_not(tmp_path, monkeypatch, undisturbed):
    run_dir = tmp_path / "run"
    with monkeypatch.context() as patch:
        crash_in(patch, 2)
        with pytest.raises(CrashError):
            begin(run_dir)
    for call in (2, 4, 5):
        with monkeypatch.context() as patch:
            crash_in(patch, call)
            with pytest.raises(CrashError):
                training.resume(run_dir, data=loaded(), verbose=0)
    assert_same(training.resume(run_dir, data=loaded(), verbose=0), undisturbed)


def test_early_stopping_goes_on_with_its_patience_and_its_best_weights(tmp_path, monkeypatch):
    def train(run_dir):
        keras.utils.set_random_seed(0)
        model = models.dense((5,), latent_dim=2, widths=(8,))
        model.compile(keras.optimizers.SGD(0.1), losses.SquaredError())  # soon worse than at the beginning
        return training.train(model, loaded(), run_dir=run_dir, epochs=30, patience=3, verbose=0)

    expected = train(tmp_path / "expected")
    num_epochs = len(history(expected.directory)) - 1
    assert 4 <= num_epochs < 30
    with monkeypatch.context() as patch:
        crash_in(patch, 3 * (num_epochs - 1) + 1)
        with pytest.raises(CrashError):
            train(tmp_path / "run")
    assert_same(training.resume(tmp_path / "run", data=loaded(), verbose=0), expected)


def test_a_crash_after_the_last_epoch_leaves_only_the_evaluation_to_do(tmp_path, monkeypatch, undisturbed):
    with monkeypatch.context() as patch:
        patch.setattr("tfae.training.fitting.evaluate", lambda *_, **__: (_ for _ in ()).throw(CrashError))
        with pytest.raises(CrashError):
            begin(tmp_path / "run")
    with monkeypatch.context() as patch:
        crash_in(patch, 0)  # It would, if it trained.
        assert_same(training.resume(tmp_path / "run", data=loaded(), verbose=0), undisturbed)


def test_a_named_data_set_is_loaded_again(tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", table())
    crashed(tmp_path / "run", monkeypatch, call=4, data=datasets.load(tmp_path / "rows.npy", batch_size=16))
    assert_same(training.resume(tmp_path / "run", verbose=0), begin(tmp_path / "other"))


def test_data_that_changed_since_is_refused(tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", table())
    crashed(tmp_path / "run", monkeypatch, call=4, data=datasets.load(tmp_path / "rows.npy", batch_size=16))
    np.save(tmp_path / "rows.npy", table() * 2)
    with pytest.raises(ValueError, match=r"rows\.npy' has changed since"):
        training.resume(tmp_path / "run", verbose=0)
    message = r"received other samples \(.*\) and preprocessing \(expected 'standard', received 'symmetric'\) and seed"
    with pytest.raises(ValueError, match=message):
        training.resume(tmp_path / "run", data=loaded(preprocessing="symmetric", seed=1), verbose=0)
    (tmp_path / "rows.npy").unlink()
    with pytest.raises(ValueError, match=r"rows\.npy"):
        training.resume(tmp_path / "run", verbose=0)


def save_labelled(path, labels):
    np.savez(path, x=table(), y=labels)
    return path


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A file with labels, and a run on it that was stopped."""
    folder = tmp_path_factory.mktemp("stopped")
    path = save_labelled(folder / "rows.npz", np.arange(200) % 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "execution_of", lambda *_, **__: execution.Execution(*_[:1], "graph", steps=4))
        crashed(folder / "run", patch, call=2, data=labelled(path))
    return path, folder / "run"


def labelled(path, **arguments):
    options = {"preprocessing": "unit", "value_range": (-100, 100), "batch_size": 16, **arguments}
    return datasets.load(path, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"value_range": (-100, 200)},
            r"value_range \(expected \(-100\.0, 100\.0\), received \(-100\.0, 200\.0\)\)\. Load the data with "
            r"value_range=\(-100\.0, 100\.0\)\.$",
        ),
        (
            {"preprocessing": "none"},
            r"preprocessing \(expected 'unit', received 'none'\)\. .* with preprocessing='unit'\.$",
        ),
        ({"batch_size": 8}, r"batch_size \(expected 16, received 8\)\. Load the data with batch_size=16\.$"),
        (
            {"in_memory": False},
            r"order of training \(expected in memory, received streamed\)\. .* with in_memory=True, or --in-memory\.$",
        ),
        (
            {"seed": 1},
            r"samples \(.*\) and seed \(expected 0, received 1\)\. Load .* splits and columns, and with seed=0\.$",
        ),
    ],
)
def test_the_same_samples_scaled_batched_or_ordered_otherwise_are_refused(stopped, arguments, message):
    path, run_dir = stopped
    with pytest.raises(ValueError, match=f"^data: expected what .* in the same batches and order; .* other {message}"):
        training.resume(run_dir, data=labelled(path, **arguments), verbose=0)


def test_other_labels_are_refused_given_or_in_the_file(stopped, tmp_path):
    path, run_dir = stopped
    other = labelled(save_labelled(tmp_path / "rows.npz", np.arange(200) % 2))
    assert other.digest == labelled(path).digest
    with pytest.raises(ValueError, match=r"other labels \(expected some of digest .*, received some of digest"):
        training.resume(run_dir, data=other, verbose=0)
    with pytest.raises(ValueError, match=r"other labels \(expected some of digest .*, received none\)"):
        training.resume(run_dir, data=dataclasses.replace(other, labels=None), verbose=0)
    shutil.copytree(run_dir, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["data"]["arguments"]["source"] = str(tmp_path / "rows.npz")
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"rows\.npz' has changed since: it gives other labels \(expected some"):
        training.resume(tmp_path / "run", verbose=0)


def test_a_window_of_another_size_is_another_order(stopped, monkeypatch):
    path, _ = stopped
    streamed = labelled(path, in_memory=False)
    described = identity.description_of(streamed)
    assert identity.differences(described, labelled(path, in_memory=False)) == []
    monkeypatch.setattr(identity, "WINDOW_BYTES", 2**20)
    (found,) = identity.differences(described, streamed)
    assert found.name == "order of training"
    assert found.expected != found.received
    assert {found.expected[:10], found.received[:10]} == {"streamed, "}
    assert found.remedy == "with the version of tfae that it began with"


def test_a_run_that_says_too_little_of_its_data_is_not_gone_on_with(stopped, tmp_path):
    path, run_dir = stopped
    shutil.copytree(run_dir, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    del config["data"]["scaling"], config["data"]["labels"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"one that says nothing of the data's scaling and labels\. Begin again"):
        training.resume(tmp_path / "run", data=labelled(path), verbose=0)


@pytest.mark.parametrize("began_in_memory", [True, False])
def test_a_training_goes_on_in_memory_or_on_disk_as_it_began_whatever_fits_now(
    tmp_path, monkeypatch, undisturbed, began_in_memory
):
    np.save(tmp_path / "rows.npy", table())
    available = {True: 2**40, False: 0}
    monkeypatch.setattr("tfae.datasets.memory.available", lambda: available[began_in_memory])
    data = datasets.load(tmp_path / "rows.npy", batch_size=16)
    assert isinstance(data.raw.train, datasets.StoredSamples) != began_in_memory
    crashed(tmp_path / "run", monkeypatch, call=4, data=data)
    monkeypatch.setattr("tfae.datasets.memory.available", lambda: available[not began_in_memory])
    run = training.resume(tmp_path / "run", verbose=0)
    if began_in_memory:
        assert_same(run, undisturbed)
    assert run.config["data"]["arguments"]["in_memory"] is began_in_memory
    assert isinstance(run.load_data().raw.train, datasets.StoredSamples) != began_in_memory


def test_the_two_newest_checkpoints_are_kept_and_no_half_written_file(tmp_path, monkeypatch):
    crashed(tmp_path, monkeypatch)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["000002-000000000.npz", "000002-000000004.npz"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "not a zip"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, monkeypatch, undisturbed, damage):
    crashed(tmp_path, monkeypatch)
    newest = max((tmp_path / "checkpoints").iterdir())
    content = bytearray(newest.read_bytes())
    if damage == "flipped":
        position = content.index(b"\x93NUMPY") + 300
        content[position] ^= 255
    newest.write_bytes(
        {"cut": content[: len(content) // 2], "flipped": content, "empty": b"", "not a zip": b"?" * 500}[damage]
    )
    with pytest.warns(UserWarning, match=r"passed over .*000002-000000004\.npz, which is damaged"):
        run = training.resume(tmp_path, data=loaded(), verbose=0)
    assert_same(run, undisturbed)


def test_a_training_that_crashed_before_its_first_step_ends_as_if_it_had_not(tmp_path, monkeypatch, undisturbed):
    def crashing(*_):
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(safekeeping.Safekeeping, "on_train_begin", crashing)
        with pytest.raises(CrashError):
            begin(tmp_path / "run")
    assert_same(training.resume(tmp_path / "run", data=loaded(), verbose=0), undisturbed)


def test_what_crashed_before_there_was_a_run_can_begin_again_in_its_directory(tmp_path, monkeypatch, undisturbed):
    def crashing(*_):
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", crashing)
        with pytest.raises(CrashError):
            begin(tmp_path / "run")
    (tmp_path / "run" / ".staging-abc").mkdir()
    with pytest.raises(ValueError, match="expected the directory of a training that was stopped"):
        training.resume(tmp_path / "run", data=loaded())
    assert_same(begin(tmp_path / "run"), undisturbed)
    assert not (tmp_path / "run" / ".staging-abc").exists()


def test_a_disk_that_is_full_at_the_end_keeps_the_training(tmp_path, monkeypatch, undisturbed):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tfae.report.write_run_page", full)
        message = (
            "^run_dir: expected to write the finished run to .*; received .*No space left.* Nothing of the training"
        )
        with pytest.raises(ValueError, match=message):
            begin(tmp_path / "run")
    assert_same(training.resume(tmp_path / "run", data=loaded(), verbose=0), undisturbed)


def test_what_to_type_is_python_where_the_command_line_has_no_data(tmp_path, monkeypatch):
    crashed(tmp_path / "arrays", monkeypatch)
    with pytest.raises(ValueError, match=r"go on with tfae\.training\.resume\('.*arrays', data=data\)\)\.$"):
        training.load_run(tmp_path / "arrays")
    crashed(
        tmp_path / "named",
        monkeypatch,
        call=1,
        data=datasets.load("diabetes", columns=["age", "sex", "bmi", "bp", "s1"]),
    )
    with pytest.raises(ValueError, match=r"go on with tfae train --resume .*named\)\.$"):
        training.load_run(tmp_path / "named")


def test_where_all_checkpoints_are_damaged_the_run_can_not_go_on(tmp_path, monkeypatch):
    crashed(tmp_path, monkeypatch)
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(ValueError, match="expected a checkpoint to go on"):
        training.resume(tmp_path, data=loaded(), verbose=0)


def test_bfloat16_values_survive_a_checkpoint(tmp_path):
    variable = keras.Variable(np.arange(4.0), dtype="bfloat16")
    values = checkpoint.values_of([variable])
    checkpoint.Checkpoint(0, 0, False, {}, {}, values, []).write(tmp_path)
    variable.assign([0, 0, 0, 0])
    checkpoint.assign([variable], checkpoint.newest(tmp_path).variables)
    np.testing.assert_array_equal(np.array(variable, "float32"), [0, 1, 2, 3])


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path, monkeypatch):
    crashed(tmp_path, monkeypatch)
    (tmp_path / "checkpoints" / ".staging-abc").mkdir()
    (tmp_path / "checkpoints" / ".staging-abc" / "half.npz").touch()
    training.resume(tmp_path, data=loaded(), verbose=0)
    assert not list(tmp_path.rglob(".staging-*"))


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("1", None), ("0", "1")])
def test_other_kernels_of_tensorflow_are_told(before, after, tmp_path, monkeypatch):
    def set_to(onednn):
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
        if onednn is not None:
            monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)

    set_to(before)
    crashed(tmp_path, monkeypatch)
    set_to(after)
    said = ["unset" if onednn is None else f"={onednn}" for onednn in (before, after)]
    with pytest.warns(UserWarning, match=f"began with TF_ENABLE_ONEDNN_OPTS ?{said[0]} and goes on with .*{said[1]},"):
        training.resume(tmp_path, data=loaded(), verbose=0)


def test_finishing_keeps_the_best_epoch_so_far(tmp_path, monkeypatch):
    crashed(tmp_path, monkeypatch)
    run = training.resume(tmp_path, data=loaded(), finish=True, verbose=0)
    assert len(history(tmp_path)) == 1 + 2
    best = min(float(row[-2]) for row in history(tmp_path)[1:])
    assert run.autoencoder.evaluate(loaded().validation, verbose=0)[0] == pytest.approx(best, rel=1e-5)
    assert "2 of at most 4 epochs" in (tmp_path / "report.html").read_text()


def test_finishing_needs_a_complete_epoch(tmp_path, monkeypatch):
    crashed(tmp_path, monkeypatch, call=1)
    with pytest.raises(ValueError, match="expected a run with a complete epoch"):
        training.resume(tmp_path, data=loaded(), finish=True, verbose=0)


def test_a_finished_run_is_not_gone_on_with(undisturbed):
    with pytest.raises(ValueError, match="expected a run that is not finished"):
        training.resume(undisturbed.directory)


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected the directory of a training that was stopped"):
        training.resume(tmp_path)
    with pytest.raises(ValueError, match="which is none"):
        training.resume(tmp_path / "nowhere")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_steps_under_way_end_and_saves(tmp_path, monkeypatch, undisturbed, number, capfd):
    original = execution.Execution.__call__
    calls = iter(range(10**6))

    def interrupted(self, iterator):
        if next(calls) == 4:
            os.kill(os.getpid(), number)
        return original(self, iterator)

    with monkeypatch.context() as patch:
        patch.setattr(execution.Execution, "__call__", interrupted)
        handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        with pytest.raises(training.Interrupted, match=r"in epoch 2, after batch 8 of 10, and saved.*resume") as error:
            begin(tmp_path / "run")
    assert error.value.signal_number == number
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert "Stopping after the steps under way" in capfd.readouterr().err
    assert (tmp_path / "run" / "checkpoints" / "000001-000000008.npz").exists()
    assert_same(training.resume(tmp_path / "run", data=loaded(), verbose=0), undisturbed)


def test_two_processes_can_not_train_in_one_directory(tmp_path, monkeypatch):
    crashed(tmp_path, monkeypatch)
    command = "import filelock, sys\nwith filelock.FileLock(sys.argv[1]):\n print('locked', flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", command, tmp_path / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match="expected a directory that no other process trains in"):
            training.resume(tmp_path, data=loaded())
        other.communicate("\n")
    training.resume(tmp_path, data=loaded(), verbose=0)


def test_a_new_run_in_a_directory_that_is_being_claimed_is_refused(tmp_path):
    with filelock.FileLock(tmp_path / ".lock"), pytest.raises(ValueError, match="no other process trains in"):
        begin(tmp_path)


def test_a_disk_without_room_is_told_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(directory.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(ValueError, match=r"expected 10 MB for checkpoints and pictures; .* has 1 MB left"):
        begin(tmp_path / "run")


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(tmp_path, monkeypatch, undisturbed):
    savez = np.savez
    calls = iter(range(10**6))

    def full(path, **arrays):
        if next(calls) == 4:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        savez(path, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(ValueError, match=r"No space left on device\. The last checkpoint is kept: make room, and"):
            begin(tmp_path / "run")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2
    assert_same(training.resume(tmp_path / "run", data=loaded(), verbose=0), undisturbed)


def test_a_loss_that_is_not_finite_names_epoch_batch_and_samples_and_keeps_a_good_state(tmp_path, monkeypatch):
    data = loaded()
    keras.utils.set_random_seed(0)
    model = models.dense((5,), latent_dim=2, widths=(8,))
    model.compile(keras.optimizers.SGD(1e4), losses.SquaredError())
    with pytest.raises(
        ValueError, match=r"received NaN or infinity in epoch 1, batch \d+, of the training samples"
    ) as e:
        training.train(model, data, run_dir=tmp_path, epochs=3, verbose=0)
    batch = int(str(e.value).split("batch ")[1].split(",")[0])
    first = data.training_batch(0, batch - 1)[0]
    assert f"samples {first}, " in str(e.value)
    assert "Lower the learning rate" in str(e.value)
    state = checkpoint.newest(tmp_path / "checkpoints")
    assert all(np.isfinite(value).all() for value in state.variables)


def test_a_validation_loss_that_is_not_finite_stops_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "evaluate", lambda *_, **__: {"loss": float("nan"), "mae": 0.0})
    with pytest.raises(ValueError, match="expected a finite validation loss; received nan after epoch 1"):
        begin(tmp_path)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_streamed_training_that_crashed_ends_as_if_it_had_not(tmp_path, monkeypatch, in_memory):
    np.save(tmp_path / "rows.npy", table())

    def data():
        return datasets.load(tmp_path / "rows.npy", batch_size=16, in_memory=in_memory)

    crashed(tmp_path / "run", monkeypatch, data=data())
    assert_same(training.resume(tmp_path / "run", verbose=0), begin(tmp_path / "undisturbed", data()))


def test_a_file_that_changes_under_the_training_is_named_and_the_training_can_go_on(tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", table())
    content = (tmp_path / "rows.npy").read_bytes()
    times = (tmp_path / "rows.npy").stat()
    original = execution.Execution.__call__
    calls = iter(range(10**6))

    def vanishing(self, iterator):
        if next(calls) == 4:
            (tmp_path / "rows.npy").unlink()
        return original(self, iterator)

    with monkeypatch.context() as patch:
        patch.setattr(execution.Execution, "__call__", vanishing)
        with pytest.raises(ValueError, match=r"expected the file to stay as it was.*rows\.npy.* is no longer there"):
            begin(tmp_path / "run", datasets.load(tmp_path / "rows.npy", batch_size=16, in_memory=False))
    (tmp_path / "rows.npy").write_bytes(content)
    os.utime(tmp_path / "rows.npy", ns=(times.st_atime_ns, times.st_mtime_ns))
    training.resume(tmp_path / "run", verbose=0)


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"])
def test_a_training_in_half_precision_that_crashed_ends_as_if_it_had_not(tmp_path, monkeypatch, policy):
    keras.config.set_dtype_policy(policy)
    try:
        expected = begin(tmp_path / "undisturbed")
        with monkeypatch.context() as patch:
            crash_in(patch, 7)
            with pytest.raises(CrashError):
                begin(tmp_path / "run")
            crash_in(patch, 7)
            with pytest.raises(CrashError):
                begin(tmp_path / "other")
        assert_same(training.resume(tmp_path / "run", data=loaded(), verbose=0), expected)
        training.resume(tmp_path / "other", data=loaded(), finish=True, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_model_that_was_evaluated_before_is_validated_on_all_batches(tmp_path):
    def train(run_dir, evaluated):
        keras.utils.set_random_seed(0)
        model = models.dense((5,), latent_dim=2, widths=(8,))
        model.compile("adam", losses.SquaredError())
        data = datasets.load(table(400), batch_size=4, splits=(0.5, 0.25, 0.25))
        if evaluated:
            model.evaluate(data.validation, verbose=0)
        training.train(model, data, run_dir=run_dir, epochs=2, verbose=0)
        assert model.evaluate(data.validation, verbose=0) == pytest.approx(
            min(float(row[2]) for row in history(run_dir)[1:]), rel=1e-5
        )
        return history(run_dir)

    assert train(tmp_path / "a", evaluated=True) == train(tmp_path / "b", evaluated=False)


def test_a_signal_at_the_very_end_leaves_only_the_evaluation_to_do(tmp_path, monkeypatch, undisturbed):
    def on_train_end(self, logs=None):
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(keras.callbacks.History, "on_train_end", on_train_end)
        with pytest.raises(training.Interrupted, match="after its last epoch, and saved"):
            begin(tmp_path / "run")
    assert_same(training.resume(tmp_path / "run", data=loaded(), verbose=0), undisturbed)


def test_a_reader_that_is_gone_does_not_keep_ctrl_c_from_saving(tmp_path, monkeypatch, undisturbed):
    original = execution.Execution.__call__
    calls = iter(range(10**6))

    class GoneReader:
        def write(self, _):
            raise BrokenPipeError

    def interrupted(self, iterator):
        if next(calls) == 4:
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stderr", GoneReader())
                os.kill(os.getpid(), signal.SIGINT)
        return original(self, iterator)

    with monkeypatch.context() as patch:
        patch.setattr(execution.Execution, "__call__", interrupted)
        with pytest.raises(training.Interrupted):
            begin(tmp_path / "run")
    assert_same(training.resume(tmp_path / "run", data=loaded(), verbose=0), undisturbed)


def test_after_making_room_the_same_command_works(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(directory.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
        with pytest.raises(ValueError, match="Make room"):
            begin(tmp_path / "run")
    begin(tmp_path / "run", epochs=1)
