"""What in a SavedModel may do more than compute, found without running it."""

import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from keras import layers

from tests.test_servable import ROWS, foreign, its_asset, python, save
from tfae import servable
from tfae.servable import Servable

UNKNOWN = "unknown, may do anything"
MEMORY = {"dtype": tf.float32, "shape": [2]}
PROTO = {"bytes": [b""], "message_type": "a.B", "field_names": [], "output_types": []}
TENSORS = {"tensor_names": ["a"], "shape_and_slices": [""]}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save(tmp_path_factory.mktemp("model") / "1", serving_default=(lambda x: {"y": x * 2}, ROWS))


@pytest.fixture
def graph(path):
    return servable.read_meta_graph(path)


def after(operation, x):
    with tf.control_dependencies([operation]):
        return tf.identity(x)


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("EagerPyFunc", lambda x: python(x)["y"]),
        ("PyFunc", lambda x: tf.ensure_shape(tf.numpy_function(abs, [x], tf.float32), [None, 2])),
        ("WriteFile", lambda x: after(tf.io.write_file("/a", "b"), x)),
        ("WriteFile", lambda x: tf.cond(x[0, 0] > 0, lambda: after(tf.io.write_file("/a", "b"), x), lambda: x)),
        ("ReadFile", lambda x: after(tf.io.read_file("/a"), x)),
        ("MatchingFiles", lambda x: after(tf.io.matching_files("/*"), x)),
        ("RestoreV2", lambda x: x + tf.raw_ops.RestoreV2(prefix="/a", dtypes=[tf.float32], **TENSORS)[0]),
        ("TFRecordDataset", lambda x: after(tf.data.TFRecordDataset("/a").reduce(0, lambda n, _: n + 1), x)),
        ("PrintV2", lambda x: after(tf.print(x, output_stream="file:///a"), x)),
        ("ImmutableConst", lambda x: x + tf.raw_ops.ImmutableConst(memory_region_name="/a", **MEMORY)),
        ("DecodeProtoV2", lambda x: after(tf.raw_ops.DecodeProtoV2(descriptor_source="/a", **PROTO).sizes, x)),
    ],
)
def test_operations_that_may_do_more_than_compute_are_found(op, function, tmp_path):
    found = servable.find_operations(save(tmp_path, serving_default=(lambda x: {"y": function(x)}, ROWS)))
    expected = f"{op} ({'runs Python' if 'PyFunc' in op else UNKNOWN}) at "
    assert any(operation.startswith(expected) for operation in found), found


def test_an_operation_that_tensorflow_does_not_have_is_found_wherever_it_is(graph):
    graph.graph_def.node.add(name="custom", op="LaunchRocket")
    function = graph.graph_def.library.function.add()  # Which nothing calls.
    function.signature.name = "countdown"
    function.node_def.add(name="inner", op="countdown")
    assert servable.dangerous_operations(graph) == [
        f"LaunchRocket ({UNKNOWN}) at custom",
        f"countdown ({UNKNOWN}) at inner in countdown",
    ]


def test_no_operation_of_tensorflow_that_reaches_out_of_the_model_passes(graph):
    reaches_out = re.compile(
        r".*(File(?!name$)|Checkpoint|Save|Restore|Dataset|Iterator|Reader|Record|Summary|Event|PyFunc|Print|Debug|Send"
        r"|Recv|Collective|Nccl|Remote|TPU|Infeed|Outfeed|Session|Proto|Immutable|Queue|Stage|Barrier|Abort|Vocab|Remap"
        r"|Unigram|Inplace|Worker|SparseCore|Xla|Conditional|Copy(Host)?$|BatchFunction|Variable(V2)?$).*"
    )
    names = [name for name in dir(tf.raw_ops) if reaches_out.fullmatch(name)]
    assert len(names) > 400
    for name in names:
        graph.graph_def.node.add(name=name, op=name)
    assert {found.split()[0] for found in servable.dangerous_operations(graph)} == set(names)


def test_models_of_keras_and_of_tfae_pass(path, tmp_path):
    """Layers whose graphs hold loops, branches, random numbers, text and tables."""
    image, words = keras.Input((8, 8, 3), name="image"), keras.Input((), dtype="string", name="words")
    x = layers.RandomRotation(0.1)(layers.Resizing(9, 9)(layers.Rescaling(1 / 255)(image)))
    x = layers.MaxPooling2D()(layers.SeparableConv2D(4, 3, activation="gelu")(x))
    x = layers.Dropout(0.5)(layers.BatchNormalization()(layers.Conv2DTranspose(4, 3, strides=2)(x)))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(layers.Reshape((-1, 4))(x))
    x = layers.GRU(4)(layers.MultiHeadAttention(2, 4)(x, layers.LayerNormalization()(x)))
    kinds = layers.StringLookup(vocabulary=["one", "two"], output_mode="one_hot")(words)
    text = layers.TextVectorization(vocabulary=["one", "two"], output_mode="count")(words)
    hashed = layers.Embedding(5, 2)(layers.Hashing(5)(words))
    model = keras.Model([image, words], layers.Dense(2)(layers.Concatenate()([x, kinds, text, hashed])))
    model.export(tmp_path / "layers", verbose=False)
    save(tmp_path / "rows", serving_default=(lambda x: {"y": tf.map_fn(lambda row: row * 2, x)}, ROWS))
    digits = Path(__file__).parents[1] / "saved_models" / "digits" / "1"
    for model_path in (path, tmp_path / "layers", tmp_path / "rows", digits):
        assert servable.find_operations(model_path) == []


def restoring(graph):
    """The function with which the saver restores, and its operation that reads a file."""
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    (call,) = (node for node in graph.graph_def.node if node.name == graph.saver_def.restore_op_name)
    function = functions[call.attr["f"].func.name]
    return function, next(node for node in function.node_def if node.op == "RestoreV2")


@pytest.mark.parametrize(
    ("op", "added"),
    [
        ("SaveV2", 'signature_def {key: "serving_default" value {outputs {key: "y" value {name: "SAVE:0"}}}}'),
        ("RestoreV2", 'signature_def {key: "serving_default" value {outputs {key: "y" value {name: "RESTORE:0"}}}}'),
        ("RestoreV2", 'signature_def {key: "__saved_model_init_op" value {outputs {value {name: "RESTORE"}}}}'),
        ("RestoreV2", 'collection_def {key: "saved_model_main_op" value {node_list {value: "RESTORE"}}}'),
        ("RestoreV2", 'graph_def {node {name: "after" op: "NoOp" input: "^RESTORE"}}'),
        ("RestoreV2", 'graph_def {node {attr {key: "then_branch" value {func {name: "FUNCTION"}}}}}'),
        ("RestoreV2", 'graph_def {node {attr {key: "branches" value {list {func {name: "FUNCTION"}}}}}}'),
        ("RestoreV2", 'graph_def {node {attr {value {func {attr {value {func {name: "FUNCTION"}}}}}}}}'),
        ("RestoreV2", 'graph_def {library {gradient {function_name: "f" gradient_func: "FUNCTION"}}}'),
        ("RestoreV2", 'saver_def {filename_tensor_name: "elsewhere:0"}'),
        ("SaveV2", 'saver_def {restore_op_name: "SAVE"}'),
    ],
)
def test_a_saver_that_something_else_can_run_or_that_reads_another_file_is_found(op, added, graph):
    save, restore = graph.saver_def.save_tensor_name[:-2], graph.saver_def.restore_op_name
    for word, name in {"SAVE": save, "RESTORE": restore, "FUNCTION": restoring(graph)[0].signature.name}.items():
        added = added.replace(word, name)
    text_format.Merge(added, graph)
    assert op in {found.split()[0] for found in servable.dangerous_operations(graph)}


@pytest.mark.parametrize(
    "change",
    [
        lambda function, node: function.node_def.add(name="too", op="SaveV2", input=node.input[:1]),
        lambda function, node: node.input.__setitem__(0, "constant:output:0"),
        lambda function, node: setattr(function.attr["api_implements"], "s", b"another"),
    ],
    ids=["writes", "reads what a constant names", "takes the place of another"],
)
def test_a_function_that_restores_and_does_more_is_found(change, graph):
    change(*restoring(graph))
    assert len(servable.dangerous_operations(graph)) == 1


def a_constant(asset, secret):
    return tf.constant(secret)


def an_asset_that_is_changed_in_place(asset, secret):
    return after(tf.raw_ops.InplaceUpdate(x=asset[None], i=[0], v=tf.constant([secret])), asset)


def a_variable_that_is_assigned_by_another_handle(asset, secret):
    first, second = (tf.raw_ops.VarHandleOp(dtype=tf.string, shape=[], shared_name="the same") for _ in range(2))
    path = after(tf.raw_ops.AssignVariableOp(resource=first, value=asset), tf.constant(secret))
    handle = after(tf.raw_ops.AssignVariableOp(resource=second, value=path), first)
    return tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.string)


@pytest.mark.parametrize(
    ("file_of", "answer"),
    [
        (its_asset, b"harmless"),
        (a_constant, b"secret"),
        (lambda asset, secret: tf.raw_ops.IdentityN(input=[asset, tf.constant(secret)])[1], b"secret"),
        (an_asset_that_is_changed_in_place, b"secret"),
        (a_variable_that_is_assigned_by_another_handle, b"secret"),
    ],
)
def test_a_table_from_a_file_is_found_as_it_can_give_away_another_one(file_of, answer, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret\n")
    path = foreign(tmp_path / "1", file_of, str(secret))
    assert f"InitializeTableFromTextFileV2 ({UNKNOWN}) at fill" in servable.find_operations(path)
    assert Servable(path).run("serving_default", {"x": np.array([0])})["y"].tolist() == [answer]


@pytest.mark.parametrize("linked", ["assets/vocab.txt", "assets.extra", "variables/variables.index"])
def test_links_are_found_if_they_lead_out_of_the_folder(linked, path, tmp_path):
    shutil.copytree(path, tmp_path / "1")
    link = tmp_path / "1" / linked
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    (tmp_path / "newest").symlink_to("1")
    link.symlink_to(tmp_path / "1" / "saved_model.pb")
    assert servable.find_operations(tmp_path / "newest") == []
    link.unlink()
    link.symlink_to(tmp_path)
    assert servable.find_operations(tmp_path / "newest") == [
        f"link (leads out of the folder of the SavedModel) at {linked}"
    ]
