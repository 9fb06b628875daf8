import copy
import itertools
import json
import math
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest, spearmanr

from tests.function_models import FORMULAS
from tests.function_models import function_model as model
from tests.samples import GROWING, batches, uniform
from tfae import models
from tfae.comparison import compared_metrics
from tfae.comparison.probes import PROBES
from tfae.evaluation import METRICS, Evaluation, Finding, evaluate, metrics, scores, totals
from tfae.losses import AbsoluteError, BinaryCrossentropy, SquaredError
from tfae.report.page import group_rows


@pytest.fixture(autouse=True)
def no_warning_of_retracing(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """TensorFlow logs a warning, twice in a process, for a function that is traced in five calls of ten.

    Keras's own, of each model that a test makes, are not meant.
    """
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    yield
    messages = [record.getMessage() for record in caplog.get_records("call")]
    assert not [message for message in messages if "retracing" in message and "TensorFlowTrainer" not in message]


def elements(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1).astype("float64")


def oracle_ssim(x: np.ndarray, y: np.ndarray, size: int, data_range: float) -> float:
    """SSIM of one channel, after Wang et al. (2004), in float64 and where the window fits."""
    radius = size // 2

    def window(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, 1.5, truncate=radius / 1.5)[radius:-radius, radius:-radius]

    x, y = x.astype("float64"), y.astype("float64")
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mx, my = window(x), window(y)
    vx, vy, vxy = window(x * x) - mx**2, window(y * y) - my**2, window(x * y) - mx * my
    return float((((2 * mx * my + c1) * (2 * vxy + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


@pytest.mark.parametrize(
    ("function", "loss"),
    [(lambda x: 0.7 * x + 0.1, SquaredError()), (lambda x: 4 * x - 2, BinaryCrossentropy(from_logits=True))],
)
def test_errors_and_psnr_equal_numpy_float64_and_those_of_logits_are_those_of_their_sigmoid(function, loss) -> None:
    x = uniform(10, 5, 6, 3)
    result = evaluate(model(function, (5, 6, 3), loss), batches(x))
    output = function(elements(x))
    error = elements(x) - (1 / (1 + np.exp(-output)) if isinstance(loss, BinaryCrossentropy) else output)
    mse = (error**2).mean(1)
    assert result.mse == pytest.approx(mse.mean(), rel=1e-5)
    assert result.mae == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert result.psnr == pytest.approx((10 * np.log10(1 / mse)).mean(), rel=1e-5)
    assert result.psnr != pytest.approx(10 * np.log10(1 / mse.mean()), rel=1e-4)
    assert (result.num_samples, result.num_elements, result.data_range) == (10, 90, 1.0)


@pytest.mark.parametrize("loss", FORMULAS)
def test_loss_is_the_sum_and_loss_per_element_the_mean_of_the_formula(loss) -> None:
    x = uniform(10, 7)
    values = FORMULAS[loss](elements(x), elements(np.float32(0.7) * x + np.float32(0.1)))
    for reduction, expected in (("sum", values.sum(1).mean()), ("mean", values.mean())):
        result = evaluate(model(lambda x: 0.7 * x + 0.1, (7,), loss(sample_reduction=reduction)), batches(x))
        assert result.loss == pytest.approx(expected, rel=1e-6)
        assert result.loss_per_element == pytest.approx(values.mean(), rel=1e-6)
        assert result.sample_reduction == reduction


def with_every_penalty() -> keras.Model:
    """A model whose layers add penalties in every way: on weights, activities, and in calls of layers and models."""

    class Adding(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="adding")
            self.hidden = keras.layers.Dense(6, kernel_regularizer=keras.regularizers.L1(0.03), name="hidden")

        def call(self, x: tf.Tensor) -> tf.Tensor:
            self.add_loss(0.02 * tf.reduce_mean(x**2))
            return self.hidden(x)

    inner = models.dense((6,), latent_dim=2, widths=(8,), bottleneck=models.Sparse(0.5))
    activity = keras.layers.Dense(
        6, activity_regularizer="l2", kernel_regularizer="l2", bias_regularizer="l1", name="both"
    )
    inputs = keras.Input((6,))
    return keras.Model(inputs, activity(Adding()(inner(activity(inputs)))), name="whole")


@pytest.mark.parametrize(
    ("autoencoder", "loss", "names"),
    [
        (models.dense((6,), latent_dim=2, widths=(8,)), BinaryCrossentropy(from_logits=True), []),
        (
            models.dense((6,), latent_dim=2, widths=(8,), bottleneck=models.Sparse(10.0)),
            SquaredError(),
            ["encoder/sparse"],
        ),
        (
            with_every_penalty(),
            SquaredError(),
            ["both", "dense_autoencoder/encoder/sparse", "adding/hidden", "adding"],
        ),
    ],
)
def test_loss_and_penalties_are_what_keras_evaluate_reports(autoencoder, loss, names) -> None:
    x = uniform(9, 6)
    autoencoder.compile(loss=loss)
    result = evaluate(autoencoder, batches(x), ignore=GROWING)
    reported = autoencoder.evaluate(batches(x), verbose=0)
    assert sorted(result.penalties) == sorted(names)
    assert all(value > 0 for value in result.penalties.values())
    assert result.loss + sum(result.penalties.values()) == pytest.approx(reported, rel=1e-5)
    assert result.penalized_loss == pytest.approx(reported, rel=1e-5)
    assert result.loss == pytest.approx(loss(x, autoencoder(x)).numpy(), rel=1e-5)
    assert ("loss and penalties" in str(result)) == bool(names)
    for name in names:
        assert f"penalty of {name} " in str(result)
    if names == ["encoder/sparse"]:
        latents = autoencoder.get_layer("encoder")(x)
        assert result.penalties["encoder/sparse"] == pytest.approx(10 * np.abs(latents).sum(1).mean(), rel=1e-5)


@pytest.mark.parametrize("loss", [SquaredError, BinaryCrossentropy])
def test_masked_time_steps_count_for_nothing_as_in_keras(loss) -> None:
    inputs = keras.Input((3, 2))
    halves = keras.layers.Activation(lambda x: x / 2)  # a layer that passes the mask on
    autoencoder = keras.Model(inputs, halves(keras.layers.Masking(0.0)(inputs)))
    autoencoder.compile(loss=loss())
    x = uniform(5, 3, 2)
    x[:, 2] = 0
    result = evaluate(autoencoder, batches(x), train=batches(x), ignore=["activation"])
    kept = elements(x[:, :2])
    assert result.loss == pytest.approx(FORMULAS[loss](kept, kept / 2).sum(1).mean(), rel=1e-5)
    assert result.loss == pytest.approx(autoencoder.evaluate(batches(x), verbose=0), rel=1e-6)
    assert result.floor == pytest.approx(FORMULAS[loss](kept, kept).sum(1).mean(), rel=1e-5)
    assert result.mse == pytest.approx(((kept / 2) ** 2).mean(), rel=1e-6)
    assert result.constant_loss is None
    assert result.reasons["constant_loss"] == "the model masks elements"


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_samples_weigh_alike_whatever_the_batches_and_sums_keep_what_float32_would_drop(batch_size: int) -> None:
    for x in ([0.0] * 4 + [1.0], [4096.0] + [1.0] * 99):  # 4096² = 2²⁴, to which float32 can not add 1
        result = evaluate(model(lambda x: 0 * x, (1,)), batches(np.array(x)[:, None], batch_size))
        assert result.loss == np.mean(np.square(x))


def test_noise_and_dropout_are_off_and_half_precision_outputs_are_measured_in_float32() -> None:
    half = keras.layers.Rescaling(0.0, dtype="float16")
    for layers, expected in ([keras.layers.GaussianNoise(1.0), keras.layers.Dropout(0.5)], 0), ([half], 4e6):
        autoencoder = keras.Sequential([keras.Input((4,)), *layers])
        autoencoder.compile(loss=SquaredError())
        assert evaluate(autoencoder, batches(np.full((3, 4), 1000.0))).loss == expected


@pytest.mark.parametrize(("shape", "size"), [((8, 9, 1), 7), ((16, 12, 3), 11), ((7, 30, 4), 7)])
def test_ssim_equals_an_independent_implementation(shape: tuple[int, ...], size: int) -> None:
    x = uniform(5, *shape)
    result = evaluate(model(lambda x: 0.9 - x * x, shape), batches(x))
    y = 0.9 - x * x
    expected = np.mean([oracle_ssim(x[i, ..., c], y[i, ..., c], size, 1.0) for i in range(5) for c in range(shape[2])])
    assert result.ssim == pytest.approx(expected, rel=1e-4)


def test_psnr_and_ssim_do_not_depend_on_where_the_range_lies() -> None:
    x = uniform(5, 8, 8, 1)
    unit = evaluate(model(lambda x: 0.8 * x, (8, 8, 1)), batches(x))
    symmetric = evaluate(model(lambda x: 0.8 * (x + 1) - 1, (8, 8, 1)), batches(2 * x - 1))
    assert (unit.data_range, symmetric.data_range) == (1, 2)
    assert symmetric.mse == pytest.approx(4 * unit.mse, rel=1e-5)
    assert symmetric.psnr == pytest.approx(unit.psnr, rel=1e-5)
    assert symmetric.ssim == pytest.approx(unit.ssim, rel=1e-4)


@pytest.mark.parametrize("shape", [(6, 8, 1), (8, 8, 5), (8, 8), (4,), (8, 8, 8, 1)])
def test_ssim_and_sharpness_are_none_for_what_is_not_an_image_of_seven_pixels(shape: tuple[int, ...]) -> None:
    result = evaluate(model(lambda x: x / 2, shape), batches(uniform(3, *shape)))
    assert (result.ssim, result.sharpness) == (None, None)
    assert result.reasons["ssim"] == result.reasons["sharpness"] == "samples are not images"


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 1, 1), (0.2, 0.8, 1), (-0.1, 1, 2), (-1, 1, 2), (-3, 5, 8), (0, 16, 16)]
)
def test_default_data_range_is_that_of_the_usual_scalings_or_the_data(low: float, high: float, expected: float) -> None:
    for shape in [(3,), (8, 8, 1)] if low == -3 else [(3,)]:
        x = np.full((6, *shape), (low + high) / 2)
        x[0], x[5] = low, high
        assert evaluate(model(lambda x: x / 2, shape), batches(x)).data_range == expected


def test_data_range_can_be_given() -> None:
    for data_range in (4.0, (-1.0, 3.0)):
        result = evaluate(model(lambda x: x - 0.1, (3,)), batches(uniform(5, 3)), data_range=data_range)
        assert result.data_range == 4
        assert result.psnr == pytest.approx(10 * math.log10(16 / 0.01), rel=1e-5)


def test_exact_samples_are_counted_and_left_out_of_psnr() -> None:
    x = np.array([[0, 0], [1, 1], [0, 0], [1, 1], [0, 0]])
    result = evaluate(model(lambda x: 0.9 * x, (2,)), batches(x))
    assert result.num_exact == 3
    assert result.psnr == pytest.approx(20, rel=1e-6)  # 10 log₁₀(1 / 0.1²)
    assert "3 exact left out" in str(result)
    result = evaluate(model(lambda x: x, (2,)), batches(x))
    assert result.psnr == math.inf
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["psnr"] is None


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_squares_that_leave_float32_are_measured_all_the_same(scale: float) -> None:
    x = (uniform(9, 3) * scale).astype("float32")
    result = evaluate(model(lambda x: 0.9 * x, (3,), AbsoluteError()), batches(x), train=batches(x))
    error = x.astype("float64") * 0.1
    assert result.mse == pytest.approx((error**2).mean(), rel=1e-5)
    assert result.num_exact == 0
    data_range = 1.0 if scale < 1 else np.ptp(x.astype("float64"))
    assert result.psnr == pytest.approx((10 * np.log10(data_range**2 / (error**2).mean(1))).mean(), rel=1e-5)
    distance = ((x.astype("float64") - x.astype("float64").mean(0)) ** 2).sum(1)
    assert result.triviality == pytest.approx(spearmanr(error.sum(1), distance).statistic, abs=1e-3)
    assert json.dumps(result.as_dict(), allow_nan=False)


def test_measures_of_images_that_leave_float32_are_none_and_the_table_says_why() -> None:
    x = uniform(5, 8, 8, 1) * np.float32(1e25)
    result = evaluate(model(lambda x: x / 2, (8, 8, 1), AbsoluteError()), batches(x))
    assert (result.ssim, result.sharpness) == (None, None)
    assert result.reasons["ssim"] == result.reasons["sharpness"] == "the values are too large for float32"


@pytest.mark.parametrize(
    ("loss", "distance", "expected"),
    [([1, 2, 3], [0, 5, np.inf], 1), ([1, 2, 3], [np.inf] * 3, None), ([0, 0, 0], [0, 5, np.inf], None)],
)
def test_infinite_values_are_ranked_and_equal_ones_are_not(loss, distance, expected) -> None:
    kept = {"loss": np.array(loss, float), "distance": np.array(distance, float)}
    split = metrics.Split(SquaredError(), (1,), None, 1)
    split.totals = SimpleNamespace(kept=kept)  # type: ignore[assignment]
    with nullcontext() if expected else pytest.raises(metrics.UnavailableError, match="do not differ"):
        assert METRICS["triviality"].compute(split) == pytest.approx(expected)


def test_constant_data_has_no_psnr_and_no_ssim() -> None:
    for shape in ((3,), (8, 8, 1)):
        result = evaluate(model(lambda x: x / 2, shape), batches(np.full((4, *shape), 5.0)))
        assert (result.data_range, result.psnr, result.ssim) == (0, None, None)


def test_scores_are_the_per_sample_losses_in_the_order_of_the_data() -> None:
    x = uniform(10, 3, 2)
    autoencoder = model(lambda x: x / 3, (3, 2), AbsoluteError())
    values = scores(autoencoder, batches(x))
    np.testing.assert_allclose(values, np.abs(elements(x) * 2 / 3).sum(1), rtol=1e-6)
    measured: list[np.ndarray] = []
    evaluation = evaluate(autoencoder, batches(x), train=batches(x[:4]), on_losses=measured.append)
    assert evaluation.loss == pytest.approx(values.mean(dtype="float64"), rel=1e-9)
    np.testing.assert_allclose(np.concatenate(measured), values, rtol=1e-6)


def dataset_from(pairs: Callable, spec: tf.TensorSpec) -> tf.data.Dataset:
    return tf.data.Dataset.from_generator(pairs, output_signature=(spec, spec))


@pytest.mark.parametrize(
    ("shape", "data_range", "passes"), [((5,), None, 1), ((8, 8, 1), None, 2), ((8, 8, 1), (0, 1), 1)]
)
def test_data_is_gone_through_once_and_twice_only_to_find_the_range_of_images(shape, data_range, passes) -> None:
    x, counter = uniform(3, 3, *shape), itertools.count()

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        next(counter)
        yield from zip(x, x, strict=True)

    dataset = dataset_from(pairs, tf.TensorSpec((None, *shape), "float32"))
    evaluate(model(lambda x: x / 2, shape), dataset, data_range=data_range)
    assert next(counter) == passes


def test_model_runs_once_per_batch_of_each_split_and_is_traced_once_for_all_batch_sizes() -> None:
    class Counting(keras.layers.Layer):
        traces = 0

        def build(self, input_shape: tuple[int | None, ...]) -> None:
            self.counts = self.add_weight(shape=(2,), initializer="zeros", trainable=False)

        def call(self, x: tf.Tensor) -> tf.Tensor:
            Counting.traces += 1
            self.counts.assign_add([1.0, tf.cast(tf.shape(x)[0], "float32")])
            return x / 2

    autoencoder = keras.Sequential([keras.Input((8, 8, 1)), layer := Counting()])
    autoencoder.compile(loss=SquaredError())
    before, Counting.traces = layer.counts.numpy(), 0
    evaluate(autoencoder, batches(uniform(9, 8, 8, 1)))
    assert (layer.counts.numpy() - before).tolist() == [3 + 2, 9 + 4]  # two more to see whether it samples
    assert Counting.traces == 1 + 4  # and eagerly twice for that, and twice for penalties
    before = layer.counts.numpy()
    evaluate(autoencoder, batches(uniform(9, 8, 8, 1)), train=batches(uniform(30, 8, 8, 1)))
    assert (layer.counts.numpy() - before).tolist() == [3 + 8 + 2, 9 + 30 + 4]


def test_memory_does_not_grow_with_the_number_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "NUM_KEPT", 4096)
    autoencoder = model(lambda x: x / 2, (2,), SquaredError())
    x = tf.constant(uniform(4096, 2))
    batch = tf.data.Dataset.from_tensors((x, x))

    def peak(num_batches: int) -> int:
        tracemalloc.start()
        evaluate(autoencoder, batch.repeat(num_batches), train=batch.repeat(num_batches))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak(2)  # What TensorFlow keeps of a first call.
    growth = peak(120) - peak(20)
    assert growth < 2 * 100 * 4096  # Two bytes per sample; a number for each of them would be eight.


def test_rows_are_chosen_with_the_same_probability_in_parts_too_and_few_all() -> None:
    few = np.arange(200.0).reshape(100, 2)
    assert totals.choose(few, 100) is few
    random, kept = np.random.default_rng(0), np.empty((0, 3))
    for start in range(0, 100_000, 700):
        rows = np.arange(start, min(start + 700, 100_000), dtype="float64")
        kept = totals.choose(np.concatenate([kept, np.stack([random.random(len(rows)), rows, -rows], 1)]), 5000)
    assert kept.shape == (5000, 3)
    np.testing.assert_array_equal(kept[:, 1], -kept[:, 2])
    assert len(np.unique(kept[:, 1])) == 5000
    # Uniform: of 5,000 draws the largest gap to the uniform distribution exceeds 0.023 once in a hundred times.
    assert kstest(kept[:, 1] / 100_000, "uniform").statistic < 0.023


def test_triviality_of_very_many_samples_is_that_of_a_random_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    x = uniform(20_000, 3)
    autoencoder = model(lambda x: x * x, (3,), SquaredError())
    whole = evaluate(autoencoder, batches(x, 500), train=batches(x, 500)).triviality
    monkeypatch.setattr(totals, "NUM_KEPT", 4000)
    chosen = evaluate(autoencoder, batches(x, 500), train=batches(x, 500)).triviality
    assert whole is not None
    assert chosen != whole
    assert chosen == pytest.approx(whole, abs=0.05)


@pytest.mark.parametrize(("spec", "lengths"), [(tf.TensorSpec(None), [5]), (tf.TensorSpec((None, 3)), [5, 0])])
def test_a_shape_unknown_to_the_data_set_is_that_of_the_model_and_empty_batches_are_left_out(spec, lengths) -> None:
    pairs = [(uniform(length, 3),) * 2 for length in lengths]
    result = evaluate(model(lambda x: x / 2, (3,)), dataset_from(lambda: iter(pairs), spec))
    assert (result.num_samples, result.num_elements) == (5, 3)


def test_table_names_every_measure_with_its_unit_and_aligns_the_points() -> None:
    values = {"loss": 1234.5678, "loss_per_element": 0.25178, "mse": 1.2e-07, "mae": 0.06, "psnr": 20.01}
    values |= {"data_range": 1.0, "num_samples": 36000, "num_elements": 64, "floor": 1000.0, "excess": 234.5678}
    values |= {"constant_loss": 2000.0, "constant_skill": 0.7654, "train_loss": 1200.5, "bits": 0.36324}
    values |= {"crossentropy": 0.25178, "latent_dim": 8, "num_active_units": 7, "effective_dimension": 4.25}
    result = Evaluation(
        loss_name="binary_crossentropy",
        sample_reduction="sum",
        loss_unit="nats",
        values={**values, "triviality": 0.125, "constant_triviality": 0.25, "penalized_loss": 1235.0678},
        penalties={"latent": 0.5},
        findings=(Finding("dead_latent", 1.0, "1 of the 8 latent units hardly vary."),),
        reasons={"linear_loss": "too few samples"},
    )
    assert str(result).splitlines() == [
        "binary_crossentropy on 36,000 samples of 64 elements",
        "loss per sample      1,234.6      nats, the elements' sum",
        "  floor              1,000        the least that any reconstruction can reach",
        "  excess               234.57     loss − floor",
        "  constant baseline  2,000        skill 76.5 %; the training split's best one",
        "  linear baseline      n/a        too few samples",
        "  training split     1,200.5      the model's loss there",
        "loss per element         0.25178  nats",
        "penalty of latent        0.5      which training adds to the loss",
        "loss and penalties   1,235.1      what Keras reports as loss and val_loss",
        "MSE                      1.2e-07  mean squared error",
        "MAE                      0.06     mean absolute error",
        "cross-entropy            0.25178  nats per element; 0.36324 bits",
        "PSNR                    20.01     dB, data range 1",
        "SSIM                   n/a",
        "sharpness              n/a",
        "active units             7        of 8",
        "effective dimension      4.25     participation ratio of the latent's covariance",
        "triviality               0.125    rank correlation of the loss with the distance from the training mean",
        "constant triviality      0.25     rank correlation of the loss with that of the constant",
        "",
        "! dead latent: 1 of the 8 latent units hardly vary.",
        "`tfae docs evaluation` says more.",
    ]


def test_as_dict_holds_every_field_as_plain_json_and_comes_back_from_it_and_from_nothing_less() -> None:
    x = uniform(12, 8, 8, 1)
    result = evaluate(model(lambda x: 0 * x - 1, (8, 8, 1)), batches(x), train=batches(x))
    loaded = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert loaded["ssim"] == result.ssim
    assert {finding["name"] for finding in loaded["findings"]} >= {"no_better_than_constant"}
    assert "encoder" in loaded["reasons"]["linear_loss"]
    assert Evaluation.from_dict(loaded) == result
    assert copy.deepcopy(result) == pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(
        ValueError, match=r"values: expected what Evaluation.as_dict\(\) returns; received loss, without"
    ):
        Evaluation.from_dict({"loss": 1.0})
    with pytest.raises(AttributeError, match="no attribute or metric 'losss'"):
        _ = result.losss


def test_evaluations_of_older_and_of_newer_versions_are_read() -> None:
    result = evaluate(model(lambda x: x / 2, (3,)), batches(uniform(5, 3)))
    written = json.loads(json.dumps(result.as_dict()))
    older = {name: value for name, value in written.items() if name not in ("mae", "penalties", "penalized_loss")}
    loaded = Evaluation.from_dict(older)
    assert (loaded.mse, loaded.mae, loaded.penalties) == (result.mse, None, {})
    assert loaded.as_dict() == {**written, "mae": None, "penalized_loss": None}
    for missing in METRICS.keys() - {"loss"}:
        loaded = Evaluation.from_dict({name: value for name, value in written.items() if name != missing})
        assert getattr(loaded, missing) is None
        assert "MAE" in str(loaded)
    finding = {"name": "new", "figure": 1.0, "message": "Something.", "severity": "high"}
    loaded = Evaluation.from_dict({**written, "frechet": 12.5, "findings": [finding], "quantiles": {"0.9": 1.0}})
    assert loaded.frechet == loaded.as_dict()["frechet"] == 12.5
    assert loaded.findings == (Finding("new", 1.0, "Something."),)
    assert "quantiles" not in loaded.as_dict()


def test_a_metric_of_ones_own_is_one_function_that_all_tables_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "largest_error", METRICS["mse"])  # So that it is gone after the test.

    @metrics.per_sample("largest error", group=metrics.SHARED, better="lower", in_comparison=True, note="of an element")
    def largest_error(split: metrics.Split) -> Callable:
        """Mean over samples of the largest absolute error of an element."""
        return lambda batch: tf.reduce_max(tf.abs(batch.x - batch.reconstruction), 1)

    x = uniform(9, 4)
    result = evaluate(model(lambda x: x / 2, (4,)), batches(x))
    assert result.largest_error == result.as_dict()["largest_error"] == pytest.approx((x / 2).max(1).mean(), rel=1e-6)
    assert f"largest error {result.largest_error:.5g} of an element" in " ".join(str(result).split())
    assert "Largest error" in [title for rows in group_rows(result).values() for title, *_ in rows]
    assert METRICS["largest_error"].description.startswith("Mean over samples of the largest")
    assert METRICS["largest_error"] in compared_metrics()


def test_the_documentation_has_every_metric() -> None:
    lines = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert sorted(rows) == sorted(
        f"| `{metric.name}` | {metric.heading} | {metric.better or ''} | {metric.description.replace('``', '`')} |"
        for metric in [*METRICS.values(), *PROBES]
    )


@pytest.mark.parametrize("measure", [evaluate, scores])
def test_model_without_a_reconstruction_loss_is_refused(measure: Callable) -> None:
    for loss in (None, "mse", keras.losses.MeanSquaredError()):
        with pytest.raises(ValueError, match=r"compiled with a loss of tfae\.losses; received .*average over"):
            measure(model(lambda x: x, (2,), loss), batches(uniform(3, 2)))


def dataset_of(*tensors: np.ndarray) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(tensors if len(tensors) > 1 else tensors[0])


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (uniform(3, 2), "expected a tf.data.Dataset; received ndarray"),
        (dataset_of(uniform(3, 2)).batch(2), r"expected batches \(x, x\)"),
        (dataset_of(uniform(3, 2), np.arange(3)).batch(2), r"Samples are their own targets"),
        (dataset_of(uniform(3, 2), uniform(3, 5)).batch(2), r"expected batches \(x, x\)"),
        (dataset_of(np.zeros((3, 2), "uint8"), np.zeros((3, 2), "uint8")).batch(2), "floats in model space"),
        (dataset_of(uniform(3, 2), uniform(3, 2)), "Is it batched"),
        (batches(uniform(3, 5)), r"like \(None, 2\), which the model takes; received \(None, 5\)"),
        (batches(uniform(3, 2)).repeat(), "repeats forever"),
        (batches(uniform(3, 2)).take(0), "at least one sample"),
    ],
)
def test_data_set_of_another_form_is_refused(dataset: tf.data.Dataset, message: str) -> None:
    for measure in (evaluate, scores):
        with pytest.raises(ValueError, match=f"dataset: .*{message}"):
            measure(model(lambda x: x, (2,)), dataset)
    with pytest.raises(ValueError, match=f"train: .*{message}"):
        evaluate(model(lambda x: x, (2,)), batches(uniform(3, 2)), train=dataset)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_or_overflows_is_an_error_that_names_the_first_sample(value: float) -> None:
    x = uniform(10, 2)
    x[6:, 1] = 2
    autoencoder = model(lambda x: tf.where(x > 1, value, x), (2,))
    for measure in (evaluate, scores):
        with pytest.raises(ValueError, match=r"autoencoder: expected finite values; .* sample 6\."):
            measure(autoencoder, batches(x))
    x = uniform(10, 8, 8, 1)
    x[7, 0, 0] = value
    with pytest.raises(
        ValueError, match=rf"dataset: expected finite values .* received {value} for sample 7 at \(0, 0, 0\)"
    ):
        evaluate(model(lambda x: x, (8, 8, 1)), batches(x))
    with pytest.raises(
        ValueError, match=rf"train: expected finite values .* received {value} for sample 7 at \(0, 0, 0\)"
    ):
        evaluate(model(lambda x: x, (8, 8, 1)), batches(x[:7]), train=batches(x))
    with pytest.raises(ValueError, match="expected losses that fit into float32; received loss inf for sample 1"):
        evaluate(model(lambda x: x / 2, (2,)), batches(np.array([[1, 1], [1e30, 1]])))


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize(("low", "high"), [(-0.5, 1), (0, 1.5)])
def test_cross_entropy_refuses_data_outside_0_and_1_by_more_than_rounding(low, high, from_logits) -> None:
    autoencoder = model(lambda x: x, (1,), BinaryCrossentropy(from_logits=from_logits))
    for measure in (evaluate, scores):
        with pytest.raises(ValueError, match=rf"dataset: .*\[0, 1\].*from {low} to {high}\. .*\"unit\""):
            measure(autoencoder, batches(np.array([[0.0], [low], [high], [1.0]])))
    half = model(lambda x: 0 * x + (0 if from_logits else 0.5), (1,), BinaryCrossentropy(from_logits=from_logits))
    result = evaluate(half, batches(np.array([[-1e-6], [1 + 1e-6]])))
    assert result.loss == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize(("slope", "low", "high"), [(2, 0, 2), (-1, -1, 0)])
def test_cross_entropy_on_probabilities_refuses_outputs_outside_0_and_1(slope: float, low: int, high: int) -> None:
    autoencoder = model(lambda x: slope * x, (1,), BinaryCrossentropy())
    with pytest.raises(ValueError, match=rf"autoencoder: .*\[0, 1\].*from {low} to -?{high}\. .*\"sigmoid\""):
        evaluate(autoencoder, batches(np.array([[0.0], [1.0]])))


@pytest.mark.parametrize("data_range", [0, -1, (1, 1), (1, 0), (0, np.inf), (0, 1, 2), np.nan])
def test_data_range_that_is_no_range_is_refused(data_range: float) -> None:
    with pytest.raises(ValueError, match=r"data_range: expected a positive number or a pair \(low, high\)"):
        evaluate(model(lambda x: x, (2,)), batches(uniform(3, 2)), data_range=data_range)
