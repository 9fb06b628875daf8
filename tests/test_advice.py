"""Advice: statistics against NumPy and scipy, and rules on data of which one knows what fits."""

import dataclasses
import json
import re
import tracemalloc

import numpy as np
import pytest
import scipy.stats

import tfae
from tests import commands
from tfae.activations import Clip
from tfae.advice import advise, rules
from tfae.advice.rules import HEAVY_TAILS


def advised(samples, **options):
    return advise(tfae.datasets.load(samples, **options))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_shares_entropy_and_the_floor_of_the_alternative_are_those_of_the_scaled_training_split():
    data = tfae.datasets.load("digits")
    x = data.raw.train.reshape(len(data.raw.train), -1) / 16.0
    advice = advise(data)
    s = advice.statistics
    assert (s.num_samples, s.num_elements, s.num_features, s.low, s.high) == (1438, 64, 1, 0, 16)
    assert s.share_zero == pytest.approx((x == 0).mean())
    assert s.share_one == pytest.approx((x == 1).mean())
    assert s.share_inside == pytest.approx(((x > 0) & (x < 1)).mean())
    entropy = scipy.stats.entropy(np.stack([x, 1 - x]), axis=0).sum(axis=1).mean()
    assert s.entropy == pytest.approx(entropy, rel=1e-12)
    (bce,) = (choice for choice in advice.alternatives if choice.loss == "bce")
    floors = tfae.losses.BinaryCrossentropy().floor(data.preprocessing(data.raw.train)).numpy()
    assert bce.floor == pytest.approx(floors.mean(dtype="float64"), rel=1e-6)
    assert bce.preprocessing == "unit"


def test_tails_and_scales_are_those_of_each_column(rng):
    data = tfae.datasets.load(rng.standard_t(3, (3000, 4)) * [1, 10, 100, 1000] + 7)
    x, s = data.raw.train, advise(data).statistics
    deviation = x - np.median(x, axis=0)
    mad = [[np.median(-c[c < 0]), np.median(c[c > 0])] for c in deviation.T]
    outlying = np.array([(c < -5 * low) | (c > 5 * high) for c, (low, high) in zip(deviation.T, mad, strict=True)]).T
    assert s.share_outlying == pytest.approx(outlying.mean())
    energy = (deviation**2 * outlying).sum(axis=0) / (deviation**2).sum(axis=0)
    assert s.outlying_energy == pytest.approx(energy.mean())
    assert s.deviations == pytest.approx((x.std(axis=0).min(), x.std(axis=0).max()), rel=1e-9)
    assert s.model_deviations == pytest.approx((1, 1))


def test_the_limit_of_heavy_tails_is_that_from_which_on_the_median_beats_the_mean():
    t = scipy.stats.t(4)
    far = 5 * t.ppf(0.75)
    energy = 2 * t.expect(lambda x: x**2, lb=far) / t.var()
    assert pytest.approx(energy, abs=5e-4) == HEAVY_TAILS
    efficiency = {df: 4 * scipy.stats.t(df).pdf(0) ** 2 * scipy.stats.t(df).var() for df in (4, 5)}
    assert efficiency[4] > 1 > efficiency[5]


# Columns of 4,000 samples, and the loss that they call for.
NOISE = {
    "normal": ("mse", lambda rng, shape: rng.normal(size=shape)),
    "uniform": ("mse", lambda rng, shape: rng.uniform(-3, 3, shape)),
    "t8": ("mse", lambda rng, shape: rng.standard_t(8, shape)),
    "skewed": ("mse", lambda rng, shape: rng.chisquare(4, shape)),
    "t2": ("mae", lambda rng, shape: rng.standard_t(2, shape)),
    "lognormal": ("mae", lambda rng, shape: rng.lognormal(size=shape)),
    "salted": ("mae", lambda rng, shape: rng.normal(size=shape) * np.where(rng.random(shape) < 0.02, 10, 1)),
}


def noise(name, rng):
    return NOISE[name][1](rng, (4000, 6))


@pytest.mark.parametrize("name", NOISE)
@pytest.mark.parametrize("preprocessing", ["standard", "none"])
def test_heavy_tails_and_outliers_call_for_absolute_error_and_nothing_else_does(rng, name, preprocessing):
    advice, loss = advised(noise(name, rng), preprocessing=preprocessing), NOISE[name][0]
    assert (advice.loss, advice.loaded_loss, advice.floor) == (loss, loss, 0)
    assert advice.output_activation == "linear"
    assert [choice.loss for choice in advice.alternatives] == {"mse": ["mae", "gaussian"], "mae": ["mse", "huber"]}[
        loss
    ]


def test_the_reason_has_the_figures_that_decided_and_their_source(rng):
    salted = noise("salted", rng)
    advice = advised(salted)
    s = advice.statistics
    assert f"{100 * s.share_outlying:.3g} % of the values" in advice.reasons[0]
    assert f"make up {100 * s.outlying_energy:.3g} % of the sum of all squared distances" in advice.reasons[0]
    assert "Huber 1981" in advice.reasons[0]
    # Outliers among values in the unit interval are still outliers.
    advice = advised((salted - salted.min()) / np.ptp(salted))
    assert advice.loss == "mae"
    assert [choice.loss for choice in advice.alternatives] == ["mse", "bce", "cb", "huber"]


def test_where_no_value_is_far_off_that_is_said_instead_of_shares_of_nothing(rng):
    reason = advised(noise("uniform", rng)).reasons[0]
    assert reason.startswith("no value is over 5 times as far from the median as a typical value; squared error")


BITS = pytest.param(np.arange(600).reshape(100, 6) % 7 % 2, id="bits")


@pytest.mark.parametrize("samples", ["digits", "breast_cancer", BITS, *NOISE])
def test_what_a_reason_cites_is_on_the_page_in_full_and_nothing_else_is(rng, samples):
    advice = advised(noise(samples, rng) if isinstance(samples, str) and samples in NOISE else samples)
    cited = {
        part.partition(",")[0]
        for reason in advice.reasons
        for found in re.findall(r"\(([^()]*\d{4}[^()]*)\)", reason)
        for part in found.split("; ")
    }
    assert cited
    assert cited <= set(rules.SOURCES)
    assert set(advice.sources) == {rules.SOURCES[each] for each in cited}
    assert str(advice).partition("\nsources\n")[2].startswith("".join(f"  {source}\n" for source in advice.sources))
    assert not [reason for reason in advice.reasons if ".md" in reason]  # Who installs by pip has no docs/.


def test_small_counts_have_the_loss_of_poisson_and_stay_as_they_are_and_large_ones_are_told_of_it(rng):
    counts = rng.poisson(4, (4000, 6))
    advice = advised(counts)
    assert (advice.loss, advice.loaded_loss, advice.preprocessing) == ("poisson", "mse", "none")
    assert "McCullagh & Nelder 1989" in advice.reasons[0]
    assert advice.statistics.share_counts == 1
    train = tfae.datasets.load(counts).raw.train
    assert advice.floor == pytest.approx(-scipy.stats.poisson.logpmf(train, train).sum(axis=1).mean(), rel=1e-6)
    assert [(choice.loss, choice.preprocessing) for choice in advice.alternatives] == [
        ("mse", "standard"),
        ("mae", "standard"),
    ]
    assert advised(counts, preprocessing="none").loaded_loss == "poisson"
    assert advised(counts - 20).statistics.share_counts == 0
    large = advised(rng.poisson(4000, (4000, 6)))
    assert (large.loss, large.preprocessing) == ("mse", "standard")
    assert "poisson is their likelihood" in large.reasons[0]
    assert ("poisson", "none") in [(choice.loss, choice.preprocessing) for choice in large.alternatives]


def test_one_hot_samples_have_categorical_cross_entropy(rng):
    samples = np.eye(5)[rng.integers(0, 5, (400, 3))]
    advice = advised(samples)
    assert (advice.loss, advice.preprocessing, advice.output_activation, advice.floor) == ("cce", "none", "linear", 0)
    assert advice.statistics.is_one_hot
    twice = np.concatenate([samples[:, 0], samples[:, 1]], axis=1)
    assert (advised(twice).loss, advised(samples[:, 0] > 0).loss) == ("bce", "cce")


def test_floors_of_gray_values_are_those_of_the_losses_and_of_noise_to_be_fitted_there_is_none():
    data = tfae.datasets.load("digits")
    advice = advise(data)
    floors = {choice.loss: choice.floor for choice in advice.alternatives}
    x = data.preprocessing(data.raw.train).numpy()
    assert set(floors) == {"mae", "bce", "gaussian", "cb"}
    expected = tfae.losses.ContinuousBernoulli().floor(x).numpy().mean(dtype="float64")
    assert floors["cb"] == pytest.approx(expected, rel=1e-5)
    assert floors["gaussian"] is None
    assert "gaussian, with preprocessing unit; floor known once the noise is: as squared error" in str(advice)


@pytest.mark.parametrize(
    ("values", "options", "preprocessing", "as_loaded"),
    [
        ((0.0, 1.0), {}, "none", "mse"),
        ((0.0, 1.0), {"preprocessing": "none"}, "none", "bce"),
        ((0.0, 1.0), {"preprocessing": "unit"}, "unit", "bce"),
        ((-1.0, 1.0), {"preprocessing": "symmetric"}, "unit", "mse"),
        ((False, True), {}, "unit", "bce"),
    ],
)
def test_two_values_call_for_cross_entropy(rng, values, options, preprocessing, as_loaded):
    advice = advised(np.where(rng.random((200, 9)) < 0.3, values[1], values[0]), **options)
    assert (advice.loss, advice.preprocessing, advice.loaded_loss) == ("bce", preprocessing, as_loaded)
    assert advice.floor == 0
    assert "output activation   linear, of BinaryCrossentropy(from_logits=True)" in str(advice)


def test_black_and_white_images_call_for_cross_entropy(rng):
    images = np.where(rng.random((100, 6, 6)) < 0.2, 255, 0).astype("uint8")
    advice = advised(images)
    assert (advice.loss, advice.preprocessing, advice.statistics.share_inside) == ("bce", "unit", 0)
    assert advice.output_activation == "linear"
    assert "cross-entropy takes logits" in advice.reasons[2]
    images[:, 0, 0] = 128
    assert advised(images).loss == "mse"


def test_only_unit_is_said_to_keep_values_in_the_unit_interval(rng):
    images = np.full((50, 6, 6), 100, "uint8")
    images[:, 0] = rng.integers(100, 105, (50, 6))
    (reason,) = (reason for reason in advised(images).reasons if "standard deviation" in reason)
    assert '"unit" keeps them in [0, 1]' in reason
    columns = rng.normal(size=(400, 3))
    s = dataclasses.replace(advised(columns).statistics, model_deviations=(1e-3, 1.0))
    assert rules.preprocessing(s, "mse", "standard")[1].endswith('of the scalings, "standard" makes them most alike')


@pytest.mark.parametrize(("method", "activation"), [("unit", Clip(0, 1)), ("symmetric", Clip(-1, 1))])
def test_pixels_call_for_an_output_that_is_bounded_as_they_are(method, activation):
    advice = advise(tfae.datasets.load("digits", preprocessing=method))
    assert (advice.loss, advice.output_activation) == ("mse", activation)
    ends = 100 * (1 - advice.statistics.share_inside)
    assert f"bounded, and {ends:.3g} % of them lie at an end of their range: a clipped output" in advice.reasons[2]
    assert f"output activation   {activation}\n" in str(advice)


def test_what_is_not_pixels_of_a_known_range_calls_for_a_linear_output(rng):
    standard, columns = advised("digits", preprocessing="standard"), advised(rng.random((200, 5)), preprocessing="unit")
    assert standard.preprocessing == "standard"
    assert 'with preprocessing "unit" new samples may have any value' in columns.reasons[2]
    assert [(each.loss, each.output_activation) for each in (standard, columns)] == [("mse", "linear")] * 2


def test_two_values_that_no_scaling_takes_to_the_unit_interval_are_remarked_on(rng):
    x = np.where(rng.random((200, 5)) < 0.3, 4.0, 2.0)
    x[:, 2] = 7
    advice = advised(x, preprocessing="none")
    assert advice.loss == "mse"
    for remark in ("no preprocessing takes all splits to [0, 1]", "20 % of the features are constant"):
        assert any(remark in reason for reason in advice.reasons)


def test_unlike_scales_call_for_standard(rng):
    x = rng.normal(size=(500, 4)) * [1, 10, 100, 1000]
    advice = advised(x, preprocessing="none")
    assert (advice.preprocessing, advice.loaded_preprocessing) == ("standard", "none")
    assert "LeCun" in advice.reasons[1]
    assert "standard, not none" in str(advice)
    alike = advised(rng.normal(size=(500, 4)), preprocessing="none")
    assert alike.preprocessing == "none"
    assert advised(x).preprocessing == "standard"
    images = rng.integers(0, 256, (50, 6, 6)).astype("uint8")
    assert advised(images, preprocessing="none").preprocessing == "unit"


def test_a_column_that_is_constant_but_for_few_is_named(rng):
    x = rng.normal(size=(1000, 3))
    x[:, 1] = 5
    x[::200, 1] = 6  # Of five, one is in the training split at least.
    advice = advised(x)
    assert advice.loss == "mse"
    assert advice.statistics.nearly_constant == ("1",)
    assert any(reason.startswith("constant but for at most 1 % of the samples: 1 (") for reason in advice.reasons)
    assert advice.statistics.share_sparse == pytest.approx(1 / 3)


def test_mostly_zero_columns_have_no_tails_and_get_squared_error(rng):
    x = rng.exponential(size=(1000, 5)) * (rng.random((1000, 5)) < 0.2) * 9
    advice = advised(x)
    s = advice.statistics
    assert (advice.loss, s.share_sparse, s.share_outlying) == ("mse", 1, None)
    assert "n/a" in str(advice)
    assert "100 % of the features take one value in over half of the samples" in advice.reasons[0]


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "diabetes", "digits"])
def test_the_bundled_data_sets_get_squared_error_as_they_are_loaded(name):
    advice = advised(name)
    assert (advice.loss, advice.preprocessing) == ("mse", advice.loaded_preprocessing)


def test_only_the_training_split_counts_and_few_samples_of_one_column_are_enough(rng):
    normal = rng.normal(size=(1000, 3))
    heavy, moved = ({"train": normal, "test": test} for test in (rng.standard_t(1, (500, 3)), normal[:9] + 1))
    assert advised(heavy).statistics == advised(moved).statistics
    advice = advised(np.arange(5.0).reshape(-1, 1))
    assert (advice.statistics.num_samples, advice.loss in ("mse", "mae", "poisson")) == (3, True)


def test_data_on_disk_gets_the_same_advice_in_memory_that_does_not_grow(rng, tmp_path):
    np.save(tmp_path / "x.npy", rng.standard_t(3, (40_000, 64)).astype("float32"))
    held = advised(tmp_path / "x.npy", in_memory=True)
    streamed = tfae.datasets.load(tmp_path / "x.npy", in_memory=False)
    tracemalloc.start()
    advice = advise(streamed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert advice.statistics == held.statistics
    assert peak < 24 * 2**20  # As float64 the training split alone has 16 MB, and its quantiles take a copy.


@pytest.mark.parametrize("samples", ["digits", "wine", np.eye(200, 6) > 0, np.arange(600).reshape(100, 6) % 7 % 2])
def test_what_the_advice_names_builds_a_model_that_passes_the_checks(samples):
    advice = advised(samples)
    data = tfae.datasets.load(samples, preprocessing=advice.preprocessing)
    model = tfae.models.dense(data.shape, latent_dim=2, widths=(4,), output_activation=advice.output_activation)
    tfae.checks.check(data, tfae.losses.get(advice.loss), model)


def test_advice_is_plain_values_and_a_page(rng):
    advice = advised(noise("salted", rng))
    plain = json.loads(json.dumps(advice.as_dict(), allow_nan=False))
    assert plain["loss"] == "mae"
    assert plain["statistics"]["num_samples"] == 3200
    assert plain["alternatives"][0]["floor"] == 0
    assert str(advice).splitlines()[:2] == ["array, 3,200 training samples", "loss                mae, absolute error"]


def test_the_command_prints_the_page_or_json():
    assert commands.run("advise", "wine").stdout == f"{advised('wine')}\n"
    printed = json.loads(commands.run("advise", "wine", "--json", "--preprocessing", "none").stdout)
    assert (printed["preprocessing"], printed["loaded_preprocessing"]) == ("standard", "none")


def test_missing_values_are_refused_with_their_place_and_their_share(tmp_path):
    (tmp_path / "holes.csv").write_text("a,b\n1,2\n3,\n5,6\n")
    refused = commands.run("advise", tmp_path / "holes.csv", code=2).stderr
    assert "a missing value in column 'b', row 1" in refused
    assert "Missing or infinite are 1 of 6 values (16.7 %), in 1 of 3 rows: 'b' 33.3 %." in refused
    assert "Take missing ones as such, --gaps mask; or leave out their rows, --gaps drop, or columns, --drop" in refused


def train(folder, *options):
    """What is printed of a training on bits before it begins, and the configuration of the run."""
    np.save(folder / "bits.npy", (np.random.default_rng(0).random((100, 8)) < 0.3).astype("float32"))
    run_dir = folder / f"run-{len(options)}"
    result = commands.begin(folder / "bits.npy", "--widths", 4, "--run-dir", run_dir, *options)
    return result.stdout, json.loads((run_dir / "config.json").read_text())


def test_train_follows_the_advice_and_says_why(tmp_path):
    output, config = train(tmp_path)
    (line,) = (line for line in output.splitlines() if line.startswith("loss: "))
    assert line.startswith("loss: binary cross-entropy, advised because every value is one of two, ")
    assert line.endswith("; --loss mse chooses another")
    assert (config["loss"]["class_name"], config["loss"]["from_logits"]) == ("BinaryCrossentropy", True)
    assert config["data"]["preprocessing"] == "none"
    assert config["data"]["arguments"]["preprocessing"] == "none"
    assert config["notes"]["advice"]["loss"] == "bce"


def test_train_keeps_to_the_preprocessing_and_the_loss_that_the_user_names(tmp_path):
    output, config = train(tmp_path, "--preprocessing", "standard")
    assert "loss: squared error, as preprocessing standard allows; binary cross-entropy is advised" in output
    assert "needs --preprocessing none" in output
    assert config["loss"]["class_name"] == "SquaredError"
    output, config = train(tmp_path, "--loss", "mae", "--seed", 1)
    assert "loss: squared" not in output
    assert "advised" not in output
    assert (config["loss"]["class_name"], config["notes"]["advice"]) == ("AbsoluteError", None)
