import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfae import export, models, preprocessing
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
def test_models_reconstruct_samples_of_any_shape_by_an_encoder_and_a_decoder_that_work_alone(builder, shape):
    model, x = builder(shape, latent_dim=3), images(shape)
    assert model.output_shape == (None, *shape)
    assert model(x).shape == (16, *shape)
    latent = model.get_layer("encoder")(x)
    assert latent.shape == (16, 3)
    np.testing.assert_allclose(model.get_layer("decoder")(latent), model(x), rtol=1e-5, atol=1e-6)


@settings(max_examples=15)
@given(st.integers(4, 40), st.integers(4, 40), st.integers(1, 5), st.integers(1, 2))
def test_hypothesis_finds_no_image_size_that_does_not_fit(height, width, channels, depth):
    model = models.convolutional((height, width, channels), latent_dim=2, filters=(2,) * depth)
    assert model.output_shape == (None, height, width, channels)


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
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"], indirect=True)
def test_the_output_is_float32_under_every_policy_and_bounded_by_its_activation(builder, policy):
    model = builder((8, 8, 1), latent_dim=4, output_activation="sigmoid")
    assert model.get_layer("encoder").compute_dtype == policy.removeprefix("mixed_")
    output = model(1e3 * images((8, 8, 1)))
    assert output.dtype == "float32"
    assert 0 <= output.numpy().min() < output.numpy().max() <= 1


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

    def sizes(model, size):
        layers = [layer for half in ("encoder", "decoder") for layer in model.get_layer(half).layers]
        return [(getattr(layer, size), layer.activation.__name__) for layer in layers if hasattr(layer, size)]

    assert sizes(model, "units") == [(7, "tanh"), (5, "tanh"), (2, "linear"), (5, "tanh"), (7, "tanh"), (10, "linear")]
    model = models.convolutional((8, 8, 1), latent_dim=2, filters=(7, 5), activation="tanh")
    assert sizes(model, "filters") == [(7, "tanh"), (5, "tanh"), (5, "tanh"), (7, "tanh"), (1, "linear")]


@each_builder
@pytest.mark.parametrize("batch", [4, 16])
def test_the_penalty_is_summed_per_sample_averaged_over_the_batch_and_the_layer_has_it(builder, batch):
    model = builder((8, 8, 1), latent_dim=4, bottleneck=models.Sparse(0.25))
    model.compile("sgd", loss=SquaredError())
    x = images((8, 8, 1), batch)
    latent, output = model.get_layer("encoder")(x).numpy(), model(x).numpy()
    penalty = 0.25 * np.abs(latent).sum(axis=1).mean()
    (added,) = model.get_layer("encoder").get_layer("sparse").losses
    np.testing.assert_allclose(added, penalty, rtol=1e-5)
    expected = np.mean(np.sum((x - output) ** 2, axis=(1, 2, 3))) + penalty
    np.testing.assert_allclose(model.evaluate(x, x, batch_size=batch, verbose=0), expected, rtol=1e-5)


@each_builder
def test_a_sparse_bottleneck_trains_as_a_dense_layer_with_an_activity_regularizer(builder):
    probe = keras.layers.Dense(1, activity_regularizer=lambda z: keras.ops.ones(()))
    probe(np.zeros((16, 1)))
    (share,) = probe.losses  # Some versions of Keras divide it by the batch size, 16.
    x, weights = images((8, 8, 1), 32), []
    for bottleneck in (None, models.Sparse(0.25)):
        keras.utils.set_random_seed(3)
        model = builder((8, 8, 1), latent_dim=4, bottleneck=bottleneck)
        if bottleneck is None:
            regularizer = keras.regularizers.L1(0.25 / 16 / float(share))
            model.get_layer("encoder").get_layer("latent").activity_regularizer = regularizer
        model.compile("adam", loss=SquaredError())
        model.fit(x, x, epochs=3, batch_size=16, verbose=0)
        weights.append(model.get_weights())
    for plain, sparse in zip(*weights, strict=True):
        np.testing.assert_allclose(sparse, plain, rtol=1e-4, atol=1e-6)


@keras.saving.register_keras_serializable("tests")
class Variational(keras.layers.Layer):
    """Two heads, a sample of the normal distribution that they describe, and a KL divergence."""

    def __init__(self, latent_dim=None, **kwargs):
        super().__init__(**kwargs)
        self.latent_dim = latent_dim
        self.seed_generator = keras.random.SeedGenerator(0)

    def build(self, input_shape):
        self.heads = keras.layers.Dense(2 * self.latent_dim)
        self.heads.build(input_shape)

    def call(self, features, training=False):
        mean, log_variance = keras.ops.split(self.heads(features), 2, axis=-1)
        kl = keras.ops.sum(mean**2 + keras.ops.exp(log_variance) - 1 - log_variance, axis=-1) / 2
        self.add_loss(keras.ops.mean(kl))
        noise = keras.random.normal(keras.ops.shape(mean), seed=self.seed_generator)
        return mean + keras.ops.exp(log_variance / 2) * noise if training else mean

    def get_config(self):
        return {**super().get_config(), "latent_dim": self.latent_dim}


class _Unsaved(keras.layers.Layer):
    """Its get_config does not say its width."""

    def __init__(self, width, **options):
        super().__init__(**options)
        self.width = width

    def call(self, features):
        return features[:, : self.width]

    def get_config(self):
        return {"name": self.name}


BOTTLENECKS = {
    "sparse": models.Sparse(0.1),
    "of Keras": keras.Sequential([keras.layers.Dense(4), keras.layers.UnitNormalization()]),
    "variational": Variational(),
}


@pytest.mark.parametrize(
    ("builder", "name"), [(models.dense, name) for name in BOTTLENECKS] + [(models.convolutional, "sparse")]
)
def test_models_of_any_bottleneck_train_alone_and_survive_a_keras_file_and_an_export(builder, name, tmp_path):
    bottleneck = BOTTLENECKS[name]
    model, other = (builder((9, 7, 2), latent_dim=4, input_noise=0.1, bottleneck=bottleneck) for _ in range(2))
    model.compile("adam", loss=SquaredError())
    x, before = images((9, 7, 2)), other.get_weights()
    model.fit(x, x, verbose=0)
    assert all(map(np.array_equal, before, other.get_weights()))
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(x), model(x), rtol=1e-6)
    fitted = preprocessing.fit("none", x, kind="image", value_range=(0, 1))
    exported = export.load(export.save(model, tmp_path / "exported", preprocessing=fitted, ignore=["range"]))
    np.testing.assert_allclose(exported.encode(x), model.get_layer("encoder")(x), rtol=1e-4, atol=1e-5)


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
        ("dense", (8,), {"bottleneck": "sparse"}, "bottleneck: expected a Keras layer, .*received 'sparse'"),
        ("dense", (8,), {"bottleneck": keras.layers.Dense(3)}, r"shape \(None, 2\).*which returns \(None, 3\)"),
        ("dense", (8,), {"bottleneck": models.Sparse(1, 3)}, r"'sparse', .*\(None, 3\)"),
        ("dense", (8,), {"bottleneck": _Unsaved(2)}, "that its get_config.* builds again"),
        ("convolutional", (28, 28), {"filters": ()}, "filters: expected one to 5 entries"),
        ("convolutional", (3, 9, 1), {}, r"sides of at least 4; received \(3, 9, 1\)"),
        ("convolutional", (9,), {}, r"\(height, width, channels\) or \(time, channels\)"),
        ("convolutional", (4, 4, 1), {"filters": (1,) * 4}, r"expected one to 2 entries.*received 4"),
    ],
)
def test_arguments_out_of_range_are_named(build, shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        BUILDERS[build](shape, **{"latent_dim": 2, **arguments})
