"""Sharpness, latent and triviality against NumPy and SciPy, and what an evaluation warns of."""

import functools
import json

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from tests.function_models import function_model, names, with_encoder
from tests.samples import batches, normal, uniform
from tfae.evaluation import evaluate
from tfae.losses import AbsoluteError, BinaryCrossentropy, ReconstructionLoss, SquaredError

EXACT = function_model(lambda z: z, (4,))
COLLAPSED = with_encoder(lambda z: z, lambda z: 0 * z[:, :2] + 0.1, (4,))
INFINITE = with_encoder(lambda z: z, lambda z: tf.where(z > 0, np.inf, z) if tf.is_tensor(z) else z, (4,))


def figure(evaluation, name):
    (found,) = [finding for finding in evaluation.findings if finding.name == name]
    assert found.message in str(evaluation).replace("\n  ", " ")
    return found.figure


def energy_of_the_upper_half(images):
    """Spectral energy at radii above a quarter of a cycle per pixel, by the whole transform in float64."""
    spectrum = np.fft.fft2(images.astype("float64"), axes=(1, 2))
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(side) for side in images.shape[1:3]), indexing="ij"))
    return (np.abs(spectrum) ** 2)[:, radius > 0.25].sum()


@pytest.mark.parametrize("shape", [(16, 16, 1), (9, 12, 3), (12, 9, 1)])
def test_sharpness_of_a_gaussian_blur_is_that_of_numpy(shape):
    x = uniform(6, *shape)
    blur = functools.partial(gaussian_filter, sigma=(0, 0.7, 0.7, 0), mode="wrap")
    result = evaluate(function_model(lambda z: tf.numpy_function(blur, [z], "float32"), shape), batches(x))
    expected = energy_of_the_upper_half(blur(x)) / energy_of_the_upper_half(x)
    assert result.sharpness == pytest.approx(expected, rel=1e-4)
    assert 0 < result.sharpness < 0.5


@pytest.mark.parametrize("factor", [0, 0.5, 1, 2])
def test_sharpness_grows_with_the_square_of_the_contrast(factor):
    result = evaluate(function_model(lambda z: factor * z + 0.1, (8, 8, 1)), batches(uniform(5, 8, 8, 1)))
    assert result.sharpness == pytest.approx(factor**2, abs=1e-6)


def test_a_wave_counts_from_half_of_the_nyquist_frequency_on():
    def wave(frequency):
        return np.cos(2 * np.pi * frequency * np.arange(16))[None, None, :, None] * np.ones((1, 16, 1, 1)) + 1

    x = wave(4 / 16) + wave(5 / 16)  # the first is at a quarter of a cycle per pixel, and the second above it
    for kept, expected in ((wave(4 / 16), 0), (wave(5 / 16), 1)):
        model = function_model(lambda z, kept=kept: 0 * z + kept.astype("float32"), (16, 16, 1))
        assert evaluate(model, batches(x)).sharpness == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "x", "figure", "reason"),
    [
        (function_model(lambda z: z, (8, 8, 1)), np.full((4, 8, 8, 1), 0.3), "sharpness", "the images are flat"),
        (EXACT, uniform(40, 4), "triviality", "losses or distances do not differ between the samples"),
        (COLLAPSED, normal(50, 4), "effective_dimension", "the latent is the same for all samples"),
        (INFINITE, normal(50, 4), "effective_dimension", "the latent is not finite"),
        (INFINITE, normal(50, 4), "num_active_units", "the latent is not finite"),
    ],
)
def test_what_can_not_be_measured_is_none_and_has_a_reason(model, x, figure, reason):
    result = evaluate(model, batches(x), train=batches(x))
    assert (getattr(result, figure), result.reasons[figure]) == (None, reason)


def test_effective_dimension_is_the_participation_ratio_of_the_spectrum():
    x = normal(100, 6) * [8, 4, 2, 1, 1, 1] + 1000
    mixing = np.linalg.qr(normal(6, 6, seed=1))[0].astype("float32")
    result = evaluate(with_encoder(lambda z: z, lambda z: z @ mixing, (6,)), batches(x))
    spectrum = np.linalg.eigvalsh(np.cov((np.float32(x) @ mixing).T.astype("float64")))
    assert result.effective_dimension == pytest.approx(spectrum.sum() ** 2 / (spectrum**2).sum(), rel=1e-4)
    assert result.latent_dim == 6


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_latents_that_vary_alike_or_in_one_direction_have_the_dimension_one_expects(batch_size):
    signs = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T  # all corners of a cube: variance 1, uncorrelated
    alike = evaluate(with_encoder(lambda z: z, lambda z: z[:, :3], (4,)), batches(signs, batch_size))
    assert alike.effective_dimension == pytest.approx(3)
    one = evaluate(with_encoder(lambda z: z, lambda z: z[:, :1] * [[1.0, 2.0, -3.0]], (4,)), batches(signs, batch_size))
    assert one.effective_dimension == pytest.approx(1)
    assert (one.num_active_units, one.latent_dim) == (3, 3)


@pytest.mark.parametrize(
    ("model", "x", "num_active", "latent_dim"),
    [
        (with_encoder(lambda z: z, lambda z: z * [1, 0.01, 0.0001, 0] + 5, (4,)), normal(200, 4), 2, 4),
        (COLLAPSED, normal(50, 4), 0, 2),
        (with_encoder(lambda z: z, lambda z: z, (4,)), normal(500, 4) * [30, 1, 1, 1], 4, 4),  # of unlike scales
        (with_encoder(lambda z: z, lambda z: z[:, ::2, ::2], (8, 8, 1)), uniform(9, 8, 8, 1), 16, 16),  # maps
    ],
)
def test_units_that_all_but_stand_still_are_dead(model, x, num_active, latent_dim):
    result = evaluate(model, batches(x, 16))
    assert (result.num_active_units, result.latent_dim) == (num_active, latent_dim)
    assert ("constant_latent" in names(result)) == (num_active == 0)
    assert ("dead_latent" in names(result)) == (0 < num_active < latent_dim)
    if 0 < num_active < latent_dim:
        assert figure(result, "dead_latent") == 2
        assert f"2 of the {latent_dim} latent units all but stand still" in str(result)
        assert "hold it at its mean and see that the loss stays" in " ".join(str(result).split())


def test_an_encoder_of_several_outputs_has_no_latent_to_measure():
    inputs = keras.Input((4,))
    encoder = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)], name="encoder")
    mean, spread = encoder(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Add()([mean, spread])))
    model.compile(loss=SquaredError())
    result = evaluate(model, batches(uniform(9, 4)))
    assert (result.latent_dim, result.num_active_units) == (None, None)
    assert "several outputs" in result.reasons["num_active_units"]


def test_cross_entropy_is_measured_under_every_loss_in_nats_and_bits():
    x = uniform(20, 5)
    y = 0.8 * x.astype("float64") + 0.1
    expected = -(x * np.log(y) + (1 - x) * np.log1p(-y)).mean()
    for loss in (SquaredError(), BinaryCrossentropy()):
        result = evaluate(function_model(lambda z: 0.8 * z + 0.1, (5,), loss), batches(x))
        assert result.crossentropy == pytest.approx(expected, rel=1e-5)
        assert result.bits == pytest.approx(expected / np.log(2), rel=1e-5)
    confident = function_model(lambda z: 0 * z + 40, (3,), BinaryCrossentropy(from_logits=True))
    assert evaluate(confident, batches(np.zeros((4, 3)))).crossentropy == pytest.approx(40)


def test_cross_entropy_of_reconstructions_that_leave_0_and_1_keeps_half_a_step_of_255_from_there():
    x = uniform(20, 5)
    y = np.clip(1.5 * x.astype("float64") - 0.2, 1 / 510, 1 - 1 / 510)
    result = evaluate(function_model(lambda z: 1.5 * z - 0.2, (5,)), batches(x))
    assert result.crossentropy == pytest.approx(-(x * np.log(y) + (1 - x) * np.log1p(-y)).mean(), rel=1e-5)
    assert "of reconstructions kept 0.002 from 0 and 1" in str(result)
    own = evaluate(function_model(lambda z: 0.5 * z + 0.1, (5,), BinaryCrossentropy()), batches(x))
    assert (own.crossentropy, own.crossentropy_margin) == (own.loss_per_element, 0)
    assert "kept" not in str(own)
    result = evaluate(function_model(lambda z: z / 2, (5,)), batches(2 * x))
    assert (result.crossentropy, result.bits) == (None, None)
    assert "a sample is not in [0, 1]" in str(result)


def test_a_cross_entropy_that_was_told_to_take_anything_is_no_metric():
    model = function_model(lambda z: 1.5 * z - 0.2, (5,), BinaryCrossentropy())
    result = evaluate(model, batches(uniform(20, 5)), ignore=["activation"])
    assert result.crossentropy is None
    assert result.reasons["crossentropy"] == "a reconstruction is not in [0, 1]"
    assert figure(result, "outside_domain") == pytest.approx(0.3, abs=0.05)
    assert "loss_below_floor" not in names(result)


def test_triviality_is_the_rank_correlation_with_the_distance_from_the_training_mean():
    train, x = uniform(50, 4), uniform(40, 4, seed=1)
    result = evaluate(function_model(lambda z: z * z, (4,)), batches(x), train=batches(train))
    distance = ((x - train.mean(0)) ** 2).sum(1)
    expected = scipy.stats.spearmanr(((x - x * x) ** 2).sum(1), distance).statistic
    assert result.triviality == pytest.approx(expected, abs=1e-3)
    assert "trivial_score" not in names(result)


@pytest.mark.parametrize("loss", [SquaredError(), AbsoluteError()])
def test_an_autoencoder_that_loses_to_pca_hears_so_and_under_which_loss_that_is_the_best_linear_one(loss):
    x = normal(200, 6) * [9, 4, 1, 1, 1, 1]
    model = with_encoder(lambda z: z * np.float32([0.9, 0, 0, 0, 0, 0]), lambda z: z[:, :2], (6,), loss)
    result = evaluate(model, batches(x), train=batches(x))
    text = " ".join(str(result).split())
    assert ("is the best linear autoencoder" in text) == isinstance(loss, SquaredError)
    assert ("which costs no training" in text) == isinstance(loss, AbsoluteError)
    if isinstance(loss, SquaredError):
        assert figure(result, "worse_than_linear") == result.linear_skill < -1
        assert "no_better_than_constant" not in names(result)


def test_a_skill_far_below_0_is_shown_without_exponent():
    x = np.concatenate([normal(100, 3), -normal(100, 3)])  # of mean 0
    result = evaluate(function_model(lambda z: -z, (3,)), batches(x), train=batches(x))
    assert "its skill is -300.0 %." in " ".join(str(result).split())


def test_where_pca_is_exact_a_model_that_is_not_hears_so():
    x = (normal(200, 2) @ normal(2, 6, seed=1)) + 10
    result = evaluate(with_encoder(lambda z: 0.9 * z + 1, lambda z: z[:, :2], (6,)), batches(x), train=batches(x))
    assert result.linear_skill is None
    assert result.reasons["linear_skill"] == "PCA is exact on these samples"
    assert figure(result, "worse_than_linear") == result.excess
    exact = evaluate(with_encoder(lambda z: z, lambda z: z[:, :2], (6,)), batches(x), train=batches(x))
    assert "worse_than_linear" not in names(exact)


class Negative(ReconstructionLoss):
    """A loss with a bug: it is below the floor that it claims."""

    def elementwise(self, x, output):
        return (output - x) ** 2 - 1

    def floor(self, x, mask=None):
        return tf.zeros(tf.shape(x)[:1])


def test_a_loss_below_its_floor_is_a_bug_that_is_found():
    result = evaluate(function_model(lambda z: z, (4,), Negative()), batches(uniform(40, 4)))
    assert figure(result, "loss_below_floor") == pytest.approx(-4)


@pytest.mark.parametrize("from_logits", [True, False])
def test_rounding_does_not_take_a_perfect_model_below_its_floor(from_logits):
    def exact(z):
        return tf.math.log(z) - tf.math.log1p(-z) if from_logits else z

    x = uniform(40, 500) * 0.98 + 0.01
    result = evaluate(function_model(exact, (500,), BinaryCrossentropy(from_logits=from_logits)), batches(x))
    assert result.excess == pytest.approx(0, abs=1e-3)
    assert result.findings == ()


def test_samples_on_which_the_model_is_much_worse_than_on_its_training_split_are_found():
    train, x = normal(100, 4), 2 * normal(60, 4, seed=1)
    result = evaluate(function_model(lambda z: z / 2, (4,)), batches(x), train=batches(train))
    assert figure(result, "train_test_gap") == pytest.approx((x**2).mean() / (train**2).mean(), rel=1e-4)
    assert "by heart" in str(result)
    assert "stop earlier if the validation loss has risen" in " ".join(str(result).split())
    easier = evaluate(function_model(lambda z: z / 2, (4,)), batches(train / 9), train=batches(train))
    assert figure(easier, "train_test_gap") == pytest.approx(1 / 81, rel=1e-4)
    assert "easier" in str(easier)


@pytest.mark.parametrize(
    ("train", "x"),
    [
        (normal(100, 4), normal(60, 4, seed=1)),
        (normal(100, 4), 9 * normal(1, 4)),  # Of a single sample one can not tell.
        (np.concatenate([normal(100, 4), 20 * normal(1, 4, seed=2)]), normal(60, 4, seed=1)),  # One makes the mean.
    ],
)
def test_splits_that_differ_by_less_than_their_spread_are_not_far_apart(train, x):
    result = evaluate(function_model(lambda z: z / 2, (4,)), batches(x), train=batches(train))
    assert (result.train_loss > 1.5 * result.loss) == (len(train) > 100)
    assert "train_test_gap" not in names(result)


def test_a_good_model_is_not_warned_of():
    x = normal(200, 6)
    model = with_encoder(lambda z: 0.9 * z + 0.02 * tf.sin(50 * z), lambda z: z[:, :3], (6,))
    result = evaluate(model, batches(x), train=batches(normal(300, 6, seed=1)))
    assert names(result) <= {"trivial_score"}
    assert json.dumps(result.as_dict(), allow_nan=False)


class Noise(keras.layers.Layer):
    """Samples at inference."""

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), stddev=0.1)


def test_a_model_that_samples_at_inference_is_told_with_the_spread_of_its_losses():
    x = np.random.default_rng(0).normal(size=(500, 4)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, x)).batch(500)
    for last, expected in ((Noise(), True), (keras.layers.Rescaling(0.5), False)):
        model = keras.Sequential([keras.Input((4,)), last])
        model.compile(loss=SquaredError())
        found = {finding.name: finding for finding in evaluate(model, dataset).findings}
        assert ("samples_at_inference" in found) is expected
    # Two independent sums of four squared normal errors differ by 1.5 of their standard deviations √8 / 4 … of 4.
    model = keras.Sequential([keras.Input((4,)), Noise()])
    model.compile(loss=SquaredError())
    figure = {finding.name: finding.figure for finding in evaluate(model, dataset).findings}["samples_at_inference"]
    chi = np.random.default_rng(1).chisquare(4, (2, 100_000))
    assert figure == pytest.approx(np.abs(chi[0] - chi[1]).mean() / 4, rel=0.15)


@pytest.mark.parametrize(
    ("latent_dim", "extra", "expected"),
    [(3, [], False), (4, [], True), (6, [], True), (6, [keras.layers.GaussianNoise(0.1)], False)],
)
def test_a_latent_as_wide_as_a_sample_is_told(latent_dim, extra, expected):
    x = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, x)).batch(50)
    encoder = keras.Sequential([keras.Input((4,)), *extra, keras.layers.Dense(latent_dim)], name="encoder")
    model = keras.Sequential([keras.Input((4,)), encoder, keras.layers.Dense(4)])
    model.compile(loss=SquaredError())
    assert ("latent_as_wide" in names(evaluate(model, dataset))) is expected


def test_an_encoder_that_ignores_its_input_is_told():
    x = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, x)).batch(50)
    found = names(evaluate(with_encoder(lambda x: x / 2, lambda x: 0 * x[:, :2] + 3, (4,)), dataset))
    assert "constant_latent" in found
    assert "dead_latent" not in found


@pytest.mark.parametrize(("scale", "expected"), [(0.9, False), (0.5, True)])
def test_a_gap_is_told_where_it_costs_skill(scale, expected):
    # The model takes away a share of every sample; the test split's is 1.5 times as far from 0.
    x = np.random.default_rng(0).normal(size=(4000, 4)).astype("float32")
    model = function_model(lambda x: scale * x, (4,))
    result = evaluate(model, batches(1.5 * x, 500), train=batches(x, 500))
    assert ("train_test_gap" in names(result)) is expected
