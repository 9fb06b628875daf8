"""Trainings under sum and mean that are to take the same steps, and figures by hand."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy import optimize

from tfae import models
from tfae.losses import AbsoluteError, SquaredError, convert

SHAPE = (3, 4, 2)
X = np.random.default_rng(0).normal(size=(16, *SHAPE)).astype("float32")
SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam


class Constant(layers.Layer):
    """The same reconstruction for all samples, whose squared elements, times a weight, are added to the loss."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def build(self, input_shape):
        self.constant = self.add_weight(shape=input_shape[1:], initializer="zeros")

    def call(self, inputs):
        self.add_loss(self.weight * ops.sum(self.constant**2))
        return 0 * inputs + self.constant


def trained(optimizer, penalty_weight, sample_reduction, num_steps=8, loss=SquaredError):
    """The weights after each of some steps, all in one vector."""
    keras.utils.set_random_seed(0)
    model = models.dense(SHAPE, latent_dim=2, widths=(5,), activation="tanh", code_l1=penalty_weight)
    model.compile(optimizer, loss=loss(sample_reduction=sample_reduction), run_eagerly=True)
    path = []
    for _ in range(num_steps):
        model.train_on_batch(X, X)
        path.append(np.concatenate([np.ravel(weight) for weight in model.get_weights()]))
    return np.array(path)


SETTINGS = {
    "SGD": (functools.partial(SGD, 2e-3), 0.5),
    "momentum": (functools.partial(SGD, 1e-3, momentum=0.9, nesterov=True), 0.5),
    "clipnorm": (functools.partial(SGD, 1e-2, clipnorm=1.0), 0.5),
    "clipvalue": (functools.partial(SGD, 1e-2, clipvalue=0.7), 0.5),
    "global clipnorm": (functools.partial(SGD, 1e-2, global_clipnorm=5.0), 0.5),
    "weight decay": (functools.partial(SGD, 2e-3, weight_decay=5.0), 0.5),
    "Adam": (functools.partial(Adam, 1e-2, epsilon=1.0), 0.5),
    "Adam, default epsilon": (functools.partial(Adam, 1e-2), 0.5),
    "Adam, clipped": (functools.partial(Adam, 1e-2, epsilon=1.0, clipvalue=0.7, amsgrad=True), 0.5),
    "AdamW": (functools.partial(keras.optimizers.AdamW, 1e-2, epsilon=1.0, weight_decay=1.0), 0.5),
    "Adamax": (functools.partial(keras.optimizers.Adamax, 1e-2, epsilon=1.0), 0.5),
    "Nadam": (functools.partial(keras.optimizers.Nadam, 1e-2, epsilon=1.0), 0.5),
    "Lion": (functools.partial(keras.optimizers.Lion, 1e-3, weight_decay=1.0), 0.5),
    "no penalty": (functools.partial(SGD, 2e-3), 0.0),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("to", ["mean", "sum"])
def test_converted_settings_take_the_same_steps(name, to):
    make, penalty_weight = SETTINGS[name]
    optimizer = make() if to == "mean" else convert(make(), SHAPE, to="mean").optimizer
    penalty_weight = penalty_weight if to == "mean" else penalty_weight / 24
    converted = convert(optimizer, SHAPE, to=to, penalty_weight=penalty_weight)
    expected = trained(optimizer, penalty_weight, {"mean": "sum", "sum": "mean"}[to])
    steps = trained(converted.optimizer, converted.penalty_weight, to)
    assert np.abs(np.diff(expected, axis=0)).max(axis=1).min() > 1e-4
    np.testing.assert_allclose(steps, expected, atol=2e-5)


def test_absolute_error_takes_the_same_steps_too():
    converted = convert(SGD(1e-2, clipnorm=1.0), SHAPE, to="mean", penalty_weight=0.5)
    expected = trained(SGD(1e-2, clipnorm=1.0), 0.5, "sum", loss=AbsoluteError)
    np.testing.assert_allclose(
        trained(converted.optimizer, converted.penalty_weight, "mean", loss=AbsoluteError), expected, atol=2e-5
    )


@pytest.mark.parametrize("name", ["SGD", "clipnorm", "clipvalue", "global clipnorm", "weight decay", "Adam"])
def test_each_setting_matters_so_that_the_comparison_of_steps_can_fail(name):
    make, penalty_weight = SETTINGS[name]
    converted = convert(make(), SHAPE, to="mean", penalty_weight=penalty_weight)
    expected = trained(make(), penalty_weight, "sum")
    left_out = {"SGD": "learning_rate", "weight decay": "weight_decay", "Adam": "epsilon"}.get(
        name, name.replace(" ", "_")
    )
    config = {**converted.optimizer.get_config(), left_out: make().get_config()[left_out]}
    unconverted = type(converted.optimizer).from_config(config)
    assert np.abs(trained(unconverted, converted.penalty_weight, "mean") - expected).max() > 1e-3
    assert np.abs(trained(converted.optimizer, penalty_weight, "mean") - expected).max() > 1e-3


def test_the_optimum_is_the_same_and_an_unconverted_penalty_weighs_as_many_times_as_there_are_elements():
    column = X[:, 0, 0, 0].astype("float64")

    def expected(weight):
        """The constant that is best for one element, under the sum, by scipy."""
        return optimize.minimize_scalar(lambda c: np.mean((column - c) ** 2) + weight * c**2).x

    def constant(weight, sample_reduction, optimizer):
        inputs = keras.Input(SHAPE)
        model = keras.Model(inputs, Constant(weight)(inputs))
        model.compile(optimizer, loss=SquaredError(sample_reduction=sample_reduction), run_eagerly=True)
        for _ in range(100):
            model.train_on_batch(X, X)
        return np.ravel(model.get_weights()[0])[0]

    converted = convert(SGD(0.05), SHAPE, to="mean", penalty_weight=2.0)
    np.testing.assert_allclose(constant(2.0, "sum", SGD(0.05)), expected(2.0), rtol=1e-4)
    np.testing.assert_allclose(
        constant(converted.penalty_weight, "mean", converted.optimizer), expected(2.0), rtol=1e-4
    )
    np.testing.assert_allclose(constant(2.0, "mean", SGD(0.05)), expected(24 * 2.0), rtol=1e-4)


def test_there_and_back_again_is_where_it_began():
    optimizer = SGD(0.01, momentum=0.9, clipnorm=2.0, weight_decay=0.3)
    there = convert(optimizer, (28, 28, 1), to="mean", penalty_weight=0.1)
    back = convert(there.optimizer, 784, to="sum", penalty_weight=there.penalty_weight)
    before, after = optimizer.get_config(), back.optimizer.get_config()
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value)
    assert back.penalty_weight == pytest.approx(0.1)
    assert (there.sample_reduction, back.sample_reduction) == ("mean", "sum")
    assert (there.factor, back.factor) == (1 / 784, 784)


def test_an_optimizer_can_be_named_and_a_schedule_of_adam_stays():
    assert convert("adam", 784, to="sum").optimizer.epsilon == pytest.approx(7.84e-5)
    assert float(convert("sgd", 784, to="mean").optimizer.learning_rate) == pytest.approx(7.84)
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 50)
    converted = convert(Adam(schedule), SHAPE, to="mean").optimizer
    assert float(converted.learning_rate) == pytest.approx(0.1)
    assert converted.get_config()["learning_rate"]["config"]["decay_steps"] == 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SGD(), 784, "max"), "to: expected the sample_reduction .* received 'max'"),
        ((SGD(), 0, "mean"), r"shape: expected the shape of a sample, .* received 0\."),
        ((SGD(), (None, 3), "mean"), r"shape: .* received \(None, 3\)"),
        ((SGD(), (), "mean"), r"shape: .* received \(\)"),
        ((SGD(), 7.5, "mean"), r"shape: .* received 7\.5"),
        ((keras.optimizers.RMSprop(), 784, "mean"), "optimizer: expected one of SGD, Adam, .*; received RMSprop"),
        (
            (SGD(keras.optimizers.schedules.CosineDecay(0.1, 50)), 784, "mean"),
            "number as learning_rate; received the schedule CosineDecay.* multiply what the schedule returns by 784",
        ),
    ],
)
def test_what_can_not_be_converted_is_refused(arguments, message):
    optimizer, shape, to = arguments
    with pytest.raises(ValueError, match=message):
        convert(optimizer, shape, to=to)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(ValueError, match="penalty_weight: expected a finite weight of 0 or more; received"):
        convert("adam", 784, to="mean", penalty_weight=weight)
