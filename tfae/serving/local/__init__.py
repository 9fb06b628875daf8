"""The local server: TensorFlow Serving's REST and gRPC interfaces on this machine, without TensorFlow Serving.

For notebooks, tests and machines without Docker. It promises the interface of the real server: paths, formats, dtypes,
codes and versions. What production needs beyond that is TensorFlow Serving's.
"""

from importlib.util import find_spec

if find_spec("aiohttp") is None:
    raise ModuleNotFoundError(
        "tfae.serving.local: expected aiohttp, the web server behind LocalServer and `tfae serve`; found none. "
        "Install it with pip install 'tfae[serve]'.",
        name="aiohttp",
    )
