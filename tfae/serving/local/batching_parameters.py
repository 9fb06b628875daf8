"""How requests are batched: TensorFlow Serving's own file, read as it reads it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

_LOG = logging.getLogger("tfae.serving")

_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_INT64 = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
_BOOL = descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
_OPTIONAL = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_REPEATED = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED

#: Fields that the local server obeys; the others of the file change no answer, and it says that it ignores them.
_OBEYED = (
    "max_batch_size",
    "batch_timeout_micros",
    "max_enqueued_batches",
    "num_batch_threads",
    "enable_large_batch_splitting",
)

_COUNTS = ("max_batch_size", "max_enqueued_batches", "num_batch_threads")

#: ``tensorflow.serving.BatchingParameters`` (session_bundle_config.proto), which the package of stubs leaves out.
_FIELDS = (
    ("max_batch_size", 1, _MESSAGE, "Int64Value"),
    ("batch_timeout_micros", 2, _MESSAGE, "Int64Value"),
    ("max_enqueued_batches", 3, _MESSAGE, "Int64Value"),
    ("num_batch_threads", 4, _MESSAGE, "Int64Value"),
    ("thread_pool_name", 5, _MESSAGE, "StringValue"),
    ("allowed_batch_sizes", 6, _INT64, None),
    ("pad_variable_length_inputs", 7, _BOOL, None),
    ("enable_large_batch_splitting", 8, _MESSAGE, "BoolValue"),
    ("max_execution_batch_size", 9, _MESSAGE, "Int64Value"),
)


@dataclass(frozen=True)
class BatchingParameters:
    """How requests of the same signature are put together; defaults as in TensorFlow Serving.

    Attributes:
        max_batch_size: Rows of a batch at most; a request with more is refused, or split.
        batch_timeout_micros: How long a batch that is not full waits for further requests, in microseconds.
        max_enqueued_batches: Batches that may wait; further requests are refused as UNAVAILABLE.
        num_batch_threads: Batches that run at the same time.
        enable_large_batch_splitting: Whether a request with more rows than a batch is split.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    enable_large_batch_splitting: bool = False

    def __post_init__(self) -> None:
        for name in _OBEYED:
            value, least = getattr(self, name), 1 if name in _COUNTS else 0
            if value < least:
                raise ValueError(f"{name}: expected an integer of at least {least}; received {value}.")


def read_batching_parameters_file(path: Path) -> BatchingParameters:
    """Read a file as TensorFlow Serving's ``--batching_parameters_file`` takes it.

    Args:
        path: Of ``BatchingParameters`` in protobuf's text format.

    Raises:
        ValueError: If it is not such a file.
    """
    what = "batching parameters file: expected BatchingParameters in protobuf's text format"
    try:
        message = text_format.Parse(path.read_text(encoding="utf-8"), _message_class()())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ValueError(f"{what}; received {path} ({error}).") from error
    given = {descriptor.name: value for descriptor, value in message.ListFields()}
    for name in sorted(set(given) - set(_OBEYED)):
        _LOG.warning("The local server takes no notice of %s in %s.", name, path)
    return BatchingParameters(**{name: given[name].value for name in _OBEYED if name in given})


@cache
def _message_class() -> Any:
    """The class of the message ``tensorflow.serving.BatchingParameters``."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto.FromString(wrappers_pb2.DESCRIPTOR.serialized_pb))
    file = descriptor_pb2.FileDescriptorProto(
        name="batching_parameters.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    for name, number, kind, wrapper in _FIELDS:
        entry = message.field.add(name=name, number=number, type=kind, label=_OPTIONAL)
        if wrapper is not None:
            entry.type_name = f".google.protobuf.{wrapper}"
        if name == "allowed_batch_sizes":
            entry.label = _REPEATED
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.BatchingParameters"))
