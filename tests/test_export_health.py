"""What is in a SavedModel and whether it answers, found without trusting it."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import urllib.request

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tests.commands import run
from tests.test_servable import ROWS, foreign, its_asset, python, save, write_damaged_warmup
from tfae import datasets, export, models, runs
from tfae.losses import SquaredError
from tfae.servable import WARMUP, Request, read_warmup, write_warmup
from tfae.serving import LocalServer


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = models.dense((4,), latent_dim=2)
    model.compile("adam", loss=SquaredError())
    return export.save(model, tmp_path_factory.mktemp("table"), metrics={"loss": 1.25})


def inspect(*arguments, code=0):
    return run("inspect", *arguments, code=code)


def disguised(path, exported):
    """Give a SavedModel the description of one that tfae exported."""
    (path / "assets.extra").mkdir()
    page = path / "assets.extra" / "tfae.json"
    page.write_text((exported / "assets.extra" / "tfae.json").read_text())
    return path


UNLOADABLE = "would not be loaded by a server, for its warm-up requests"


def double(x):
    return {"y": x * 2}


def test_an_export_is_healthy_by_its_warmup_requests(exported):
    health = export.check_health(exported.parent)
    assert health.healthy
    assert health.path == exported
    assert health.answers == dict.fromkeys(
        ["decode", "encode", "explain", "score", "serve_tf_examples", "serving_default"], "OK, 4 warm-up requests"
    )
    assert "health         OK\n  decode            OK, 4 warm-up requests" in str(health)


def test_the_command_says_what_is_there_and_that_it_answers(exported):
    result = inspect(exported)
    for line in ("loss           SquaredError, sum over elements", "test split     loss 1.25", "health         OK"):
        assert line in result.stdout
    page = json.loads(inspect(exported, "--json").stdout)
    assert page["health"]["healthy"] is True
    assert page["operations"] == []
    assert page["num_bytes"] == sum(path.stat().st_size for path in exported.rglob("*") if path.is_file())


def test_a_saved_model_of_others_is_inspected_and_run_too(tmp_path):
    save(tmp_path, serving_default=(double, ROWS))
    result = inspect(tmp_path)
    assert "description    none: not exported by tfae" in result.stdout
    assert "  → x               float32 (batch, 2)" in result.stdout
    assert "serving_default   OK, zeros" in result.stdout
    assert export.inspect(tmp_path).description is None
    with pytest.raises(ValueError, match=r"a SavedModel exported by tfae; received .*tfae\.json can not be read"):
        export.load(tmp_path)


def test_text_of_unknown_content_is_not_made_up(tmp_path):
    text = tf.TensorSpec([None], tf.string, name="s")
    save(tmp_path, serving_default=(lambda s: {"n": tf.strings.length(s)}, text))
    health = export.check_health(tmp_path)
    assert health.answers == {"serving_default": "not tried: without warm-up requests there is no telling what s holds"}
    assert health.healthy


def compiled(x):
    return {"y": tf.function(lambda x: x * 2, jit_compile=True)(x)}


def refusing(x):
    return {"y": tf.debugging.check_numerics(x / x, "zeros")}


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (None, "FailedPreconditionError: Could not find variable"),
        (compiled, "InternalError: XLA compilation disabled"),
        (refusing, "InvalidArgumentError: zeros : Tensor had NaN values"),
    ],
)
def test_what_a_server_would_load_and_then_fail_is_unhealthy(function, error, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    # As tf.saved_model.save writes it, a server does not find its variables.
    function = function or (lambda x: {"y": model(x)})
    save(tmp_path, model, serving_default=(function, ROWS), good=(double, ROWS))
    result = inspect(tmp_path, code=1)
    assert "health         NOT OK" in result.stdout
    assert f"serving_default   serving_default(x (1, 2)): {error}" in result.stdout
    assert "good              OK, zeros" in result.stdout


def test_a_warmup_request_that_fails_is_unhealthy(tmp_path):
    save(tmp_path, serving_default=(lambda x: {"y": x @ tf.ones((2, 2))}, ROWS))
    requests = [Request("serving_default", {"x": np.ones((1, width), "float32")}) for width in (2, 3)]
    write_warmup(tmp_path, requests, model_name="digits")
    answer = export.check_health(tmp_path).answers["serving_default"]
    assert answer.startswith("serving_default(x (1, 3)): InvalidArgumentError: Matrix size-incompatible")
    write_warmup(tmp_path, [Request("score", {})], model_name="digits")
    assert "a warm-up request to score, which it does not have" in inspect(tmp_path, code=1).stdout
    (tmp_path / WARMUP).write_bytes(b"text, which is no record, and which goes on for a while")
    health = export.check_health(tmp_path)
    assert not health.healthy
    assert health.defects[0].startswith(f"{UNLOADABLE}: DataLossError")


def test_a_damaged_model_is_a_clear_error(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff")
    result = inspect(tmp_path, code=2)
    assert "Error: expected a SavedModel; received" in result.stderr
    assert "as binary proto" in result.stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda page: page.clear() or page.update(format=1),
        lambda page: page.update(model=None),
        lambda page: page["model"].update(parameters="many"),
        lambda page: page["loss"].pop("sample_reduction"),
        lambda page: page.update(metrics=[1.5]),
    ],
)
def test_a_damaged_description_is_a_clear_error(change, tmp_path, exported):
    path = disguised(save(tmp_path / "1", serving_default=(double, ROWS)), exported)
    page = json.loads((path / "assets.extra" / "tfae.json").read_text())
    change(page)
    (path / "assets.extra" / "tfae.json").write_text(json.dumps(page))
    assert "with a damaged assets.extra/tfae.json (" in inspect(path, code=2).stderr
    with pytest.raises(ValueError, match=r"with a damaged assets\.extra/tfae\.json"):
        export.load(path)


def test_a_damaged_warmup_tensor_is_unhealthy(tmp_path):
    path = save(tmp_path / "1", serving_default=(double, ROWS))
    write_damaged_warmup(path, dtype=0)
    (defect,) = export.check_health(path).defects
    assert defect.startswith(f"{UNLOADABLE}: InvalidArgumentError: Failed to")


def test_what_no_zeros_are_like_is_not_tried(tmp_path):
    save(tmp_path, serving_default=(double, ROWS))
    content = SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    info = content.meta_graphs[0].signature_def["serving_default"].inputs["x"]
    info.tensor_shape.dim[1].size = 2**62
    (tmp_path / "saved_model.pb").write_bytes(content.SerializeToString())
    answer = export.check_health(tmp_path).answers["serving_default"]
    assert answer.startswith("not tried: there are no zeros to ask it for")
    info.dtype = 0
    (tmp_path / "saved_model.pb").write_bytes(content.SerializeToString())
    (defect,) = export.check_health(tmp_path).defects
    assert defect.startswith("can not be loaded: ValueError: signature: expected a dtype")
    result = inspect(tmp_path, code=2)
    assert "Error: expected a SavedModel; received" in result.stderr


def test_a_foreign_model_that_reads_a_secret_is_neither_run_nor_loaded(tmp_path, exported):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret\n")
    path = foreign(tmp_path / "1", lambda asset, secret: tf.constant(secret), str(secret))
    table = "InitializeTableFromTextFileV2 (unknown, may do anything) at fill"
    assert export.check_health(path).answers == {}
    assert export.inspect(path).operations == (table,)
    linked = foreign(tmp_path / "2", its_asset)
    (linked / "assets" / "vocab.txt").unlink()
    (linked / "assets" / "vocab.txt").symlink_to(secret)
    link = "link (leads out of the folder of the SavedModel) at assets/vocab.txt"
    assert export.inspect(linked).operations == (table, link)
    assert export.check_health(linked).defects[0].startswith(f"holds {table}; {link}. Nothing was run.")
    assert export.check_health(linked, trust=True).healthy
    with pytest.raises(ValueError, match=r"expected a SavedModel that only computes; received .*, which holds Init"):
        export.load(disguised(linked, exported))


def writing_to(file):
    def function(x):
        with tf.control_dependencies([tf.io.write_file(str(file), "written")]):
            return {"y": tf.identity(x)}

    return function


def test_nothing_of_a_dangerous_model_is_run_unless_it_is_trusted(tmp_path):
    file = tmp_path / "file"
    path = save(tmp_path / "1", serving_default=(writing_to(file), ROWS))
    result = inspect(path, code=1)
    assert "operations     WriteFile (unknown, may do anything) at WriteFile in __inference_function_" in result.stdout
    assert "Nothing was run. If you trust who made it: trust=True, or --trust" in result.stdout
    assert not file.exists()
    trusted = inspect(path, "--trust")
    assert "serving_default   OK, zeros" in trusted.stdout
    assert file.read_text() == "written"


@pytest.mark.parametrize("function", [writing_to("/nowhere"), python])
def test_a_dangerous_model_is_not_loaded_unless_it_is_trusted(function, tmp_path, exported):
    signatures = ("serving_default", "encode", "decode", "score", "explain", "detect")
    path = disguised(save(tmp_path / "1", **dict.fromkeys(signatures, (function, ROWS))), exported)
    with pytest.raises(
        ValueError,
        match=r"^path: expected a SavedModel that only computes; received \S+, which holds \w+ \((unknown|runs)\b.*"
        r"; and 1 more\. Nothing of it was run\..* say trust=True\.$",
    ):
        export.load(path)
    with pytest.raises(ValueError, match=r'expected a SavedModel with a signature "serving_default" of inputs'):
        export.load(path, trust=True)


def test_a_keras_file_with_python_in_it_is_not_loaded(tmp_path):
    for name in ("config.json", "preprocessing.json", "evaluation.json"):
        (tmp_path / name).write_text("{}")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="it holds a Lambda layer, whose Python Keras does not load"):
        runs.load_run(tmp_path)


def asked(example, server):
    """What a server answers to the example of an inspection, with its own address in place of the usual one."""
    command, _, body, *more = shlex.split(example)
    if command == "python3":
        body = subprocess.run(
            [sys.executable, "-c", shlex.split(example)[2]], capture_output=True, text=True, check=True
        ).stdout
        assert more[:4] == ["|", "curl", "-d", "@-"]
    request = urllib.request.Request(more[-1].replace("http://localhost:8501", server.rest_url), body.encode())
    with urllib.request.urlopen(request) as response:
        return json.load(response)["predictions"]


def test_the_columns_are_listed_in_their_order_with_a_request_that_a_server_answers(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"measured_quantity_{index}" for index in (3, 1, 2)] + ["a, b", "Größe"]
    data = datasets.load(pa.table({name: rng.normal(size=30).astype("float32") for name in names}))
    model = models.dense(data.shape, latent_dim=2)
    model.compile(loss=SquaredError())
    path = export.save(model, tmp_path / "named table", data=data)
    page = str(export.inspect(path))
    assert (
        "columns        5, in this order:\n"
        "               measured_quantity_3, measured_quantity_1,\n"
        '               measured_quantity_2, "a, b", Größe\n'
    ) in page
    example = json.loads(inspect(path, "--json").stdout)["example"]
    assert page.endswith(f"for example, once `tfae serve '{path.parent}'` runs:\n{example}")
    first = next(each.inputs for each in read_warmup(path) if each.signature == "score")
    with LocalServer(path.parent) as server:
        np.testing.assert_allclose(asked(example, server), export.load(path).score(first), rtol=1e-6)


def test_the_example_of_a_large_sample_is_of_zeros(tmp_path):
    model = models.convolutional((16, 16, 3), latent_dim=2)
    model.compile(loss=SquaredError())
    path = export.save(model, tmp_path / "large")
    example = export.inspect(path).example
    assert len(example) < 250
    with LocalServer(path.parent) as server:
        expected = export.load(path).score(np.zeros((1, 16, 16, 3), "float32"))
        np.testing.assert_allclose(asked(example, server), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: shutil.rmtree(path / "variables"), "has no variables/variables.index, and so no weights"),
        (lambda path: (path / "variables" / "variables.index").unlink(), "has no variables/variables.index"),
        (lambda path: next((path / "variables").glob("*.data-*")).unlink(), "No such file or directory"),
        (lambda path: os.truncate(next((path / "variables").glob("*.data-*")), 100), "Read less bytes than requested"),
        (lambda path: os.truncate(path / "variables" / "variables.index", 30), "file is too short to be an sstable"),
    ],
)
def test_weights_that_are_missing_or_damaged_are_a_line_that_says_so(spoil, reason, exported, tmp_path, caplog):
    path = tmp_path / "copy" / "1"
    shutil.copytree(exported, path)
    spoil(path)
    with pytest.raises(ValueError, match=rf"^path: expected a SavedModel that [^\n]*{reason}[^\n]*[Cc]opy [^\n]*$"):
        export.load(path)
    (defect,) = export.check_health(path).defects
    assert reason in defect
    assert "\n" not in defect
    assert reason in inspect(path, code=1).stdout
    with caplog.at_level("WARNING", "tfae.serving"), pytest.raises(ValueError, match="version that can be loaded"):
        LocalServer(path.parent).start()
    assert reason in caplog.text
