"""The gate before publication: what differs from Keras, or can not be served, is not published."""

import dataclasses
import shutil
import tracemalloc
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.exports import DIGITS, built
from tfae import datasets, export, models, preprocessing, training
from tfae.detection import calibrate_scores
from tfae.export import golden_requests
from tfae.export.keras_answers import KerasAnswers
from tfae.losses import AbsoluteError, BinaryCrossentropy, SquaredError
from tfae.servable import Request, Servable, read_warmup, write_warmup
from tfae.signatures import SIGNATURES

#: Of a model that is not variational.
ROWS = [row for row in SIGNATURES if row.name != "sample"]
ALL = {row.name for row in ROWS}
CALIBRATION = calibrate_scores(np.random.default_rng(0).uniform(30, 60, 200), false_alarm_rate=0.1)


@pytest.fixture(scope="module")
def digits():
    return built(loss=BinaryCrossentropy(from_logits=True))


@pytest.fixture(scope="module")
def path(digits, tmp_path_factory):
    model, fitted = digits
    folder = tmp_path_factory.mktemp("parity") / "digits"
    return export.save(model, folder, preprocessing=fitted, calibration=CALIBRATION)


@pytest.fixture(scope="module")
def golden(digits):
    return golden_requests.make_golden_requests(KerasAnswers(*digits, CALIBRATION), ROWS)


def test_the_golden_requests_are_the_warmup_file(path):
    requests = read_warmup(path)
    assert {request.signature for request in requests} == ALL
    assert len(requests) <= 100
    for signature in ALL:
        sizes = [len(next(iter(r.inputs.values()))) for r in requests if r.signature == signature]
        assert {1, 2, 7} <= set(sizes)
    extremes = np.concatenate([r.inputs["inputs"] for r in requests if r.signature == "score"])
    assert (extremes == 0).all(axis=(1, 2, 3)).any()
    assert (extremes == 16).all(axis=(1, 2, 3)).any()


def test_the_requests_of_one_row_come_first_where_not_all_fit(golden, tmp_path, monkeypatch):
    monkeypatch.setattr(export.parity, "MAX_BYTES", 1)
    export.parity.write_golden(tmp_path, golden, model_name="digits")
    requests = read_warmup(tmp_path)
    assert [len(next(iter(request.inputs.values()))) for request in requests] == [1] * 8
    assert {request.signature for request in requests} == ALL


def test_golden_answers_are_those_of_keras(digits, golden, path):
    """Held to the model's own calls, by hand."""
    model, _ = digits
    (first,) = [r for r in read_warmup(path) if r.signature == "score" and len(r.inputs["inputs"]) == 1]
    (score,) = [each for each in golden if each.request.signature == "score" and len(each.rows) == 1]
    z = model(first.inputs["inputs"].astype("float32") / 16).numpy().astype("float64")
    x = first.inputs["inputs"] / 16
    by_hand = (np.logaddexp(0, z) - z * x).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(score.expected["instance_score"], by_hand, rtol=1e-5)
    assert (score.slack["instance_score"] < 1e-4 * by_hand).all()


def test_preprocessing_samples_and_extremes_are_those_of_the_data(tmp_path):
    data = datasets.load("wine", seed=0)
    model = models.dense(data.shape, latent_dim=2)
    model.compile("adam", loss=SquaredError())
    path = export.save(model, tmp_path, data=data)
    requests = [request.inputs for request in read_warmup(path) if request.signature == "score"]
    asked = np.concatenate([np.stack([each[column.name] for column in data.columns], axis=1) for each in requests])
    raw = np.concatenate(data.raw).astype("float32").astype(asked.dtype)
    assert (asked == raw.min(axis=0)).all(axis=1).any()
    assert (asked == raw.max(axis=0)).all(axis=1).any()
    assert sum((row == raw).all(axis=1).any() for row in asked) >= 7
    x = data.preprocessing(data.raw.test)
    np.testing.assert_allclose(export.load(path).score(data.raw.test), model.loss.per_sample(x, model(x)), rtol=1e-5)


@keras.saving.register_keras_serializable("test")
class Exaggerating(keras.layers.Layer):
    """Multiplies by factors in a graph, which it does not do in Python."""

    def __init__(self, factors, **arguments):
        super().__init__(**arguments)
        self.factors = factors

    def call(self, x):
        return x if tf.executing_eagerly() else x * tf.constant(self.factors, x.dtype)


@keras.saving.register_keras_serializable("test")
class Neighbourly(keras.layers.Layer):
    """Centres every batch."""

    def call(self, x):
        return x - keras.ops.mean(x, axis=0, keepdims=True)


@keras.saving.register_keras_serializable("test")
class Pythonic(keras.layers.Layer):
    def call(self, x):
        if tf.executing_eagerly():
            return x
        return tf.ensure_shape(tf.numpy_function(lambda value: value, [x], tf.float32), x.shape)


@keras.saving.register_keras_serializable("test")
class Compiled(keras.layers.Layer):
    def call(self, x):
        return x if tf.executing_eagerly() else tf.function(lambda x: x * 1.0, jit_compile=True)(x)


def ending_in(layer):
    core = models.dense((4,), latent_dim=2, widths=(8,))
    inputs = keras.Input((4,))
    output = core.get_layer("decoder")(core.get_layer("encoder")(inputs))
    model = keras.Model(inputs, layer(output), name="strange")
    model.compile("adam", loss=SquaredError())
    return model


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            lambda: Exaggerating([1, 1.001, 1, 1]),
            r"^serving_default: expected the answers of the Keras model, to 1e-05 relative; received .*\[0, 1\] = \S+ "
            r"where Keras gives \S+, on the golden request serving_default\(inputs \(1, 4\)\)\. Nothing was",
        ),
        (Neighbourly, r"do not depend on what else is in the batch; received reconstruction\["),
        (Pythonic, r"graph that TensorFlow Serving can run; received one with PyFunc \(runs Python\) at "),
        (Compiled, r"graph that TensorFlow Serving can run; received one with XLA compilation disabled"),
    ],
)
def test_a_model_that_is_another_one_on_a_server_is_not_published(layer, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export.save(ending_in(layer()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def linear(num_features, layer):
    """A linear autoencoder that ends in ``layer``, with outputs in float32."""
    inputs, code = keras.Input((num_features,)), keras.Input((2,))
    encoder = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="encoder")
    output = keras.layers.Activation("linear", dtype="float32")(layer(keras.layers.Dense(num_features)(code)))
    decoder = keras.Model(code, output, name="decoder")
    model = keras.Model(inputs, decoder(encoder(inputs)))
    model.compile("adam", loss=SquaredError())
    return model


@pytest.mark.parametrize(
    ("policy", "factors"),
    [("float32", [1.01] * 4), ("mixed_float16", [1, 1, 1.01, 1]), ("mixed_bfloat16", [1.01] * 4)],
    indirect=["policy"],
)
def test_a_model_that_is_one_percent_off_on_a_server_is_not_published_in_any_precision(policy, factors, tmp_path):
    keras.utils.set_random_seed(0)
    with pytest.raises(ValueError, match=r"^serving_default: expected the answers of the Keras model"):
        export.save(linear(4, Exaggerating(factors)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_small_feature_is_not_excused_by_a_large_one(tmp_path):
    rng, large = np.random.default_rng(0), 1e6
    table = np.stack([rng.normal(large, large / 10, 300), rng.normal(1, 0.3, 300)], axis=1).astype("float32")
    data = datasets.load(table, seed=0, preprocessing="none")
    models = [linear(2, Exaggerating(factors)) for factors in ([1, 1], [1, 1.01])]
    for model in models:
        dense = model.get_layer("decoder").layers[1]
        dense.kernel.assign(dense.kernel * 1e-8)
        dense.bias.assign([large, 1])
    export.save(models[0], tmp_path / "right", data=data)
    with pytest.raises(ValueError, match=r"received from the SavedModel reconstruction\[0, 1\] = "):
        export.save(models[1], tmp_path / "wrong", data=data)


def test_a_sound_model_is_published_whose_outputs_are_small_beside_the_terms_of_their_sums(tmp_path):
    """Rows near the mean, in which everything cancels out, have rounding errors as large as those far from it."""
    keras.utils.set_random_seed(6)
    rng = np.random.default_rng(6)
    table = rng.normal(size=(300, 20)).astype("float32") @ rng.normal(size=(20, 20)).astype("float32")
    data, loss = datasets.load(table, seed=0), SquaredError()
    model = models.dense(data.shape, latent_dim=1, widths=(256, 128))
    training.compile(model, loss, data, epochs=3)
    model.fit(data.train, epochs=3, verbose=0, shuffle=False)
    assert export.save(model, tmp_path, data=data).name == "1"


def test_a_feature_that_always_cancels_out_may_be_all_rounding(tmp_path):
    """Its true value is 0, but its terms are thousands: what is left depends on the order of the sum."""
    keras.utils.set_random_seed(0)
    model = models.dense((4,), latent_dim=64, widths=(), output_activation="linear")
    kernel = 1e4 * np.random.default_rng(0).normal(size=(64, 4))
    kernel[32:, 2] = -kernel[:32, 2]
    encoder, decoder = (each for each in model._flatten_layers() if isinstance(each, keras.layers.Dense))
    encoder.kernel.assign(np.tile(encoder.kernel[:, :32], 2))
    decoder.kernel.assign(kernel)
    model.compile("adam", loss=SquaredError())
    assert export.save(model, tmp_path).name == "1"


@pytest.mark.parametrize(
    ("policy", "build"),
    [("mixed_float16", models.dense), ("mixed_bfloat16", models.convolutional)],
    indirect=["policy"],
)
def test_sound_models_of_mixed_precision_are_published_and_stay_as_they_are(policy, build, tmp_path):
    keras.utils.set_random_seed(0)
    model, fitted = built(loss=AbsoluteError(sample_reduction="mean"), build=build)
    policies = [layer.dtype_policy for layer in model._flatten_layers()]
    path = export.save(model, tmp_path, preprocessing=fitted)
    assert [layer.dtype_policy for layer in model._flatten_layers()] == policies
    assert model.get_layer("encoder").compute_dtype == policy.removeprefix("mixed_")
    # What is published is the model of mixed precision, not that in float32 beside it.
    graph = (path / "saved_model.pb").read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["1"]
    assert b"compute_dtype" not in graph
    servable = Servable(path)
    narrow = tf.as_dtype(model.get_layer("encoder").compute_dtype)
    operations = servable._session.graph.as_graph_def().library.function
    assert any(node.attr["DstT"].type == narrow for f in operations for node in f.node_def if node.op == "Cast")
    outputs = [spec for signature in export.inspect(path).signatures.values() for spec in signature["outputs"].values()]
    assert all(spec.startswith("float32") for spec in outputs)
    x = fitted(DIGITS)
    np.testing.assert_allclose(export.load(path).score(DIGITS), model.loss.per_sample(x, model(x)), rtol=1e-2)


@keras.saving.register_keras_serializable("test")
class Single(keras.layers.Layer):
    """Takes float32 and nothing else."""

    def call(self, x):
        return x + tf.zeros((4,), tf.float32)


def test_a_layer_that_takes_only_float32_is_published(tmp_path):
    keras.utils.set_random_seed(0)
    assert export.save(ending_in(Single()), tmp_path).name == "1"


def test_the_slack_of_a_score_of_large_numbers_is_small():
    """Squares of numbers that float32 still holds overflow in it."""
    keras.utils.set_random_seed(0)
    model = models.dense((4,), latent_dim=2, widths=(8,))
    model.compile("adam", loss=SquaredError())
    fitted = preprocessing.fit("none", np.zeros((2, 4), "float32"), kind="table")
    raw = np.random.default_rng(0).normal(1e14, 1e13, (5, 4)).astype("float32")
    model = KerasAnswers(model, fitted)
    (slack,) = model.find_slack([lambda: {"instance_score": model.score(raw)}])
    assert (slack["instance_score"] < 1e-3 * model.score(raw)).numpy().all()


def test_the_slack_of_a_masked_mean_is_that_of_what_the_mask_leaves():
    model, fitted = built(np.zeros((2, 4), "float32"), SquaredError(sample_reduction="mean"), "none")
    raw = np.random.default_rng(0).random((3, 4)).astype("float32")
    answers = KerasAnswers(model, fitted)

    def explain_masked():
        output = answers.forward(answers.to_model_space(raw))
        output._keras_mask = tf.constant([[True, False, False, False]] * 3)
        return {"score": model.loss.per_sample(raw, output), "elements": model.loss.per_element(raw, output)}

    (slack,) = answers.find_slack([explain_masked])
    assert (explain_masked()["elements"].numpy()[:, 1:] == 0).all()
    assert (slack["score"] >= slack["elements"][:, 0] * 0.999).all()


def test_samples_are_made_and_read_only_as_far_as_they_are_needed():
    shape = (64, 64, 3)
    model = SimpleNamespace(sample_shape=shape, loss=SquaredError(), preprocessing=None, allows_gaps=False)
    model.preprocessing = preprocessing.fit("unit", np.zeros((1, *shape), "uint8"), kind="image")
    tracemalloc.start()
    assert golden_requests._ordinary(model, None).shape == (7, *shape)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 7 * 64 * 64 * 3 * 8 * 5  # a few copies of seven in float64

    read = []

    class Split:
        def __len__(self):
            return 50

        def __getitem__(self, rows):
            read.append(rows)
            return np.ones((7, *shape), "uint8")

    data = SimpleNamespace(shape=shape, raw=SimpleNamespace(test=Split(), validation=[], train=np.zeros((0, *shape))))
    assert (golden_requests._ordinary(model, data) == 1).all()
    assert read == [slice(0, 7)]


def test_a_saved_model_that_can_not_be_loaded_is_no_fault_of_the_disk(golden, path, monkeypatch):
    def fail(*_, **__):
        raise tf.errors.NotFoundError(None, None, "Op type not registered 'Strange'")

    monkeypatch.setattr(export.parity, "Servable", fail)
    message = r"^autoencoder: .* can load; loading failed with NotFoundError: Op type not registered 'Strange' Nothing"
    with pytest.raises(ValueError, match=message):
        export.parity.validate_parity(path, golden)


def test_a_model_whose_weights_are_not_finite_is_not_published(tmp_path):
    model, fitted = built()
    model.layers[-1].trainable_variables[0].assign(model.layers[-1].trainable_variables[0] * np.nan)
    with pytest.raises(ValueError, match=r"autoencoder: expected .* finite answers; received 'dense_autoencoder'"):
        export.save(model, tmp_path, preprocessing=fitted)
    assert list(tmp_path.iterdir()) == []


def test_every_signature_is_held_to_keras(golden, path):
    for signature in ALL:
        spoiled = [
            dataclasses.replace(each, expected={name: value * 1.0001 for name, value in each.expected.items()})
            if each.request.signature == signature
            else each
            for each in golden
        ]
        with pytest.raises(ValueError, match=rf"^{signature}: expected the answers of the Keras model"):
            export.parity.validate_parity(path, spoiled)
    export.parity.validate_parity(path, golden)


def test_a_record_that_was_written_wrongly_is_found(golden, path, tmp_path):
    shutil.copytree(path, tmp_path / "copy")
    requests = read_warmup(path)
    (number, *_) = (number for number, request in enumerate(requests) if request.signature == "score")
    requests[number] = Request("score", {"inputs": np.zeros((1, 5, 8, 1), "uint8")})
    write_warmup(tmp_path / "copy", requests, model_name="digits")
    message = r"^score: expected an answer to the golden request .*InvalidArgumentError: assertion failed"
    with pytest.raises(ValueError, match=message):
        export.parity.validate_parity(tmp_path / "copy", golden)
