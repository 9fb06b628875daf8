"""The schedule of the learning rate agrees with early stopping, and with what ``fit`` is asked for."""

import keras
import numpy as np
import pytest

from tests.crashes import CrashError, assert_same, at_call
from tfae import datasets, losses, models, runs, training
from tfae.schedule import schedule_of
from tfae.training import checkpoint_callback

NUM_BATCHES = 10


@pytest.fixture(scope="module")
def data():
    latents = np.random.default_rng(0).normal(size=(200, 2))
    return datasets.load(latents @ np.random.default_rng(1).normal(size=(2, 5)) + 10, batch_size=16)


def compiled(data, epochs, **arguments):
    keras.utils.set_random_seed(0)
    model = models.dense((5,), latent_dim=2, widths=(8,))
    training.compile(model, losses.SquaredError(), data, epochs=epochs, **arguments)
    return model


def fit(model, data, epochs, callbacks=(), **arguments):
    """Train, and return the learning rate after every epoch."""
    rates = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: rates.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
    )
    options = {"validation_data": data.validation, "verbose": 0, "shuffle": False, **arguments}
    model.fit(data.train, epochs=epochs, callbacks=[*callbacks, note], **options)
    return rates


@pytest.fixture
def never_better(monkeypatch):
    """The validation loss rises from epoch to epoch, so that patience runs out after as many epochs and one."""
    values = iter(range(10**6))
    monkeypatch.setattr(keras.Model, "evaluate", lambda *_, **__: {"loss": float(next(values))})


def test_patience_that_runs_out_on_the_plateau_starts_the_decay_and_the_training_ends_with_it(data, never_better):
    model = compiled(data, epochs=20, learning_rate=0.01)
    best = []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _: epoch or best.extend(model.get_weights()))
    rates = fit(model, data, 20, [training.EarlyDecay(patience=6), keep])
    # Patience runs out after 7 epochs, which are 70 % of 10: the decay takes 3.
    assert rates == pytest.approx([0.00275, 0.00525, 0.00775, *[0.01] * 4, 0.01 * 2 / 3, 0.01 / 3, 0], abs=1e-8)
    np.testing.assert_equal(model.get_weights(), best)


def test_patience_that_runs_out_in_the_decay_lets_it_end(data, never_better):
    assert len(fit(compiled(data, epochs=10), data, 10, [training.EarlyDecay(patience=7)])) == 10


def test_without_a_schedule_early_decay_stops_at_once(data, never_better):
    model = compiled(data, epochs=10)
    model.compile("adam", losses.SquaredError())
    assert len(fit(model, data, 10, [training.EarlyDecay(patience=2)])) == 3


def test_a_training_that_crashes_on_the_plateau_or_in_an_early_decay_ends_as_if_it_had_not(
    data, tmp_path, monkeypatch, without_pictures, evaluation_of_the_same_once
):
    """One call is an epoch here: patience runs out after the 14th, and the decay takes 6."""
    monkeypatch.setattr(checkpoint_callback, "_SECONDS_BETWEEN_EPOCHS", -1.0)
    monkeypatch.setattr(checkpoint_callback, "_SHARE_OF_WRITING", 1e9)

    def begin(run_dir):
        return runs.train(compiled(data, epochs=40), data, run_dir=run_dir, epochs=40, patience=13, verbose=0)

    def train(run_dir, function, **arguments):
        with monkeypatch.context() as patch:
            # The first epoch stays the best.
            patch.setattr(training.EarlyDecay, "_is_improvement", lambda self, *_: self.best is None)
            return function(run_dir, **arguments)

    expected = train(tmp_path / "expected", begin)
    assert len((expected.directory / "history.csv").read_text().splitlines()) == 1 + 20
    for call in (13, 18):
        run_dir = tmp_path / f"crashed in call {call}"
        with monkeypatch.context() as patch:
            at_call(patch, call)
            with pytest.raises(CrashError):
                train(run_dir, begin)
        assert_same(train(run_dir, runs.resume, data=data, verbose=0), expected)


def test_a_used_up_schedule_starts_anew(data, tmp_path, without_pictures):
    model = compiled(data, epochs=5)
    first, second = fit(model, data, 5), fit(model, data, 5)
    assert first[-1] == 0
    assert second == pytest.approx(first, abs=1e-9)
    before = model.get_weights()
    run = runs.train(model, data, run_dir=tmp_path / "run", epochs=5, verbose=0)
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, run.autoencoder.get_weights(), strict=True))


def test_more_epochs_than_compile_was_told_lengthen_the_schedule_and_fewer_leave_it(data):
    expected = fit(compiled(data, epochs=6), data, 6)
    assert fit(compiled(data, epochs=2), data, 6) == pytest.approx(expected)
    model = compiled(data, epochs=6)
    assert fit(model, data, 2) + fit(model, data, 6, initial_epoch=2) == pytest.approx(expected)
    assert schedule_of(model).end == 6 * NUM_BATCHES


@pytest.mark.parametrize(("steps", "expected"), [(3, 3), (7, 7), (10, 10)])
def test_steps_per_epoch_are_as_many_as_asked_for(data, steps, expected):
    model = compiled(data, epochs=1)
    assert model.steps_per_execution == NUM_BATCHES
    fit(model, data, 1, steps_per_epoch=steps)
    assert int(model.optimizer.iterations) == expected
    assert model.steps_per_execution == NUM_BATCHES


@pytest.mark.parametrize(
    "callback", [keras.callbacks.LearningRateScheduler(lambda *_: 0.1), keras.callbacks.ReduceLROnPlateau()]
)
def test_callbacks_that_set_the_learning_rate_are_refused_before_training(data, callback):
    model = compiled(data, epochs=1)
    with pytest.raises(ValueError, match=f"none that sets the learning rate.*; received {type(callback).__name__}"):
        fit(model, data, 1, [callback])
    assert int(model.optimizer.iterations) == 0
    model.compile("adam", losses.SquaredError())
    fit(model, data, 1, [callback])


def test_checkpoints_need_no_run_directory(data, tmp_path):
    def train(directory, epochs, compiled_for=6):
        model, early = compiled(data, epochs=compiled_for), training.EarlyDecay(patience=3)
        checkpoints = training.CheckpointCallback(directory, early)
        options = {"initial_epoch": checkpoints.epoch, "epochs": epochs, "verbose": 0, "shuffle": False}
        callbacks = [early, checkpoints]
        model.fit(data.train_from(checkpoints.epoch), validation_data=data.validation, callbacks=callbacks, **options)
        return model

    expected = train(tmp_path / "expected", 6)
    train(tmp_path / "stopped", 2)
    np.testing.assert_equal(train(tmp_path / "stopped", 6).get_weights(), expected.get_weights())
    train(tmp_path / "longer", 2, compiled_for=3)
    assert schedule_of(train(tmp_path / "longer", 6, compiled_for=3)).end == 6 * NUM_BATCHES
    model = models.dense((5,), latent_dim=2)
    model.compile("adam", losses.SquaredError())
    with pytest.raises(ValueError, match=r"with a model that tfae\.training\.compile compiled"):
        fit(model, data, 1, [training.CheckpointCallback(tmp_path / "other")])


@pytest.mark.parametrize(("argument", "value"), [("loss", "mse"), ("epochs", 0), ("learning_rate", -1.0)])
def test_compile_validates_its_arguments(data, argument, value):
    arguments = {"loss": losses.SquaredError(), "epochs": 1, argument: value}
    with pytest.raises(ValueError, match=f"{argument}: expected .*; received .*{value}"):
        training.compile(models.dense((5,), latent_dim=2), data=data, **arguments)
