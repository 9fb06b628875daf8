"""The SavedModels that the exchanges were recorded with: the same functions and weights, made anew.

Nearly every number is a multiple of 1/8, and where a long decimal is wanted it comes from one operation, which
IEEE 754 rounds the same way everywhere: the answers do not depend on the machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

Function = Callable[..., Mapping[str, tf.Tensor]]

#: Encoder and decoder, weights and biases, and the threshold of ``is_outlier``, by version.
WEIGHTS: dict[int, tuple[list, list, list, list, float]] = {
    1: (
        [[0.5, 0.0], [0.5, 0.25], [0.0, 0.5], [0.0, 0.5]],
        [0.0, 0.25],
        [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.5]],
        [0.0, 0.0, 0.5, 0.0],
        1.0,
    ),
    2: (
        [[1.0, -0.5], [0.25, 0.5], [0.5, 1.0], [-1.0, 0.25]],
        [0.5, -0.25],
        [[0.5, 0.25, 1.0, -0.5], [0.25, -1.0, 0.5, 0.5]],
        [0.25, 0.5, -0.25, 0.0],
        2.0,
    ),
}
CALIBRATION = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0]


class FunctionModel(tf.Module):
    """Functions by the name of their signature, and the variables that they use."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: dict[str, Any] = {}

    def add(self, name: str, function: Function, **inputs: tuple[tuple[int | None, ...] | None, tf.DType]) -> None:
        """Offer a function; inputs are given by shape and dtype."""
        specs = [tf.TensorSpec(shape, dtype, key) for key, (shape, dtype) in inputs.items()]
        self.functions[name] = tf.function(function, input_signature=specs, autograph=False)

    def save(self, path: Path) -> None:
        """Write the SavedModel into the folder ``path``."""
        tf.saved_model.save(self, str(path), signatures=self.functions)


def write_models(folder: Path) -> None:
    """Write all models, each with its versions, into a folder that is there."""
    for version in WEIGHTS:
        _autoencoder(version).save(folder / "autoencoder" / str(version))
    _image().save(folder / "image" / "1")
    _dtypes().save(folder / "dtypes" / "1")
    _write_pitfalls(folder / "pitfalls", folder / "autoencoder" / "1")


def _autoencoder(version: int) -> FunctionModel:
    model = FunctionModel()
    *weights, threshold = WEIGHTS[version]
    model.variables_ = [tf.Variable(np.array(weight, "float32")) for weight in weights]
    encoder, encoder_bias, decoder, decoder_bias = model.variables_

    def encode(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.bias_add(tf.matmul(x, encoder), encoder_bias)

    def decode(embedding: tf.Tensor) -> tf.Tensor:
        return tf.nn.bias_add(tf.matmul(embedding, decoder), decoder_bias)

    def score(x: tf.Tensor) -> Mapping[str, tf.Tensor]:
        feature = tf.square(decode(encode(x)) - x)
        instance = tf.reduce_sum(feature, -1) * 0.25
        above = tf.cast(tf.constant(CALIBRATION)[tf.newaxis, :] >= instance[:, tf.newaxis], tf.float32)
        return {
            "instance_score": instance,
            "feature_score": feature,
            "is_outlier": instance > threshold,
            "p_value": (tf.reduce_sum(above, -1) + 1.0) * tf.constant(1.0 / 7.0, tf.float32),
        }

    x = ((None, 4), tf.float32)
    model.add("serving_default", lambda x: {"reconstruction": decode(encode(x))}, x=x)
    model.add("encode", lambda x: {"embedding": encode(x)}, x=x)
    model.add("decode", lambda embedding: {"reconstruction": decode(embedding)}, embedding=((None, 2), tf.float32))
    model.add("score", score, x=x)
    return model


def _image() -> FunctionModel:
    model = FunctionModel()
    model.weight = tf.Variable(np.full((1, 1, 1, 1), 1 / 256, "float32"))

    def scaled(pixels: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(tf.cast(pixels, tf.float32), model.weight, strides=1, padding="VALID")

    def mean(y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(y, (1, 2, 3)) * (1 / 64)

    def decode_image(image_bytes: tf.Tensor) -> Mapping[str, tf.Tensor]:
        def one(raw: tf.Tensor) -> tf.Tensor:
            return tf.reshape(tf.io.decode_image(raw, channels=1, expand_animations=False), (8, 8, 1))

        y = scaled(tf.map_fn(one, image_bytes, fn_output_signature=tf.TensorSpec((8, 8, 1), tf.uint8)))
        return {"reconstruction": y, "mean": mean(y)}

    def examples(examples: tf.Tensor) -> Mapping[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, {"pixels": tf.io.FixedLenFeature((8, 8, 1), tf.int64)})
        return {"mean": mean(scaled(parsed["pixels"]))}

    model.add("serving_default", lambda x: {"reconstruction": scaled(x)}, x=((None, 8, 8, 1), tf.uint8))
    model.add("decode_image", decode_image, image_bytes=((None,), tf.string))
    model.add("serve_tf_examples", examples, examples=((None,), tf.string))
    return model


def _dtypes() -> FunctionModel:
    model = FunctionModel()
    f32 = tf.float32
    vector, matrix = ((None,), f32), ((None, None), f32)
    dtypes = {"i64": tf.int64, "flag": tf.bool, "text": tf.string, "u8": tf.uint8, "f64": tf.float64}
    model.add(
        "serving_default",
        lambda i64, flag, text, u8, f64: {
            "i64": i64 + 1,
            "flag": tf.logical_not(flag),
            "text": tf.strings.join([text, "!"]),
            "u8": u8 + tf.constant(1, tf.uint8),
            "f64": f64 * 0.5,
        },
        **{name: ((None,), dtype) for name, dtype in dtypes.items()},
    )
    names = "float32 float64 float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string complex64"
    for name in names.split():
        model.add(name, lambda x: {"y": tf.identity(x)}, x=(None, tf.as_dtype(name)))
    for name in ("half", "bfloat16", "uint16"):
        dtype = tf.as_dtype("float16" if name == "half" else name)
        model.add(f"to_{name}", lambda x, dtype=dtype: {"y": tf.cast(x, dtype)}, x=(None, f32))
    model.add("to_complex64", lambda x: {"y": tf.complex(x, tf.zeros_like(x))}, x=(None, f32))
    model.add("half_of_many", lambda x: {"f": x * 1.0, "h": tf.cast(x, tf.float16)}, x=(None, f32))
    model.add("special", lambda x: {"inverse": 1.0 / x, "ratio": x / x, "same": tf.identity(x)}, x=matrix)
    model.add("scalar_out", lambda x: {"y": tf.reduce_sum(x)}, x=(None, f32))
    model.add("scalar_and_rows", lambda x: {"total": tf.reduce_sum(x), "rows": tf.reduce_sum(x, -1)}, x=matrix)
    model.add("scalar_in", lambda x: {"y": x + 1.0}, x=((), f32))
    model.add("ones", lambda n: {"y": tf.ones(n)}, n=((None,), tf.int32))
    model.add("uneven", lambda x: {"a": tf.identity(x), "b": x[:1]}, x=vector)
    model.add("first_row", lambda x: {"y": x[:1]}, x=matrix)
    model.add("add", lambda a, b: {"sum": a + b}, a=vector, b=vector)
    model.add("scale", lambda x, factor: {"y": x * factor}, x=((None, 2), f32), factor=((), f32))
    model.add("strings", lambda s: {"text": tf.identity(s), "raw_bytes": tf.identity(s)}, s=((None,), tf.string))
    model.add("only_bytes", lambda s: {"raw_bytes": tf.identity(s)}, s=((None,), tf.string))
    model.add("strings_2d", lambda s: {"text": tf.identity(s)}, s=((None, 2), tf.string))
    model.add("float_bytes", lambda x: {"y_bytes": x * 1.0}, x=vector)
    model.add("gather", lambda i: {"y": tf.gather(tf.constant([0.5, 1.5, 2.5, 3.5], f32), i)}, i=((None,), tf.int64))
    model.add("check_numerics", lambda x: {"y": tf.debugging.check_numerics(x, "input is not finite")}, x=vector)
    return model


def _write_pitfalls(folder: Path, good: Path) -> None:
    """Versions 1 and 8 are good; each other one shows one way to go wrong."""
    import keras

    for version in (1, 3, 7, 8):
        shutil.copytree(good, folder / str(version))
    (folder / "2").mkdir()
    (folder / "2" / "saved_model.pb").write_bytes(b"this is not a protocol buffer")
    shutil.rmtree(folder / "3" / "variables")
    # 4: a Keras 3 model that tf.saved_model.save alone has written, so that its variables are missing.
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="code")])
    network.set_weights([np.array(weight, "float32") for weight in WEIGHTS[1][:2]])
    forgetful, x = FunctionModel(), ((None, 4), tf.float32)
    forgetful.network = network
    forgetful.add("serving_default", lambda x: {"embedding": network(x)}, x=x)
    forgetful.save(folder / "4")
    compiled, python = FunctionModel(), FunctionModel()
    half = tf.function(lambda x: x * 0.5, jit_compile=True)
    compiled.add("serving_default", lambda x: {"y": half(x)}, x=x)
    compiled.save(folder / "5")
    python.add(
        "serving_default",
        lambda x: {"y": tf.ensure_shape(tf.py_function(lambda v: v * 0.5, [x], tf.float32), (None, 4))},
        x=x,
    )
    python.save(folder / "6")
    # 7: one warm-up record of three has the wrong width. 8: all are good.
    for version, width in ((7, 3), (8, 4)):
        file = folder / str(version) / "assets.extra" / "tf_serving_warmup_requests"
        file.parent.mkdir()
        with tf.io.TFRecordWriter(str(file)) as writer:
            for signature, side in (("serving_default", 4), ("encode", width), ("score", 4)):
                log = PredictionLog()
                request = log.predict_log.request
                request.model_spec.name, request.model_spec.signature_name = "pitfalls", signature
                request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.zeros((1, side), "float32")))
                writer.write(log.SerializeToString())
