"""The local server: TensorFlow Serving's REST and gRPC interfaces on this machine, without TensorFlow Serving.

For notebooks, tests and machines without Docker. It answers as the real one does (same paths, codes, texts and
numbers), is held to recorded exchanges, and is not meant for production.
"""

from importlib.util import find_spec

#: What it needs beyond tfae itself: the extra ``serve``.
_LIBRARIES = ("aiohttp", "grpc", "prometheus_client", "rapidjson", "tensorflow_serving")

_missing = [library for library in _LIBRARIES if find_spec(library) is None]
if _missing:
    raise ModuleNotFoundError(
        f"tfae.serving.local: expected {', '.join(_LIBRARIES)}; received none of {', '.join(_missing)}. Install them "
        "with pip install 'tfae[serve]'.",
        name=_missing[0],
    )
