"""A client for models behind TensorFlow Serving's API, REST or gRPC: NumPy arrays in, NumPy arrays out.

REST imports neither TensorFlow nor Keras nor gRPC. A gRPC address imports gRPC and, for its messages, TensorFlow.
"""

from tfae.serving.client.client import Client
from tfae.serving.client.error import ServingError
from tfae.serving.status import Metadata, VersionStatus
from tfae.tensor_spec import Signature, TensorSpec

__all__ = ["Client", "Metadata", "ServingError", "Signature", "TensorSpec", "VersionStatus"]
