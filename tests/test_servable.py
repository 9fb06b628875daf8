import concurrent.futures
import shutil
import struct

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tests import tiny_models
from tfae import servable
from tfae.servable import Request, Servable
from tfae.tensor_spec import INIT_OP, TensorSpec

ROWS = tf.TensorSpec([None, 2], tf.float32, name="x")


def save(path, tracked=None, **functions):
    """Functions of one tensor, each with its ``TensorSpec``, and what they use, as a SavedModel."""
    module = tf.Module()
    module.tracked = tracked
    module.weight = tf.Variable([1.0, 2.0])
    signatures = {
        name: tf.function(function, input_signature=[spec]).get_concrete_function()
        for name, (function, spec) in functions.items()
    }
    module.functions = list(signatures.values())
    logger, level = tf.get_logger(), tf.get_logger().level
    logger.setLevel("ERROR")
    try:
        tf.saved_model.save(module, str(path), signatures=signatures)
    finally:
        logger.setLevel(level)
    return path


def foreign(path, file_of, secret="nowhere"):
    """Write a SavedModel that fills a table from the file that ``file_of`` makes of its asset, assets/vocab.txt."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.int64, [None], name="x")
        file = file_of(tf.compat.v1.placeholder(tf.string, [], name="asset"), secret)
        table = tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string, shared_name="table")
        tf.raw_ops.InitializeTableFromTextFileV2(
            table_handle=table, filename=file, key_index=-1, value_index=-2, name="fill"
        )
        y = tf.raw_ops.LookupTableFindV2(table_handle=table, keys=x, default_value="none")
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": y})
    saved_model = SavedModel(saved_model_schema_version=1)
    meta_graph = saved_model.meta_graphs.add()
    meta_graph.meta_info_def.tags.append("serve")
    meta_graph.graph_def.CopyFrom(graph.as_graph_def())
    meta_graph.signature_def["serving_default"].CopyFrom(signature)
    meta_graph.signature_def[INIT_OP].outputs[INIT_OP].name = "fill"
    meta_graph.asset_file_def.add(filename="vocab.txt").tensor_info.name = "asset:0"
    (path / "assets").mkdir(parents=True)
    (path / "assets" / "vocab.txt").write_text("harmless\n")
    (path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    return path


def write_damaged_warmup(path, **damage):
    """Write a single request whose tensor has other fields than it should."""
    log = PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones(3, "float32")))
    for field, value in damage.items():
        setattr(log.predict_log.request.inputs["x"], field, value)
    (path / servable.WARMUP).parent.mkdir()
    with tf.io.TFRecordWriter(str(path / servable.WARMUP)) as writer:
        writer.write(log.SerializeToString())


def its_asset(asset, secret):
    return asset


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    weight, text = tf.Variable([3.0, 5.0]), tf.TensorSpec([None], tf.string, name="s")
    functions = {
        "serving_default": (lambda x: {"y": x * weight, "total": tf.reduce_sum(x)}, ROWS),
        "text": (lambda s: {"first": s[0], "all": s + "!"}, text),
        "finite": (lambda x: {"y": tf.debugging.check_numerics(x, "not finite")}, ROWS),
    }
    return save(tmp_path_factory.mktemp("model") / "1", weight, **functions)


@pytest.fixture(scope="module")
def loaded(path):
    return Servable(path)


def test_signatures_are_run_with_the_restored_variables(loaded):
    x = {"x": np.array([[1, 1], [2, 0]], "float32")}
    answer = loaded.run("serving_default", x)
    assert answer.keys() == {"total", "y"}
    np.testing.assert_array_equal(answer["y"], [[3, 5], [6, 0]])
    assert answer["total"].shape == ()
    assert answer["total"] == 4
    assert tf.executing_eagerly()


def test_signatures_are_read_without_loading(path, loaded):
    signature = servable.list_signatures(servable.read_meta_graph(path))["serving_default"]
    assert signature.inputs == {"x": TensorSpec("float32", (None, 2))}
    assert {name: info.shape for name, info in signature.outputs.items()} == {"total": (), "y": (None, 2)}
    assert loaded.signatures["serving_default"] == signature
    assert "__saved_model_init_op" not in loaded.signatures
    assert "__saved_model_init_op" in loaded.signature_def_map
    assert loaded.signature_def_map["serving_default"].method_name == "tensorflow/serving/predict"


def test_strings_are_bytes_in_object_arrays(loaded):
    answer = loaded.run("text", {"s": np.array([b"a\0", b"\xff"], object)})
    assert answer["all"].tolist() == [b"a\0!", b"\xff!"]
    assert answer["first"].dtype == object
    assert answer["first"].item() == b"a\0"


def test_shapes_are_not_compared_with_the_signature(loaded):
    assert loaded.run("finite", {"x": np.ones((1, 5), "float32")})["y"].shape == (1, 5)


def test_an_error_is_that_of_the_kernel_alone(loaded):
    message = r"^Incompatible shapes: \[2\] vs\. \[1,3\]\n\t \[\[\{\{function_node \S*\}\}\{\{node mul\}\}\]\]$"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loaded.run("serving_default", {"x": np.ones((1, 3), "float32")})


def test_many_threads_get_their_own_answers(loaded):
    def ask(number):
        answer = loaded.run("serving_default", {"x": np.full((3, 2), number, "float32")})
        return (answer["y"] == np.float32(number) * np.array([3, 5], "float32")).all()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


def test_a_keras_model_that_is_not_served_is_not_run_either(tmp_path):
    """The trap: ``tf.saved_model.load`` of the same folder answers."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    module = tf.Module()
    module.model = model
    function = tf.function(lambda x: {"y": model(x)}, input_signature=[ROWS]).get_concrete_function()
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": function})
    x = np.ones((1, 2), "float32")
    assert tf.saved_model.load(str(tmp_path)).signatures["serving_default"](x=tf.constant(x))["y"].shape == (1, 2)
    with pytest.raises(tf.errors.FailedPreconditionError, match=r"^Could not find variable"):
        Servable(tmp_path).run("serving_default", {"x": x})


def test_what_is_no_whole_saved_model_fails_with_the_code_of_a_server(path, tmp_path):
    with pytest.raises(tf.errors.NotFoundError, match="Could not find SavedModel"):
        Servable(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff")
    with pytest.raises(tf.errors.DataLossError, match=r"^Can't parse .*saved_model\.pb as binary proto$"):
        Servable(tmp_path)
    shutil.copy(path / "saved_model.pb", tmp_path)  # It loads without its variables.
    with pytest.raises(tf.errors.FailedPreconditionError, match=r"^Could not find variable"):
        Servable(tmp_path).run("serving_default", {"x": np.ones((1, 2), "float32")})


def test_xla_is_refused_unless_enabled(tmp_path):
    compiled = tf.function(lambda x: x * 0.5, jit_compile=True)
    save(tmp_path, serving_default=(lambda x: {"y": compiled(x)}, ROWS), plain=(lambda x: {"y": x}, ROWS))
    x = {"x": np.ones((1, 2), "float32")}
    refusing = Servable(tmp_path)
    with pytest.raises(tf.errors.InternalError, match=r"^XLA compilation disabled$"):
        refusing.run("serving_default", x)
    assert refusing.run("plain", x)["y"].tolist() == [[1, 1]]
    assert Servable(tmp_path, xla_compilation_enabled=True).run("serving_default", x)["y"].tolist() == [[0.5, 0.5]]


def python(x):
    return {"y": tf.ensure_shape(tf.py_function(lambda value: value, [x], tf.float32), [None, 2])}


def test_python_in_a_graph_is_not_run_be_it_at_load(tmp_path):
    save(tmp_path / "asked", serving_default=(python, ROWS))
    refusal = "^No OpKernel was registered to support Op "
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{refusal}'EagerPyFunc'"):
        Servable(tmp_path / "asked").run("serving_default", {"x": np.ones((1, 2), "float32")})
    tiny_models.write_with_python_at_load(tmp_path / "loaded")
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{refusal}'PyFunc'"):
        Servable(tmp_path / "loaded")
    assert tiny_models.EXECUTED == []


@pytest.mark.parametrize(
    "called",
    [
        'op: "sly"',
        'op: "If" attr {key: "then_branch" value {func {name: "sly"}}}',
        'op: "Case" attr {key: "branches" value {list {func {name: "sly"}}}}',
        'op: "PartitionedCall" attr {key: "f" value {func {attr {key: "g" value {func {name: "sly"}}}}}}',
    ],
)
def test_python_is_found_in_every_function_that_may_be_called(called, path):
    graph = servable.read_meta_graph(path)
    sly = 'library {function {signature {name: "sly"} node_def {name: "python" op: "PyFunc"}}}'
    text_format.Merge(f'node {{name: "call" {called}}} {sly}', graph.graph_def)
    assert servable.unservable_signatures(graph) == {}
    (wrapper,) = (node for node in graph.graph_def.node if node.name == "StatefulPartitionedCall")
    wrapper.input.append("^call")
    (error,) = servable.unservable_signatures(graph).values()
    assert "used by {{node python}}" in error.message


def test_a_vocabulary_is_read_from_the_models_own_file_if_it_is_trusted(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("one\ntwo\n")
    model = keras.Sequential([keras.Input((1,), dtype="string"), keras.layers.StringLookup(vocabulary=str(words))])
    model.export(tmp_path / "1", verbose=False)
    words.unlink()
    (found,) = servable.find_operations(tmp_path / "1")
    assert found.startswith("InitializeTableFromTextFileV2 (unknown, may do anything) at ")
    loaded = Servable(tmp_path / "1")
    (name,) = loaded.signatures["serving_default"].inputs
    (answer,) = loaded.run("serving_default", {name: np.array([[b"two"], [b"six"]], object)}).values()
    assert answer.tolist() == [[2], [0]]


def test_a_damaged_graph_is_a_clear_error(tmp_path):
    path = foreign(tmp_path / "1", its_asset)
    content = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (meta_graph,) = content.meta_graphs
    meta_graph.asset_file_def[0].tensor_info.name = "nowhere:0"
    (path / "saved_model.pb").write_bytes(content.SerializeToString())
    message = "^path: expected a SavedModel whose graph TensorFlow can load; received .*nowhere"
    with pytest.raises(ValueError, match=message):
        Servable(path)


def test_warmup_requests_come_back_as_they_were_written(tmp_path):
    requests = [
        Request("score", {"x": np.array([[1.5, np.nan]], "float32")}),
        Request("text", {"s": np.array([b"\0\xff", b"b"], object), "n": np.array(3, "int64")}),
        Request("pixels", {"x": np.arange(6, dtype="uint8").reshape(1, 2, 3)}),
    ]
    servable.write_warmup(tmp_path, requests, model_name="digits")
    for written, read in zip(requests, servable.read_warmup(tmp_path), strict=True):
        assert read.signature == written.signature
        assert read.inputs.keys() == written.inputs.keys()
        for name, array in written.inputs.items():
            assert read.inputs[name].dtype == array.dtype
            np.testing.assert_array_equal(read.inputs[name], array)
    assert servable.read_warmup(tmp_path / "elsewhere") == []


def test_a_damaged_warmup_file_or_more_requests_than_a_server_takes_are_an_error(tmp_path):
    request = Request("score", {"x": np.ones(3, "float32")})
    servable.write_warmup(tmp_path, [request] * (servable.MAX_RECORDS + 1), model_name="digits")
    with pytest.raises(tf.errors.InvalidArgumentError, match="Number of warmup records exceeds the maximum"):
        servable.read_warmup(tmp_path)
    servable.write_warmup(tmp_path, [request], model_name="digits")
    file = tmp_path / servable.WARMUP
    content = bytearray(file.read_bytes())
    length = struct.unpack("<Q", content[:8])[0]
    content[12 + length // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(tf.errors.DataLossError, match="corrupted record"):
        servable.read_warmup(tmp_path)


@pytest.mark.parametrize("damage", [{"dtype": 0}, {"dtype": 1_000_000}, {"tensor_content": b"12345"}])
def test_a_warmup_tensor_that_is_none_is_an_error(damage, tmp_path):
    write_damaged_warmup(tmp_path, **damage)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"^Failed to parse warmup record: "):
        servable.read_warmup(tmp_path)
