"""A client for models behind TensorFlow Serving's API, REST or gRPC: NumPy arrays in, NumPy arrays out.

REST needs neither TensorFlow nor Keras nor gRPC, and is imported in a fraction of a second. gRPC is imported when an
address asks for it; its messages are TensorFlow's own, which takes as long to import as TensorFlow does.
"""

from tfae.serving.client.client import Client
from tfae.serving.client.description import Metadata, Signature, TensorSpec, VersionStatus
from tfae.serving.client.error import ServingError

__all__ = ["Client", "Metadata", "ServingError", "Signature", "TensorSpec", "VersionStatus"]
