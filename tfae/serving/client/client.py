"""The client of a served autoencoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from tfae.columns_by_name import expand_inputs, is_named, take_columns
from tfae.serving.client.rest import RestTransport
from tfae.serving.client.session import Inputs, Session, validate_integer, validate_seconds
from tfae.serving.status import Metadata, ModelSpec, VersionStatus
from tfae.signatures import SignatureMethods
from tfae.tensor_spec import Signature

if TYPE_CHECKING:
    from tfae.serving.client.session import Transport

_GRPC_PORT = 8500


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
        self._session: Session | None = Session(
            _connect(address, connections=concurrency, token=token, ca_file=ca_file),
            self._target,
            timeout=validate_seconds("timeout", timeout),
            batch_size=validate_integer("batch_size", batch_size, 1),
            concurrency=concurrency,
            retries=validate_integer("retries", retries, 0),
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
        given = dict(inputs or {})
        if twice := sorted(given.keys() & named_inputs.keys()):
            raise ValueError(
                f"inputs: expected every input once; received {', '.join(twice)} in the mapping and by keyword."
            )
        given |= named_inputs
        return self._open().ask(
            signature,
            lambda spec: expand_inputs(given, spec.inputs, _take),
            timeout=timeout,
            batch_size=batch_size,
            is_one_row_each=False,
        )

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

        def bind(spec: Signature) -> Inputs:
            if inputs is not None:
                return expand_inputs(inputs, spec.inputs, _take)
            if any(info.is_string for info in spec.inputs.values()):
                raise ValueError(
                    f"inputs: expected what to ask signature {spec.name} with; received none. Give inputs."
                )
            return {name: info.zeros(1) for name, info in spec.inputs.items()}

        self._open().wait(signature, bind, validate_seconds("timeout", timeout))

    def close(self) -> None:
        """Close the connections; the client can not be used after that."""
        if self._session is not None:
            self._session.transport.close()
            self._session = None

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
        return self._open().ask(signature, lambda spec: _take(array, list(spec.inputs)), **options)


def _take(given: Any, names: Sequence[str]) -> Inputs:
    """Samples by name of the input: an array is the only one, and all else are the columns of a table."""
    return {names[0]: given} if len(names) == 1 and not is_named(given) else take_columns(given, names)


def _connect(address: str, *, connections: int, token: str | None, ca_file: str | os.PathLike[str] | None) -> Transport:
    """Make the transport for an address, which connects with the first request; ValueError for invalid arguments."""
    url = _parse_address(address)
    address = address.rstrip("/")
    if token is not None and not (token.isascii() and token.isprintable() and token and " " not in token):
        raise ValueError("token: expected printable ASCII without blanks; received something else.")
    if ca_file is not None:
        if url.scheme in ("http", "grpc"):
            raise ValueError(f"ca_file: expected none with {url.scheme}://, which has no TLS; received {ca_file}.")
        if not Path(ca_file).is_file():
            raise ValueError(f"ca_file: expected a PEM file; received {ca_file}, which is none.")
        ca_file = os.fspath(ca_file)
    if url.scheme in ("http", "https"):
        return RestTransport(address, connections=connections, token=token, ca_file=ca_file)
    from tfae.serving.client.grpc_transport import GrpcTransport  # Imports TensorFlow.

    host = f"{url.host}:{url.port or _GRPC_PORT}"
    return GrpcTransport(address, host, tls=url.scheme == "grpcs", token=token, ca_file=ca_file)


def _parse_address(address: str) -> Url:
    expected = "address: expected http://, https://, grpc:// or grpcs:// with a host and a port"
    try:
        url = parse_url(address)
    except (LocationParseError, AttributeError, TypeError) as error:
        raise ValueError(f"{expected}; received {address!r}.") from error
    if url.scheme not in ("http", "https", "grpc", "grpcs") or not url.host:
        hint = f' Write "http://{address}".' if isinstance(address, str) and "://" not in address else ""
        raise ValueError(f"{expected}; received {address!r}.{hint}")
    if url.auth or url.query or url.fragment:
        raise ValueError(f"{expected}, and nothing that holds @, ? or #; received something else.")
    path = (url.path or "").rstrip("/")
    if path and url.scheme.startswith("grpc"):
        raise ValueError(f"{expected}; received {address!r}. gRPC has no paths.")
    if path.endswith("/v1") or "/v1/models" in path:
        raise ValueError(
            f'{expected}; received {address!r}. Leave out /v1 and what follows; model="…" names the model.'
        )
    return url
