import functools
import json
import math
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import tfae
from tests.exports import DIGITS, TABLE, built
from tfae import export, models, preprocessing
from tfae.losses import AbsoluteError, BinaryCrossentropy, SquaredError
from tfae.servable import read_warmup

LOSSES = {
    "squared": SquaredError,
    "absolute": AbsoluteError,
    "probabilities": BinaryCrossentropy,
    "logits": lambda **config: BinaryCrossentropy(from_logits=True, **config),
}


@pytest.fixture(scope="module")
def digits_model():
    model, fitted = built(DIGITS, BinaryCrossentropy(from_logits=True), input_noise=0.1, bottleneck=models.Sparse(0.1))
    x = fitted(DIGITS)
    model.fit(x, x, epochs=2, verbose=0)
    return model, fitted


@pytest.fixture(scope="module")
def saved(digits_model, tmp_path_factory):
    model, fitted = digits_model
    data = {"name": "digits", "arguments": {"source": "/home"}}
    metrics = {"loss": np.float32(12.5)}
    folder = tmp_path_factory.mktemp("digits")
    return export.load(export.save(model, folder, preprocessing=fitted, data=data, metrics=metrics))


def of_dtype(dtype):
    return (np.random.default_rng(0).random((20, 4)) * 3).astype(dtype)


# What the dtypes hold, and the model does not take.
REFUSED = {
    "uint16": [(np.full((1, 4), -5, "int32"), "inputs: expected integers from 0 to 65535")],
    "float64": [
        (
            np.array([[1.0, 1.0]] * 3 + [[np.nan, 1.0]]),
            r"^inputs: expected finite numbers; received NaN or infinity\. It is sample 3, which has nan in elem",
        ),
        (
            np.array([[1e300, 1.0]]),
            r"received one that is too large\. It is sample 0, which has 1e\+300 in element 0\.$",
        ),
    ],
}


# Every two of samples, loss, preprocessing and reduction meet, as far as they go together; and every dtype is there.
@pytest.mark.parametrize(
    ("samples", "loss", "method", "sample_reduction", "served"),
    [
        (DIGITS, "squared", "none", "sum", "uint8"),
        (DIGITS, "squared", "symmetric", "mean", "uint8"),
        (DIGITS, "absolute", "unit", "sum", "uint8"),
        (DIGITS, "absolute", "standard", "mean", "uint8"),
        (DIGITS, "probabilities", "unit", "mean", "uint8"),
        (DIGITS, "logits", "unit", "sum", "uint8"),
        (TABLE, "squared", "standard", "sum", "float64"),
        (TABLE.astype("float32"), "absolute", "none", "mean", "float32"),
        (of_dtype("float16"), "probabilities", "unit", "sum", "float32"),
        (of_dtype("bool"), "logits", "unit", "mean", "bool"),
        (of_dtype("uint16"), "squared", "unit", "mean", "int32"),
        (of_dtype("int64"), "absolute", "symmetric", "sum", "int64"),
        (of_dtype("uint64"), "squared", "standard", "mean", "int64"),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else value,
)
def test_the_served_score_equals_that_of_the_keras_model(samples, loss, method, sample_reduction, served, tmp_path):
    model, fitted = built(samples, LOSSES[loss](sample_reduction=sample_reduction), method, widths=(8,))
    path = export.save(model, tmp_path, preprocessing=fitted)
    shape = ", ".join(map(str, samples.shape[1:]))
    assert export.inspect(path).signatures["score"]["inputs"] == {"inputs": f"{served} (batch, {shape})"}
    assert len({request.signature for request in read_warmup(path)}) == (7 if samples.dtype == "uint8" else 6)
    x, loaded = fitted(samples), export.load(path)
    np.testing.assert_allclose(loaded.score(samples), model.loss.per_sample(x, model(x)), rtol=1e-5)
    for array, message in REFUSED.get(str(samples.dtype), []):
        for method in (loaded.score, loaded.explain, loaded.reconstruct, loaded.encode):
            with pytest.raises(ValueError, match=message):
                method(array)


def test_a_convolutional_model_is_served_too(tmp_path):
    model, fitted = built(DIGITS, SquaredError(), build=models.convolutional)
    served = export.load(export.save(model, tmp_path, preprocessing=fitted))
    x = fitted(DIGITS)
    np.testing.assert_allclose(served.score(DIGITS), model.loss.per_sample(x, model(x)), rtol=1e-5)


def test_what_stands_around_encoder_and_decoder_is_served_too(tmp_path):
    core = models.dense((6,), latent_dim=2, widths=(8,))
    inputs = keras.Input((6,))
    latent = core.get_layer("encoder")(keras.layers.Dropout(0.5)(keras.layers.Rescaling(3.0)(inputs)))
    model = keras.Model(inputs, core.get_layer("decoder")(latent))
    model.compile("adam", loss=SquaredError())
    x = np.random.default_rng(0).random((5, 6)).astype("float32")
    served = export.load(export.save(model, tmp_path))
    np.testing.assert_allclose(served.score(x), model.loss.per_sample(x, model(x)), rtol=1e-5)  # in float32, as it is
    np.testing.assert_allclose(served.reconstruct(x), model(x), rtol=1e-5)


def test_masked_steps_are_no_part_of_the_served_score(tmp_path):
    inputs = keras.Input((4, 2))
    masked = keras.layers.Masking()(inputs)
    encoder = keras.Model(inputs, keras.layers.SimpleRNN(3, return_sequences=True)(masked), name="encoder")
    inputs = keras.Input((4, 3))
    decoder = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="decoder")
    decoder.supports_masking = True
    inputs = keras.Input((4, 2))
    model = keras.Model(inputs, decoder(encoder(inputs)))
    model.compile("adam", loss=SquaredError())
    x = np.random.default_rng(0).random((5, 4, 2)).astype("float32") + 1
    x[:, 3] = 0
    served = export.load(export.save(model, tmp_path))
    expected = ((x[:, :3] - model(x).numpy()[:, :3]) ** 2).sum(axis=(1, 2))
    np.testing.assert_allclose(served.score(x), expected, rtol=1e-5)
    np.testing.assert_allclose(model.evaluate(x, x, verbose=0), expected.mean(), rtol=1e-5)
    explanation = served.explain(x)
    assert (explanation["feature_score"][:, 3] == 0).all()
    np.testing.assert_allclose(explanation["feature_score"].sum(axis=(1, 2)), expected, rtol=1e-5)


def test_reconstructions_in_data_space_and_latents_are_those_of_the_keras_model(digits_model, saved):
    model, fitted = digits_model
    x, latent, reconstruction = fitted(DIGITS), saved.encode(DIGITS), saved.reconstruct(DIGITS)
    np.testing.assert_allclose(reconstruction, 16 / (1 + np.exp(-model(x).numpy())), rtol=1e-4)
    np.testing.assert_allclose(latent, model.get_layer("encoder")(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(saved.decode(latent), reconstruction, rtol=1e-4)


def test_the_explanation_adds_up_to_the_score(saved):
    explanation = saved.explain(DIGITS)
    assert set(explanation) == {"instance_score", "feature_score", "reconstruction"}
    np.testing.assert_allclose(explanation["feature_score"].sum(axis=(1, 2, 3)), saved.score(DIGITS), rtol=1e-5)
    np.testing.assert_array_equal(explanation["reconstruction"], saved.reconstruct(DIGITS))


def ask(saved, signature, array):
    """Run a signature as a server does, without a comparison with the signature."""
    servable = saved._servable
    (name,) = servable.signatures[signature].inputs
    return servable.run(signature, {name: array})


def example(image):
    feature = tf.train.Feature(int64_list=tf.train.Int64List(value=image.ravel().tolist()))
    return tf.train.Example(features=tf.train.Features(feature={"inputs": feature})).SerializeToString()


def test_every_batch_size_and_width_of_integers_gives_the_same_scores(saved):
    np.testing.assert_array_equal(saved.score(DIGITS.astype("int64")), saved.score(DIGITS))
    many = np.concatenate([DIGITS] * 80)  # More than go through the graph at once.
    scores = saved.score(many)
    assert scores.shape == (2400,)
    np.testing.assert_allclose(scores, np.tile(saved.score(DIGITS), 80), rtol=1e-5)
    np.testing.assert_allclose([saved.score(DIGITS[i : i + 1])[0] for i in range(30)], saved.score(DIGITS), rtol=1e-5)
    assert saved.score(DIGITS[:0]).shape == (0,)
    assert saved.explain(DIGITS[:0])["reconstruction"].shape == (0, 8, 8, 1)


def test_every_weight_is_stored_once(digits_model, saved):
    model, _ = digits_model
    stored = tf.train.load_checkpoint(str(saved.path / "variables" / "variables")).get_variable_to_shape_map()
    sizes = [math.prod(shape) for name, shape in stored.items() if "OBJECT_GRAPH" not in name]
    assert sum(sizes) == sum(math.prod(variable.shape) for variable in model.variables)
    assert sorted(saved.path.joinpath("variables").iterdir())[0].stat().st_size < 4 * sum(sizes) + 20_000


def test_the_signatures_are_those_of_the_contract(saved):
    signatures = export.inspect(saved.path).signatures
    inputs = {"inputs": "uint8 (batch, 8, 8, 1)"}
    score = {"instance_score": "float32 (batch,)"}
    reconstruction = {"reconstruction": "float32 (batch, 8, 8, 1)"}
    assert signatures == {
        "serving_default": {"inputs": inputs, "outputs": reconstruction},
        "encode": {"inputs": inputs, "outputs": {"embedding": "float32 (batch, 3)"}},
        "decode": {"inputs": {"embedding": "float32 (batch, 3)"}, "outputs": reconstruction},
        "score": {"inputs": inputs, "outputs": score},
        "explain": {
            "inputs": inputs,
            "outputs": {"feature_score": "float32 (batch, 8, 8, 1)", **score, **reconstruction},
        },
        "serve_tf_examples": {"inputs": {"examples": "string (batch,)"}, "outputs": score},
        "serve_image_bytes": {"inputs": {"image_bytes": "string (batch,)"}, "outputs": score},
    }


def test_the_graph_holds_no_op_that_a_server_can_not_run(saved):
    model = SavedModel()
    model.ParseFromString((saved.path / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    ops = {node.op for node in nodes}
    assert {"MatMul", "Assert"} <= ops  # or the walk went nowhere
    assert not {op for op in ops if "Py" in op or "File" in op.replace("ShardedFilename", "") or "Xla" in op}
    assert not [node.name for node in nodes if "_XlaMustCompile" in node.attr]
    assert not [f.signature.name for f in graph.library.function if "_XlaMustCompile" in f.attr]
    signatures = model.meta_graphs[0].signature_def
    tensors = [info for s in signatures.values() if s.inputs for info in [*s.inputs.values(), *s.outputs.values()]]
    assert {info.tensor_shape.dim[0].size for info in tensors} == {-1}
    assert {tf.as_dtype(info.dtype).name for info in tensors} == {"float32", "uint8", "string"}


def png(image):
    return np.array([tf.io.encode_png(image).numpy()], object)


RGB = DIGITS[:2].repeat(3, axis=3)
NO_ROWS = np.array([], object)
OVER_255 = np.array([example(DIGITS[0].astype(int) + 256)], object)
SHAPE = r"inputs: expected shape \(batch, 8, 8, 1\), batch >= 1; received\] \[{}\]"
CODE_SHAPE = r"embedding: expected shape \(batch, 3\), batch >= 1; received\] \[{}\]"
STRING_SHAPE = r"expected shape \(batch\), batch >= 1; received\] \[{}\]"


@pytest.mark.parametrize(
    ("signature", "array", "message"),
    [
        ("serving_default", DIGITS[:2, :5], SHAPE.format("2 5 8 1")),
        ("score", DIGITS[:2, :5], SHAPE.format("2 5 8 1")),
        ("encode", DIGITS[:2, 0], SHAPE.format("2 8 1")),
        ("explain", DIGITS[:2, 0], SHAPE.format("2 8 1")),
        ("serving_default", RGB, SHAPE.format("2 8 8 3")),
        ("explain", RGB, SHAPE.format("2 8 8 3")),
        ("encode", DIGITS[:0], SHAPE.format("0 8 8 1")),
        ("score", DIGITS[:0], SHAPE.format("0 8 8 1")),
        # Of one axis less, and without any: the comparison that TensorFlow would broadcast or fold away.
        ("score", DIGITS[0], SHAPE.format("8 8 1")),
        ("encode", DIGITS[0, 0, 0, 0], SHAPE.format("")),
        ("decode", np.zeros(3, "float32"), CODE_SHAPE.format("3")),
        ("decode", np.array(0, "float32"), CODE_SHAPE.format("")),
        ("serve_tf_examples", NO_ROWS, STRING_SHAPE.format("0")),
        ("serve_image_bytes", NO_ROWS, STRING_SHAPE.format("0")),
        ("serve_tf_examples", np.array(b"", object), STRING_SHAPE.format("")),
        ("serve_image_bytes", np.array([[b""], [b""]], object), STRING_SHAPE.format("2 1")),
        ("decode", np.zeros((2, 4), "float32"), CODE_SHAPE.format("2 4")),
        ("decode", np.full((2, 3), np.nan, "float32"), "embedding: expected finite numbers"),
        ("score", DIGITS + 1, r"expected values in \[0, 16\] for BinaryCrossentropy"),
        ("explain", DIGITS + 1, r"expected values in \[0, 16\] for BinaryCrossentropy"),
        ("serve_image_bytes", png(RGB[0]), r"expected shape \(8, 8, 1\); received\] \[8 8 3\]"),
        ("serve_image_bytes", png(DIGITS[0, :4]), r"decoded image: expected shape \(8, 8, 1\); received\] \[4 8 1\]"),
        ("serve_tf_examples", OVER_255, "inputs: expected integers from 0 to 255"),
    ],
)
def test_what_does_not_fit_is_refused_inside_the_graph(saved, signature, array, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask(saved, signature, array)


@pytest.mark.parametrize(
    ("method", "array", "message"),
    [
        ("score", DIGITS[0], r"expected shape \(batch, 8, 8, 1\); received \(8, 8, 1\)\. Add the batch axis"),
        ("score", DIGITS[..., 0], r"expected shape \(batch, 8, 8, 1\); received \(30, 8, 8\)"),
        ("score", DIGITS / 16, "expected values that uint8 can hold; received float64"),
        ("score", DIGITS.astype("int64") + 250, "expected values that uint8 can hold"),
        ("score", DIGITS + 100, r"^inputs: expected values in \[0, 16\] for BinaryCrossentropy\. It is sample 0\.$"),
        ("decode", np.zeros(3), r"embedding: expected shape \(batch, 3\); received \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_sent(saved, method, array, message):
    with pytest.raises(ValueError, match=message):
        getattr(saved, method)(array)


of_four = functools.partial(models.dense, (4,), latent_dim=2)


@pytest.mark.parametrize(
    ("build", "loss", "options", "message"),
    [
        (of_four, "mse", {}, r"compiled with a loss of tfae\.losses"),
        (of_four, None, {}, r"compiled with a loss of tfae\.losses"),
        (of_four, SquaredError(), {"preprocessing": "standard"}, r"preprocessing: expected a fitted .*'standard'"),
        (
            *(of_four, SquaredError(), {"preprocessing": preprocessing.fit("unit", TABLE, kind="table")}),
            r"shape \(4,\), the model's; received one for shape \(2,\)",
        ),
        *(
            (
                *(of_four, SquaredError(), {"metrics": {"loss": 1.0, "psnr": value}}),
                r"^metrics: expected finite numbers by name; received psnr=.*Leave it out",
            )
            for value in (float("nan"), float("inf"), np.float32("inf"), np.zeros(2))
        ),
    ],
)
def test_what_can_not_be_exported_is_refused_before_anything_is_written(build, loss, options, message, tmp_path):
    model = build()
    if loss is not None:
        model.compile("adam", loss=loss)
    with pytest.raises(ValueError, match=message):
        export.save(model, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_the_newest_version_that_is_complete_is_loaded_and_no_description_of_another_format(saved, tmp_path):
    for name in ("1", "2", "notes"):
        shutil.copytree(saved.path, tmp_path / name)
    (tmp_path / "7").mkdir()
    assert export.load(tmp_path).path == tmp_path / "2"
    page = tmp_path / "2" / "assets.extra" / "tfae.json"
    page.write_text(page.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match=r"format 1; received .* with format 99"):
        export.load(tmp_path)


class WithVariable(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.factor = tf.Variable(1.0)

    def call(self, x):
        return x * self.factor


class WithTable(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1], [2]), 0)

    def call(self, x):
        return x + tf.cast(self.table.lookup(tf.cast(x, tf.int32)), tf.float32)

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize("layer", [WithVariable, WithTable])
def test_what_keras_does_not_track_is_a_clear_error(layer, tmp_path):
    core = models.dense((4,), latent_dim=2, widths=(8,))
    inputs = keras.Input((4,))
    model = keras.Model(inputs, core.get_layer("decoder")(core.get_layer("encoder")(layer()(inputs))))
    model.compile("adam", loss=SquaredError())
    with pytest.raises(
        ValueError,
        match=r"^autoencoder: expected layers that hold no variables or lookup tables besides Keras's weights; "
        r"received one with .*(Variable|Lookup).* Nothing was published\. Make variables with add_weight",
    ):
        export.save(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_description_says_what_was_exported(saved):
    description = json.loads((saved.path / "assets.extra" / "tfae.json").read_text())
    assert description["format"] == 1
    assert description["loss"]["class_name"] == "BinaryCrossentropy"
    assert description["loss"]["from_logits"] is True
    assert description["preprocessing"]["scale"] == 16
    assert description["data"] == {"name": "digits"}
    assert description["metrics"] == {"loss": 12.5}
    assert description["versions"]["tfae"] == tfae.__version__


def test_what_is_not_a_saved_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"numbered versions of one; received .*, which holds neither"):
        export.load(tmp_path)
    with pytest.raises(ValueError, match="which does not exist"):
        export.load(tmp_path / "nothing")
    (tmp_path / "saved_model.pb").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"tfae\.json can not be read"):
        export.load(tmp_path)
