"""Variational autoencoders: their bounds against closed forms, what is said of them, what they generate and serve."""

import functools
import json
import re

import keras
import numpy as np
import pytest
import scipy.stats
import sklearn.decomposition
from matplotlib.figure import Figure

from tests.samples import batches
from tfae import export, models, plots, training
from tfae.datasets import load
from tfae.evaluation import Evaluation, evaluate, scores
from tfae.evaluation.posterior_findings import find_critical_weight
from tfae.losses import AbsoluteError, BinaryCrossentropy, CategoricalCrossentropy, SquaredError
from tfae.models import Gaussian
from tfae.models.gaussian import find_posterior, kl_divergence

WEIGHTS = np.array([[1.5, 0.5, 0.0], [0.0, -0.7, 0.4]])  # From two latent units to three elements.
OFFSET = np.array([0.3, -0.2, 0.1])


def linear_model(widen=1.0, **options):
    """p(x|z) = N(z W + b, ½), which is what squared error stands for, with its true posterior; or a wider one."""
    vae = models.dense((3,), latent_dim=2, widths=(), bottleneck=Gaussian(**options))
    precision = np.eye(2) + 2 * WEIGHTS @ WEIGHTS.T
    # The layer has no covariances: turned into its axes, the posterior has none either.
    variances, axes = np.linalg.eigh(np.linalg.inv(precision))
    weights = axes.T @ WEIGHTS
    layer, decoder = vae.get_layer("encoder").get_layer("gaussian"), vae.get_layer("decoder").get_layer("elements")
    to_mean = 2 * weights.T * variances
    layer.mean.set_weights([to_mean, -OFFSET @ to_mean])
    layer.log_variance.set_weights([np.zeros((3, 2)), np.log(widen * variances)])
    decoder.set_weights([weights, OFFSET])
    vae.compile("sgd", SquaredError())
    covariance = weights.T @ weights + np.eye(3) / 2
    x = np.random.default_rng(1).multivariate_normal(OFFSET, covariance, 40).astype("float32")
    return vae, x, scipy.stats.multivariate_normal(OFFSET, covariance)


#: −log p(x|z) of variance ½ is the squared error and this, for three elements.
CONSTANT = 1.5 * np.log(np.pi)


def test_the_bound_is_the_likelihood_itself_where_the_posterior_is_the_true_one():
    vae, x, truth = linear_model()
    for num_draws in (1, 7):
        found = evaluate(vae, batches(x), num_draws=num_draws)
        assert found.importance_bound + CONSTANT == pytest.approx(-truth.logpdf(x).mean(), rel=1e-5)


def test_the_negative_elbo_is_the_mean_over_draws_and_above_the_bound_which_closes_with_their_number():
    vae, x, truth = linear_model(widen=1.6)
    likelihood = -truth.logpdf(x).mean() - CONSTANT
    few, many = (evaluate(vae, batches(x), num_draws=number, seed=3) for number in (2, 3000))
    assert many.negative_elbo == pytest.approx(many.distortion + many.kl, rel=1e-6)
    assert likelihood < many.importance_bound < few.importance_bound < few.negative_elbo
    assert many.importance_bound == pytest.approx(likelihood, abs=0.01)
    # E of the squared error of z W + b, z of the posterior, in closed form.
    mean, log_variance = np.moveaxis(find_posterior(vae)(x).numpy().astype("float64"), 1, 0)
    weights = vae.get_layer("decoder").get_layer("elements").get_weights()[0]
    errors = ((mean @ weights + OFFSET - x) ** 2).sum(1) + (np.exp(log_variance) @ weights**2).sum(1)
    assert many.distortion == pytest.approx(errors.mean(), rel=0.01)
    assert many.kl == pytest.approx(np.sum((mean**2 + np.exp(log_variance) - 1 - log_variance) / 2, 1).mean(), rel=1e-5)
    assert many.negative_elbo_at_mean == pytest.approx(many.loss + many.kl, rel=1e-6)


def test_nothing_is_drawn_unless_asked_and_then_by_the_seed():
    vae, x, _ = linear_model()
    none = evaluate(vae, batches(x))
    assert none.negative_elbo is none.importance_bound is none.distortion is None
    assert "num_draws" in none.reasons["negative_elbo"]
    assert none.kl > 0
    found = [evaluate(vae, batches(x), num_draws=3, seed=seed).distortion for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    plain = evaluate(models_without_latent(), batches(x))
    assert plain.reasons["kl"] == "the model has no Gaussian bottleneck, or several"
    assert "rate" not in str(plain)


def models_without_latent():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("sgd", SquaredError())
    return model


def test_a_mean_over_elements_makes_no_other_bound():
    vae, x, _ = linear_model()
    by_sum = evaluate(vae, batches(x), num_draws=4)
    vae.compile("sgd", SquaredError(sample_reduction="mean"))
    by_mean = evaluate(vae, batches(x), num_draws=4, ignore=["reduction"])
    for name in ("negative_elbo", "importance_bound", "kl", "negative_elbo_at_mean"):
        assert getattr(by_mean, name) == pytest.approx(getattr(by_sum, name), rel=1e-5)


def test_units_are_told_and_survive_json():
    vae, x, _ = linear_model()
    found = evaluate(vae, batches(x), num_draws=2)
    assert sum(unit["kl"] for unit in found.units) == pytest.approx(found.kl, rel=1e-6)
    assert found.num_units_by_kl == found.num_active_units == 2
    again = Evaluation.from_dict(json.loads(json.dumps(found.as_dict())))
    assert again.units == found.units
    assert again.negative_elbo == found.negative_elbo
    assert str(again) == str(found)


def data_with_variances(*variances, count=4000):
    """Rows whose sample covariance has exactly these eigenvalues, in axes that are turned."""
    random = np.random.default_rng(0)
    z = random.normal(size=(count, len(variances)))
    z -= z.mean(0)
    z = z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / count)).T * np.sqrt(variances)
    turn, _ = np.linalg.qr(random.normal(size=(len(variances),) * 2))
    return (z @ turn).astype("float32")


#: What is left over beside three components is what squared error takes for noise.
NOISY = (6.0, 2.5, 1.2, 0.5, 0.5, 0.5)


@functools.cache
def train_linear(variances, kl_weight, epochs=80):
    data = load(data_with_variances(*variances), preprocessing="none", batch_size=200)
    keras.utils.set_random_seed(0)
    vae = models.dense(data.shape, latent_dim=4, widths=(), bottleneck=Gaussian(kl_weight))
    training.compile(vae, SquaredError(), data, epochs=epochs, learning_rate=0.02)
    vae.fit(data.train, epochs=epochs, verbose=0, shuffle=False)
    return data, vae


@pytest.fixture(scope="module")
def noisy():
    """Data with noise of variance ½, and the model of them."""
    return train_linear(NOISY, 1.0)


def test_a_linear_model_keeps_the_components_above_half_the_weight_and_reaches_probabilistic_pca(noisy):
    for kl_weight, kept in ((1.0, 3), (3.0, 2)):  # Variances above 0.5 and 1.5.
        data, vae = train_linear((6.0, 2.5, 1.2, 0.3), kl_weight)
        assert evaluate(vae, data.train_from(0)).num_units_by_kl == kept
    data, vae = noisy
    pca = sklearn.decomposition.PCA(3).fit(data.raw.train)
    assert pca.noise_variance_ == pytest.approx(0.5, rel=0.1)
    found = evaluate(vae, data.train_from(0), num_draws=20)
    assert found.negative_elbo + 3 * np.log(np.pi) == pytest.approx(-pca.score(data.raw.train), rel=0.01)


def test_the_critical_weight_of_squared_error_is_twice_the_largest_variance():
    x = data_with_variances(6.0, 2.5, 1.2, count=1000)
    for reduction, factor in (("sum", 1), ("mean", 3)):
        found = find_critical_weight(SquaredError(sample_reduction=reduction), batches(x), x.mean(0))
        assert found == pytest.approx(12 / factor, rel=1e-3)
    assert find_critical_weight(AbsoluteError(), batches(x), x.mean(0)) is None


def test_the_critical_weight_of_cross_entropy_is_that_of_whitened_data():
    random = np.random.default_rng(0)
    rate = np.array([0.1, 0.5, 0.7])
    x = (random.random((1000, 1)) < rate).astype("float32")  # Each one implies the next ones.
    mean = x.mean(0)
    expected = np.linalg.eigvalsh(np.corrcoef(x.T))[-1]
    logits = BinaryCrossentropy(from_logits=True)
    assert find_critical_weight(logits, batches(x), mean) == pytest.approx(expected, rel=1e-3)


def test_a_collapsed_posterior_is_found_with_the_weight_at_which_it_comes_back():
    data, vae = train_linear((6.0, 2.5, 1.2, 0.5), kl_weight=20.0)
    train = data.train_from(0)
    history = {"kl": [0.5, 0.004, 0.001]}
    found = evaluate(vae, train, train=train, history=history)
    (finding,) = (each for each in found.findings if each.name == "posterior_collapse")
    assert "since epoch 2" in finding.message
    critical = re.search(r"kl_weight 20 that is the optimum .* latent below (\S+) only", finding.message)
    assert float(critical[1]) == pytest.approx(12, rel=0.1)
    vae.get_layer("encoder").get_layer("gaussian").kl_weight = 2.0
    found = evaluate(vae, train, train=train)
    (finding,) = (each for each in found.findings if each.name == "posterior_collapse")
    assert "and yours is 2: it is the training that fell short" in finding.message


def test_a_posterior_wider_than_the_prior_is_found():
    vae, x, _ = linear_model(widen=30.0)
    (finding,) = (each for each in evaluate(vae, batches(x)).findings if each.name == "wide_posterior")
    assert finding.figure > 1.1
    assert not [each for each in evaluate(linear_model()[0], batches(x)).findings if each.name == "wide_posterior"]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_score_can_be_the_negative_elbo_in_keras_and_in_the_export(reduction, tmp_path):
    x = data_with_variances(2.0, 1.0, 0.5, count=300)
    keras.utils.set_random_seed(0)
    gaussian = Gaussian(score="negative_elbo", name="bottleneck")
    vae = models.dense((3,), latent_dim=2, widths=(8,), bottleneck=gaussian)
    vae.compile("adam", SquaredError(sample_reduction=reduction))
    vae.fit(x, x, epochs=3, verbose=0)
    path = export.save(vae, tmp_path / "vae", data=load(x, preprocessing="none"), ignore=["reduction"])
    exported, found = export.load(path), scores(vae, batches(x), ignore=["reduction"])
    np.testing.assert_allclose(exported.score(x), found, rtol=1e-5)
    np.testing.assert_allclose(exported.explain(x)["instance_score"], found, rtol=1e-5)
    mean, log_variance = np.moveaxis(find_posterior(vae)(x).numpy(), 1, 0)
    encoded = exported.call("encode", inputs=x)
    np.testing.assert_allclose(encoded["embedding"], mean, atol=1e-5)
    np.testing.assert_allclose(encoded["embedding_deviation"], np.exp(log_variance / 2), rtol=1e-5)
    noise = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(exported.sample(noise), models.sample(vae, 5, seed=0), atol=1e-5)
    np.testing.assert_array_equal(exported.sample(noise), exported.decode(noise))
    (described,) = exported.description["model"]["bottlenecks"]
    assert (described["class_name"], described["score"], described["kl_weight"]) == ("Gaussian", "negative_elbo", 1.0)
    vae.get_layer("encoder").get_layer("bottleneck").score = "reconstruction"
    rate = np.sum(kl_divergence(mean, log_variance), axis=1) / (3 if reduction == "mean" else 1)
    without = scores(vae, batches(x), ignore=["reduction"])
    np.testing.assert_allclose(found - without, rate, rtol=1e-3, atol=1e-5)


def test_samples_follow_the_data_once_it_is_learned(noisy):
    data, vae = noisy
    drawn = models.sample(vae, 5000, seed=1)  # Means, without the noise of variance ½.
    expected = np.linalg.eigvalsh(np.cov(data.raw.train.T)) - 0.5
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(drawn.T)), expected, atol=0.3)


def test_interpolations_begin_and_end_with_the_reconstructions():
    vae, x, _ = linear_model()
    steps = models.interpolate(vae, x[0], x[1], num_steps=5)
    np.testing.assert_allclose(steps[[0, -1]], vae(x[:2]), rtol=1e-5)
    np.testing.assert_allclose(steps[2], np.mean(vae(x[:2]), axis=0), rtol=1e-4)  # The decoder is linear.


def test_traversals_set_one_unit_and_take_those_that_tell_most_first():
    vae, x, _ = linear_model()
    drawn, units = models.traverse(vae, x[0], values=(-1, 0, 2))
    mean, log_variance = np.moveaxis(find_posterior(vae)(x[:1]).numpy(), 1, 0)
    assert units == np.argsort(-kl_divergence(mean, log_variance).numpy()[0]).tolist()
    latent = mean[0].copy()
    latent[units[1]] = 2
    np.testing.assert_allclose(drawn[1, 2], vae.get_layer("decoder")(latent[None])[0], rtol=1e-5)


def test_models_that_can_not_generate_are_refused():
    plain = models.dense((3,), latent_dim=2)
    plain.compile("sgd", SquaredError())
    with pytest.raises(ValueError, match="vae: expected a model with one Gaussian bottleneck"):
        models.sample(plain, 3)
    x = keras.Input((3,))
    alone = keras.Model(x, keras.layers.Dense(3)(Gaussian(latent_dim=2)(x)))
    alone.compile("sgd", SquaredError())
    with pytest.raises(
        ValueError, match=r'vae: expected a model that can decode latents; .*no sub-model named "encoder"'
    ):
        models.sample(alone, 3)
    found = evaluate(alone, batches(np.ones((4, 3), "float32")), num_draws=2)
    assert found.negative_elbo is None
    assert found.kl is not None


def test_evaluating_leaves_no_trace_in_the_model():
    vae, x, _ = linear_model(kl_warmup=5)
    before = [np.array(variable) for variable in vae.variables]
    evaluate(vae, batches(x), num_draws=3)
    for variable, value in zip(vae.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_mean_beside_the_divergence_is_refused_with_the_weight_that_it_becomes():
    data = load(data_with_variances(2.0, 1.0, 0.5), preprocessing="none")
    vae = models.dense((3,), latent_dim=2, bottleneck=Gaussian(kl_weight=0.6))
    with pytest.raises(ValueError, match=r"weighs 3 times as much.*kl_weight=0\.6 in layer 'gaussian' becomes 0\.2"):
        training.compile(vae, SquaredError(sample_reduction="mean"), data, epochs=1)


class Behind(keras.Model):
    """A Gaussian bottleneck behind the encoder, which emits features."""

    def __init__(self, width):
        super().__init__()
        self.encoder, self.decoder = keras.layers.Dense(width), keras.layers.Dense(3)
        self.bottleneck = Gaussian(latent_dim=2)

    def call(self, x, training=False):
        return self.decoder(self.bottleneck(self.encoder(x), training=training))


@pytest.mark.parametrize("width", [2, 5])
def test_a_bottleneck_behind_the_encoder_is_told_and_no_bound_is_made_up(width):
    vae, x = Behind(width), np.ones((4, 3), "float32")
    vae.compile("sgd", SquaredError())
    vae(x)
    found = evaluate(vae, batches(x), num_draws=2)
    assert found.negative_elbo is None
    assert "does not end with the Gaussian bottleneck" in found.reasons["negative_elbo"]
    with pytest.raises(ValueError, match="does not end with the Gaussian bottleneck; make it the last layer"):
        models.sample(vae, 3)


@pytest.mark.parametrize("arguments", [{"num_draws": 2**31}, {"num_draws": -1}, {"num_draws": 1, "seed": 2**32}])
def test_more_draws_than_can_be_counted_are_refused(arguments):
    vae, x, _ = linear_model()
    with pytest.raises(ValueError, match="expected an integer of at least 0, below 2³¹"):
        evaluate(vae, batches(x), **arguments)


def test_a_loss_whose_elements_depend_on_each_other_has_no_critical_weight():
    x = np.eye(3, dtype="float32")[np.random.default_rng(0).integers(0, 3, (200, 4))]
    loss = CategoricalCrossentropy(from_logits=True)
    assert find_critical_weight(loss, batches(x), x.mean(0)) is None


def test_a_mean_over_what_a_mask_leaves_makes_no_other_bound():
    def build(reduction):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((4, 2))
        latent = Gaussian(latent_dim=2)(keras.layers.Flatten()(inputs))
        encoder = keras.Model(inputs, latent, name="encoder")
        code = keras.Input((2,))
        decoder = keras.Model(code, keras.layers.Reshape((4, 2))(keras.layers.Dense(8)(code)), name="decoder")
        outer = keras.Input((4, 2))
        masked = keras.layers.Masking(0.0)(outer)
        vae = keras.Model(outer, keras.layers.Add()([decoder(encoder(outer)), masked * 0]))
        vae.compile("sgd", SquaredError(sample_reduction=reduction))
        return vae

    x = np.random.default_rng(0).normal(size=(6, 4, 2)).astype("float32")
    x[:3, 2:] = 0
    by_sum, by_mean = (evaluate(build(each), batches(x), ignore=["reduction"]) for each in ("sum", "mean"))
    assert by_mean.negative_elbo_at_mean == pytest.approx(by_sum.negative_elbo_at_mean, rel=1e-5)


def test_traversals_and_interpolations_that_can_not_be_are_refused():
    vae, x, _ = linear_model()
    with pytest.raises(ValueError, match=r"units: expected some of 0 to 1; received \[5\]"):
        models.traverse(vae, x[0], units=[5])
    with pytest.raises(ValueError, match="num_steps: expected 2 or more"):
        models.interpolate(vae, x[0], x[1], num_steps=1)


def test_pictures_hold_a_tile_for_each_sample():
    vae, x, _ = linear_model()
    axes = plots.samples(vae, 7, ax=Figure().subplots())
    assert len(axes.lines) == 7
    axes = plots.latent_grid(vae, num_steps=4, ax=Figure().subplots())
    assert len(axes.lines) == 16
    axes = plots.traversals(vae, x[0], values=(-1, 1), ax=Figure().subplots())
    assert [label.get_text() for label in axes.get_xticklabels()] == ["-1", "1"]
    with pytest.raises(ValueError, match=r"units: expected two different ones of the 2 of the latent"):
        plots.latent_grid(vae, units=(0, 2))
