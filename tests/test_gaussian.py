"""The Gaussian bottleneck: its divergence, its draws, its weights, and what Keras reports of it."""

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import tensorflow as tf

from tfae import checks, models, training
from tfae.datasets import load
from tfae.losses import BinaryCrossentropy, LossPart, SquaredError
from tfae.losses.loss_parts import noted
from tfae.models import Gaussian
from tfae.models.gaussian import find_posterior, kl_divergence


def build(bottleneck, shape=(6,), latent_dim=3):
    keras.utils.set_random_seed(0)
    return models.dense(shape, latent_dim=latent_dim, widths=(8,), bottleneck=bottleneck)


def samples(count=64, shape=(6,), seed=0):
    return np.random.default_rng(seed).random((count, *shape), "float32")


@pytest.mark.parametrize("mean", [0.0, -1.5, 3.0])
@pytest.mark.parametrize("log_variance", [-6.0, -1e-3, 0.0, 1.2])
def test_the_divergence_is_the_integral_of_the_logarithm_of_the_quotient(mean, log_variance):
    posterior = scipy.stats.norm(mean, np.exp(log_variance / 2))
    low, high = posterior.ppf([1e-15, 1 - 1e-15])
    expected, _ = scipy.integrate.quad(
        lambda z: posterior.pdf(z) * (posterior.logpdf(z) - scipy.stats.norm.logpdf(z)), low, high, limit=200
    )
    assert float(kl_divergence(tf.constant(mean), tf.constant(log_variance))) == pytest.approx(expected, 1e-5, 1e-9)


def test_the_divergence_keeps_its_digits_near_the_prior():
    log_variance = tf.constant(1e-3)
    expected = (np.expm1(np.float64(1e-3)) - 1e-3) / 2
    assert float(kl_divergence(tf.constant(0.0), log_variance)) == pytest.approx(expected, rel=1e-4)


def test_the_gradients_of_the_divergence_are_those_of_finite_differences():
    mean, log_variance = tf.constant([0.7, -2.0], "float64"), tf.constant([-1.3, 0.4], "float64")
    with tf.GradientTape() as tape:
        tape.watch((mean, log_variance))
        total = tf.reduce_sum(kl_divergence(mean, log_variance))
    for point, found in zip((mean, log_variance), tape.gradient(total, (mean, log_variance)), strict=True):
        for unit in range(2):
            step = 1e-6 * np.eye(2)[unit]
            moved = [
                np.sum(
                    kl_divergence(*((each + sign * step) if each is point else each for each in (mean, log_variance)))
                )
                for sign in (1, -1)
            ]
            assert float(found[unit]) == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-6)


def test_the_latent_is_drawn_in_training_and_is_the_mean_in_inference():
    vae = build(Gaussian())
    encoder, x = vae.get_layer("encoder"), samples(1)
    mean, log_variance = np.moveaxis(find_posterior(vae)(x).numpy(), 1, 0)
    np.testing.assert_array_equal(encoder(x), mean)
    drawn = encoder(np.repeat(x, 20_000, 0), training=True).numpy()
    np.testing.assert_allclose(drawn.mean(0), mean[0], atol=0.05)
    np.testing.assert_allclose(drawn.var(0), np.exp(log_variance[0]), rtol=0.05)


@pytest.mark.parametrize("loss", [SquaredError(), BinaryCrossentropy(from_logits=True)])
@pytest.mark.parametrize("options", [{}, {"kl_weight": 0.3}, {"kl_weight": 2.0, "free_bits": 0.1}, {"kl_warmup": 5}])
def test_the_parts_add_up_to_the_loss_that_keras_reports(loss, options):
    vae = build(Gaussian(**options))
    data = load(samples(400), preprocessing="none")
    training.compile(vae, loss, data, epochs=2, ignore=["range"])
    history = vae.fit(data.train, validation_data=data.validation, epochs=2, verbose=0, shuffle=False).history
    penalty = "kl_penalty" if options else "kl"
    for prefix in ("", "val_"):
        parts = np.add(history[f"{prefix}reconstruction"], history[f"{prefix}{penalty}"])
        np.testing.assert_allclose(parts, history[f"{prefix}loss"], rtol=1e-5)
    weight = options.get("kl_weight", 1)
    if "free_bits" not in options:  # In validation the weight is the full one from the beginning.
        np.testing.assert_allclose(history["val_kl"], np.divide(history[f"val_{penalty}"], weight), rtol=1e-5)


def test_the_penalty_of_a_sparse_bottleneck_is_a_metric_too():
    model, data = build(models.Sparse(0.2)), load(samples(400), preprocessing="none")
    training.compile(model, SquaredError(), data, epochs=1)
    history = model.fit(data.train, epochs=1, verbose=0, shuffle=False).history
    assert history["l1_penalty"][0] > 0
    assert history["reconstruction"][0] + history["l1_penalty"][0] == pytest.approx(history["loss"][0], rel=1e-5)


def test_two_bottlenecks_of_a_model_are_reported_by_name():
    x = keras.Input((6,))
    first = Gaussian(latent_dim=2, name="first")(x)
    second = Gaussian(latent_dim=3, name="second")(keras.layers.Dense(4)(first))
    vae, data = keras.Model(x, keras.layers.Dense(6)(second)), load(samples(400), preprocessing="none")
    training.compile(vae, SquaredError(), data, epochs=1)
    history = vae.fit(data.train, epochs=1, verbose=0, shuffle=False).history
    total = history["reconstruction"][0] + history["first_kl"][0] + history["second_kl"][0]
    assert total == pytest.approx(history["loss"][0], rel=1e-5)


class Own(keras.Model):
    """A model that is a class of its own."""

    def __init__(self, **options):
        super().__init__()
        self.hidden, self.bottleneck = keras.layers.Dense(8, "relu"), Gaussian(latent_dim=2, **options)
        self.decode = keras.layers.Dense(6)

    def call(self, x, training=False):
        return self.decode(self.bottleneck(self.hidden(x), training=training))


def test_a_model_of_ones_own_reports_the_same_once_it_has_the_layer():
    vae, data = Own(), load(samples(400), preprocessing="none")
    training.compile(vae, SquaredError(), data, epochs=1)
    history = vae.fit(data.train, epochs=1, verbose=0, shuffle=False).history
    assert history["reconstruction"][0] + history["kl"][0] == pytest.approx(history["loss"][0], rel=1e-5)
    assert find_posterior(vae)(samples(3)).shape == (3, 2, 2)


def test_the_weight_rises_in_a_straight_line_and_is_part_of_the_saved_state(tmp_path):
    vae, x = build(Gaussian(2.0, kl_warmup=4)), samples(8)

    def weight(vae, *, training):
        vae(x, training=training)
        return float(vae.losses[0]) / float(noted("gaussian/kl"))

    assert [weight(vae, training=True) for _ in range(3)] == pytest.approx([0, 0.5, 1.0])
    assert weight(vae, training=False) == pytest.approx(2.0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.models.load_model(tmp_path / "vae.keras")
    assert [weight(loaded, training=True) for _ in range(3)] == pytest.approx([1.5, 2.0, 2.0])


def test_a_share_of_the_training_becomes_steps_where_its_length_is_known(tmp_path):
    vae, data = build(Gaussian(kl_warmup=0.5)), load(samples(400), preprocessing="none")
    vae.compile("sgd", SquaredError())
    with pytest.raises(ValueError, match=r"kl_warmup: expected steps, .*; received the share 0.5"):
        vae.fit(samples(), samples(), verbose=0)
    training.compile(vae, SquaredError(), data, epochs=6)
    vae.save(tmp_path / "vae.keras")
    for model in (vae, keras.models.load_model(tmp_path / "vae.keras")):
        layer = model.get_layer("encoder").get_layer("gaussian")
        assert layer.warmup_steps == 3 * int(data.train.cardinality())


def test_a_share_is_known_to_all_bottlenecks_and_checks_need_none():
    x = keras.Input((6,))
    first = Gaussian(kl_warmup=0.5, latent_dim=2, name="first")(x)
    vae = keras.Model(x, keras.layers.Dense(6)(Gaussian(kl_warmup=0.2, latent_dim=3, name="second")(first)))
    checks.check(None, SquaredError(), vae)  # Which calls it as in training.
    assert int(vae.get_layer("first").steps) == 0
    data = load(samples(400), preprocessing="none")
    training.compile(vae, SquaredError(), data, epochs=10)
    steps = 10 * int(data.train.cardinality())
    assert [vae.get_layer(name).warmup_steps for name in ("first", "second")] == [steps // 2, steps // 5]


def test_features_that_are_not_flat_are_refused():
    with pytest.raises(ValueError, match=r"Gaussian: expected features of shape \(batch, num_features\); .*Flatten"):
        keras.Sequential([keras.Input((4, 2)), Gaussian(latent_dim=2)])


def test_a_part_of_another_models_graph_is_not_taken():
    vae, data = build(Gaussian()), load(samples(400), preprocessing="none")
    training.compile(vae, SquaredError(), data, epochs=1)
    vae.fit(data.train, epochs=1, verbose=0, shuffle=False)
    model = models.dense((6,), latent_dim=2)
    model.compile("sgd", "mse", metrics=[LossPart("reconstruction")])
    with pytest.raises(ValueError, match=r'source: expected "reconstruction", of a model that is compiled with a loss'):
        model.fit(samples(), samples(), verbose=0)


def test_free_bits_cost_nothing_less_and_give_no_gradient():
    vae, x = build(Gaussian(free_bits=50.0)), samples(8)
    with tf.GradientTape() as tape:
        vae(x, training=True)
        (penalty,) = vae.losses
    assert float(penalty) == pytest.approx(3 * 50.0)
    layer = vae.get_layer("encoder").get_layer("gaussian")
    gradients = tape.gradient(penalty, layer.trainable_variables, unconnected_gradients="zero")
    assert all(not np.any(gradient) for gradient in gradients)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kl_weight": -1}, "kl_weight: expected a finite number of 0 or more; received -1"),
        ({"kl_weight": "1"}, "kl_weight: expected a finite number of 0 or more; received '1'"),
        ({"kl_warmup": 1.5}, "kl_warmup: expected a share of the training, at most 1.0, or an integer"),
        ({"free_bits": np.nan}, "free_bits: expected a finite number"),
        ({"score": "elbo"}, "score: expected 'reconstruction' or 'negative_elbo'; received 'elbo'"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Gaussian(**options)


def test_a_layer_without_a_width_is_refused():
    with pytest.raises(ValueError, match=r"latent_dim: expected the width .* Give Gaussian\(..., latent_dim=16\)"):
        keras.Sequential([keras.Input((4,)), Gaussian()])


def test_a_part_that_nothing_noted_is_refused():
    model = models.dense((6,), latent_dim=2)
    model.compile("sgd", SquaredError(), metrics=[LossPart("gaussian_of_nobody/kl")])
    with pytest.raises(ValueError, match=r"source: expected .* received 'gaussian_of_nobody/kl'"):
        model.fit(samples(), samples(), verbose=0)


def test_the_divergence_is_in_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        vae = build(Gaussian())
    finally:
        keras.config.set_dtype_policy("float32")
    x = samples(8)
    assert vae.get_layer("encoder")(x).dtype == "float16"
    vae(x, training=True)
    assert vae.losses[0].dtype == "float32"
    assert np.isfinite(float(vae.losses[0]))
