import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfae import models
from tfae.losses import BinaryCrossentropy, SquaredError

BUILDERS = {"dense": models.dense, "convolutional": models.convolutional}
each_builder = pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS.keys())


def images(shape, n=16):
    return np.random.default_rng(0).random((n, *shape)).astype("float32")


@pytest.mark.parametrize(
    ("builder", "shape"),
    [(models.dense, shape) for shape in [(7,), (5, 3), (8, 8, 1), (3, 4, 5, 2)]]
    + [
        (models.convolutional, shape)
        for shape in [(4, 4, 1), (5, 7, 2), (28, 28, 1), (29, 31, 3), (9, 4, 12), (4, 1), (101, 3)]
    ],
)
def test_models_reconstruct_samples_of_any_shape(builder, shape):
    model = builder(shape, latent_dim=3)
    assert model.output_shape == (None, *shape)
    assert model(images(shape)).shape == (16, *shape)


@settings(max_examples=15)
@given(st.integers(4, 40), st.integers(4, 40), st.integers(1, 5), st.integers(1, 2))
def test_hypothesis_finds_no_image_size_that_does_not_fit(height, width, channels, depth):
    model = models.convolutional((height, width, channels), latent_dim=2, filters=(2,) * depth)
    assert model.output_shape == (None, height, width, channels)


@each_builder
def test_encoder_and_decoder_work_alone_and_make_up_the_model(builder):
    model = builder((8, 8, 1), latent_dim=5)
    x = images((8, 8, 1))
    code = model.get_layer("encoder")(x)
    assert code.shape == (16, 5)
    np.testing.assert_allclose(model.get_layer("decoder")(code), model(x), rtol=1e-5, atol=1e-6)


@each_builder
def test_plain_fit_lowers_the_loss(builder):
    keras.utils.set_random_seed(0)
    loss = BinaryCrossentropy(from_logits=True)
    model = builder((8, 8, 1), latent_dim=4, output_activation=loss.output_activation((0.0, 1.0)))
    model.compile("adam", loss=loss)
    x = np.repeat((images((8, 8, 1), 4) > 0.5).astype("float32"), 16, axis=0)
    history = model.fit(x, x, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


@each_builder
def test_the_output_activation_is_that_of_the_last_layer(builder):
    model = builder((8, 8, 1), latent_dim=4, output_activation="sigmoid")
    output = model(1e3 * images((8, 8, 1))).numpy()
    assert output.min() >= 0
    assert output.max() <= 1


@each_builder
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"], indirect=True)
def test_the_output_is_float32_under_mixed_policies(builder, policy):
    model = builder((8, 8, 1), latent_dim=4)
    assert model.get_layer("encoder").compute_dtype == policy.removeprefix("mixed_")
    assert model(images((8, 8, 1))).dtype == "float32"


@each_builder
def test_input_noise_corrupts_in_training_only(builder):
    model = builder((8, 8, 1), latent_dim=4, input_noise=0.5)
    x = images((8, 8, 1))
    np.testing.assert_array_equal(model(x, training=False), model(x, training=False))
    assert np.abs(model(x, training=True) - model(x, training=False)).max() > 1e-3


def test_the_target_of_a_denoising_autoencoder_is_the_clean_sample():
    # An identity passes the noise on: measured against the clean sample, its error is the noise's variance.
    model = models.dense((100,), latent_dim=100, widths=(), input_noise=0.5)
    for half in ("encoder", "decoder"):
        kernel, bias = model.get_layer(half).weights
        kernel.assign(np.eye(100))
        bias.assign(np.zeros(100))
    model.compile(keras.optimizers.SGD(0.0), loss=SquaredError(sample_reduction="mean"))
    x = np.random.default_rng(0).random((256, 100)).astype("float32")
    (loss,) = model.fit(x, x, verbose=0).history["loss"]
    np.testing.assert_allclose(loss, 0.25, rtol=0.05)
    np.testing.assert_allclose(model.evaluate(x, x, verbose=0), 0, atol=1e-9)


def test_the_decoder_mirrors_the_encoder():
    model = models.dense((10,), latent_dim=2, widths=(7, 5), activation="tanh")
    layers = [layer for half in ("encoder", "decoder") for layer in model.get_layer(half).layers]
    dense = [(layer.units, layer.activation.__name__) for layer in layers if isinstance(layer, keras.layers.Dense)]
    assert dense == [(7, "tanh"), (5, "tanh"), (2, "linear"), (5, "tanh"), (7, "tanh"), (10, "linear")]
    model = models.convolutional((8, 8, 1), latent_dim=2, filters=(7, 5), activation="tanh")
    layers = [layer for half in ("encoder", "decoder") for layer in model.get_layer(half).layers]
    convolutions = [(layer.filters, layer.activation.__name__) for layer in layers if hasattr(layer, "filters")]
    assert convolutions == [(7, "tanh"), (5, "tanh"), (5, "tanh"), (7, "tanh"), (1, "linear")]


@each_builder
@pytest.mark.parametrize("batch", [4, 16])
def test_the_code_penalty_is_summed_per_sample_and_averaged_over_the_batch(builder, batch):
    model = builder((8, 8, 1), latent_dim=4, code_l1=0.25)
    model.compile("sgd", loss=SquaredError())
    x = images((8, 8, 1), batch)
    code, output = model.get_layer("encoder")(x).numpy(), model(x).numpy()
    expected = np.mean(np.sum((x - output) ** 2, axis=(1, 2, 3)) + 0.25 * np.abs(code).sum(axis=1))
    np.testing.assert_allclose(model.evaluate(x, x, batch_size=batch, verbose=0), expected, rtol=1e-5)


@each_builder
def test_models_survive_a_keras_file(builder, tmp_path):
    model = builder((9, 7, 2), latent_dim=4, input_noise=0.1, code_l1=0.1)
    model.save(tmp_path / "model.keras")
    x = images((9, 7, 2))
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(x), model(x), rtol=1e-6)


def test_a_linear_autoencoder_has_no_hidden_layers_and_integers_of_numpy_are_integers():
    assert models.dense((6,), latent_dim=2, widths=()).count_params() == 6 * 2 + 2 + 2 * 6 + 6
    assert models.dense(np.array([3, 2]), latent_dim=np.int64(2), widths=np.array([4])).output_shape == (None, 3, 2)


@pytest.mark.parametrize(
    ("build", "shape", "arguments", "message"),
    [
        ("dense", (8, -1), {}, r"shape: expected positive integers; received \(8, -1\)"),
        ("dense", (), {}, r"shape: expected the dimensions of one sample, without the batch; received \(\)"),
        ("dense", 4, {}, "shape: expected positive integers; received 4"),
        ("dense", (8,), {"latent_dim": 0}, r"latent_dim: expected positive integers; received \[0\]"),
        ("dense", (8,), {"widths": (4, -1)}, r"widths: expected positive integers; received \(4, -1\)"),
        ("dense", (8,), {"widths": 8}, "widths: expected positive integers; received 8"),
        ("dense", (8,), {"input_noise": 2}, r"input_noise: expected a standard deviation in \[0, 1\]; received 2"),
        ("dense", (8,), {"code_l1": float("nan")}, "code_l1: expected a weight of 0 or more; received nan"),
        ("convolutional", (28, 28), {"filters": ()}, "filters: expected one to 5 entries"),
        ("convolutional", (3, 9, 1), {}, r"sides of at least 4; received \(3, 9, 1\)"),
        ("convolutional", (9,), {}, r"\(height, width, channels\) or \(time, channels\)"),
        ("convolutional", (4, 4, 1), {"filters": (1,) * 4}, r"expected one to 2 entries.*received 4"),
    ],
)
def test_arguments_out_of_range_are_named(build, shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        BUILDERS[build](shape, **{"latent_dim": 2, **arguments})
