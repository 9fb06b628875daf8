"""Floor, constant and linear baseline, against NumPy, SciPy and scikit-learn."""

import functools
import json
import math

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from sklearn.decomposition import PCA

from tests.function_models import FORMULAS, function_model, names, with_encoder
from tests.samples import batches, uniform
from tfae import datasets, models
from tfae.evaluation import evaluate
from tfae.evaluation.baselines import principal_components
from tfae.losses import AbsoluteError, BinaryCrossentropy, ReconstructionLoss, SquaredError
from tfae.moments import Moments


def autoencoder(reconstruct, shape, loss, latent_dim=2):
    """A model that reconstructs by a function, beside an encoder that emits the first elements."""
    return with_encoder(reconstruct, lambda z: tf.reshape(z, (-1, math.prod(shape)))[:, :latent_dim], shape, loss)


def halves(shape, loss, latent_dim=2):
    return autoencoder(lambda x: x / 2 + 0.1, shape, loss, latent_dim)


def linear_data(n=200, width=10, seed=0):
    """Rows of decaying variance in random directions, with a mean."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(np.random.default_rng(99).normal(size=(width, width)))[0]
    return (rng.normal(size=(n, width)) * 2.0 ** -np.arange(width)) @ directions + 3


def of_components(train, x, num_components):
    """What scikit-learn's PCA of the training split makes of samples."""
    pca = PCA(num_components).fit(train)
    return pca.inverse_transform(pca.transform(x))


@pytest.mark.parametrize("sample_reduction", ["sum", "mean"])
@pytest.mark.parametrize(
    "loss", [SquaredError, BinaryCrossentropy, functools.partial(BinaryCrossentropy, from_logits=True)]
)
def test_the_floor_of_cross_entropy_is_the_entropy_and_that_of_the_errors_zero(loss, sample_reduction):
    x = uniform(20, 6)
    x[:5] = x[:5].round()
    result = evaluate(halves((6,), loss(sample_reduction=sample_reduction)), batches(x))
    p = x[5:].astype("float64")
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum()  # that of 0 and of 1 is 0
    expected = 0 if loss is SquaredError else entropy / (20 if sample_reduction == "sum" else 120)
    assert result.floor == pytest.approx(expected, rel=1e-6)
    assert result.excess == pytest.approx(result.loss - expected, rel=1e-5)


@pytest.mark.parametrize("loss", FORMULAS)
def test_the_constant_is_what_scipy_finds_to_minimise_the_loss_on_the_training_split(loss):
    train, x = uniform(41, 3), uniform(10, 3, seed=1) ** 2

    def best(column):
        of_constant = functools.partial(FORMULAS[loss], column.astype("float64"))
        found = scipy.optimize.minimize_scalar(lambda c: of_constant(c).sum(), bounds=(0, 1), options={"xatol": 1e-9})
        return found.x

    expected = FORMULAS[loss](x.astype("float64"), np.apply_along_axis(best, 0, train)).sum(1).mean()
    result = evaluate(halves((3,), loss()), batches(x), train=batches(train))
    assert result.constant_loss == pytest.approx(expected, rel=1e-5)
    assert result.constant_skill == pytest.approx(1 - result.excess / (expected - result.floor), rel=1e-4)
    of_train = FORMULAS[loss](train.astype("float64"), train / 2 + 0.1).sum(1).mean()
    assert result.train_loss == pytest.approx(of_train, rel=1e-5)


def test_under_logits_the_baselines_are_read_as_probabilities():
    train, x = uniform(40, 5), uniform(12, 5, seed=1)
    on_logits, plain = (
        evaluate(halves((5,), BinaryCrossentropy(from_logits=flag)), batches(x), train=batches(train))
        for flag in (True, False)
    )
    assert on_logits.constant_loss == pytest.approx(plain.constant_loss, rel=1e-6)
    assert on_logits.linear_loss == pytest.approx(plain.linear_loss, rel=1e-6)


@pytest.mark.parametrize("loss", [SquaredError(), AbsoluteError(), BinaryCrossentropy()])
def test_a_model_that_outputs_the_best_constant_has_no_skill_and_a_trivial_score_under_every_loss(loss):
    data = datasets.load("digits")
    constant = np.asarray(loss.best_constant(data.preprocessing(data.raw.train)))
    model = autoencoder(lambda z: 0 * z + constant, data.shape, loss)
    result = evaluate(model, data.test, train=data.train_from(0))
    assert result.constant_skill == pytest.approx(0, abs=1e-5)
    assert result.constant_triviality == pytest.approx(1, abs=1e-4)
    assert names(result) >= {"no_better_than_constant", "trivial_score"}
    assert "no better than one constant" in str(result)
    if isinstance(loss, SquaredError):
        assert result.triviality == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        *((SquaredError(), 1.0), (SquaredError(), 0.3), (AbsoluteError(), 0.3)),
        *((BinaryCrossentropy(), 1.0), (BinaryCrossentropy(), 0.3)),
    ],
)
def test_where_the_constant_is_exact_there_is_no_skill_and_a_model_that_is_not_hears_so(loss, value):
    x = np.full((20, 4), value)
    worse = evaluate(autoencoder(lambda z: z * 0.9, (4,), loss), batches(x), train=batches(x))
    (finding,) = [found for found in worse.findings if found.name == "no_better_than_constant"]
    assert (worse.constant_skill, worse.linear_skill, finding.figure) == (None, None, worse.excess)
    assert worse.constant_loss - worse.floor == pytest.approx(0, abs=1e-5)
    assert "skill n/a, the constant is exact on these samples" in str(worse)
    assert "One constant for all samples is exact here, and the model is not" in finding.message
    exact = evaluate(autoencoder(lambda z: z, (4,), loss), batches(x), train=batches(x))
    assert "no_better_than_constant" not in names(exact)


def test_without_a_training_split_there_are_no_baselines_and_the_table_says_why():
    result = evaluate(halves((4,), SquaredError()), batches(uniform(9, 4)))
    names = ("constant_loss", "constant_skill", "linear_loss", "linear_skill", "train_loss", "triviality")
    assert [getattr(result, name) for name in names] == [None] * 6
    assert "no training split was given" in str(result)


@pytest.mark.parametrize("n", [1, 2, 41, 100])
def test_the_median_in_passes_is_that_of_numpy(n, monkeypatch):
    x = np.random.default_rng(0).standard_t(2, (n, 7)).astype("float32")
    x[:, 0] = 5
    x[:, 1] = x[:, 1].round()
    np.testing.assert_array_equal(AbsoluteError().best_constant(batches(x)), np.median(x.astype("float64"), 0))
    monkeypatch.setattr("tfae.losses.constants.MAX_BYTES", 0)
    passes = AbsoluteError().best_constant(batches(x))
    lower = np.sort(x, 0)[(n - 1) // 2]
    np.testing.assert_allclose(passes, lower, atol=np.ptp(x, 0).max() * 2.0**-23)


@pytest.mark.parametrize("loss", [SquaredError, AbsoluteError])
def test_the_linear_baseline_is_scikit_learns_pca_of_data_with_a_constant_column_too(loss):
    train, x = linear_data(), linear_data(50, seed=1)
    train[:, 3] = x[:, 3] = 7
    y = of_components(train, x, 3).clip(train.min(), train.max())
    result = evaluate(halves((10,), loss(), latent_dim=3), batches(x), train=batches(train))
    assert result.linear_loss == pytest.approx(FORMULAS[loss](x, y).sum(1).mean(), rel=1e-4)
    assert result.linear_skill == pytest.approx(1 - result.excess / result.linear_loss, rel=1e-6)
    best = train.mean(0) if loss is SquaredError else np.median(train, 0)
    assert result.constant_loss == pytest.approx(FORMULAS[loss](x, best).sum(1).mean(), rel=1e-5)


def test_wide_data_has_a_linear_baseline_too():
    rng = np.random.default_rng(0)
    train, x = (rng.normal(size=(n, 4)) * [8, 4, 2, 1] for n in (60, 20))
    to_wide = np.random.default_rng(1).normal(size=(4, 5000)) / 50
    train, x = (z @ to_wide + 0.1 * rng.normal(size=(len(z), 5000)) / 70 for z in (train, x))
    y = of_components(train, x, 3).clip(train.min(), train.max())
    result = evaluate(halves((5000,), SquaredError(), latent_dim=3), batches(x), train=batches(train, 7))
    assert result.linear_loss == pytest.approx(((x - y) ** 2).sum(1).mean(), rel=1e-3)


@pytest.mark.parametrize(
    ("spectrum", "num_samples", "num_components"),
    [(np.ones(300), 3000, 16), (np.arange(1, 1501) ** -0.5, 400, 16), (np.ones(1200), 300, 8)],
)
def test_what_principal_components_leave_is_the_optimum_of_flat_spectra_too(spectrum, num_samples, num_components):
    x = (np.random.default_rng(0).normal(size=(num_samples, len(spectrum))) * spectrum).astype("float32")
    moments = Moments(len(spectrum), scatter=None)
    moments.add(x)
    components = principal_components(batches(x, 100), moments, num_components)
    centred = x - x.mean(0, dtype="float64")
    left = (centred**2).sum() - ((centred @ components.T) ** 2).sum()
    optimum = (np.linalg.svd(centred, compute_uv=False)[num_components:] ** 2).sum()
    np.testing.assert_allclose(components @ components.T, np.eye(num_components), atol=1e-6)
    assert 1 - 1e-6 <= left / optimum < 1.001


def test_the_linear_baseline_of_huge_values_is_that_of_small_ones():
    train, x = linear_data(), linear_data(50, seed=1)
    model = halves((10,), AbsoluteError())
    small, huge = (evaluate(model, batches(x * scale), train=batches(train * scale)) for scale in (1, 1e20))
    assert huge.linear_skill == pytest.approx(small.linear_skill, rel=0.1)
    assert huge.linear_loss == pytest.approx(1e20 * small.linear_loss, rel=1e-4)


def test_a_baseline_whose_loss_leaves_float32_is_none_and_the_table_says_why():
    x = np.float32([[1e20], [-1e20]]) * np.ones((1, 3), "float32")
    model = autoencoder(lambda z: z, (3,), SquaredError(), latent_dim=1)
    result = evaluate(model, batches(x), train=batches(x))
    assert (result.loss, result.constant_loss, result.constant_skill) == (0, None, None)
    assert result.reasons["constant_loss"] == "the values are too large for float32"
    assert json.dumps(result.as_dict(), allow_nan=False)


@pytest.mark.parametrize(("loss", "margins"), [(SquaredError, [0]), (BinaryCrossentropy, [1e-4, 1e-3, 1e-2, 1e-1])])
def test_the_linear_baseline_is_clipped_into_the_data_range_or_under_cross_entropy_to_what_suits_it(loss, margins):
    train = (uniform(80, 6) > 0.7).astype("float32")
    y = of_components(train, train, 2)
    assert y.min() < 0
    losses = [FORMULAS[loss](train, y.clip(margin, 1 - margin)).sum(1).mean() for margin in margins]
    result = evaluate(halves((6,), loss()), batches(train), train=batches(train), data_range=(0, 1))
    assert result.linear_loss == pytest.approx(min(losses), rel=1e-4 if loss is BinaryCrossentropy else 1e-5)


def test_a_linear_autoencoder_trained_to_convergence_reaches_pca_within_one_percent():
    train = linear_data(width=6) - 3
    keras.utils.set_random_seed(0)
    model = models.dense((6,), latent_dim=2, widths=())
    model.compile(keras.optimizers.Adam(0.03), loss=SquaredError())
    model.fit(batches(train, 200).cache().repeat(600), shuffle=False, verbose=0)
    result = evaluate(model, batches(train), train=batches(train), data_range=(-100, 100))
    assert result.linear_skill == pytest.approx(0, abs=0.01)
    assert "worse_than_linear" not in names(result)


@pytest.mark.parametrize(
    ("latent_dim", "num_train", "reason"),
    [
        (4, 3, "the 3 samples of the training split span at most 2 directions, fewer than 4 components"),
        (4, 4, "the 4 samples of the training split span at most 3 directions, fewer than 4 components"),
        (6, 50, "6 components of 6 elements reconstruct everything"),
    ],
)
def test_where_pca_says_nothing_it_is_left_out_and_the_table_says_why(latent_dim, num_train, reason):
    model = halves((6,), SquaredError(), latent_dim)
    result = evaluate(model, batches(uniform(9, 6)), train=batches(uniform(num_train, 6, seed=1)))
    assert (result.linear_loss, result.linear_skill) == (None, None)
    assert result.reasons["linear_loss"] == reason
    assert reason in str(result)
    assert result.constant_loss > 0


def test_a_model_without_an_encoder_has_no_linear_baseline():
    result = evaluate(function_model(lambda x: x / 2, (4,)), batches(uniform(9, 4)), train=batches(uniform(9, 4)))
    assert (result.linear_loss, result.latent_dim, result.num_active_units) == (None, None, None)
    assert result.constant_skill is not None


def test_a_single_sample_is_measured_without_nan():
    x = uniform(1, 8, 8, 1)
    result = evaluate(halves((8, 8, 1), BinaryCrossentropy()), batches(x), train=batches(x))
    values = [v for v in result.as_dict().values() if isinstance(v, float)]
    assert all(map(math.isfinite, values))
    assert (result.triviality, result.effective_dimension, result.linear_loss) == (None, None, None)


def test_a_loss_of_ones_own_has_its_floor_and_baselines():
    class Quartic(ReconstructionLoss):
        def elementwise(self, x, output):
            return (output - x) ** 4

    x = uniform(9, 3).astype("float64") ** 3
    result = evaluate(halves((3,), Quartic()), batches(x), train=batches(x))
    least = [scipy.optimize.minimize_scalar(lambda c, x=x: ((x - c) ** 4).sum(), (0, 1)).fun for x in x.T]
    assert result.constant_loss == pytest.approx(sum(least) / 9, rel=1e-6)
    assert result.constant_loss < 0.9 * ((x - x.mean(0)) ** 4).sum(1).mean()
    assert result.crossentropy is not None
