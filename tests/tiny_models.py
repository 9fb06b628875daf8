"""SavedModels of a few kilobytes, for tests of servers: every answer can be told by hand."""

import shutil
import time

import tensorflow as tf

from tfae.servable import write_warmup

#: What the signature ``python`` would have done, had a server run it.
EXECUTED: list = []
_KEPT: list = []


def write(path, factor):
    """Write a model whose ``serving_default`` answers ``y = factor * x``; other signatures go wrong in their ways."""
    module = tf.Module()
    module.factor = tf.Variable(factor, dtype=tf.float32)

    def function(*specs, **options):
        return tf.function(
            input_signature=[tf.TensorSpec(shape, dtype, name) for name, shape, dtype in specs], **options
        )

    rows = ("x", (None, 2), tf.float32)

    @function(rows)
    def times(x):
        return {"y": x * module.factor}

    @function(("x", (None,), tf.float32))
    def finite(x):
        return {"y": tf.debugging.check_numerics(x, "x is not finite")}

    @function(("steps", (None,), tf.int32))
    def slow(steps):
        counted = tf.while_loop(lambda i: i < tf.reduce_max(steps), lambda i: i + 1, [0], parallel_iterations=1)
        return {"y": steps + counted[0] - counted[0]}

    @function(("text", (None,), tf.string))
    def strings(text):
        return {"text": tf.strings.join([text, "!"]), "length": tf.strings.length(text)}

    @function(rows)
    def total(x):
        return {"y": tf.reduce_sum(x)}

    @function(("a", (None,), tf.float32), ("b", (None,), tf.float32))
    def add(a, b):
        return {"sum": a + b}

    @function(("x", None, tf.float16))
    def half(x):
        return {"y": tf.identity(x)}

    def executed(x):
        EXECUTED.append(x)
        return x

    @function(rows)
    def python(x):
        return {"y": tf.ensure_shape(tf.py_function(executed, [x], tf.float32), (None, 2))}

    @function(rows)
    def numpy(x):
        return {"y": tf.numpy_function(executed, [x], tf.float32)}

    compiled = tf.function(lambda x: x * 0.5, jit_compile=True)

    @function(rows)
    def xla(x):
        return {"y": compiled(x)}

    signatures = {"serving_default": times, "finite": finite, "slow": slow, "strings": strings, "total": total}
    signatures |= {"add": add, "half": half, "python": python, "numpy": numpy, "xla": xla}
    _KEPT.append(module)  # As long as it lives, this process could run its Python.
    tf.saved_model.save(module, str(path), signatures=signatures)


def write_with_python_at_load(path):
    """Write a model that runs Python as soon as it is loaded, if it is let."""

    def executed(x):
        EXECUTED.append(x)
        return x

    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, (None, 2))
        definition = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": x * 1.0})
        at_load = tf.group(tf.numpy_function(executed, [tf.constant(1.0)], tf.float32))
        builder = tf.compat.v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": definition}, main_op=at_load)
        builder.save()
    _KEPT.append(graph)


def publish(template, base, version, *, warmup=()):
    """Copy a model that was written into the folder of versions, so that it is there as a whole.

    Args:
        template: Folder of the model.
        base: Folder of the versions.
        version: Number, or name of its folder.
        warmup: Requests that a server sends before it offers the version.
    """
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
