"""The requests that TensorFlow Serving sends to a model before it offers it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

#: File of the requests, in the folder of a version.
WARMUP = Path("assets.extra", "tf_serving_warmup_requests")

#: TensorFlow Serving refuses to load a model with more.
MAX_RECORDS = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """A question to a signature; of its inputs strings are object arrays of bytes."""

    signature: str
    inputs: dict[str, np.ndarray]

    def __str__(self) -> str:
        return f"{self.signature}({', '.join(f'{name} {array.shape}' for name, array in self.inputs.items())})"


def write_warmup(path: Path, requests: Iterable[Request], *, model_name: str) -> None:
    """Write requests into the version in a folder: each has to succeed, or a server does not load the model."""
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    file = path / WARMUP
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in requests:
            log = PredictionLog()
            predict = log.predict_log.request
            predict.model_spec.name = model_name
            predict.model_spec.signature_name = request.signature
            for name, array in request.inputs.items():
                predict.inputs[name].CopyFrom(tf.make_tensor_proto(array))
            writer.write(log.SerializeToString())


def read_warmup(path: Path) -> list[Request]:
    """Requests in the version in the folder ``path``; none if it has no such file.

    Raises:
        tf.errors.OpError: With the code of TensorFlow Serving, if the file or a tensor in it is damaged, or if it holds
            more than MAX_RECORDS.
    """
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    file = path / WARMUP
    if not file.is_file():
        return []
    requests = []
    for record in tf.data.TFRecordDataset(str(file)).take(MAX_RECORDS + 1).as_numpy_iterator():
        try:
            predict = PredictionLog.FromString(record).predict_log.request
            inputs = {name: tf.make_ndarray(proto) for name, proto in predict.inputs.items()}
        except (DecodeError, TypeError, ValueError) as error:
            message = f"Failed to parse warmup record: {error}: {file}"
            raise tf.errors.InvalidArgumentError(None, None, message) from None
        requests.append(Request(predict.model_spec.signature_name or "serving_default", inputs))
    if len(requests) > MAX_RECORDS:
        raise tf.errors.InvalidArgumentError(
            None, None, f"Number of warmup records exceeds the maximum (max_num_requests={MAX_RECORDS}): {file}"
        )
    return requests
