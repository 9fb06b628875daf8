"""What in a SavedModel can do more than compute, found without running it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tests.test_servable import ROWS, python, save
from tfae import servable
from tfae.servable import Servable


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save(tmp_path_factory.mktemp("model") / "1", serving_default=(lambda x: {"y": x * 2}, ROWS))


def numpy_function(x):
    return {"y": tf.ensure_shape(tf.numpy_function(lambda value: value, [x], tf.float32), [None, 2])}


def write(x):
    with tf.control_dependencies([tf.io.write_file("/nowhere", "text")]):
        return {"y": tf.identity(x)}


def write_in_a_branch(x):
    def branch():
        return write(x)["y"]

    return {"y": tf.cond(tf.reduce_sum(x) > 0, branch, lambda: x)}


def restore(x):
    (value,) = tf.raw_ops.RestoreV2(prefix="/elsewhere", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32])
    return {"y": x + value}


def dataset(x):
    lines = tf.data.TextLineDataset("/etc/hostname")
    return {"y": x, "n": lines.reduce(0, lambda n, _: n + 1)[None]}


def to_a_file(x):
    tf.print(x, output_stream="file:///nowhere")
    return {"y": tf.identity(x)}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (python, "EagerPyFunc (runs Python)"),
        (numpy_function, "PyFunc (runs Python)"),
        (write, "WriteFile (writes files)"),
        (write_in_a_branch, "WriteFile (writes files)"),
        (lambda x: {"y": x, "t": tf.io.read_file("/etc/passwd")}, "ReadFile (reads files)"),
        (lambda x: {"y": x, "t": tf.io.matching_files("/*")}, "MatchingFiles (reads files)"),
        (restore, "RestoreV2 (reads files)"),
        (dataset, "TextLineDataset (reads files)"),
        (to_a_file, "PrintV2 (writes files)"),
    ],
)
def test_operations_that_do_more_than_compute_are_found(function, expected, tmp_path):
    save(tmp_path, serving_default=(function, ROWS))
    found = servable.find_operations(tmp_path)
    assert any(str(operation).startswith(f"{expected} at ") for operation in found), found


def test_printing_and_computing_and_the_savers_own_operations_are_no_danger(path, tmp_path):
    assert servable.find_operations(path) == []

    def log(x):
        tf.print(x)
        return {"y": tf.map_fn(lambda row: row * 2, x)}

    assert servable.find_operations(save(tmp_path, serving_default=(log, ROWS))) == []


def test_a_table_from_the_models_own_assets_is_no_danger_and_is_filled(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("one\ntwo\n")
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(words),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )
    function = tf.function(
        lambda s: {"index": module.table.lookup(s)}, input_signature=[tf.TensorSpec([None], tf.string, name="s")]
    )
    path = tmp_path / "1"
    tf.saved_model.save(module, str(path), signatures={"serving_default": function})
    words.unlink()
    assert servable.find_operations(path) == []
    answer = Servable(path).run("serving_default", {"s": np.array([b"two", b"three"], object)})
    assert answer["index"].tolist() == [1, -1]
    graph = servable.read_meta_graph(path)
    graph.asset_file_def[0].filename = "../../../etc/passwd"
    assert [o.op for o in servable.dangerous_operations(graph)] == ["InitializeTableFromTextFileV2"]


class Foreign:
    """A SavedModel put together by hand, with the tensors that its graph is made of by their role.

    Every ``make`` of this file gives one: ``x`` is the input of its signature, ``y`` the output.
    """

    def __init__(self, y, *, x=None, asset="", checkpoint="", restore=None, init=None, **inputs):
        self.outputs, self.asset, self.checkpoint, self.restore, self.init = {"y": y}, asset, checkpoint, restore, init
        self.inputs = inputs if x is None else {"x": x, **inputs}


def foreign(path, make, *arguments):
    """Write the SavedModel that ``make`` describes in a graph; its asset is ``assets/vocab.txt``, of one line."""
    with tf.Graph().as_default() as graph:
        model = make(tf.compat.v1.placeholder(tf.int64, [None], name="x"), *arguments)
    saved_model = SavedModel(saved_model_schema_version=1)
    meta_graph = saved_model.meta_graphs.add()
    meta_graph.meta_info_def.tags.append("serve")
    meta_graph.graph_def.CopyFrom(graph.as_graph_def())
    signature = meta_graph.signature_def["serving_default"]
    for tensors, infos in ((model.inputs, signature.inputs), (model.outputs, signature.outputs)):
        for name, tensor in tensors.items():
            infos[name].name, infos[name].dtype = tensor.name, tensor.dtype.as_datatype_enum
            infos[name].tensor_shape.CopyFrom(tensor.shape.as_proto())
    meta_graph.saver_def.filename_tensor_name = model.checkpoint
    meta_graph.saver_def.restore_op_name = model.restore.name if model.restore is not None else ""
    if model.init is not None:
        meta_graph.signature_def[servable.INIT_OP].outputs[servable.INIT_OP].name = model.init.name
    if model.asset:
        asset = meta_graph.asset_file_def.add(filename="vocab.txt")
        asset.tensor_info.name = model.asset
    (path / "assets").mkdir(parents=True)
    (path / "assets" / "vocab.txt").write_text("harmless\n")
    (path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    return path


def filled_table(file):
    with tf.control_dependencies(None):
        table = tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string, shared_name="table")
    fill = tf.raw_ops.InitializeTableFromTextFileV2(
        table_handle=table, filename=file, key_index=-1, value_index=-2, name="fill"
    )
    return table, fill


def found_in(table, x, after=()):
    with tf.control_dependencies(after):
        return tf.raw_ops.LookupTableFindV2(table_handle=table, keys=x, default_value="none")


def string_variable(name="handle", shared_name="variable"):
    return tf.raw_ops.VarHandleOp(dtype=tf.string, shape=[], shared_name=shared_name, name=name)


def asset_placeholder():
    return tf.compat.v1.placeholder(tf.string, [], name="asset")


def table_of_its_assets(x, secret):
    table, fill = filled_table(asset_placeholder())
    return Foreign(found_in(table, x), x=x, asset="asset:0", init=fill)


def table_of_its_assets_by_a_variable(x, secret):
    handle = string_variable()
    with tf.control_dependencies([tf.raw_ops.AssignVariableOp(resource=handle, value=asset_placeholder())]):
        table, fill = filled_table(tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.string))
    return Foreign(found_in(table, x), x=x, asset="asset:0", init=fill)


def asset_that_is_a_constant(x, secret):
    table, fill = filled_table(tf.constant(secret, name="asset"))
    return Foreign(found_in(table, x, [fill]), x=x, asset="asset:0")


def asset_that_is_an_input(x, secret):
    asset = asset_placeholder()
    table, fill = filled_table(asset)
    return Foreign(found_in(table, x, [fill]), x=x, asset="asset:0", path=asset)


def asset_that_is_an_input_and_initialised(x, secret):
    asset = asset_placeholder()
    table, fill = filled_table(asset)
    return Foreign(found_in(table, x), x=x, asset="asset:0", path=asset, init=fill)


def asset_of_another_output(x, secret):
    two = tf.raw_ops.IdentityN(input=[tf.constant("ignored"), tf.constant(secret)], name="asset")
    table, fill = filled_table(two[1])
    return Foreign(found_in(table, x), x=x, asset="asset:0", init=fill)


def table_that_a_signature_fills_too(x, secret):
    table, fill = filled_table(tf.constant(secret, name="asset"))
    return Foreign(found_in(table, x, [fill]), x=x, asset="asset:0", init=tf.no_op("nothing"))


def table_that_the_checkpoint_fills(x, secret):
    table, fill = filled_table(tf.constant(secret, name="asset"))
    return Foreign(found_in(table, x), x=x, asset="asset:0", checkpoint="Const:0", restore=fill)


def _overwritten(x, secret, overwrite):
    """The path of the asset is in a variable, and ``overwrite`` puts another in its place."""
    handle = string_variable()
    first = tf.raw_ops.AssignVariableOp(resource=handle, value=asset_placeholder())
    with tf.control_dependencies([first]):
        last = overwrite(handle, tf.constant(secret))
    with tf.control_dependencies([last]):
        table, fill = filled_table(tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.string))
    return Foreign(found_in(table, x), x=x, asset="asset:0", init=fill)


def variable_by_another_node(x, secret):
    return _overwritten(
        x, secret, lambda _, path: tf.raw_ops.AssignVariableOp(resource=string_variable("alias"), value=path)
    )


def variable_by_a_parsed_handle(x, secret):
    handle = tf.make_tensor_proto(0)
    handle.Clear()
    handle.dtype = tf.resource.as_datatype_enum
    handle.resource_handle_val.add(name="variable", container="localhost")
    return _overwritten(
        x,
        secret,
        lambda _, path: tf.raw_ops.AssignVariableOp(
            resource=tf.io.parse_tensor(tf.constant(handle.SerializeToString()), tf.resource), value=path
        ),
    )


def variable_changed_by_index(x, secret):
    return _overwritten(
        x,
        secret,
        lambda handle, path: tf.raw_ops.ResourceScatterNdUpdate(ref=handle, indices=[[0]], updates=path[None]),
    )


def variable_that_the_checkpoint_assigns(x, secret):
    handle = string_variable()
    restore = tf.raw_ops.AssignVariableOp(resource=handle, value=tf.constant(secret, name="asset"))
    table, fill = filled_table(tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.string))
    return Foreign(found_in(table, x), x=x, asset="asset:0", checkpoint="Const:0", restore=restore, init=fill)


def path_that_is_changed_in_place(x, secret):
    asset = asset_placeholder()
    changed = tf.raw_ops.InplaceUpdate(x=asset[None], i=[0], v=tf.constant([secret]))
    with tf.control_dependencies([changed]):
        table, fill = filled_table(tf.identity(asset))
    return Foreign(found_in(table, x), x=x, asset="asset:0", init=fill)


def checkpoint_that_is_a_constant(x, secret):
    prefix = tf.constant(secret, name="prefix")
    (value,) = tf.raw_ops.RestoreV2(
        prefix=prefix, tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.string], name="fill"
    )
    return Foreign(tf.fill(tf.shape(x), value), x=x, checkpoint="prefix:0")


def checkpoint_read_by_the_init_op(x, secret):
    prefix = tf.constant(secret, name="prefix")
    (value,) = tf.raw_ops.RestoreV2(
        prefix=prefix, tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.string], name="fill"
    )
    handle = string_variable()
    assign = tf.raw_ops.AssignVariableOp(resource=handle, value=value)
    y = tf.fill(tf.shape(x), tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.string))
    return Foreign(y, x=x, checkpoint="prefix:0", restore=tf.no_op("nothing"), init=assign)


@pytest.mark.parametrize("make", [table_of_its_assets, table_of_its_assets_by_a_variable])
def test_a_table_that_the_init_op_fills_is_no_danger(make, tmp_path):
    path = foreign(tmp_path / "1", make, "nowhere")
    assert servable.find_operations(path) == []
    assert Servable(path).run("serving_default", {"x": np.array([0])})["y"].tolist() == [b"harmless"]


@pytest.mark.parametrize(
    "make",
    [
        asset_that_is_a_constant,
        asset_that_is_an_input,
        asset_that_is_an_input_and_initialised,
        asset_of_another_output,
        table_that_a_signature_fills_too,
        table_that_the_checkpoint_fills,
        variable_by_another_node,
        variable_by_a_parsed_handle,
        variable_changed_by_index,
        variable_that_the_checkpoint_assigns,
        path_that_is_changed_in_place,
        checkpoint_that_is_a_constant,
        checkpoint_read_by_the_init_op,
    ],
)
def test_a_graph_that_reads_another_file_than_its_own_is_found(make, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret\n")
    path = foreign(tmp_path / "1", make, str(secret))
    assert [operation.name for operation in servable.find_operations(path)] == ["fill"]


@pytest.mark.parametrize(
    "make", [asset_that_is_a_constant, asset_of_another_output, variable_by_another_node, path_that_is_changed_in_place]
)
def test_such_graphs_would_indeed_give_away_a_file(make, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret\n")
    path = foreign(tmp_path / "1", make, str(secret))
    assert Servable(path).run("serving_default", {"x": np.array([0])})["y"].tolist() == [b"secret"]


def test_an_asset_that_is_listed_twice_is_none(tmp_path):
    graph = servable.read_meta_graph(foreign(tmp_path / "1", table_of_its_assets, "nowhere"))
    assert servable.dangerous_operations(graph) == []
    graph.asset_file_def.add(filename="../../secret.txt").tensor_info.name = "asset:0"
    assert [operation.name for operation in servable.dangerous_operations(graph)] == ["fill"]


def test_the_assets_of_tensorflow_1_are_known_too(tmp_path):
    path = foreign(tmp_path / "1", table_of_its_assets, "nowhere")
    content = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    meta_graph = content.meta_graphs[0]
    listed = meta_graph.collection_def["saved_model_assets"].any_list.value
    listed.add().Pack(meta_graph.asset_file_def[0])
    del meta_graph.asset_file_def[:]
    (path / "saved_model.pb").write_bytes(content.SerializeToString())
    assert servable.find_operations(path) == []
    assert Servable(path).run("serving_default", {"x": np.array([0])})["y"].tolist() == [b"harmless"]
    listed[0].value = b"\xff"
    with pytest.raises(tf.errors.DataLossError, match=r"^Can't parse the list of assets"):
        servable.dangerous_operations(meta_graph)


def test_a_function_that_the_optimizer_may_put_in_place_of_another_is_followed(path):
    graph = servable.read_meta_graph(path)
    (restoring,) = (
        function for function in graph.graph_def.library.function if any(n.op == "RestoreV2" for n in function.node_def)
    )
    other = next(
        function for function in graph.graph_def.library.function if "signature_wrapper" in function.signature.name
    )
    for function in (restoring, other):
        function.attr["api_implements"].s = b"the same"
    assert "RestoreV2" in {operation.op for operation in servable.dangerous_operations(graph)}


@pytest.mark.parametrize(
    "linked", ["assets/vocab.txt", "assets", "assets.extra/tfae.json", "variables/variables.index"]
)
def test_links_that_lead_out_of_the_folder_are_found(linked, tmp_path):
    path = foreign(tmp_path / "1", table_of_its_assets, "nowhere")
    (tmp_path / "elsewhere").mkdir()
    link = path / linked
    if link.is_dir():
        (link / "vocab.txt").unlink()
        link.rmdir()
    link.unlink(missing_ok=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere")
    assert list(map(str, servable.find_operations(path))) == [
        f"link (leads out of the folder of the SavedModel) at {linked}"
    ]


def test_links_that_stay_in_the_folder_are_no_danger(tmp_path):
    path = foreign(tmp_path / "1", table_of_its_assets, "nowhere")
    (path / "assets" / "vocab.txt").rename(path / "assets" / "words.txt")
    (path / "assets" / "vocab.txt").symlink_to("words.txt")
    (tmp_path / "newest").symlink_to(path)
    assert servable.find_operations(tmp_path / "newest") == []


def test_links_in_a_circle_are_found(tmp_path):
    path = foreign(tmp_path / "1", table_of_its_assets, "nowhere")
    (path / "variables").symlink_to("variables")
    assert [operation.name for operation in servable.find_operations(path)] == ["variables"]


def test_a_keras_model_with_a_vocabulary_is_no_danger(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("one\ntwo\n")
    model = keras.Sequential([keras.Input((1,), dtype="string"), keras.layers.StringLookup(vocabulary=str(words))])
    model.export(tmp_path / "1", verbose=False)
    words.unlink()
    assert (tmp_path / "1" / "assets" / "words.txt").is_file()
    assert servable.find_operations(tmp_path / "1") == []
    loaded = Servable(tmp_path / "1")
    (name,) = loaded.signatures["serving_default"].inputs
    (answer,) = loaded.run("serving_default", {name: np.array([[b"two"], [b"six"]], object)}).values()
    assert answer.tolist() == [[2], [0]]


@pytest.mark.parametrize(
    ("source", "dangerous"), [("/etc/passwd", True), ("local://", False), ("bytes://\n", False), ("", False)]
)
def test_descriptions_of_messages_that_are_files_are_found(source, dangerous, tmp_path):
    def decode(x):
        decoded = tf.raw_ops.DecodeProtoV2(
            bytes=tf.constant([b""]), message_type="a.B", field_names=[], output_types=[], descriptor_source=source
        )
        return Foreign(decoded.sizes, x=x)

    found = servable.find_operations(foreign(tmp_path / "1", decode))
    assert [operation.op for operation in found] == ["DecodeProtoV2"] * dangerous


def test_a_graph_that_ends_the_process_is_found(tmp_path):
    def abort(x):
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="over")]):
            return Foreign(tf.identity(x), x=x)

    found = servable.find_operations(foreign(tmp_path / "1", abort))
    assert list(map(str, found)) == ["Abort (ends the process) at Abort"]


def test_a_damaged_graph_is_a_clear_error(tmp_path):
    path = foreign(tmp_path / "1", table_of_its_assets, "nowhere")
    content = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    meta_graph = content.meta_graphs[0]
    meta_graph.asset_file_def[0].tensor_info.name = "nowhere:0"
    (path / "saved_model.pb").write_bytes(content.SerializeToString())
    with pytest.raises(
        ValueError, match=r"^path: expected a SavedModel whose graph TensorFlow can load; received .*nowhere"
    ):
        Servable(path)
    meta_graph.signature_def["serving_default"].inputs["x"].dtype = 0
    (path / "saved_model.pb").write_bytes(content.SerializeToString())
    with pytest.raises(ValueError, match=r"^signature: expected a dtype of TensorFlow; received number 0 for .* 'x:0'"):
        servable.read_signatures(path)
    next(node for node in meta_graph.graph_def.node if node.name == "fill").ClearField("input")
    assert [operation.name for operation in servable.dangerous_operations(meta_graph)] == ["fill"]


def test_a_saver_that_a_signature_calls_is_found(path):
    graph = servable.read_meta_graph(path)
    graph.signature_def["serving_default"].outputs["y"].name = graph.saver_def.save_tensor_name
    assert {"SaveV2", "MergeV2Checkpoints"} <= {o.op for o in servable.dangerous_operations(graph)}


def test_an_operation_that_tensorflow_does_not_have_is_found(path):
    graph = servable.read_meta_graph(path)
    graph.graph_def.node.add(name="custom", op="LaunchRocket")
    (operation,) = servable.dangerous_operations(graph)
    assert str(operation) == "LaunchRocket (is no public operation of this TensorFlow) at custom"
