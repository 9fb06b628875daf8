"""The activation of the last layer: bounded values, unbounded gradients."""

import json
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfae import datasets, models, training
from tfae.activations import Clip
from tfae.losses import AbsoluteError, SquaredError

RUNS = {
    "eager": lambda function: function,
    "graph": tf.function,
    "xla": lambda function: tf.function(function, jit_compile=True),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_values_are_clipped_and_gradients_are_not(run, dtype):
    @run
    def value_and_gradient(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            clipped = Clip(-1, 2)(values)
            # Powers of two, lest a dtype rounds them.
            total = tf.reduce_sum(clipped * tf.constant([1, 2, 4, 8, 16, 32], dtype))
        return clipped, tape.gradient(total, values)

    values = tf.constant([-math.inf, -1e4, -1, 0.5, 2.5, math.inf], dtype)
    clipped, gradient = value_and_gradient(values)
    assert clipped.dtype == gradient.dtype == values.dtype
    assert tf.cast(clipped, "float32").numpy().tolist() == [-1, -1, -1, 0.5, 2, 2]
    assert tf.cast(gradient, "float32").numpy().tolist() == [1, 2, 4, 8, 16, 32]
    assert np.isnan(run(Clip(0, 1))(tf.constant([math.nan])).numpy()).all()


@pytest.mark.parametrize("loss", [SquaredError(), AbsoluteError()], ids=["squared", "absolute"])
def test_the_loss_pulls_from_the_wrong_side_and_lets_go_beyond_the_right_end(loss):
    x, values = tf.constant([[0.0, 1.0, 0.0, 1.0, 0.25]]), tf.constant([[-3.0, 4.0, 5.0, -6.0, 0.5]])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = loss(x, Clip(0, 1)(values))
    black, white, black_as_white, white_as_black, between = tape.gradient(total, values).numpy()[0]
    assert black == white == 0
    assert black_as_white > 0 > white_as_black
    assert black_as_white == -white_as_black >= between > 0


def test_it_is_saved_with_the_model_and_found_without_custom_objects(tmp_path):
    inputs = keras.Input((4,))
    built = {
        "in_a_layer": (0, 1, keras.Sequential([inputs, layers.Dense(3, Clip(0, 1))])),
        "in_a_model": (-1, 1, models.convolutional((8, 8, 1), latent_dim=2, output_activation=Clip(-1, 1))),
        "in_the_functional_api": (0, 16, keras.Model(inputs, Clip(0, 16)(layers.Dense(3)(inputs)))),
    }
    for name, (low, high, model) in built.items():
        folder = tmp_path / name
        folder.mkdir()
        x = np.random.default_rng(0).normal(0, 1000, (5, *model.input_shape[1:])).astype("float32")
        expected = model(x).numpy()
        assert (expected.min(), expected.max()) == (low, high)
        model.save(folder / "model.keras")
        np.testing.assert_array_equal(keras.models.load_model(folder / "model.keras")(x), expected)
        np.savez(folder / "arrays.npz", x=x, expected=expected)
        model.export(folder / "exported")
        exported = tf.saved_model.load(folder / "exported")
        np.testing.assert_allclose(exported.serve(x), expected, rtol=1e-6, atol=1e-3)
        assert keras.models.clone_model(model).get_config().keys() == model.get_config().keys()
    elsewhere = (
        "import sys, keras, numpy as np, tfae\n"
        "for folder in sys.argv[1:]:\n"
        "    model, arrays = keras.models.load_model(f'{folder}/model.keras'), np.load(f'{folder}/arrays.npz')\n"
        "    np.testing.assert_array_equal(model(arrays['x']), arrays['expected'])"
    )
    subprocess.run([sys.executable, "-c", elsewhere, *built], cwd=tmp_path, check=True)


def test_equal_ones_are_equal_and_say_what_they_are():
    assert Clip(0, 1) == Clip(0.0, 1.0) != Clip(-1, 1)
    assert Clip(0, 1) != "linear"
    assert len({Clip(0, 1), Clip(0.0, 1.0), Clip(-1, 1)}) == 2
    assert repr(Clip(-0.5, 255)) == "Clip(-0.5, 255)"
    assert Clip.from_config(Clip(-0.5, 255).get_config()) == Clip(-0.5, 255)


def test_one_end_alone_bounds_values():
    at_least = Clip.from_config(json.loads(json.dumps(Clip(0, math.inf).get_config())))
    assert at_least([-3.0, 7.0]).numpy().tolist() == [0, 7]


@pytest.mark.parametrize("ends", [(1, 0), (1, 1), (math.nan, 1), (0, math.nan), (-math.inf, math.inf)])
def test_ends_that_are_not_a_range_are_refused(ends):
    with pytest.raises(ValueError, match="low, high: expected numbers, one of them finite, the lower first; received"):
        Clip(*ends)


@pytest.mark.parametrize("build", [models.dense, pytest.param(models.convolutional, marks=pytest.mark.slow)])
def test_absolute_error_leaves_the_median_of_mostly_black_images(build):
    """Behind a sigmoid, the same trainings end at the median: all black, from where no gradient comes."""
    rng = np.random.default_rng(0)
    images = np.zeros((512, 12, 12), "uint8")
    for image, (row, column) in zip(images, rng.integers(0, 8, (512, 2)), strict=True):
        image[row : row + 5, column : column + 5] = 255
    data = datasets.load(images, batch_size=32)

    def skill(activation):
        keras.utils.set_random_seed(0)
        model = build(data.shape, latent_dim=4, output_activation=activation)
        training.compile(model, AbsoluteError(), data, epochs=20)
        history = model.fit(data.train, epochs=20, validation_data=data.validation, verbose=0, shuffle=False)
        x = data.preprocessing(data.raw.validation)
        median = AbsoluteError()(x, tf.zeros_like(x))
        return 1 - min(history.history["val_loss"]) / float(median)

    assert skill("sigmoid") < 0.01
    assert skill(AbsoluteError().output_activation(data.output_range)) > 0.5
