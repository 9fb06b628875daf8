"""Likelihoods from checks and training to comparison, export and resuming."""

import functools
import json
import math

import keras
import numpy as np
import pytest
import scipy.stats

from tests.crashes import CrashError, at_call, crash
from tests.samples import normal, uniform
from tfae import checks, comparison, datasets, evaluation, export, losses, models, runs, training
from tfae.losses import CategoricalCrossentropy, GaussianNLL, Poisson, SquaredError, TableLoss

pytestmark = pytest.mark.usefixtures("without_pictures")


def table(seed=0):
    return datasets.load(normal(120, 4, seed=seed) @ normal(4, 5, seed=9), batch_size=16)


def dense(data, loss):
    keras.utils.set_random_seed(0)
    activation = loss.output_activation(data.output_range)
    return models.dense(data.shape, latent_dim=2, widths=(8,), output_activation=activation)


def train(data, loss, run_dir, epochs=2, **options):
    return runs.train(dense(data, loss), data, loss=loss, run_dir=run_dir, epochs=epochs, verbose=0, **options)


def root_mean_square(model, x):
    return math.sqrt(((model.predict(x, verbose=0).astype("float64") - x) ** 2).mean())


def scaled(data, split="train"):
    return data.preprocessing(getattr(data.raw, split)).numpy()


def expected_scores(model, x, sigma):
    return -scipy.stats.norm.logpdf(x, model.predict(x, verbose=0), sigma).sum(axis=1)


def test_a_fit_after_compile_leaves_the_noise_of_the_training_split_in_the_loss_of_its_model_alone():
    data, given = table(), GaussianNLL()
    first, second = dense(data, given), dense(data, given)
    found = []
    for model, epochs in ((first, 1), (second, 4), (first, 4)):
        training.compile(model, given, data, epochs=epochs)
        model.fit(data.train, validation_data=data.validation, epochs=epochs, verbose=0, shuffle=False)
        found.append(model.loss.fitted_sigma)
        assert model.loss.fitted_sigma == pytest.approx(root_mean_square(model, scaled(data)), rel=1e-5)
        scores = evaluation.scores(model, data.test)
        np.testing.assert_allclose(scores, expected_scores(model, scaled(data, "test"), found[-1]), rtol=1e-4)
    assert len(set(found)) == 3
    assert second.loss.fitted_sigma == found[1]
    assert given.fitted_sigma is None


def test_a_model_that_was_not_adapted_trains_and_is_not_scored_without_a_word(tmp_path):
    data = table()
    model = dense(data, GaussianNLL())
    model.compile("adam", GaussianNLL())
    model.fit(data.train, epochs=1, verbose=0, shuffle=False)
    actions = [
        lambda: evaluation.evaluate(model, data.test),
        lambda: evaluation.scores(model, data.test),
        lambda: export.save(model, tmp_path / "export", preprocessing=data.preprocessing),
    ]
    for action in actions:
        with pytest.raises(
            ValueError, match=r"expected the sigma by which samples are scored.*autoencoder\.loss\.adapt"
        ):
            action()
    model.loss.adapt(model, data.train)
    assert math.isfinite(evaluation.evaluate(model, data.test).loss)


@pytest.fixture(scope="module")
def gaussian_run(without_pictures, tmp_path_factory):
    return train(table(), GaussianNLL(), tmp_path_factory.mktemp("gaussian") / "run", epochs=3)


def test_a_run_saves_and_exports_the_noise_with_the_model(gaussian_run, tmp_path):
    data, model = table(), gaussian_run.autoencoder
    sigma = root_mean_square(model, scaled(data))
    expected = expected_scores(model, scaled(data, "test"), sigma)
    assert gaussian_run.evaluation.loss == pytest.approx(expected.mean(), rel=1e-4)
    assert gaussian_run.evaluation.floor == pytest.approx(-5 * scipy.stats.norm.logpdf(0, 0, sigma), rel=1e-4)
    loaded = runs.load_run(gaussian_run.directory).autoencoder
    assert loaded.loss.get_config() == model.loss.get_config()
    exported = export.load(gaussian_run.export(tmp_path, data=data, ignore=["constant"]))
    np.testing.assert_allclose(exported.score(data.raw.test), expected, rtol=1e-3)


def test_a_run_that_crashed_ends_with_the_same_noise_and_no_warning(gaussian_run, tmp_path, monkeypatch):
    for name, patch in {
        "training": lambda context: at_call(context, 1),
        "evaluation": lambda context: context.setattr("tfae.runs.fitting.evaluate", crash),
    }.items():
        with monkeypatch.context() as context:
            patch(context)
            with pytest.raises(CrashError):
                train(table(), GaussianNLL(), tmp_path / name, epochs=3)
        run = runs.resume(tmp_path / name, data=table(), verbose=0)
        assert run.autoencoder.loss.get_config() == gaussian_run.autoencoder.loss.get_config()
        assert run.evaluation == gaussian_run.evaluation


def test_a_comparison_trains_on_the_noise_of_batches_and_goes_on_with_the_same_losses(tmp_path):
    given, data = [GaussianNLL(), SquaredError()], table()
    build = functools.partial(models.dense, data.shape, latent_dim=2, widths=(8,))
    options = {"run_dir": tmp_path / "runs", "seeds": 1, "epochs": 1, "build": build, "verbose": False}
    found = comparison.compare(data, given, **options)
    assert [row.loss for row in found.rows] == ["gaussian_nll", "squared_error"]
    for row in found.rows:
        assert row.values["constant_skill"] is not None
    # Both aim at the mean: what constants lose beyond the floor is squared error times one number.
    evaluations = [json.loads((row.runs[0] / "evaluation.json").read_text()) for row in found.rows]
    sigma = runs.load_run(found.rows[0].runs[0]).autoencoder.loss.fitted_sigma
    assert evaluations[0]["constant_loss"] - evaluations[0]["floor"] == pytest.approx(
        evaluations[1]["constant_loss"] / (2 * sigma**2), rel=1e-4
    )
    assert comparison.compare(data, given, **options) == found


def pictures():
    """Gray ones whose border is always black, as that of handwritten digits is."""
    x = np.zeros((120, 6, 6, 1), "uint8")
    x[:, 1:-1, 1:-1] = np.random.default_rng(0).integers(0, 256, (120, 4, 4, 1))
    x[:, 2, 2] = 255
    return datasets.load(x, batch_size=16)


def counts():
    rates = np.exp(normal(120, 2) @ normal(2, 5, seed=1) * 0.5 + 1)
    return datasets.load(np.random.default_rng(0).poisson(rates), preprocessing="none", batch_size=16)


def one_hot(*shape):
    chosen = np.random.default_rng(0).integers(0, 4, (120, *shape))
    return datasets.load(np.eye(4)[chosen], preprocessing="none", batch_size=16)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cb", pictures),
        ("gaussian", pictures),
        ("poisson", counts),
        ("cce", functools.partial(one_hot, 3)),
        ("cce", one_hot),
        ("huber", table),
    ],
)
def test_each_loss_is_trained_evaluated_exported_and_scores_the_same(name, data, tmp_path):
    data, loss = data(), losses.get(name)
    run = train(data, loss, tmp_path / "run")
    result = run.evaluation
    assert None not in (result.constant_loss, result.constant_skill, result.linear_loss, result.linear_skill)
    assert np.isfinite([value for value in result.as_dict().values() if isinstance(value, float)]).all()
    assert result.loss > result.floor
    assert result.constant_loss > result.floor
    assert result.loss_unit == loss.unit
    x = scaled(data, "test")
    constant = np.broadcast_to(scaled(data).mean(axis=0, dtype="float64").astype("float32"), x.shape)
    if loss.known_constant == "mean":
        readable = run.autoencoder.loss.on_reconstructions()
        assert float(np.mean(readable.per_sample(x, constant))) == pytest.approx(result.constant_loss, rel=1e-4)
    exported = export.load(run.export(tmp_path / "export", data=data, ignore=["constant"]))
    scores = run.autoencoder.loss.per_sample(x, run.autoencoder(x))
    np.testing.assert_allclose(exported.score(data.raw.test), scores, rtol=1e-3)
    assert scores.numpy().mean() == pytest.approx(result.loss, rel=1e-5)


def fractions():
    return datasets.load(uniform(60, 5), preprocessing="none")


@pytest.mark.parametrize(
    ("data", "loss", "activation", "match"),
    [
        (fractions, losses.get("cce"), "linear", r'not defined on .* received sums from \d.*or choose .*loss="bce"'),
        (fractions, Poisson(), "linear", r"Poisson is not defined on the training split .* expects whole numbers"),
        (
            lambda: datasets.load(counts().raw.train, preprocessing="unit"),
            Poisson(),
            "linear",
            r'it expects whole numbers; received 0\.\d+\. Leave counts as they are: preprocessing="none"\.',
        ),
        (
            lambda: datasets.load(counts().raw.train),
            Poisson(),
            "linear",
            r'Poisson is defined on \[0\.0, inf\].*loss="mae"\), or use preprocessing="none", since',
        ),
        (
            lambda: datasets.load(uniform(60, 4) * 3, preprocessing="none"),
            losses.get("cce"),
            "linear",
            r'is defined on \[0\.0, 1\.0\].*Choose SquaredError \(loss="mse"\) or AbsoluteError \(loss="mae"\), or use',
        ),
        (one_hot, losses.get("cce"), "softmax", r"reads its output as logits; .* softmax, .* in \[0\.\d+, 0\.\d+\]"),
        (counts, Poisson(), "softplus", r"reads its output as log rates; received one that ends in softplus.*False\)"),
        (
            counts,
            Poisson(from_log_rates=False),
            "linear",
            r'stays in \[0, inf\).*End the model in activation="softplus"',
        ),
        (pictures, losses.get("cb"), "sigmoid", r"reads its output as logits.*keeps reconstructions in \[0\.5, 0\.58"),
    ],
)
def test_what_does_not_fit_a_likelihood_is_refused_with_what_to_do(data, loss, activation, match):
    data = data()
    model = models.dense(data.shape, latent_dim=2, widths=(4,), output_activation=activation)
    with pytest.raises(ValueError, match=match):
        checks.check(data, loss, model)


@pytest.mark.parametrize(
    ("data", "loss", "activation"),
    [
        (pictures, losses.get("cb"), "linear"),
        (pictures, losses.ContinuousBernoulli(), "sigmoid"),
        (one_hot, CategoricalCrossentropy(), "softmax"),
        (counts, Poisson(from_log_rates=False), "softplus"),
        (counts, Poisson(from_log_rates=False), "relu"),
    ],
)
def test_what_fits_a_likelihood_passes(data, loss, activation):
    data = data()
    checks.check(data, loss, models.dense(data.shape, latent_dim=2, widths=(4,), output_activation=activation))


def test_a_softmax_under_binary_cross_entropy_is_refused_unless_the_samples_sum_to_1_along_its_axis():
    loss = losses.BinaryCrossentropy()
    along_last, along_first = one_hot(3), datasets.load(np.swapaxes(one_hot(3).raw.train, 1, 2), preprocessing="none")
    for data, axis in ((along_last, -1), (along_first, 1)):
        inputs = keras.Input(data.shape)
        outputs = keras.layers.Softmax(axis=axis)(keras.layers.Dense(data.shape[-1])(inputs))
        checks.check(data, loss, keras.Model(inputs, outputs))
    several = datasets.load((uniform(60, 4) < 0.5).astype("float32"), preprocessing="none")
    softmax = models.dense((4,), latent_dim=2, widths=(4,), output_activation="softmax")
    with pytest.raises(ValueError, match="ends in softmax, which ties those of a sample together"):
        checks.check(several, loss, softmax)
    checks.check(one_hot(), loss, softmax)


def test_numbers_of_a_table_take_noise_that_is_given_and_none_that_is_to_be_found():
    blocks = [{"column": "size", "kind": "number", "names": ["size"]}]
    expected = -scipy.stats.norm.logpdf(1.0, 3.0, 2.0)
    loss = TableLoss(blocks, numbers=GaussianNLL(sigma=2.0))
    assert float(loss([[1.0]], [[3.0]])) == pytest.approx(expected, rel=1e-6)
    for numbers in (GaussianNLL(), Poisson(), losses.get("cce")):
        with pytest.raises(ValueError, match="expected a loss of any real number and of known scale, such as Squared"):
            TableLoss(blocks, numbers=numbers)


def test_a_comparison_without_names_leaves_variants_out_and_takes_what_is_defined():
    chosen = comparison.plan.choose_losses(None, "sum")
    assert list(chosen) == [
        "squared_error", "absolute_error", "binary_crossentropy", "categorical_crossentropy", "poisson",
    ]  # fmt: skip
