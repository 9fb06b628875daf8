"""Signatures of a user's own go through everything that those of the table go through."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.exports import DIGITS, built
from tfae import export
from tfae.servable import read_warmup
from tfae.serving import LocalServer
from tfae.signatures import FLAG, SAMPLES, SCORE, SIGNATURES, SignatureDefinition, TensorKind

THRESHOLD = 12.0


def screen(model, inputs):
    score = model.score(inputs)
    verdict = tf.where(score > THRESHOLD, "strange", "usual")
    return {"instance_score": score, "is_outlier": score > THRESHOLD, "verdict": verdict}


def exceed(model, inputs, threshold):
    exceeds = model.score(inputs) > threshold
    return {"exceeds": exceeds, "nearest": tf.argmax(model.encode(model.to_model_space(inputs)), axis=1)}


DETECT = SignatureDefinition(
    *("screen", screen, {"inputs": SAMPLES}),
    {"instance_score": SCORE, "is_outlier": FLAG, "verdict": TensorKind("string")},
)
EXCEED = SignatureDefinition(
    *("exceed", exceed, {"inputs": SAMPLES, "threshold": TensorKind("float32")}),
    {"exceeds": FLAG, "nearest": TensorKind("int64")},
    golden_inputs=lambda model, samples: {"threshold": 5 + samples.mean(axis=(1, 2, 3))},
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return built()


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    autoencoder, fitted = model
    folder = tmp_path_factory.mktemp("own") / "digits"
    return export.save(autoencoder, folder, preprocessing=fitted, signatures=[DETECT, EXCEED])


def test_own_signatures_are_inspected_and_warmed_up(path):
    assert export.inspect(path).signatures["exceed"] == {
        "inputs": {"inputs": "uint8 (batch, 8, 8, 1)", "threshold": "float32 (batch,)"},
        "outputs": {"exceeds": "bool (batch,)", "nearest": "int64 (batch,)"},
    }
    health = export.check_health(path)
    assert health.answers == dict.fromkeys(
        sorted({row.name for row in SIGNATURES} - {"detect", "sample"} | {"screen", "exceed"}), "OK, 4 warm-up requests"
    )


def test_own_signatures_are_called_loaded_and_served(model, path):
    autoencoder, fitted = model
    x = fitted(DIGITS)
    score = autoencoder.loss.per_sample(x, autoencoder(x)).numpy()
    threshold = np.where(np.arange(30) % 2, score * 1.01, score * 0.99).astype("float32")
    loaded = export.load(path)
    with LocalServer(path.parent) as server:
        for asked in (loaded, server.client(), server.client(grpc=True)):
            found = asked.call("screen", inputs=DIGITS)
            np.testing.assert_allclose(found["instance_score"], score, rtol=1e-5)
            np.testing.assert_array_equal(found["is_outlier"], score > THRESHOLD, strict=True)
            assert found["verdict"].tolist() == [b"strange" if s > THRESHOLD else b"usual" for s in score]
            found = asked.call("exceed", inputs=DIGITS, threshold=threshold)
            np.testing.assert_array_equal(found["exceeds"], np.arange(30) % 2 == 0, strict=True)
            np.testing.assert_array_equal(found["nearest"], loaded.encode(DIGITS).argmax(axis=1), strict=True)
            assert asked.call("exceed", inputs=DIGITS[:0], threshold=[])["nearest"].dtype == "int64"
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"threshold: expected as many rows as inputs has"):
        loaded._servable.run("exceed", {"inputs": DIGITS, "threshold": threshold[:1]})


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("explode", {}, r"^signature: expected one of decode, encode, .*; received 'explode'"),
        ("exceed", {"inputs": DIGITS}, r"^inputs: expected inputs, threshold for signature exceed; received inputs\."),
        (
            "exceed",
            {"inputs": DIGITS, "threshold": [1.0]},
            r"same number of rows in every input; received 30 in inputs, 1 in threshold",
        ),
        ("exceed", {"inputs": DIGITS, "threshold": 1.0}, r"^threshold: expected shape \(batch,\); received \(\)"),
    ],
)
def test_what_does_not_fit_a_signature_is_an_error(path, signature, inputs, message):
    with pytest.raises(ValueError, match=message):
        export.load(path).call(signature, **inputs)


def flagged(threshold, served):
    """A signature with a flag of the score, which a server compares with a threshold of its own."""

    def function(model, inputs):
        return {"is_outlier": model.score(inputs) > (threshold if tf.executing_eagerly() else served)}

    return SignatureDefinition("flagged", function, {"inputs": SAMPLES}, {"is_outlier": FLAG})


def test_a_flag_may_differ_only_where_rounding_of_its_score_explains_it(model, path, tmp_path):
    autoencoder, fitted = model
    asked = next(request for request in read_warmup(path) if request.signature == "score")
    x = fitted(asked.inputs["inputs"])
    score = float(autoencoder.loss.per_sample(x, autoencoder(x))[0])
    within, beyond = flagged(score, score * (1 - 1e-7)), flagged(score * 1.005, score * 0.995)
    export.save(autoencoder, tmp_path / "within", preprocessing=fitted, signatures=[within])
    message = r"^flagged: expected .* is_outlier\[0\] = (np\.)?True_? where Keras gives (np\.)?False"
    with pytest.raises(ValueError, match=message):
        export.save(autoencoder, tmp_path / "beyond", preprocessing=fitted, signatures=[beyond])
    assert list((tmp_path / "beyond").iterdir()) == []


def of(outputs, returned, inputs=SAMPLES, name="own"):
    return SignatureDefinition(name, lambda model, inputs: returned, {"inputs": inputs}, outputs)


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (of({"y": SCORE}, {}, name="score"), r"^signatures: expected names that no other .* has; received score"),
        (of({"y": SCORE}, {"z": [1.0]}), r"^own: expected the outputs y; received z\."),
        (of({"y": FLAG}, {"y": [1.0]}), r"^own: expected y as bool \(None,\); received float32 \(1,\)\."),
        (of({"y": SCORE}, {"y": [[1.0]]}), r"^own: expected y as float32 \(None,\); received float32 \(1, 1\)\."),
        (of({"y": SCORE}, {}, TensorKind("int32")), r"golden_inputs of own to give inputs as .* \(10,\), a row"),
    ],
)
def test_a_signature_that_is_not_what_it_declares_is_not_exported(model, signature, message, tmp_path):
    autoencoder, fitted = model
    with pytest.raises(ValueError, match=message):
        export.save(autoencoder, tmp_path, preprocessing=fitted, signatures=[signature])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["two words", "", "naïve", "a/b", "__saved_model_init_op", "1st", None])
def test_names_that_no_server_can_route_are_refused(name):
    for names in ((name, "inputs", "y"), ("own", name, "y"), ("own", "inputs", name)):
        with pytest.raises(ValueError, match=rf"expected names of ASCII letters, .* received {re.escape(repr(name))}"):
            SignatureDefinition(names[0], lambda model, inputs: {}, {names[1]: SAMPLES}, {names[2]: SCORE})


def test_the_page_of_signatures_is_that_of_the_table():
    def listed(kinds):
        return ", ".join(f"`{name}`: {kind.meaning}" for name, kind in kinds.items())

    rows = [f"| `{row.name}` | {listed(row.inputs)} | {listed(row.outputs)} |" for row in SIGNATURES]
    page = (Path(__file__).parents[1] / "saved_models" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `.*$", page, re.MULTILINE) == rows
