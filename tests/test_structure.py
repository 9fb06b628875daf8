"""The encoder and the decoder inside of a model, and what is said of a model that is no autoencoder."""

import keras
import numpy as np
import pytest
from keras import layers

from tfae import datasets, export, training
from tfae.evaluation import evaluate
from tfae.losses import SquaredError
from tfae.models import structure
from tfae.models.structure import find_decoder, find_encoder, latent_dim_of


def halves(dim=3, latent_dim=2):
    """An encoder and a decoder that multiply by 2 and by 3."""
    parts = []
    for name, takes, emits, factor in (("encoder", dim, latent_dim, 2.0), ("decoder", latent_dim, dim, 3.0)):
        x = keras.Input((takes,))
        parts.append(
            keras.Model(
                x,
                layers.Dense(emits, use_bias=False, kernel_initializer=keras.initializers.Identity(factor))(x),
                name=name,
            )
        )
    return parts


@keras.saving.register_keras_serializable("tests")
class Calling(keras.Model):
    """Calls its encoder with half of a sample, and twice, where it is told so."""

    def __init__(self, factor=1.0, times=1, more=0.0, **kwargs):
        super().__init__(**kwargs)
        self.factor, self.times, self.more = factor, times, more
        self.encoder, self.decoder = halves()

    def call(self, inputs):
        latents = [self.encoder(self.factor * inputs) for _ in range(self.times)]
        return self.decoder(latents[0]) + self.more * inputs


SAMPLES = np.array([[1, 2, 4], [3, 5, 7]], "float32")


@pytest.mark.parametrize("kind", ["functional", "sequential", "loaded"])
def test_layers_before_the_encoder_and_after_the_decoder_belong_to_them(kind, tmp_path):
    encoder, decoder = halves()
    steps = [keras.Input((3,)), layers.Rescaling(0.5), encoder, layers.Rescaling(10.0), decoder, layers.Rescaling(0.1)]
    if kind == "functional":
        x = steps[0]
        for step in steps[1:]:
            x = step(x)
        model = keras.Model(steps[0], x)
    else:
        model = keras.Sequential(steps)
    if kind == "loaded":
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
    config = model.get_config()
    latents = find_encoder(model, (3,))(SAMPLES)
    np.testing.assert_allclose(latents, SAMPLES[:, :2])  # ½ · 2
    np.testing.assert_allclose(find_decoder(model, (3,))(latents), model(SAMPLES), rtol=1e-6)
    np.testing.assert_allclose(model(SAMPLES), 3 * SAMPLES * [1, 1, 0], rtol=1e-6)
    assert latent_dim_of(model, (3,)) == 2
    assert model.get_config() == config


def test_a_model_exported_with_layers_before_its_encoder_encodes_what_it_reconstructs(tmp_path):
    encoder, decoder = halves()
    x = keras.Input((3,))
    model = keras.Model(x, decoder(encoder(layers.Rescaling(0.5)(x))))
    data = datasets.load(np.random.default_rng(0).normal(size=(60, 3)).astype("float32"), preprocessing="none")
    training.compile(model, SquaredError(), data, epochs=1)
    served = export.load(export.save(model, tmp_path / "model", data=data))
    np.testing.assert_allclose(served.encode(SAMPLES), SAMPLES[:, :2], rtol=1e-6)
    np.testing.assert_allclose(served.decode(served.encode(SAMPLES)), served.reconstruct(SAMPLES), rtol=1e-6)
    covariance = np.cov(data.raw.test[:, :2], rowvar=False, bias=True)
    expected = np.trace(covariance) ** 2 / (covariance**2).sum()
    assert evaluate(model, data.test).effective_dimension == pytest.approx(expected, rel=1e-4)


def test_a_functional_encoder_is_no_latent_if_it_is_called_twice_and_no_decoder_if_something_leads_past_it():
    encoder, decoder = halves()
    x = keras.Input((3,))
    twice = keras.Model(x, layers.Add()([decoder(encoder(x)), decoder(encoder(layers.Rescaling(2.0)(x)))]))
    assert find_encoder(twice, (3,)) == "the model calls its encoder 2 times"
    past = keras.Model(x, layers.Add()([decoder(encoder(x)), x]))
    assert find_encoder(past, (3,)) is encoder
    assert find_decoder(past, (3,)) == "the model does more than decode what the encoder emits"


@pytest.mark.parametrize(
    ("arguments", "encoder", "decoder"),
    [
        ({}, None, None),
        ({"more": 1.0}, None, "the model does more than decode what the encoder emits"),
        ({"factor": 0.5}, *2 * ("the model calls its encoder with something else than a sample",)),
        ({"times": 2}, *2 * ("the model calls its encoder 2 times",)),
    ],
)
def test_the_encoder_of_a_subclassed_model_takes_the_sample(arguments, encoder, decoder):
    model = Calling(**arguments)
    structure.build(model, (3,))
    assert find_encoder(model, (3,)) == (encoder or model.encoder)
    assert find_decoder(model, (3,)) == (decoder or model.decoder)
    np.testing.assert_allclose(model.encoder(SAMPLES), 2 * SAMPLES[:, :2])  # It is as it was.


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_the_sample_is_known_again_under_mixed_precision(dtype):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        model = Calling()
        structure.build(model, (3,))
        assert find_encoder(model, (3,)) is model.encoder
        assert latent_dim_of(model, (3,)) == 2
    finally:
        keras.config.set_dtype_policy(policy)


class WithoutCall(keras.Model):
    """What Keras says of it in bold."""


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            lambda x, y: keras.Model(x, {"copy": y}),
            "expected a model that returns the reconstruction alone; received a dict of copy. Take the autoencoder out "
            "of it with tfae.models.select_output(autoencoder, 'copy'), or in the call of a subclassed model; what has "
            "other outputs to train, its own fit trains. See tfae docs your_own_model.",
        ),
        (
            lambda *_: WithoutCall(),
            "expected a model that takes samples of shape (3,); received one that can not (Model WithoutCall does not "
            "have a `call()` method implemented.).",
        ),
    ],
)
def test_what_is_wrong_with_a_model_is_said_without_what_keras_writes_around_it(build, expected):
    x = keras.Input((3,))
    with pytest.raises(ValueError, match="autoencoder: expected") as error:
        structure.build(build(x, layers.Dense(3, name="copy")(x)), (3,))
    assert str(error.value) == f"autoencoder: {expected}"


def test_a_selected_output_keeps_the_optimizer():
    x = keras.Input((3,))
    model = keras.Model(x, {"copy": layers.Dense(3, name="copy")(x), "total": layers.Dense(1, name="total")(x)})
    model.compile(keras.optimizers.SGD(0.25), loss={"copy": SquaredError(), "total": "mse"})
    selected = structure.select_output(model, "copy")
    assert isinstance(selected.optimizer, keras.optimizers.SGD)
    assert float(selected.optimizer.learning_rate) == 0.25
    selected.fit(SAMPLES, SAMPLES, verbose=0)
