"""Negative log-likelihoods, and Huber's loss, against SciPy and integrals in float64."""

import functools
import math

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats
import tensorflow as tf

from tests.samples import batches, normal, uniform
from tfae import losses
from tfae.losses import CategoricalCrossentropy, ContinuousBernoulli, GaussianNLL, Huber, Poisson, SquaredError


def gradient(loss, x, output):
    """The derivative of the sum of the losses by the output."""
    output = tf.constant(output)
    with tf.GradientTape() as tape:
        tape.watch(output)
        value = tf.reduce_sum(loss.per_sample(x, output))
    return tape.gradient(value, output).numpy()


def in_float64(of, *arguments, **options):
    return functools.partial(of, *arguments, dtype="float64", **options)()


# Normal noise


def test_the_gaussian_is_that_of_scipy_and_its_floor_that_of_no_error():
    x, output = normal(6, 5), normal(6, 5, seed=1)
    for sigma in (1e-3, 0.5, 1e3):
        loss = GaussianNLL(sigma=sigma)
        expected = -scipy.stats.norm.logpdf(x.astype("float64"), output.astype("float64"), sigma)
        np.testing.assert_allclose(loss.per_element(x, output), expected, rtol=1e-5)
        floor = -5 * scipy.stats.norm.logpdf(0, 0, sigma)
        np.testing.assert_allclose(loss.floor(x), np.full(6, floor), rtol=1e-5)


def test_squared_error_is_a_gaussian_of_variance_one_half():
    x, output = normal(6, 5), normal(6, 5, seed=1)
    loss = GaussianNLL(sigma=math.sqrt(0.5))
    np.testing.assert_allclose(loss(x, output) - SquaredError()(x, output), 5 * 0.5 * math.log(math.pi), rtol=1e-5)
    np.testing.assert_allclose(gradient(loss, x, output), gradient(SquaredError(), x, output), rtol=1e-5)


@pytest.mark.parametrize("sample_reduction", ["sum", "mean"])
@pytest.mark.parametrize("weighted", ["not", "samples", "elements", "masked"])
def test_without_sigma_no_other_sigma_has_a_smaller_loss_of_the_batch_and_the_gradient_is_exact(
    sample_reduction, weighted
):
    x, output = normal(6, 5), normal(6, 5, seed=1)
    weight = {"samples": uniform(6, seed=2), "elements": uniform(6, 5, seed=2)}.get(weighted)
    mask = np.arange(30).reshape(6, 5) % 7 < 5

    def loss_of(loss, output):
        output = tf.convert_to_tensor(output)
        if weighted == "masked":
            output._keras_mask = tf.constant(mask)
        return loss(x, output, weight)

    def under(log_sigma, output=output):
        loss = in_float64(GaussianNLL, sigma=float(np.exp(log_sigma)), sample_reduction=sample_reduction)
        return float(loss_of(loss, output.astype("float64")))

    best = scipy.optimize.minimize_scalar(under, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9})
    loss = GaussianNLL(sample_reduction=sample_reduction)
    assert float(loss_of(loss, output)) == pytest.approx(best.fun, rel=1e-5)
    variable = tf.constant(output)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = loss_of(loss, variable)
    by_output, step = tape.gradient(value, variable).numpy(), 1e-4
    for place in ((0, 0), (3, 2), (5, 4)):

        def moved(by, place=place):
            other = output.astype("float64")
            other[place] += by
            found = scipy.optimize.minimize_scalar(
                functools.partial(under, output=other), bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}
            )
            return found.fun

        slope = (moved(step) - moved(-step)) / (2 * step)
        assert by_output[place] == pytest.approx(slope, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_exact_reconstructions_leave_the_optimal_sigma_and_the_gradient_finite(jit_compile):
    x = uniform(4, 3)
    loss = tf.function(GaussianNLL(), jit_compile=jit_compile)
    assert float(loss(x, x)) == pytest.approx(-3 * scipy.stats.norm.logpdf(0, 0, 1e-6), rel=1e-5)
    with tf.GradientTape() as tape:
        output = tf.constant(x + np.float32(1e-3))
        tape.watch(output)
        value = loss(x, output)
    np.testing.assert_allclose(tape.gradient(value, output), np.full((4, 3), 1e3 / 4), rtol=1e-3)


def test_adapt_finds_the_error_of_a_data_set_by_which_samples_are_scored_and_a_fit_goes_on_without_it(tmp_path):
    x = normal(50, 4)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Rescaling(0.5), keras.layers.Dropout(0.5)])
    model.compile("sgd", loss=GaussianNLL())
    with pytest.raises(ValueError, match=r"received GaussianNLL\(\), which has none .* autoencoder\.loss\.adapt"):
        model.loss.per_sample(x, x)
    model.loss.adapt(model, batches(x, 7))
    sigma = math.sqrt(((x / 2).astype("float64") ** 2).mean())
    assert model.loss.fitted_sigma == pytest.approx(sigma, rel=1e-6)
    expected = -scipy.stats.norm.logpdf(x, x / 2, sigma).sum(axis=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for loss in (model.loss, loaded.loss):
        np.testing.assert_allclose(loss.per_sample(x, x / 2), expected, rtol=1e-5)
        np.testing.assert_allclose(loss.per_sample(x[:1], x[:1] / 2), expected[:1], rtol=1e-5)
        assert float(loss(x[:1], x[:1] / 4)) == pytest.approx(float(GaussianNLL()(x[:1], x[:1] / 4)))
    fixed = GaussianNLL(sigma=2.0)
    fixed.adapt(model, batches(x))
    assert fixed.fitted_sigma is None


def test_adapt_leaves_out_what_a_model_masks():
    x = np.ones((6, 4, 2), "float32")
    x[:, 2:] = 0
    inputs = keras.Input((4, 2))
    model = keras.Model(inputs, keras.layers.Rescaling(0.5)(keras.layers.Masking()(inputs)))
    for sample_reduction in ("sum", "mean"):
        loss = GaussianNLL(sample_reduction=sample_reduction)
        loss.adapt(model, batches(x))
        assert loss.fitted_sigma == pytest.approx(0.5)


# Gray values


def log_density(x, z):
    """That of the continuous Bernoulli by the definition of its constant, in float64."""
    return np.log(z / np.expm1(z)) + x * z if z else 0.0


@pytest.mark.parametrize("z", [-510.0, -80.0, -3.0, -1.0, -1e-3, 0.0, 1e-8, 0.7, 1.0, 30.0, 510.0])
def test_the_continuous_bernoulli_is_a_density_of_which_the_reconstruction_is_the_mean(z):
    loss = in_float64(ContinuousBernoulli, from_logits=True)

    def density(x):
        return math.exp(-float(loss.per_element([[x]], [[z]])[0, 0]))

    ends = {"points": [0.01, 0.05, 0.95, 0.99], "limit": 200}
    assert scipy.integrate.quad(density, 0, 1, **ends)[0] == pytest.approx(1, rel=1e-8)
    mean = scipy.integrate.quad(lambda x: x * density(x), 0, 1, **ends)[0]
    for dtype, rel in (("float64", 1e-8), ("float32", 1e-6)):
        loss = ContinuousBernoulli(from_logits=True, dtype=dtype)
        assert float(loss.reconstruction([[z]])[0, 0]) == pytest.approx(mean, rel=rel)
        assert float(loss.on_reconstructions().per_element([[0.2]], [[mean]])[0, 0]) == pytest.approx(
            -log_density(0.2, z),
            rel=1e-4,  # A mean near 1 has few digits of its distance from 1.
            abs=1e-6,
        )
        np.testing.assert_allclose(loss.per_element([[0.2]], [[z]]), [[-log_density(0.2, z)]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_gradients_of_the_continuous_bernoulli_are_those_of_differences_in_float64(x, from_logits):
    mean_of = ContinuousBernoulli(from_logits=True, dtype="float64").reconstruction
    z = np.array([[-300.0, -5.0, -1.01, -0.99, -0.5, -1e-3, 1e-3, 0.5, 0.99, 1.01, 5.0, 300.0]])
    output = z if from_logits else mean_of(z).numpy()
    loss = in_float64(ContinuousBernoulli, from_logits=from_logits)
    x = np.full(z.shape, x)
    step = 1e-6 * np.minimum(output, 1 - output) if not from_logits else 1e-5
    values = [loss.per_element(x, output + by).numpy() for by in (step, -step)]
    expected = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(gradient(loss, x, output), expected, rtol=1e-4, atol=1e-8)
    single = ContinuousBernoulli(from_logits=from_logits)
    np.testing.assert_allclose(gradient(single, x, output.astype("float32")), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("from_logits", [True, False])
def test_beyond_the_bound_the_loss_stays_and_the_gradient_leads_back_or_lets_go(from_logits):
    loss = ContinuousBernoulli(from_logits=from_logits)
    output = np.array([[-1e4, 1e4, -1e4, 1e4, -1e4, 1e4]] if from_logits else [[0.0, 1.0, 0.0, 1.0, 0.0, 1.0]])
    output = output.astype("float32")
    x = np.array([[0.0, 1.0, 1.0, 0.0, 0.3, 0.3]])
    expected = [-math.log(510)] * 2 + [510 - math.log(510)] * 2 + [0.3 * 510 - math.log(510), 0.7 * 510 - math.log(510)]
    np.testing.assert_allclose(loss.per_element(x, output), [expected], rtol=1e-5)
    slopes = gradient(loss, x, output)
    assert np.isfinite(slopes).all()
    np.testing.assert_array_equal(np.sign(slopes), [[0, 0, -1, 1, -1, 1]])
    assert float(loss.floor([[0.0]])[0]) == pytest.approx(-math.log(510), rel=1e-6)


# Categories


def test_the_categorical_cross_entropy_is_that_of_scipy_along_the_last_axis():
    rng = np.random.default_rng(0)
    x, z = np.eye(4)[rng.integers(0, 4, (6, 3))].astype("float32"), rng.normal(size=(6, 3, 4)).astype("float32")
    expected = -(x * scipy.special.log_softmax(z.astype("float64"), axis=-1)).sum(axis=(1, 2))
    loss = CategoricalCrossentropy(from_logits=True)
    np.testing.assert_allclose(loss.per_sample(x, z), expected, rtol=1e-6)
    np.testing.assert_allclose(loss.reconstruction(z), scipy.special.softmax(z, axis=-1), rtol=1e-6)
    of_probabilities = loss.on_reconstructions()
    np.testing.assert_allclose(of_probabilities.per_sample(x, loss.reconstruction(z)), expected, rtol=1e-6)
    np.testing.assert_array_equal(loss.floor(x), np.zeros(6))
    soft = scipy.special.softmax(rng.normal(size=(6, 3, 4)), axis=-1)
    np.testing.assert_allclose(loss.floor(soft), scipy.stats.entropy(soft, axis=-1).sum(axis=-1), rtol=1e-5)
    np.testing.assert_allclose(loss.best_constant(x), x.mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("from_logits", [True, False])
def test_impossible_categories_have_a_finite_loss_and_a_gradient_towards_the_sample(from_logits):
    loss, far = CategoricalCrossentropy(from_logits=from_logits), 1e4 if from_logits else 1.0
    x, output = [[1.0, 0.0, 0.0]], np.array([[0.0, far, 0.0]], "float32")
    assert np.isfinite(loss(x, output))
    slopes = gradient(loss, x, output)
    assert np.isfinite(slopes).all()
    assert slopes[0, 0] < 0 < slopes[0, 1]


# Counts


def test_the_loss_of_counts_is_that_of_scipy_for_few_and_for_many():
    x = np.array([[0, 1, 2, 15, 16, 17, 1000, 10**6]], "float32")
    for off in (-2.0, -0.1, 0.0, 1e-3, 0.1, 2.0):
        z = (np.log(x + 0.5) + off).astype("float32")
        expected = -scipy.stats.poisson.logpmf(x.astype(int), np.exp(z.astype("float64")))
        np.testing.assert_allclose(Poisson().per_element(x, z), expected, rtol=1e-5, atol=3e-3)
        np.testing.assert_allclose(Poisson().per_element(x[:, :6], z[:, :6]), expected[:, :6], rtol=1e-5, atol=3e-6)
        np.testing.assert_allclose(Poisson().reconstruction(z), np.exp(z.astype("float64")), rtol=1e-5)
        of_rates = Poisson(from_log_rates=False)
        np.testing.assert_allclose(of_rates.per_element(x, np.exp(z)), expected, rtol=1e-5, atol=2e-2)
    floor = [-scipy.stats.poisson.logpmf(int(count), count) for count in x[0]]
    np.testing.assert_allclose(Poisson().floor(x.T), floor, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(Poisson().best_constant(x.T), [x.mean(dtype="float64")])


@pytest.mark.parametrize("x", [0.0, 3.0, 1e6])
@pytest.mark.parametrize("z", [-1e4, -50.0, 0.0, 43.0, 50.0, 1e4])
def test_extreme_rates_have_a_finite_loss_and_a_gradient_towards_the_count(x, z):
    rate = math.exp(min(z, 44))
    assert np.isfinite(Poisson()([[x]], [[z]]))
    np.testing.assert_allclose(gradient(Poisson(), [[x]], [[z]]), [[rate - x]], rtol=1e-6)
    of_rates = Poisson(from_log_rates=False)
    assert np.isfinite(of_rates([[x]], [[rate]]))
    slope = gradient(of_rates, [[x]], [[rate]]).item()
    assert np.isfinite(slope)
    assert np.sign(slope) == np.sign(max(rate, 1e-30) - x)


# Errors of a known scale


@pytest.mark.parametrize("delta", [0.1, 1.0, 30.0])
def test_huber_is_that_of_scipy_and_its_gradient_the_clipped_error(delta):
    error = np.array([[-1e4, -1.0, -0.1, 0.0, 0.05, 0.1, 1.0, 29.0, 1e4]], "float32")
    x, loss = np.zeros_like(error), Huber(delta=delta)
    np.testing.assert_allclose(loss.per_element(x, error), scipy.special.huber(delta, error.astype("float64")), 1e-6)
    np.testing.assert_allclose(gradient(loss, x, error), np.clip(error, -delta, delta), rtol=1e-6)
    samples = normal(200, 2) ** 3
    best = [
        scipy.optimize.minimize_scalar(lambda c, column=column: scipy.special.huber(delta, column - c).sum()).x
        for column in samples.T.astype("float64")
    ]
    np.testing.assert_allclose(loss.best_constant(samples), best, atol=1e-4)
    np.testing.assert_array_equal(loss.floor(samples), np.zeros(200))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: GaussianNLL(sigma=0.0), "sigma: expected a positive number, or None for the optimal one; received 0"),
        (lambda: GaussianNLL(sigma=math.nan), "sigma: expected a positive number"),
        (lambda: Huber(delta=-1), "delta: expected a positive number; received -1"),
        (lambda: Huber(delta=math.inf), "delta: expected a positive number; received inf"),
        (lambda: losses.get("poisson", delta=2), "poisson: expected arguments of Poisson; received {'delta': 2}"),
    ],
)
def test_arguments_out_of_range_are_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


@pytest.mark.parametrize(("loss", "span"), [("cb", "0, 1"), ("cce", "0, 1"), ("poisson", "0, inf")])
def test_a_plain_fit_of_samples_outside_of_the_domain_says_so(loss, span):
    x = normal(64, 4, seed=3) * 50 - 20
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile(keras.optimizers.SGD(1e-3, clipnorm=1.0), loss=losses.get(loss), jit_compile=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"expected samples in \[{span}\]; received some outside"):
        model.fit(x, x, epochs=300, verbose=0)


def test_losses_with_links_say_which_output_they_read():
    expected = {"bce": "sigmoid", "cb": "sigmoid", "cce": "softmax", "poisson": "softplus"}
    for name, activation in expected.items():
        loss = losses.get(name)
        assert (loss.output_activation((0, 1)), loss.on_reconstructions().output_activation((0, 1))) == (
            "linear",
            activation,
        )
        assert loss.reads_link
        assert not loss.on_reconstructions().reads_link
        assert loss.on_reconstructions().on_reconstructions().get_config()[f"from_{loss.link}"] is False


def test_the_continuous_bernoulli_keeps_its_digits_near_the_uniform_distribution():
    z = np.array([1e-4, 1e-3, 1e-2, 0.1, 0.5, 0.99, 1.01, -1e-3, -0.3], "float32")[None]
    x = np.full_like(z, 0.5)
    exact = z.astype("float64")
    expected = np.log(np.sinh(exact / 2) / (exact / 2))
    found = losses.ContinuousBernoulli(from_logits=True).per_element(x, z).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-12)
