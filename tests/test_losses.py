"""The oracles here are NumPy in float64, or derivatives by hand; none of them calls tfae."""

import functools
import math

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.samples import batches
from tfae import losses
from tfae.activations import Clip
from tfae.losses import (
    AbsoluteError,
    BinaryCrossentropy,
    CategoricalCrossentropy,
    ContinuousBernoulli,
    GaussianNLL,
    Huber,
    Poisson,
    ReconstructionLoss,
    SquaredError,
)


@keras.saving.register_keras_serializable(package="tests")
class Automatic(ReconstructionLoss):
    """Squared error that is differentiated automatically, and whose best constant is searched."""

    def elementwise(self, x, output):
        return (output - x) ** 2


LOSSES = {
    "automatic": Automatic,
    "squared": SquaredError,
    "absolute": AbsoluteError,
    "probabilities": BinaryCrossentropy,
    "logits": functools.partial(BinaryCrossentropy, from_logits=True),
}
LIKELIHOODS = {
    "gaussian": functools.partial(GaussianNLL, sigma=0.3),
    "continuous": functools.partial(ContinuousBernoulli, from_logits=True),
    "categories": functools.partial(CategoricalCrossentropy, from_logits=True),
    "counts": Poisson,
    "huber": functools.partial(Huber, delta=0.4),
}
MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "xla": functools.partial(tf.function, jit_compile=True),
}
each_loss = pytest.mark.parametrize("kind", LOSSES)
every_loss = pytest.mark.parametrize("kind", ALL := {**LOSSES, **LIKELIHOODS})
# Where sizes agree, as in the last, weights of samples are not to be taken for weights of columns.
SHAPES = [(5, 7), (5, 4, 3), (5, 4, 3, 2), (5, 4, 3, 2, 2), (4, 4, 4)]


def oracle(kind, x, output):
    """Elementwise loss in float64."""
    x, output = np.asarray(x, "float64"), np.asarray(output, "float64")
    match kind:
        case "squared" | "automatic":
            return (x - output) ** 2
        case "absolute":
            return np.abs(x - output)
        case "probabilities":
            return -(x * np.log(output) + (1 - x) * np.log1p(-output))
        case "logits":
            # log(1 + exp(z)) and log(1 + exp(-z)), each without overflow.
            return x * np.logaddexp(0, -output) + (1 - x) * np.logaddexp(0, output)
        case "gaussian":
            return -scipy.stats.norm.logpdf(x, output, 0.3)
        case "continuous":
            return np.log(np.expm1(output) / output) - x * output
        case "categories":
            return -x * scipy.special.log_softmax(output, axis=-1)
        case "counts":
            return np.exp(output) - x * output + scipy.special.gammaln(x + 1)
        case "huber":
            return scipy.special.huber(0.4, x - output)


def slope(kind, x, output):
    """Derivative of the elementwise loss by the output, by hand, in float64."""
    x, output = np.asarray(x, "float64"), np.asarray(output, "float64")
    match kind:
        case "squared" | "automatic":
            return 2 * (output - x)
        case "absolute":
            return np.sign(output - x)
        case "probabilities":
            return (1 - x) / (1 - output) - x / output
        case "logits":
            return 1 / (1 + np.exp(-output)) - x
        case "gaussian":
            return (output - x) / 0.09
        case "continuous":
            return -1 / np.expm1(-output) - 1 / output - x
        case "categories":
            return scipy.special.softmax(output, axis=-1) * x.sum(axis=-1, keepdims=True) - x
        case "counts":
            return np.exp(output) - x
        case "huber":
            return np.clip(output - x, -0.4, 0.4)


def samples(shape, kind, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.poisson(3, shape).astype("float64") if kind == "counts" else rng.random(shape)
    are_logits = kind in ("logits", "continuous", "categories", "counts")
    # The gradient of rates is as large as they are, and has to fit into float16.
    output = rng.normal(0, 2 if kind == "counts" else 3, shape) if are_logits else rng.uniform(0.01, 0.99, shape)
    return x.astype(dtype), output.astype(dtype)


def value_and_gradient(value_of, x, output):
    """What a loss is, and its derivative by the output."""
    with tf.GradientTape() as tape:
        tape.watch(output)
        value = tf.reduce_sum(value_of(x, output))
    return value, tape.gradient(value, output)


def gradient(loss, x, output):
    return value_and_gradient(loss.per_sample, x, tf.constant(output))[1].numpy()


@every_loss
@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_is_summed_over_elements_or_their_mean_and_averaged_over_samples_which_weights_weigh(kind, shape):
    x, output = samples(shape, kind)
    expected, weight, loss = oracle(kind, x, output), np.arange(shape[0]), ALL[kind]()
    np.testing.assert_allclose(loss.per_element(x, output), expected, rtol=1e-5, atol=1e-6)
    elements = expected.reshape(shape[0], -1)
    expected = elements.sum(axis=1)
    close = {"rtol": 2e-6, "atol": 2e-6 * np.abs(elements).mean()}  # Of densities, the terms cancel in a sum.
    np.testing.assert_allclose(loss.per_sample(x, output), expected, **close)
    np.testing.assert_allclose(loss(x, output), expected.mean(), **close)
    np.testing.assert_allclose(loss(x, output, sample_weight=weight), (expected * weight).mean(), **close)
    mean = ALL[kind](sample_reduction="mean")
    np.testing.assert_allclose(mean.per_sample(x, output), elements.mean(axis=1), **close)


def test_eager_and_graph_agree_on_the_output_of_a_sigmoid_layer():
    # Keras's own loss switches to the logits in a graph, and gives another value there than in eager execution.
    x = np.array([[1.0, 0.0]], "float32")
    logits = tf.constant([[-20.0, 20.0]])
    loss = BinaryCrossentropy()
    eager = loss(x, tf.sigmoid(logits))
    graph = tf.function(lambda z: loss(x, tf.sigmoid(z)))(logits)
    np.testing.assert_allclose(graph, eager, rtol=1e-6)


@every_loss
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_every_dtype_policy_gives_the_right_loss(kind, policy):
    dtype = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16", "float64": "float64"}[policy]
    x, output = samples((5, 4, 3), kind, "float64")
    x, output = tf.cast(x, dtype), tf.cast(output, dtype)
    loss = ALL[kind](dtype=keras.DTypePolicy(policy))
    expected = oracle(kind, tf.cast(x, "float64"), tf.cast(output, "float64")).sum(axis=(1, 2))
    result = loss.per_sample(x, output)
    assert result.dtype == ("float64" if policy == "float64" else "float32")
    np.testing.assert_allclose(result, expected, rtol=1e-12 if policy == "float64" else 2e-6)
    assert np.isfinite(loss(x, output))


@each_loss
@pytest.mark.parametrize("shape", [(2, 512, 512, 3), (3, 1023), (3, 7, 4), (3, 1)])
@pytest.mark.parametrize(("mode", "dtype"), [("eager", "float16"), *((mode, "float32") for mode in MODES)])
def test_sums_neither_overflow_nor_lose_digits_whatever_the_number_of_elements(kind, shape, mode, dtype):
    # XLA adds in order unless it is kept from it, and is off by 2e-6 at 512×512×3.
    x, output = samples(shape, kind)
    expected = oracle(kind, x, output).reshape(shape[0], -1).sum(axis=1)
    assert len(shape) < 4 or expected.min() > np.finfo("float16").max  # or the test would prove nothing
    np.testing.assert_allclose(MODES[mode](LOSSES[kind](dtype=dtype).per_sample)(x, output), expected, rtol=1e-6)


@every_loss
@pytest.mark.parametrize("spec", [[None, 4, 6], [None, None, None]])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_unknown_dimensions_change_neither_value_nor_gradient(kind, spec, jit_compile):
    x, output = samples((5, 4, 6), kind)
    loss = ALL[kind](sample_reduction="mean")
    measure = functools.partial(value_and_gradient, loss.per_sample)
    compiled = tf.function(measure, jit_compile=jit_compile, input_signature=2 * [tf.TensorSpec(spec)])
    value, by_output = compiled(x, output)
    np.testing.assert_allclose(value, oracle(kind, x, output).mean(axis=(1, 2)).sum(), rtol=2e-6)
    np.testing.assert_allclose(by_output, slope(kind, x, output) / 24, rtol=1e-5, atol=1e-7)


@every_loss
@pytest.mark.parametrize("shape", [(0, 4, 3), (3, 0)])
def test_batches_and_samples_without_elements_have_loss_zero(kind, shape):
    np.testing.assert_array_equal(ALL[kind]().per_sample(*samples(shape, kind)), np.zeros(shape[0]))


@every_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_outputs_are_widened_to_float32_and_get_a_gradient_in_their_own_dtype(kind, dtype, jit_compile):
    x, output = samples((2, 64, 64, 3), kind)
    narrow = tf.cast(output, dtype)
    output = tf.cast(narrow, "float64").numpy()
    value, by_output = tf.function(value_and_gradient, jit_compile=jit_compile)(ALL[kind](), x, narrow)
    assert (value.dtype, by_output.dtype) == ("float32", dtype)
    np.testing.assert_allclose(value, oracle(kind, x, output).sum() / 2, rtol=2e-6)
    # Rounded once, from float32.
    rtol = 1.1 * {"float16": 2**-11, "bfloat16": 2**-8, "float32": 1e-5}[dtype]
    # A rate of 10 has 6 digits behind the point, of which the count takes away all before it.
    atol = 1e-7 if dtype == "float32" and kind != "counts" else 1e-6
    np.testing.assert_allclose(tf.cast(by_output, "float64"), slope(kind, x, output) / 2, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
def test_probabilities_are_right_up_to_where_they_are_clipped(dtype, mode):
    # From the least normal number to the last one before 1.
    tiny, last = np.finfo(dtype).tiny, 1 - np.finfo(dtype).epsneg
    x, p = np.meshgrid([0.0, 0.3, 1.0], [tiny, 2 * tiny, 2**-20, 0.5, last], indexing="ij")
    x, p = x.reshape(-1, 1).astype(dtype), p.reshape(-1, 1).astype(dtype)
    loss = BinaryCrossentropy(dtype=dtype)

    def value_and_gradients(x, p):
        with tf.GradientTape() as tape:
            tape.watch((x, p))
            value = loss.per_sample(x, p)
        return value, *tape.gradient(value, (x, p))

    value, by_x, by_p = MODES[mode](value_and_gradients)(tf.constant(x), tf.constant(p))
    wide = np.longdouble(p)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(by_p, (1 - x) / (1 - wide) - x / wide, rtol=rtol)
    np.testing.assert_allclose(by_x, np.log1p(-wide) - np.log(wide), rtol=rtol, atol=rtol)
    # 1 − p drops what p has below the distance of the numbers near 1: an absolute tolerance.
    expected = -(x * np.log(wide) + (1 - x) * np.log1p(-wide))
    np.testing.assert_allclose(value, expected[:, 0], rtol=rtol, atol=np.finfo(dtype).eps)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("z", [-1e4, -30.0, -1.0, 0.0, 1.0, 30.0, 1e4])
def test_logits_have_the_gradient_sigmoid_minus_x(x, z):
    loss = BinaryCrossentropy(from_logits=True)
    sigmoid = 1 / (1 + math.exp(-z)) if z > -700 else 0.0
    np.testing.assert_allclose(gradient(loss, [[x]], [[z]]), [[sigmoid - x]], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(loss.per_sample([[x]], [[z]]), oracle("logits", [x], [z]), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_impossible_probabilities_have_a_finite_loss_and_a_gradient_towards_the_sample(x, p):
    loss = BinaryCrossentropy()
    (slope,) = gradient(loss, [[x]], [[p]]).ravel()
    assert np.isfinite(loss([[x]], [[p]]))
    assert np.isfinite(slope)
    assert np.sign(slope) == np.sign(p - x)  # 0 where the loss is 0, at the edge of what a probability can be


@pytest.mark.parametrize("z", [-80.0, -40.0, -17.0, -5.0, 0.0, 5.0, 12.0])
@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_the_gradient_through_a_sigmoid_does_not_vanish_where_that_of_the_logits_does_not(x, z):
    loss = BinaryCrossentropy()
    _, by_logits = value_and_gradient(lambda x, z: loss(x, tf.sigmoid(z)), [[x]], tf.constant([[z]]))
    # 1 - p has lost digits where p is close to 1: an absolute tolerance there.
    atol = 0.02 if z > 10 else 1e-30
    np.testing.assert_allclose(by_logits, [[1 / (1 + math.exp(-z)) - x]], rtol=1e-4, atol=atol)


@pytest.mark.parametrize("kind", ["automatic", "squared", "absolute"])
@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_squared_and_absolute_errors_have_their_gradients(kind, x):
    x, outputs = np.full((1, 5), x), [[-1e4, 0.0, 0.3, 1.0, 1e4]]
    tolerance = {"rtol": 1e-6, "atol": 1e-7} if kind != "absolute" else {"rtol": 0, "atol": 0}
    np.testing.assert_allclose(gradient(LOSSES[kind](), x, outputs), slope(kind, x, outputs), **tolerance)


@every_loss
def test_the_gradient_by_the_sample_is_right_too(kind):
    x, output = samples((2, 3), kind)
    _, by_x = value_and_gradient(lambda output, x: ALL[kind]()(x, output), output, tf.constant(x))
    above, below = (oracle(kind, np.float64(x) + step, output) for step in (1e-6, -1e-6))
    np.testing.assert_allclose(by_x, (above - below) / 2e-6 / 2, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["automatic", "logits"])
def test_second_derivatives_pass_through_the_gradient(kind):
    z, loss = tf.constant([[0.5, -2.0]]), LOSSES[kind]()
    _, second = value_and_gradient(lambda x, z: value_and_gradient(loss, x, z)[1], [[0.3, 1.0]], z)
    p = 1 / (1 + np.exp(-z.numpy()))
    np.testing.assert_allclose(second, p * (1 - p) if kind == "logits" else [[2, 2]], rtol=1e-5)


def test_confident_logits_keep_their_digits():
    # softplus(z) - z x would cancel to 0 here; by hand: log(1 + exp(-20)) per element.
    loss = BinaryCrossentropy(from_logits=True)
    np.testing.assert_allclose(loss(np.ones((1, 1000)), np.full((1, 1000), 20.0)), 1000 * math.exp(-20), rtol=1e-5)


@pytest.mark.parametrize("rank", [2, 3])
def test_weights_per_step_and_per_element_weigh_elements(rank):
    x, output = samples((5, 4, 3), "squared")
    weight = np.random.default_rng(1).random(x.shape[:rank])
    spread = weight if rank == 3 else weight[..., None]
    elements = oracle("squared", x, output) * spread
    np.testing.assert_allclose(SquaredError()(x, output, weight), elements.sum(axis=(1, 2)).mean(), rtol=1e-6)
    np.testing.assert_allclose(SquaredError(sample_reduction="mean")(x, output, weight), elements.mean(), rtol=1e-6)


def test_a_mask_over_steps_drops_them_from_sum_and_mean():
    # Keras issue 23228: a loss of shape (batch,) and a mask of shape (batch, time) do not go together.
    x, output = samples((2, 3, 2), "squared")
    output[0, 2] = np.nan  # What is masked must not matter, whatever it is.
    mask = np.array([[True, True, False], [True, True, True]])
    masked = tf.constant(output)
    masked._keras_mask = tf.constant(mask)
    elements = (np.float64(x) - output) ** 2
    sums = [elements[0, :2].sum(), elements[1].sum()]
    means = [sums[0] / 4, sums[1] / 6]
    np.testing.assert_allclose(SquaredError()(x, masked), np.mean(sums), rtol=1e-6)
    np.testing.assert_allclose(SquaredError(sample_reduction="mean")(x, masked), np.mean(means), rtol=1e-6)
    assert np.isfinite(SquaredError().per_sample(x, output, mask=mask)).all()


def test_a_masked_cross_entropy_is_that_of_the_elements_that_are_left():
    # By hand: log 2 for logit 0, and nothing for the masked one, which would be log 2 as well if it were only zeroed.
    loss, x, z, mask = BinaryCrossentropy(from_logits=True), [[1.0, 1.0]], [[0.0, 0.0]], [[True, False]]
    np.testing.assert_allclose(loss.per_sample(x, z, mask=mask), [math.log(2)], rtol=1e-6)
    np.testing.assert_array_equal(loss.per_element(x, z, mask=mask)[0, 1], 0)
    nothing = SquaredError(sample_reduction="mean").per_sample([[1.0]], [[3.0]], mask=[[False]])
    np.testing.assert_array_equal(nothing, [0])


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_masks_and_weights_act_in_graphs_as_they_do_eagerly(jit_compile):
    x, output = samples((5, 4, 3), "logits")
    mask = np.random.default_rng(1).random((5, 4)) > 0.3
    weight = np.random.default_rng(2).random((5, 4, 3)).astype("float32")
    loss = BinaryCrossentropy(from_logits=True, sample_reduction="mean")
    compiled = tf.function(loss.per_sample, jit_compile=jit_compile)
    elements = oracle("logits", x, output) * weight * mask[..., None]
    expected = elements.sum(axis=(1, 2)) / (3 * mask.sum(axis=1))
    np.testing.assert_allclose(loss.per_sample(x, output, mask=mask, weight=weight), expected, rtol=1e-5)
    np.testing.assert_allclose(compiled(x, output, mask=mask, weight=weight), expected, rtol=1e-5)


@pytest.mark.parametrize(("shape", "name"), [((1,), "sample_weight"), ((1, 4), "sample_weight"), ((1, 4), "mask")])
def test_weights_and_masks_of_unknown_shape_are_not_broadcast_when_they_run(shape, name):
    x, output = samples((5, 4, 3), "squared")
    spec = tf.TensorSpec([None, None, 3])

    @tf.function(input_signature=[spec, spec, tf.TensorSpec([None] * len(shape))])
    def loss(x, output, coefficients):
        if name == "mask":
            return SquaredError().per_sample(x, output, mask=tf.cast(coefficients, bool))
        return SquaredError()(x, output, sample_weight=coefficients)

    loss(x, output, tf.ones((5, 4)[: len(shape)]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{name}: expected shape\] \[.*\] \[received\] \["):
        loss(x, output, tf.ones(shape))


def test_a_masked_nan_leaves_the_gradient_finite():
    x, output = samples((1, 3), "logits")
    output[0, 0] = np.nan
    loss = functools.partial(BinaryCrossentropy(from_logits=True).per_sample, mask=[[False, True, True]])
    by_logits = value_and_gradient(loss, x, tf.constant(output))[1].numpy()
    np.testing.assert_allclose(by_logits, [[0, *slope("logits", x, output)[0, 1:]]], rtol=1e-5)


def test_models_with_a_masking_layer_train_and_ignore_the_padding():
    inputs = keras.Input((4, 2))
    outputs = keras.layers.TimeDistributed(keras.layers.Dense(2))(keras.layers.Masking()(inputs))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", loss=SquaredError())
    x = np.random.default_rng(0).random((6, 4, 2)).astype("float32") + 1
    x[:, 2:] = 0
    expected = ((x[:, :2] - model.predict(x, verbose=0)[:, :2]) ** 2).sum(axis=(1, 2)).mean()
    (loss,) = model.fit(x, x, batch_size=6, verbose=0).history["loss"]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@each_loss
@pytest.mark.parametrize(
    ("shape", "other"), [((4, 3), (4, 1)), ((4, 3), (1, 3)), ((4, 28, 28, 3), (4, 28, 28, 1)), ((4, 3), (4, 3, 1))]
)
def test_shapes_that_differ_are_an_error_that_names_both(kind, shape, other):
    expected = rf"\({', '.join(map(str, shape))}\) and \({', '.join(map(str, other))}\)"
    with pytest.raises(ValueError, match=expected):
        LOSSES[kind]()(np.zeros(shape), np.zeros(other))


@pytest.mark.parametrize(
    ("shape", "weight", "message"),
    [
        ((3,), None, r"rank 2 or more; received \(3,\)"),
        ((4, 3), (4, 1), r"sample_weight: expected shape \(batch,\).*received \(4, 1\)\..*w\[:, 0\]"),
        *(((4, 3), weight, r"sample_weight and .*expected equal shapes") for weight in ((3,), (4, 2), (4, 3, 1))),
    ],
)
def test_samples_and_weights_of_another_shape_are_refused(shape, weight, message):
    with pytest.raises(ValueError, match=message):
        SquaredError()(np.zeros(shape), np.zeros(shape), sample_weight=None if weight is None else np.ones(weight))


@each_loss
def test_unknown_dimensions_trace_and_mismatches_are_found_when_they_run(kind):
    spec = tf.TensorSpec([None, None, 3])
    loss = tf.function(LOSSES[kind](), input_signature=[spec, spec])
    x, output = samples((5, 4, 3), kind)
    np.testing.assert_allclose(loss(x, output), LOSSES[kind]()(x, output), rtol=1e-6)
    for broadcastable in (output[:1], output[:, :1]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"y_pred: expected shape\] \[5 4 3\] \[received\] \["):
            loss(tf.constant(x), tf.constant(broadcastable))


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [("sum", 26), ("sum_over_batch_size", 13), ("mean", 13), (None, [2, 24]), ("mean_with_sample_weight", 26 / 4)],
)
def test_keras_reductions_reduce_over_weighted_samples(reduction, expected):
    x, output, weight = np.zeros((2, 2)), np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([1.0, 3.0])
    np.testing.assert_allclose(SquaredError(reduction=reduction)(x, output, sample_weight=weight), expected)


def test_an_unknown_sample_reduction_is_refused():
    with pytest.raises(ValueError, match='sample_reduction: expected "sum" or "mean"; received \'max\''):
        SquaredError(sample_reduction="max")


@each_loss
def test_the_floor_is_reached_by_reconstructing_the_sample(kind):
    x, _ = samples((5, 4, 3), kind)
    loss = LOSSES[kind]()
    entropy = -(x * np.log(np.float64(x)) + (1 - x) * np.log1p(-np.float64(x))).sum(axis=(1, 2))
    expected = entropy if kind in ("probabilities", "logits") else np.zeros(5)
    np.testing.assert_allclose(loss.floor(x), expected, rtol=1e-5)
    np.testing.assert_array_equal(loss.floor([[0.0, 1.0]]), [0])
    np.testing.assert_allclose(LOSSES[kind](sample_reduction="mean").floor(x), expected / 12, rtol=1e-5)
    perfect = np.log(x / (1 - x)) if kind == "logits" else x
    np.testing.assert_allclose(loss.per_sample(x, perfect), loss.floor(x), rtol=1e-4)


@pytest.mark.parametrize(("kind", "expected"), [("squared", 4), ("automatic", 4), ("absolute", 1), ("logits", 4)])
def test_the_best_constant_is_the_mean_or_the_median_of_arrays_and_of_batches(kind, expected):
    x = np.array([[[0.0, 5.0]], [[1.0, 5.0]], [[11.0, 5.0]]])
    for samples in (x, batches(x, 2)):
        np.testing.assert_allclose(LOSSES[kind]().best_constant(samples), [[expected, 5]], rtol=1e-5)


@each_loss
def test_no_other_constant_beats_the_best_one(kind):
    x, _ = samples((101, 3), kind)
    loss = LOSSES[kind]()
    constant = loss.best_constant(x)
    output = np.log(constant / (1 - constant)) if kind == "logits" else constant
    best = loss(x, np.broadcast_to(output, x.shape))
    for step in (-0.05, 0.05):
        assert loss(x, np.broadcast_to(output + step, x.shape)) > best


@pytest.mark.parametrize("output_range", [None, (0.0, 1.0), (-1.0, 1.0), (0.0, 16.0)])
def test_each_loss_names_the_activation_that_is_bounded_as_the_data_is(output_range):
    bounded = "linear" if output_range is None else Clip(*output_range)
    assert SquaredError().output_activation(output_range) == AbsoluteError().output_activation(output_range) == bounded
    assert BinaryCrossentropy().output_activation(output_range) == "sigmoid"
    assert BinaryCrossentropy(from_logits=True).output_activation(output_range) == "linear"


def test_the_reconstruction_of_logits_is_their_sigmoid():
    loss = BinaryCrossentropy(from_logits=True)
    np.testing.assert_allclose(loss.reconstruction([[0.0, 2.0]]), [[0.5, 1 / (1 + math.exp(-2))]])
    np.testing.assert_array_equal(SquaredError().reconstruction([[0.0, 2.0]]), [[0, 2]])


@every_loss
def test_a_compiled_model_keeps_its_loss_through_a_keras_file_without_custom_objects(kind, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    options = {"sample_reduction": "mean", "reduction": "sum", "name": "my_loss", "dtype": "float64"}
    model.compile("adam", loss=ALL[kind](**options))
    x, _ = samples((4, 3), kind)
    model.fit(x, x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    copies = (loaded.loss, keras.losses.deserialize(keras.losses.serialize(model.loss)))
    for copy in (*copies, type(model.loss).from_config(model.loss.get_config())):
        assert copy.get_config() == model.loss.get_config()
        assert {name: getattr(copy, name) for name in options} == options
    np.testing.assert_allclose(loaded.evaluate(x, x, verbose=0), model.evaluate(x, x, verbose=0), rtol=1e-6)


@pytest.mark.parametrize(("name", "cls"), [("mse", SquaredError), ("mae", AbsoluteError), ("bce", BinaryCrossentropy)])
def test_losses_are_found_by_name(name, cls):
    assert type(losses.get(name)) is cls
    assert losses.get(losses.get(name).name, sample_reduction="mean").sample_reduction == "mean"
    with pytest.raises(ValueError, match=rf"{losses.get(name).name} \({name}\).*received 'rmse'"):
        losses.get("rmse")


unit_floats = st.floats(0, 1, width=32)


@given(st.data())
def test_hypothesis_finds_no_batch_on_which_a_loss_and_its_formula_differ(data):
    kind = data.draw(st.sampled_from(list(LOSSES)))
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=4, max_side=4))
    x = data.draw(hnp.arrays("float32", shape, elements=unit_floats))
    elements = {"logits": st.floats(-50, 50, width=32), "probabilities": st.floats(2**-20, 1 - 2**-20, width=32)}
    output = data.draw(hnp.arrays("float32", shape, elements=elements.get(kind, st.floats(-100, 100, width=32))))
    expected = oracle(kind, x, output).reshape(shape[0], -1).sum(axis=1)
    np.testing.assert_allclose(LOSSES[kind]().per_sample(x, output), expected, rtol=1e-4, atol=1e-4)


@given(hnp.arrays("float32", hnp.array_shapes(min_dims=2, max_dims=3, max_side=4), elements=unit_floats), st.data())
def test_hypothesis_finds_no_reconstruction_below_the_floor(x, data):
    probabilities = data.draw(hnp.arrays("float32", x.shape, elements=unit_floats))
    loss = BinaryCrossentropy()
    assert (loss.per_sample(x, probabilities).numpy() >= loss.floor(x).numpy() * (1 - 1e-5) - 1e-6).all()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_loss_as_a_metric_is_the_mean_over_all_samples_with_a_short_last_batch_too(jit_compile, tmp_path):
    x = np.random.default_rng(0).normal(size=(10, 4)).astype("float32") ** 3
    weight = np.arange(10, dtype="float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Rescaling(0.5)])
    model.compile(loss=SquaredError(), metrics=[losses.LossMetric(AbsoluteError())], jit_compile=jit_compile)
    expected = np.abs(x / 2).sum(axis=1)
    result = model.evaluate(x, x, batch_size=4, verbose=0, return_dict=True)
    assert result["absolute_error"] == pytest.approx(expected.mean(), rel=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, x, batch_size=3, verbose=0)[1] == pytest.approx(expected.mean(), rel=1e-6)
    weighted = losses.LossMetric(AbsoluteError(), name="weighted")
    weighted.update_state(x, x / 2, weight)
    assert float(weighted.result()) == pytest.approx((weight * expected).sum() / weight.sum(), rel=1e-6)
    with pytest.raises(ValueError, match=r"fn: expected a loss of tfae\.losses; received 'mse'"):
        losses.LossMetric("mse")


@pytest.mark.filterwarnings("ignore:.*retracing")
@pytest.mark.parametrize("how", ["eager", "graph", "jit"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_data_and_weights_whose_rank_changes_are_measured_or_refused_with_both_shapes(how, reduction):
    x = np.random.default_rng(0).random((8, 4, 3, 1)).astype("float32")
    model = keras.Sequential([keras.Input((4, 3, 1)), keras.layers.Rescaling(0.5)])
    model.compile(loss=SquaredError(sample_reduction=reduction), run_eagerly=how == "eager", jit_compile=how == "jit")
    before = model.evaluate(x, x, verbose=0)
    error = ValueError if how == "eager" else tf.errors.InvalidArgumentError
    for shape, shown in (((8, 4, 3), "8.4.3"), ((8, 4, 3, 2), "8.4.3.2"), ((8, 4), "8.4")):
        message = {
            "eager": rf"y_true .*received \({shown.replace('.', ', ')}\) and \(8, 4, 3, 1\)",
            "graph": rf"y_true: expected shape\] \[8 4 3 1\] \[received\] \[{shown}\]",
            "jit": rf"y_true \[{shown}\] is not compatible with expected shape \[\?,4,3,1\]",
        }[how]
        with pytest.raises(error, match=message):
            model.evaluate(x, np.ones(shape, "float32"), verbose=0)
    assert model.evaluate(x, x, verbose=0) == pytest.approx(before, rel=1e-6)
    weights = np.arange(8, dtype="float32")
    errors = np.square(x / 2).reshape(8, -1)
    expected = (errors.sum(1) if reduction == "sum" else errors.mean(1)) * weights
    for shape in ((8,), (8, 4), (8, 4, 3, 1), (8,)):
        weight = np.broadcast_to(weights.reshape(8, *[1] * (len(shape) - 1)), shape)
        assert model.evaluate(x, x, sample_weight=weight, verbose=0) == pytest.approx(expected.mean(), rel=1e-5)
    message = {
        "eager": r"sample_weight .*received \(8, 5\) and \(8, 4\)",
        "graph": r"sample_weight: expected shape\] \[8 4\] \[received\] \[8 5\]",
        "jit": r"\[8,5,1,1\] to \[8,4,3,1\]",
    }[how]
    with pytest.raises(error, match=message):
        model.evaluate(x, x, sample_weight=np.ones((8, 5)), verbose=0)


def test_ragged_samples_are_refused_with_their_shape():
    ragged = tf.ragged.constant([[1.0, 2.0], [3.0]])
    with pytest.raises(
        ValueError, match=r"y_true: expected a dense tensor; received a RaggedTensor of shape \(2, None\)\. Pad it"
    ):
        SquaredError()(ragged, tf.zeros((2, 2)))


def test_a_loss_as_a_metric_takes_weights_of_elements():
    x = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
    weight = np.random.default_rng(1).random((10, 4)).astype("float32")
    metric = losses.LossMetric(SquaredError())
    for part in (slice(0, 6), slice(6, 10)):
        metric.update_state(x[part], 0 * x[part], weight[part])
    assert float(metric.result()) == pytest.approx((weight * x**2).sum(axis=1).mean(), rel=1e-6)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("how", ["eager", "graph", "jit"])
def test_a_plain_fit_of_samples_outside_of_the_domain_of_cross_entropy_says_so(how, from_logits):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 16)).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(16, "linear" if from_logits else "sigmoid")])
    how = {"run_eagerly": how == "eager", "jit_compile": how == "jit"}
    for sample_reduction in ("sum", "mean"):
        loss = BinaryCrossentropy(from_logits=from_logits, sample_reduction=sample_reduction)
        model.compile("sgd", loss=loss, **how)
        history = model.fit(pixels / 255, pixels / 255, verbose=0).history["loss"]
        assert history[0] > 0
        if how["jit_compile"]:  # It can not raise.
            assert np.isnan(model.fit(pixels / 255, pixels, verbose=0).history["loss"]).all()
            assert all(np.isfinite(weights).all() for weights in model.get_weights())
        else:
            with pytest.raises(tf.errors.InvalidArgumentError, match=r"expected samples in \[0, 1\]; received some"):
                model.fit(pixels / 255, pixels, verbose=0)


def test_cross_entropy_of_samples_that_rounding_takes_out_of_its_domain_passes():
    x = np.array([[1.00001, -0.00001]], "float32")
    for confident in (50.0, 1000.0):
        z = np.array([[confident, -confident]], "float32")
        assert np.isfinite(BinaryCrossentropy(from_logits=True)(x, z))


def test_a_copy_of_a_loss_differs_in_what_is_given():
    loss = Huber(delta=0.5, name="mine").replace(sample_reduction="mean")
    assert (loss.delta, loss.name, loss.sample_reduction) == (0.5, "mine", "mean")
