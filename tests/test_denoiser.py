"""The denoiser: what its score is, what it rests on, and that it is a Keras model like any other."""

import keras
import numpy as np
import pytest

import tfae
from tfae.losses import SquaredError, for_table
from tfae.models import Denoiser, StandardizedScore

NUM_COLUMNS = 5


def draw(n, seed=0):
    """Rows of five columns that depend on two numbers."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(2, NUM_COLUMNS))
    return (rng.normal(size=(n, 2)) @ mixing + 0.1 * rng.normal(size=(n, NUM_COLUMNS))).astype("float32")


def train(x, epochs=30, **options):
    keras.utils.set_random_seed(0)
    denoiser = Denoiser(x.shape[1:], width=32, **options)
    denoiser.adapt(x)
    denoiser.compile(keras.optimizers.Adam(3e-3), SquaredError())
    denoiser.fit(x, x, batch_size=32, epochs=epochs, verbose=0)
    denoiser.adapt_score(x)
    return denoiser


@pytest.fixture(scope="module")
def trained():
    return train(draw(640))


def scores_of(denoiser, x):
    return denoiser.score_elements(x).numpy().sum(axis=1)


def test_rows_whose_columns_do_not_go_together_score_higher_although_each_is_usual(trained):
    normal = draw(200, seed=1)
    shuffled = np.stack([np.random.default_rng(j).permutation(column) for j, column in enumerate(normal.T)], axis=1)
    assert np.median(scores_of(trained, shuffled)) > np.quantile(scores_of(trained, normal), 0.95)


def test_the_element_that_does_not_fit_contributes_most(trained):
    normal = draw(200, seed=1)
    for column in range(NUM_COLUMNS):
        wrong = normal.copy()
        wrong[:, column] += 3 * normal[:, column].std()
        blamed = trained.score_elements(wrong).numpy().argmax(axis=1)
        assert np.mean(blamed == column) > 0.6, column


def test_each_view_has_a_score_of_its_own_and_the_further_one_counts(trained):
    x = draw(50, seed=2)
    first, second = (np.asarray(trained._distance(view, x)[0])[:, 0] for view in trained.views)
    own = np.asarray(trained.views[0].log_mean) + np.asarray(trained.views[0].log_deviation) * np.maximum(first, second)
    assert scores_of(trained, x) == pytest.approx(np.exp(own), rel=1e-4)
    assert (first > second).any()
    assert (second > first).any()


def test_the_elements_of_the_whitened_view_add_up_to_its_score(trained):
    x, view = keras.ops.convert_to_tensor(draw(20)), trained.views[1]
    of_axes = np.sum(np.asarray(trained._level_losses(view, x)) * np.asarray(view.weight)[:, None], axis=(0, 2))
    assert np.asarray(trained._weigh(view, x)).sum(axis=1) == pytest.approx(of_axes, rel=1e-4)


def test_scores_are_the_same_each_time_and_training_is_random(trained):
    x = draw(20)
    assert np.array_equal(trained.score_elements(x), trained.score_elements(x))
    assert np.array_equal(trained(x), trained(x))
    assert not np.array_equal(trained(x, training=True), trained(x, training=True))


def test_constants_stay_as_they_are_in_training():
    x = draw(64)
    denoiser = Denoiser((NUM_COLUMNS,), width=8)
    denoiser.adapt(x)
    before = [np.array(weight) for weight in denoiser.non_trainable_weights]
    denoiser.compile("adam", SquaredError())
    denoiser.fit(x, x, verbose=0)
    assert all(map(np.array_equal, before, denoiser.non_trainable_weights))
    assert np.asarray(denoiser.views[0].offset) == pytest.approx(x.mean(axis=0), abs=1e-5)
    whitened = np.asarray(denoiser.views[1].project(x))
    assert np.cov(whitened.T, bias=True)[-2:, -2:] == pytest.approx(np.eye(2), abs=1e-2)


def test_a_file_brings_it_back_with_its_scores(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = draw(20)
    assert np.array_equal(loaded.score_elements(x), trained.score_elements(x))
    assert isinstance(loaded.loss, SquaredError)


def test_a_gap_adds_nothing_whatever_stands_there_and_the_score_stays_as_large():
    x = draw(640)
    x[np.random.default_rng(0).random(x.shape) < 0.1] = np.nan
    columns = {f"c{j}": column for j, column in enumerate(x.T)}
    import pyarrow as pa

    data = tfae.datasets.load(pa.table(columns), gaps="mask")
    keras.utils.set_random_seed(0)
    denoiser = tfae.models.denoiser(data, width=16)
    tfae.training.compile(denoiser, for_table(SquaredError(), data.preprocessing), data, epochs=10)
    denoiser.fit(data.train, epochs=10, verbose=0, shuffle=False)
    denoiser.adapt_score(data.train_from(0))
    whole = data.preprocessing(draw(300, seed=3).astype(data.raw.train.dtype)).numpy()
    holed = whole.copy()
    holed[:, 2] = np.nan
    elements = denoiser.score_elements(holed).numpy()
    assert np.isfinite(elements).all()
    assert (elements[:, 2] == 0).all()
    assert 0.5 < np.median(elements.sum(axis=1)) / np.median(scores_of(denoiser, whole)) < 2


def test_a_single_column_and_a_constant_one_are_scored():
    x = np.stack([draw(100)[:, 0], np.full(100, 7.0)], axis=1).astype("float32")
    for columns in (x[:, :1], x):
        denoiser = train(columns, epochs=2)
        assert np.isfinite(scores_of(denoiser, columns)).all()
        far = scores_of(denoiser, columns + np.float32(100))
        assert (far > scores_of(denoiser, columns)).all()


def test_it_computes_in_float32_under_every_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        denoiser = Denoiser((NUM_COLUMNS,), width=8)
        assert {layer.compute_dtype for layer in denoiser._flatten_layers()} == {"float32"}
        assert denoiser(draw(4)).dtype == "float32"
    finally:
        keras.config.set_dtype_policy(before)


def test_it_is_for_rows_of_tables():
    with pytest.raises(ValueError, match=r"shape: expected \(num_elements,\), .* received \(8, 8, 1\)"):
        Denoiser((8, 8, 1))


def test_standardized_scores_weigh_all_elements_alike_and_are_stored(tmp_path):
    data = tfae.datasets.load("digits")
    autoencoder = tfae.models.dense(data.shape, latent_dim=4)
    tfae.training.compile(autoencoder, SquaredError(), data, epochs=2)
    autoencoder.fit(data.train, epochs=2, verbose=0, shuffle=False)
    standardized = StandardizedScore(autoencoder)
    standardized.adapt_score(data.train_from(0))
    x = np.concatenate([x for x, _ in data.train.as_numpy_iterator()])
    means = standardized.score_elements(x).numpy().mean(axis=0)
    varying = x.std(axis=0) > 0.1
    assert means[varying] == pytest.approx(1, rel=1e-3)
    standardized.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded.score_elements(x[:5]), standardized.score_elements(x[:5]))
    assert tfae.models.structure.latent_dim_of(standardized, data.shape) == 4
