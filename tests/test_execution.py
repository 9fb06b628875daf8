import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfae import datasets, losses, models, training
from tfae.schedule import adam
from tfae.training.execution import Execution, NonFiniteLossError, choose_execution, multiply_adds


def images(n=150, shape=(8, 8, 1)):
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype("uint8")


def loaded(n=150, batch_size=16):
    return datasets.load(images(n), batch_size=batch_size)


def build(architecture="dense", shape=(8, 8, 1), **arguments):
    keras.utils.set_random_seed(0)
    if architecture == "dense":
        return models.dense(shape, latent_dim=4, widths=(16,), **arguments)
    return models.convolutional(shape, latent_dim=4, filters=(4,), **arguments)


def compiled(architecture="dense", program=None, steps=3):
    model = build(architecture)
    model.compile(adam(40, 5e-3), loss=losses.SquaredError())
    if program is not None:
        Execution(model, program, steps).install()
    return model


@functools.cache
def plain_epoch(architecture):
    """The loss and the weights after an epoch of stock Keras."""
    plain = compiled(architecture)
    loss = plain.fit(loaded().train, epochs=1, verbose=0, shuffle=False).history["loss"]
    return loss, plain.get_weights()


@pytest.mark.parametrize(
    ("program", "architecture"),
    [("graph", "dense"), ("step", "dense"), ("loop", "dense"), ("keras", "dense"), ("graph", "convolutional")],
)
def test_an_epoch_equals_plain_keras_on_the_same_batches_last_partial_one_included(program, architecture):
    data = loaded()
    assert len(data.raw.train) % 16, "the last batch has to be smaller"
    loss, weights = plain_epoch(architecture)
    fast = compiled(architecture, program)
    history = fast.fit(data.train, epochs=1, verbose=0, shuffle=False).history
    np.testing.assert_allclose(history["loss"], loss, rtol=1e-5)
    for weight, other in zip(fast.get_weights(), weights, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-6)
    assert int(fast.optimizer.iterations) == 8


def test_groups_of_all_lengths_are_trained_by_one_compiled_program():
    model = compiled(program="loop", steps=4)
    model.fit(loaded().train, epochs=1, verbose=0, shuffle=False)  # Four batches, three, and a smaller one.
    assert model.train_function._run["loop"].experimental_get_tracing_count() == 1


@functools.cache
def weighted_history(program):
    """Of a training with a penalty, a metric and weights of the samples."""
    x = images() / np.float32(255)
    weight = np.linspace(0, 2, len(x)).astype("float32")
    model = build(bottleneck=models.Sparse(0.1))
    model.compile(adam(40, 5e-3), loss=losses.SquaredError(), weighted_metrics=["mae"])
    if program is not None:
        Execution(model, program, steps=4).install()
    return model.fit(x, x, sample_weight=weight, batch_size=32, epochs=2, shuffle=False, verbose=0).history


@pytest.mark.parametrize("program", ["graph", "loop"])
def test_regularizers_metrics_and_sample_weights_count_as_in_keras(program):
    fast, plain = weighted_history(program), weighted_history(None)
    assert fast.keys() == plain.keys()
    for name, values in plain.items():
        np.testing.assert_allclose(fast[name], values, rtol=1e-4)


def test_callbacks_validation_and_history_stay_those_of_keras():
    data, model = loaded(), compiled(program="graph")
    seen = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append((batch, logs["loss"])))
    options = {"epochs": 2, "verbose": 0, "shuffle": False, "callbacks": [callback]}
    history = model.fit(data.train, validation_data=data.validation, **options).history
    assert history.keys() == {"loss", "val_loss"}
    assert len(history["val_loss"]) == 2
    assert len(seen) == 2 * 3  # 8 batches in calls of 3
    assert seen[2][1] == history["loss"][0]


def test_stopping_in_the_middle_of_an_epoch_is_heard():
    model = compiled(program="graph", steps=2)
    stop = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: setattr(model, "stop_training", True))
    model.fit(loaded().train, epochs=5, verbose=0, shuffle=False, callbacks=[stop])
    assert int(model.optimizer.iterations) == 2


def test_skipped_batches_are_taken_and_not_trained_on_and_their_metrics_asked_for_once(monkeypatch):
    batches = list(loaded().train)
    model, other = compiled(program="graph", steps=2), compiled()
    model.train_function.num_skipped, asked, get = 6, [], model.get_metrics_result
    monkeypatch.setattr(model, "get_metrics_result", lambda: asked.append(tf.executing_eagerly()) or get())
    model.fit(loaded().train, epochs=1, verbose=0, shuffle=False)
    for x, y in batches[6:]:
        other.train_on_batch(x, y)
    assert model.train_function.num_skipped == 0
    assert asked.count(True) == 3  # For the three calls that skip, for the one that trains, and by Keras at the end.
    for weight, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


# In the first call of four batches and a later one, at its beginning, inside, and in the last, smaller batch.
@pytest.mark.parametrize(("program", "poisoned"), [("graph", 0), ("graph", 9), ("step", 5), ("loop", 3), ("loop", 8)])
def test_training_stops_at_the_batch_whose_loss_is_not_finite(program, poisoned):
    x = images(150) / np.float32(255)
    x[poisoned * 16] = np.nan
    model = compiled(program=program, steps=4)
    with pytest.raises(NonFiniteLossError, match="expected a finite loss; received NaN") as error:
        model.fit(x, x, batch_size=16, shuffle=False, verbose=0)
    assert error.value.index == poisoned % 4
    assert int(model.optimizer.iterations) == poisoned + 1


def test_a_long_training_of_a_dense_model_is_compiled_unless_xla_can_not_compile_a_layer():
    data, model = loaded(), compiled()
    assert choose_execution(model, data, epochs=3)["program"] == "graph"
    assert choose_execution(model, data, epochs=10_000)["program"] == "loop"
    assert choose_execution(compiled("convolutional"), data, epochs=100_000)["program"] == "graph"
    model.layers[-1].layers[-1].supports_jit = False
    assert choose_execution(model, data, epochs=100_000)["program"] == "graph"


def test_a_call_takes_no_more_batches_than_an_epoch_has_and_few_of_large_samples():
    assert choose_execution(compiled(), loaded(), epochs=1)["steps"] == 8
    large = datasets.load(images(40, (256, 256, 3)), batch_size=32)
    model = models.dense((256, 256, 3), latent_dim=1, widths=())
    model.compile("sgd", losses.SquaredError())
    assert choose_execution(model, large, epochs=1)["steps"] == 1


def test_eager_models_keep_the_train_function_of_keras_and_those_in_a_strategy_train_on_its_replicas():
    data = loaded()
    model = build()
    model.compile("sgd", losses.SquaredError(), run_eagerly=True)
    assert choose_execution(model, data, epochs=100_000) == {"program": "keras", "steps": 1}
    with training.make_strategy("mirrored").scope():
        model = compiled()
    chosen = choose_execution(model, data, epochs=100_000)
    assert chosen == {"program": "replicas", "steps": 1}
    execution = Execution(model, **chosen)
    execution.install()
    with execution.fitting():
        assert np.isfinite(model.fit(data.train, epochs=1, verbose=0, shuffle=False).history["loss"]).all()


def test_single_batches_can_be_trained_on_after_compile():
    model = build()
    training.compile(model, losses.SquaredError(), loaded(), epochs=1)
    x = images(16) / np.float32(255)
    assert np.isfinite(model.train_on_batch(x, x))


def test_a_train_step_of_ones_own_may_report_under_other_names():
    class Own(keras.Model):
        def train_step(self, data):
            return {"reconstruction_loss": super().train_step(data)["loss"]}

    inner = build()
    model = Own(inner.input, inner.output)
    model.compile("sgd", losses.SquaredError())
    Execution(model, "loop", steps=3).install()
    model.fit(loaded().train, epochs=1, verbose=0, shuffle=False)
    assert int(model.optimizer.iterations) == 8


def test_a_model_that_is_a_class_of_its_own_can_be_compiled_after_use():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.code, self.out = keras.layers.Dense(4), keras.layers.Dense(64)

        def call(self, x):
            return keras.ops.reshape(self.out(self.code(keras.ops.reshape(x, (-1, 64)))), (-1, 8, 8, 1))

    data, model = loaded(), Own()
    model(next(iter(data.validation))[0])
    training.compile(model, losses.SquaredError(), data, epochs=1)
    assert np.isfinite(model.fit(data.train, epochs=1, verbose=0, shuffle=False).history["loss"]).all()


def test_multiply_adds_of_dense_and_convolutional_layers_by_hand():
    assert multiply_adds(build()) == 64 * 16 + 16 * 4 + 4 * 16 + 16 * 64
    # 3x3 kernels: 1 to 4 channels at 4x4 places; a code of 4, and back to 4x4x4; 4 to 4 from 4x4 places; 4 to 1 at 8x8.
    by_hand = 9 * 4 * 16 + 64 * 4 + 4 * 64 + 9 * 4 * 4 * 16 + 9 * 4 * 1 * 64
    assert multiply_adds(build("convolutional")) == by_hand


def test_compile_takes_the_learning_rate_up_and_down_to_zero():
    data, model = loaded(), build()
    training.compile(model, losses.SquaredError(), data, epochs=5, learning_rate=0.01)
    rates = []
    for step in range(8 * 5 + 1):
        model.optimizer.iterations.assign(step)
        rates.append(float(model.optimizer.learning_rate))
    assert rates[:8] == pytest.approx([0.01 * step / 8 for step in range(1, 9)])  # a fifth of 40 steps
    assert rates[8:28] == pytest.approx([0.01] * 20)
    assert rates[28:] == pytest.approx([0.01 * step / 12 for step in range(12, -1, -1)])  # three tenths


@pytest.mark.parametrize(
    ("build", "peak"),
    [
        (build, 0.005),
        (lambda: build("convolutional"), 0.008),
        (lambda: keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2DTranspose(1, 1)]), 0.008),
    ],
    ids=["dense", "convolutional", "convolutions only"],
)
def test_convolutions_are_trained_with_a_higher_learning_rate(build, peak):
    model = build()
    training.compile(model, losses.SquaredError(), loaded(), epochs=5)
    model.optimizer.iterations.assign(20)
    assert float(model.optimizer.learning_rate) == pytest.approx(peak) == training.default_learning_rate(model)


@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_the_loss_scale_of_float16_is_that_of_keras_for_a_mean_and_fits_a_sum_over_many_elements(policy):
    model = build()
    training.compile(model, losses.SquaredError(sample_reduction="mean"), loaded(), epochs=1)
    model.optimizer.build(model.trainable_variables)
    assert float(model.optimizer.dynamic_scale) == 2.0**15
    shape = (128, 128, 3)
    model, data = build(shape=shape), datasets.load(images(64, shape), batch_size=8)
    training.compile(model, losses.SquaredError(), data, epochs=2)
    assert float(model.optimizer.dynamic_scale) == 2.0**-1  # 2¹⁵ / 2¹⁶, the next power of 2 above 49,152
    before = model.get_weights()
    history = model.fit(data.train, epochs=2, verbose=0, shuffle=False).history["loss"]
    assert history[1] < history[0]
    assert float(model.optimizer.dynamic_scale) >= 2.0**-4, "more than three steps were lost to overflows"
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("policy", ["mixed_bfloat16"], indirect=True)
def test_bfloat16_trains(policy):
    model, data = build(), loaded()
    training.compile(model, losses.BinaryCrossentropy(from_logits=True), data, epochs=3)
    history = model.fit(data.train, epochs=3, verbose=0, shuffle=False).history["loss"]
    assert history[-1] < history[0]
