"""A SavedModel as TensorFlow Serving runs it: loaded into a session, asked by signature, with NumPy arrays.

``tf.saved_model.load`` is more forgiving than a server: it finds variables that the graph alone does not hold, runs
Python and XLA, and compares requests with the signature. What fails in production fails here.
"""

from tfae.servable.meta_graph import list_signatures, read_meta_graph, unservable_signatures
from tfae.servable.operations import dangerous_operations, find_operations
from tfae.servable.servable import Servable
from tfae.servable.warmup import MAX_RECORDS, WARMUP, Request, read_warmup, write_warmup

__all__ = [
    "MAX_RECORDS",
    "WARMUP",
    "Request",
    "Servable",
    "dangerous_operations",
    "find_operations",
    "list_signatures",
    "read_meta_graph",
    "read_warmup",
    "unservable_signatures",
    "write_warmup",
]
