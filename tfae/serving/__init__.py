"""Serving: a client for TensorFlow Serving, a local server with its interface, and files for operations.

    Client        calls a served autoencoder over REST or gRPC
    LocalServer   serves SavedModels on this machine, for notebooks and tests

Each is imported at first use: the REST client needs neither TensorFlow nor gRPC.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tfae.serving.client import Client as Client
    from tfae.serving.client import ServingError as ServingError
    from tfae.serving.local.server import LocalServer as LocalServer
    from tfae.serving.status import StatusError as StatusError

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "client": ["Client", "ServingError"],
        "local.server": ["LocalServer"],
        "status": ["StatusError"],
    },
)
