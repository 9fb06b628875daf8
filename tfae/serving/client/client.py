"""The client of a served autoencoder."""

from __future__ import annotations

import os
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tfae.serving.client.arguments import connect, validate_integer
from tfae.serving.client.description import Metadata
from tfae.serving.client.inputs import Inputs, bind_named, bind_samples, bind_zeros
from tfae.serving.client.session import Session
from tfae.serving.status import ModelSpec, VersionStatus
from tfae.signature_methods import SignatureMethods


@final
class Client(SignatureMethods):
    """Asks a model behind TensorFlow Serving, or behind tfae's local server, over REST or gRPC.

    Names, shapes and dtypes come from the model's metadata, which is fetched with the first call, and again when it
    does not fit any more. Inputs are validated against it before anything is sent, as the server validates nothing.
    Floats may hold NaN and infinity. An input without rows gives an output without rows, and nothing is sent.

    A large input is sent in pieces, ``concurrency`` at a time, all to the same version of the model: if the server
    replaces that version meanwhile, the call begins anew with the new one. A server that batches and says that a
    request has too many rows for it gets smaller ones from then on.

    What is retried, since a prediction changes nothing on the server: a connection that is refused, reset or broken
    off, and the answers UNAVAILABLE (HTTP 503) and RESOURCE_EXHAUSTED (429). Pauses double from 0.1 s on average, and
    ``timeout`` ends it. Everything else is raised at once.

    One client may be used by several threads. Proxies of the environment are not used.

    Args:
        address: ``"http://host:8501"`` or ``"https://…"`` for REST, which may end in a path that a proxy wants;
            ``"grpc://host:8500"`` or ``"grpcs://…"`` for gRPC, which is faster with large arrays, and imports
            TensorFlow for its messages, which takes seconds.
        model: Its name on the server.
        version: A version number, instead of the newest.
        label: A version label, such as ``"stable"``, instead of the newest; not together with ``version``.
        timeout: Seconds for a call, with its retries; of an input that is sent in pieces, for each piece.
        batch_size: Most rows of one request. Requests are kept below 4 MiB too.
        concurrency: Most requests of a call at once, and over REST most connections.
        retries: How often a request is asked again.
        token: Sent as ``Authorization: Bearer``. Over plain http and grpc anybody on the way can read it.
        ca_file: PEM file of certificates to trust instead of the system's.

    Raises:
        ValueError: If an argument is none of those.

    Example:
        ::

            from tfae.serving import Client

            with Client("http://localhost:8501", model="digits") as client:
                client.wait_until_ready(timeout=60)
                scores = client.score(images)  # uint8 (batch, 8, 8, 1) → float32 (batch,)

            Client("grpc://localhost:8500", model="digits", label="stable").explain(images)["feature_score"]
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        batch_size: int = 512,
        concurrency: int = 4,
        retries: int = 5,
        token: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        # To a proxy "." and ".." in an address are this folder and the one above.
        if not isinstance(model, str) or model in ("", ".", ".."):
            raise ValueError(f"model: expected the name of a model on the server; received {model!r}.")
        if version is not None and label is not None:
            raise ValueError(f"label: expected no label beside version={version}; received {label!r}. Leave one out.")
        if label is not None and (not isinstance(label, str) or label in ("", ".", "..")):
            raise ValueError(f"label: expected the name of a version label; received {label!r}.")
        self._target = ModelSpec(model, None if version is None else validate_integer("version", version, 0), label)
        self._address = address
        concurrency = validate_integer("concurrency", concurrency, 1)
        self._transport = connect(address, connections=concurrency, token=token, ca_file=ca_file)
        self._session: Session | None = Session(
            self._transport,
            self._target,
            timeout=timeout,
            batch_size=batch_size,
            concurrency=concurrency,
            retries=retries,
        )

    def call(
        self,
        signature: str = "serving_default",
        inputs: Inputs | None = None,
        /,
        *,
        timeout: float | None = None,
        batch_size: int | None = None,
        **named_inputs: npt.ArrayLike,
    ) -> dict[str, np.ndarray]:
        """All outputs of any signature of any model, by name.

        Args:
            signature: Name of the signature.
            inputs: Arrays by name, for inputs that are called as an argument here; else name them as keywords.
            timeout, batch_size: Instead of the client's own.
            named_inputs: Arrays by name, as in ``client.call("score", inputs=x)``. Strings are text or bytes.

        Returns:
            Arrays by name; strings are object arrays of bytes.

        Raises:
            ValueError: If names, shapes, dtypes or values do not fit the model, or it has no such signature.
            ServingError: If the server refuses the request or does not answer.
        """
        bind = bind_named(inputs or {}, named_inputs)
        return self._open().ask(signature, bind, timeout=timeout, batch_size=batch_size, is_one_row_each=False)

    def status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """States of the versions on the server, newest first.

        Of the client's own version alone if it has one; of all if it has a label. AVAILABLE only says that a version
        was loaded, not that it works: :meth:`wait_until_ready` finds that out.
        """
        return self._open().status(timeout)

    def metadata(self, *, timeout: float | None = None) -> Metadata:
        """The model's version and signatures, as the server says them now."""
        return self._open().metadata(timeout)

    def wait_until_ready(
        self, timeout: float = 60.0, *, signature: str = "serving_default", inputs: Inputs | None = None
    ) -> None:
        """Wait until the model answers a prediction.

        Args:
            timeout: Seconds to wait.
            signature: What to ask.
            inputs: Arrays by name to ask with. By default a single row of zeros, which every model of tfae takes.

        Raises:
            ServingError: If there was no good answer in time, with the last thing that went wrong.
            ValueError: If ``inputs`` do not fit the signature.
        """
        self._open().wait(signature, bind_zeros if inputs is None else bind_named(inputs), timeout)

    def close(self) -> None:
        """Close the connections; the client can not be used after that."""
        if self._session is not None:
            self._session = None
            self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        chosen = {"model": self._target.name, "version": self._target.version, "label": self._target.label}
        which = "".join(f", {name}={value!r}" for name, value in chosen.items() if value is not None)
        return f"Client({self._address!r}{which})"

    def _open(self) -> Session:
        if self._session is None:
            raise ValueError("client: expected one that is open; received one that was closed. Make a new one.")
        return self._session

    def _call_with(self, signature: str, array: npt.ArrayLike, options: dict[str, Any]) -> dict[str, np.ndarray]:
        return self._open().ask(signature, bind_samples(array), **options)
