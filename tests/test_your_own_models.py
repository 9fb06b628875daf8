"""Keras models that tfae did not build: what can work does, and what can not is refused before the training."""

import keras
import numpy as np
import pytest
from keras import layers
from matplotlib.figure import Figure

from tests.crashes import CrashError, crash
from tfae import datasets, evaluation, export, models, runs, training
from tfae.export import check_health
from tfae.losses import AbsoluteError, SquaredError

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(200, 8)).astype("float32")
IMAGES = RNG.integers(0, 255, (60, 8, 8, 3)).astype("uint8")
SEQUENCES = RNG.normal(size=(100, 5, 2)).astype("float32")
#: Two epochs need not beat a constant.
ANY = ["constant"]
ALWAYS = {"serving_default", "score", "explain", "serve_tf_examples"}


@keras.saving.register_keras_serializable("tests")
class Halves(keras.Model):
    """Subclassed, with encoder and decoder as attributes."""

    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.encoder = keras.Sequential([layers.Dense(4)])
        self.decoder = layers.Dense(width)

    def call(self, inputs, training=None):
        return self.decoder(self.encoder(inputs))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("tests")
class Whole(keras.Model):
    """Subclassed, in one piece."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = layers.Dense(3, "tanh"), layers.Dense(8)

    def call(self, x):
        return self.second(self.first(x))


def unregistered():
    """Unknown to Keras, in whose version 3.8 it would be found if the module had it."""

    class Unregistered(Whole):
        pass

    return Unregistered()


@keras.saving.register_keras_serializable("tests")
class Forgetful(layers.Layer):
    """Its configuration lacks an argument."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return super().get_config()


@keras.saving.register_keras_serializable("tests")
class ForgetfulOfItsValue(Forgetful):
    """Its configuration leaves the default in place."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(factor, **kwargs)


@keras.saving.register_keras_serializable("tests")
class Noise(layers.Layer):
    """Samples at inference."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)


def sequential(*parts):
    return keras.Sequential([keras.Input((8,)), *(parts or (layers.Dense(3), layers.Dense(8)))])


def unbuilt():
    return keras.Sequential([layers.Dense(3), layers.Dense(8)])


def functional():
    x = keras.Input((8,))
    return keras.Model(x, layers.Dense(8)(layers.BatchNormalization()(layers.Dropout(0.1)(layers.Dense(3)(x)))))


def two_statistics():
    x = keras.Input((8,))
    encoder = keras.Model(x, [layers.Dense(2)(x), layers.Dense(2)(x)], name="encoder")
    mean, log_variance = encoder(x)
    return keras.Model(x, layers.Dense(8)(mean + log_variance))


def free_sides():
    x, z = keras.Input((None, None, 3)), keras.Input((None, None, 4))
    encoder = keras.Model(x, layers.Conv2D(4, 3, 2, "same")(x), name="encoder")
    decoder = keras.Model(z, layers.Conv2DTranspose(3, 3, 2, "same")(z), name="decoder")
    return keras.Model(x, decoder(encoder(x)))


def spatial_latent():
    x, z = keras.Input((8, 8, 3)), keras.Input((4, 4, 2))
    encoder = keras.Model(x, layers.Conv2D(2, 3, 2, "same")(x), name="encoder")
    decoder = keras.Model(z, layers.Conv2DTranspose(3, 3, 2, "same")(z), name="decoder")
    return keras.Model(x, decoder(encoder(x)))


def unet():
    x = keras.Input((8, 8, 3))
    encoder = keras.Model(x, layers.Conv2D(2, 3, 2, "same")(x), name="encoder")
    up = layers.Conv2DTranspose(3, 3, 2, "same")(encoder(x))
    return keras.Model(x, layers.Conv2D(3, 1)(layers.Concatenate()([up, x])))


def with_a_layer_behind_the_decoder():
    x, z = keras.Input((8,)), keras.Input((3,))
    encoder, decoder = (
        keras.Model(i, layers.Dense(n)(i), name=name) for i, n, name in ((x, 3, "encoder"), (z, 8, "decoder"))
    )
    return keras.Model(x, layers.Rescaling(2.0)(decoder(encoder(x))))


def recurrent():
    return keras.Sequential(
        [keras.Input((5, 2)), layers.Masking(), layers.LSTM(4, return_sequences=True), layers.Dense(2)]
    )


def two_heads():
    x = keras.Input((8,))
    hidden = layers.Dense(3)(x)
    return keras.Model(x, {name: layers.Dense(8, name=name)(hidden) for name in ("first", "second")})


def two_inputs():
    x, y = keras.Input((8,), name="x"), keras.Input((8,), name="y")
    return keras.Model([x, y], layers.Dense(8)(x + y))


WORKING = [
    (unbuilt, TABLE, None, set()),
    (functional, TABLE, None, set()),
    (Halves, TABLE, 4, {"encode", "decode"}),
    (Whole, TABLE, None, set()),
    (two_statistics, TABLE, None, set()),
    (free_sides, IMAGES, 64, {"encode", "decode", "serve_image_bytes"}),
    (spatial_latent, IMAGES, 32, {"encode", "decode", "serve_image_bytes"}),
    (unet, IMAGES, 32, {"encode", "serve_image_bytes"}),
    (with_a_layer_behind_the_decoder, TABLE, 3, {"encode", "decode"}),
    (recurrent, SEQUENCES, None, set()),
]


@pytest.mark.parametrize(("build", "samples", "latent_dim", "signatures"), WORKING)
def test_a_model_trains_and_loads_and_exports(build, samples, latent_dim, signatures, tmp_path, monkeypatch):
    # With Axes for each sample they take most of the time, and know nothing of the model.
    monkeypatch.setattr("tfae.plots.side_by_side", lambda *_, **__: Figure())
    data = datasets.load(samples)
    run = runs.train(build(), data, loss=SquaredError(), epochs=2, run_dir=tmp_path / "run", verbose=0, ignore=ANY)
    assert run.config["model"]["latent_dim"] == run.evaluation.latent_dim == latent_dim
    assert (run.directory / "pictures" / "latents.png").exists() == (latent_dim is not None)
    assert ("latent_dim None" in (run.directory / "report.html").read_text()) is False
    expected = evaluation.scores(run.autoencoder, data.test)
    loaded = runs.load_run(run.directory)
    np.testing.assert_allclose(evaluation.scores(loaded.autoencoder, data.test), expected, rtol=1e-6)
    path = loaded.export(tmp_path / "model", data=data)
    exported = export.load(path)
    assert set(export.inspect(path).signatures) == ALWAYS | signatures
    np.testing.assert_allclose(exported.score(data.raw.test), expected, rtol=1e-5)
    check_health(path)
    if "encode" not in signatures:
        with pytest.raises(ValueError, match=r"signature: expected one of explain, .*; received 'encode'"):
            exported.encode(data.raw.test)


@pytest.mark.parametrize(("build", "samples"), [(each[0], each[1]) for each in WORKING[1::2]])
def test_compile_and_fit_train_it_by_xla_too_as_long_trainings_are(build, samples, monkeypatch):
    monkeypatch.setattr("tfae.training.execution._SECONDS_TO_COMPILE", 0.0)
    data, model = datasets.load(samples), build()
    training.compile(model, AbsoluteError(), data, epochs=2)
    history = model.fit(data.train, validation_data=data.validation, epochs=2, shuffle=False, verbose=0).history
    evaluated = evaluation.evaluate(model, data.validation)
    assert evaluated.loss == pytest.approx(history["val_loss"][-1], rel=1e-4)


def test_a_stopped_training_of_a_subclassed_model_goes_on(tmp_path, monkeypatch, without_pictures):
    data = datasets.load(TABLE)
    whole = runs.train(*seeded(), data, loss=SquaredError(), epochs=4, run_dir=tmp_path / "a", verbose=0)
    stopped = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: 1 / (2 - epoch))
    with monkeypatch.context() as patch:
        patch.setattr("tfae.runs.fitting._tensorboard_callbacks", lambda *_: [stopped])
        with pytest.raises(ZeroDivisionError):
            runs.train(
                *seeded(), data, loss=SquaredError(), epochs=4, run_dir=tmp_path / "b", verbose=0, tensorboard=True
            )
    resumed = runs.resume(tmp_path / "b", data=data, verbose=0)
    assert resumed.evaluation.loss == whole.evaluation.loss


def seeded():
    keras.utils.set_random_seed(0)
    return (Halves(),)


REGISTER = r"put @keras\.saving\.register_keras_serializable\(\) above it"


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (unregistered, rf"Unregistered is unknown: {REGISTER}"),
        (lambda: sequential(layers.Lambda(lambda x: 2 * x)), "it holds a Lambda layer"),
        (lambda: sequential(Forgetful(2.0)), "Forgetful is missing 1 required positional argument: 'factor': return"),
        (lambda: sequential(ForgetfulOfItsValue(3.0)), "what Keras loads back answers otherwise"),
        (two_heads, r"received a dict of first, second\. .* tfae\.models\.select_output\(autoencoder, 'first'\)"),
        (two_inputs, "expected a model with one input, the sample; received several: x, y"),
        (lambda: sequential(layers.Dense(7)), r"the shape of a sample, \(8,\); received float32 of shape \(7,\)"),
        (lambda: keras.Sequential([keras.Input((9,)), layers.Dense(8)]), r"samples of shape \(8,\).* for \(9,\)"),
        (
            lambda: keras.Sequential([layers.Reshape((3, 3))]),
            r"takes samples of shape \(8,\); received one that can not",
        ),
    ],
)
def test_what_can_not_be_trained_is_refused_before_the_training(build, match, tmp_path, monkeypatch):
    arguments = {"loss": SquaredError(), "epochs": 1, "run_dir": tmp_path / "run", "verbose": 0}
    monkeypatch.setattr(keras.Model, "fit", crash)
    with pytest.raises(ValueError, match=match) as refused:
        runs.train(build(), datasets.load(TABLE), **arguments)
    assert len(str(refused.value)) < 700
    with pytest.raises(CrashError):  # The directory is as good as new.
        runs.train(sequential(), datasets.load(TABLE), **arguments)


def test_one_of_two_heads_is_an_autoencoder():
    data, model = datasets.load(TABLE), two_heads()
    model.compile("adam", {"first": SquaredError(), "second": AbsoluteError()})
    model.fit(data.train.map(lambda x, _: (x, {"first": x, "second": x})), shuffle=False, verbose=0)
    with pytest.raises(ValueError, match=r"received 2 losses.*tfae\.models\.select_output\(autoencoder, 'first'\)"):
        evaluation.evaluate(model, data.test)
    x = data.preprocessing(data.raw.test).numpy()
    for name, power in (("first", 2), ("second", 1)):
        head = models.select_output(model, name)
        errors = np.abs(x - np.asarray(model(x)[name])) ** power
        np.testing.assert_allclose(evaluation.scores(head, data.test), errors.sum(1), rtol=1e-5)
    with pytest.raises(ValueError, match=r"expected an output of 'functional.*': first, second; received 'third'"):
        models.select_output(model, "third")


def test_a_model_that_samples_at_inference_trains_and_is_not_exported(tmp_path, without_pictures):
    data = datasets.load(TABLE)
    model = sequential(layers.Dense(8), Noise())
    run = runs.train(model, data, loss=SquaredError(), epochs=1, run_dir=tmp_path / "run", verbose=0, ignore=ANY)
    with pytest.raises(ValueError, match="received one that samples at inference"):
        run.export(tmp_path / "model", data=data)
    assert not (tmp_path / "model").exists()


def test_a_model_of_free_sides_is_exported_at_the_shape_of_its_data():
    model = free_sides()
    model.compile(loss=SquaredError())
    with pytest.raises(ValueError, match=r"samples are of shape \(None, None, 3\); received none\. Give data=data"):
        export.save(model, "nowhere")
