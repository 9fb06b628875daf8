"""SavedModels of a few kilobytes, for tests of servers: every answer can be told by hand."""

import shutil
import time

import tensorflow as tf

from tests.vectors.models import FunctionModel
from tfae.servable import write_warmup

#: What the signature ``python`` would have done, had a server run it.
EXECUTED: list = []
_KEPT: list = []


def write(path, factor):
    """Write a model whose ``serving_default`` answers ``y = factor * x``; other signatures go wrong in their ways."""
    model = FunctionModel()
    model.factor = tf.Variable(factor, dtype=tf.float32)
    compiled = tf.function(lambda x: x * 0.5, jit_compile=True)
    rows, vector = ((None, 2), tf.float32), ((None,), tf.float32)
    model.add("serving_default", lambda x: {"y": x * model.factor}, x=rows)
    model.add("finite", lambda x: {"y": tf.debugging.check_numerics(x, "x is not finite")}, x=vector)
    model.add("slow", _count, steps=((None,), tf.int32))
    model.add(
        "strings",
        lambda text: {"text": tf.strings.join([text, "!"]), "length": tf.strings.length(text)},
        text=((None,), tf.string),
    )
    model.add("total", lambda x: {"y": tf.reduce_sum(x)}, x=rows)
    model.add("add", lambda a, b: {"sum": a + b}, a=vector, b=vector)
    model.add("half", lambda x: {"y": tf.identity(x)}, x=(None, tf.float16))
    model.add("python", lambda x: {"y": tf.ensure_shape(tf.py_function(_execute, [x], tf.float32), (None, 2))}, x=rows)
    model.add("numpy", lambda x: {"y": tf.numpy_function(_execute, [x], tf.float32)}, x=rows)
    model.add("xla", lambda x: {"y": compiled(x)}, x=rows)
    _KEPT.append(model)  # As long as it lives, this process could run its Python.
    model.save(path)


def write_with_python_at_load(path):
    """Write a model that runs Python as soon as it is loaded, if it is let."""
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, (None, 2))
        definition = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": x * 1.0})
        at_load = tf.group(tf.numpy_function(_execute, [tf.constant(1.0)], tf.float32))
        builder = tf.compat.v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": definition}, main_op=at_load)
        builder.save()
    _KEPT.append(graph)


def publish(template, base, version, *, warmup=()):
    """Copy a model, with warm-up requests, to a version (number or name) in the folder ``base``, there as a whole."""
    base.mkdir(exist_ok=True)
    staged = base / f".staging-{version}"
    shutil.copytree(template, staged)
    if warmup:
        write_warmup(staged, warmup, model_name=base.name)
    staged.rename(base / str(version))


def until(condition, seconds=60):
    """Wait for what a server, or another process, does in a moment."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def _count(steps):
    counted = tf.while_loop(lambda i: i < tf.reduce_max(steps), lambda i: i + 1, [0], parallel_iterations=1)
    return {"y": steps + counted[0] - counted[0]}


def _execute(x):
    EXECUTED.append(x)
    return x
