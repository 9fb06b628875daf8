"""Trainings on the replicas of a MirroredStrategy: tests/test_strategies.py runs them, with 2 devices and with 3.

They take processes of their own: TensorFlow divides a CPU into devices only before it computes anything, and the
replicas of two strategies of different sizes do not find each other.
"""

import contextlib
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.crashes import CrashError, at_call
from tfae import datasets, export, losses, models, runs, training
from tfae.training import checkpoint_callback
from tfae.training.execution import Execution, choose_execution
from tfae.training.replicas import Replicas

NUM_REPLICAS = int(os.environ["NUM_REPLICAS"])
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * NUM_REPLICAS
)
BATCH_SIZE = 20


def loaded(**options):
    """Batches of 20 and, at the end, one of 3 to train on and one of 1 to validate on."""
    latents = np.random.default_rng(0).normal(size=(250, 2))
    table = (latents @ np.random.default_rng(1).normal(size=(2, 6))).astype("float32")
    data = datasets.load(table, batch_size=BATCH_SIZE, splits=(203 / 250, 21 / 250, 26 / 250), **options)
    assert [len(samples) % BATCH_SIZE for samples in data.raw[:2]] == [3, 1]
    return data


def scope(num_replicas=NUM_REPLICAS):
    """That of the strategy, or of a single device."""
    return contextlib.nullcontext() if num_replicas == 1 else training.make_strategy("mirrored").scope()


def build(num_replicas=NUM_REPLICAS, **options):
    keras.utils.set_random_seed(0)
    with scope(num_replicas):
        return models.dense((6,), latent_dim=2, widths=(16,), **options)


def compiled(num_replicas=NUM_REPLICAS, optimizer="adam", loss=None, **options):
    model = build(num_replicas, **options)
    with model.distribute_strategy.scope():
        model.compile(keras.optimizers.get(optimizer), loss or losses.SquaredError())
    return model


@pytest.mark.parametrize(("optimizer", "bottleneck"), [("sgd", models.Sparse(l1=0.1)), ("adam", None)])
def test_an_epoch_with_a_partial_last_batch_gives_the_weights_and_losses_of_one_device(optimizer, bottleneck):
    data, found = loaded(sample_weight=np.linspace(0, 2, 250)), []
    for num_replicas in (1, NUM_REPLICAS):
        model = build(num_replicas, bottleneck=bottleneck)
        training.compile(model, losses.SquaredError(), data, epochs=1)
        if optimizer == "sgd":
            with model.distribute_strategy.scope():
                model.optimizer = keras.optimizers.SGD(1e-3)
                model.optimizer.build(model.trainable_variables)
        options = {"validation_data": data.validation, "verbose": 0, "shuffle": False}
        found.append((model.fit(data.train_from(0), **options).history, model.get_weights()))
    (expected_history, expected_weights), (history, weights) = found
    assert history.keys() == expected_history.keys()
    for name, values in history.items():
        np.testing.assert_allclose(values, expected_history[name], rtol=1e-5, err_msg=name)
    received, expected = (np.concatenate([each.ravel() for each in of]) for of in (weights, expected_weights))
    assert np.linalg.norm(received - expected) <= 1e-6 * np.linalg.norm(expected)


def test_what_the_progress_bar_tells_is_the_mean_over_all_replicas():
    told = []

    class Tell(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            told[-1].append(float(logs["loss"]))

    data = loaded()
    for num_replicas in (1, NUM_REPLICAS):
        told.append([])
        model = build(num_replicas)
        training.compile(model, losses.SquaredError(), data, epochs=1)
        Execution(model, model.train_function.program, steps=1).install()
        with model.train_function.fitting():
            model.fit(data.train_from(0), verbose=0, shuffle=False, callbacks=[Tell()])
    np.testing.assert_allclose(told[1], told[0], rtol=1e-5)


def test_replicas_draw_apart_in_training_and_a_seed_is_the_same_on_all_before_and_after():
    data, model = loaded(), build(bottleneck=models.Gaussian())
    training.compile(model, losses.SquaredError(), data, epochs=1)
    [state] = [variable for variable in model.variables if "seed_generator_state" in variable.path]
    first, seen = np.array(state.value), []

    strategy = model.distribute_strategy

    def states():
        return [tuple(np.array(each)) for each in strategy.experimental_local_results(state.value)]

    look = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(states()))
    model.fit(data.train, verbose=0, shuffle=False, callbacks=[look])
    assert [len(set(each)) for each in seen] == [NUM_REPLICAS] * 11
    assert len(set(states())) == 1
    assert states()[0][0] == first[0]
    assert states()[0][1] > first[1]


def train(run_dir, crash_at=None):
    """A run, to the end or to the call that crashes; called again, it goes on."""
    model = build(bottleneck=models.Gaussian(kl_warmup=0.5))
    options = {"loss": losses.SquaredError(), "epochs": 3, "verbose": 0, "or_resume": True}
    with pytest.MonkeyPatch.context() as patch:
        if crash_at is None:
            return runs.train(model, loaded(), run_dir=run_dir, **options)
        at_call(patch, crash_at)
        with pytest.raises(CrashError):
            runs.train(model, loaded(), run_dir=run_dir, **options)
    return run_dir


@pytest.fixture(scope="module")
def undisturbed(without_pictures, evaluation_of_the_same_once, tmp_path_factory):
    return train(tmp_path_factory.mktemp("undisturbed") / "run")


def test_a_run_that_crashed_in_an_epoch_ends_with_the_same_bits_or_goes_on_with_other_replicas_and_says_so(
    undisturbed, tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoint_callback, "_SECONDS_BETWEEN", -1.0)
    monkeypatch.setattr(checkpoint_callback, "_SHARE_OF_WRITING", 1e9)
    crashed = train(tmp_path / "crashed", crash_at=5)  # In an epoch.
    shutil.copytree(crashed, tmp_path / "copied")
    train(crashed, crash_at=17)  # At the beginning of another.
    run = train(crashed)
    for received, expected in zip(run.autoencoder.get_weights(), undisturbed.autoencoder.get_weights(), strict=True):
        np.testing.assert_array_equal(received, expected)
    assert run.evaluation == undisturbed.evaluation
    again = train(crashed)  # Finished, it is loaded.
    assert again.evaluation == run.evaluation
    with pytest.warns(UserWarning, match=f"began with replicas {NUM_REPLICAS} and goes on with replicas 1"):
        run = runs.resume(tmp_path / "copied", data=loaded(), verbose=0)
    assert np.isfinite(run.evaluation.loss)


def test_a_run_gives_a_model_outside_of_the_strategy_that_is_exported(undisturbed, tmp_path):
    run = undisturbed
    assert run.config["num_replicas"] == NUM_REPLICAS
    assert not run.autoencoder._distribute_strategy
    exported = export.load(run.export(tmp_path / "export"))
    x = loaded().raw.test
    expected = run.autoencoder.loss.per_sample(*(run.preprocessing(x), run.autoencoder(run.preprocessing(x))))
    np.testing.assert_allclose(exported.score(x), expected, rtol=1e-5)


def test_a_loss_that_is_not_finite_on_one_replica_stops_the_training_at_its_batch(tmp_path):
    data = loaded()
    model = compiled(optimizer=keras.optimizers.SGD(1e30))
    with pytest.raises(ValueError, match=r"received NaN or infinity in epoch 1, batch \d"):
        runs.train(model, data, epochs=1, run_dir=tmp_path / "run", verbose=0)


def test_what_depends_on_how_a_batch_is_divided_is_refused_before_training(tmp_path, monkeypatch):
    class Own(keras.Model):
        def train_step(self, data):
            return super().train_step(data)

    def own():
        inner = build()
        with inner.distribute_strategy.scope():
            model = Own(inner.input, inner.output)
            model.compile("adam", losses.SquaredError())
        return model

    def normalised(**options):
        keras.utils.set_random_seed(0)
        with scope():
            inputs = keras.Input((6,))
            outputs = keras.layers.Dense(6)(keras.layers.BatchNormalization(**options)(inputs))
            model = keras.Model(inputs, outputs)
            model.compile("adam", losses.SquaredError())
        return model

    sgd = keras.optimizers.SGD
    for make, message in (
        (own, "expected a model with the train_step of Keras"),
        (normalised, r"expected BatchNormalization\(synchronized=True\)"),
        (lambda: compiled(optimizer=sgd(global_clipnorm=1.0)), "expected none with global_clipnorm"),
        (lambda: compiled(optimizer=sgd(gradient_accumulation_steps=2)), "expected none with gradient_accum"),
        (lambda: compiled(loss=losses.SquaredError(reduction="sum")), "expected reduction='sum_over_batch_size'"),
        (lambda: compiled(loss=losses.GaussianNLL()), "depends on the whole batch. Give it sigma"),
        (lambda: compiled(bottleneck=models.Gaussian(free_bits=0.1)), "free_bits: expected 0"),
    ):
        with pytest.raises(ValueError, match=message):
            runs.train(make(), loaded(), run_dir=tmp_path / "run", verbose=0)
    samples = np.random.default_rng(0).normal(size=(51, 6))
    data = datasets.load(samples, batch_size=20, splits=(41 / 51, 5 / 51, 5 / 51))
    with pytest.raises(ValueError, match=f"at least {NUM_REPLICAS} samples in the last batch of an epoch"):
        runs.train(compiled(), data, run_dir=tmp_path / "run", verbose=0)
    data = loaded()
    with monkeypatch.context() as patch:
        patch.setattr(keras, "version", lambda: "3.9.2")
        with pytest.raises(ValueError, match=r"Keras 3\.10 or newer .*; received 3\.9\.2,"):
            runs.train(compiled(), data, run_dir=tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()
    assert choose_execution(normalised(synchronized=True), data, epochs=1)["program"] == "replicas"
    runs.train(normalised(synchronized=True), data, epochs=1, run_dir=tmp_path / "run", verbose=0)


def test_what_workers_have_differently_and_where_one_fails_is_told_to_all():
    from tfae.training import strategies

    strategy = training.make_strategy("mirrored")
    assert strategies.ask_chief(strategy, 7) == 7
    strategies.validate_agreement(strategy, {"epochs": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strategies, "_gather", lambda _, values: np.array([values, values + 1]))
        with pytest.raises(ValueError, match="expected all workers to have the same data"):
            strategies.validate_agreement(strategy, {"epochs": 1})
        patch.setattr(strategies, "_gather", lambda _, values: np.array([values, 0 * values]))
        with pytest.raises(ValueError, match="one does not"), strategies.together(strategy):
            pass
        with pytest.raises(OSError, match="own"), strategies.together(strategy):
            raise OSError("own")


def test_batches_are_cut_in_their_order():
    model = compiled()
    parts, sizes = Replicas(model, model.distribute_strategy)._cut((tf.range(8), tf.range(8)))
    of_three, of_two = [[0, 1], [2, 3, 4], [5, 6, 7]], [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [part[0].numpy().tolist() for part in parts] == (of_three if NUM_REPLICAS == 3 else of_two)
    assert sizes.tolist() == [len(part[0]) for part in parts]
