"""The local server: models, REST and gRPC, started and stopped together."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import grpc
import grpc.aio
from aiohttp import web

from tfae.serving.local.grpc_service import GrpcService
from tfae.serving.local.models import Models
from tfae.serving.local.rest_service import RestService
from tfae.serving.model_config import read_models, validate_ports
from tfae.serving.status import StatusError

if TYPE_CHECKING:
    from tfae.serving.client import Client

#: Largest request by default, in bytes: a hundred RGB images of 224 × 224 as float32 fit into it.
MAX_REQUEST_BYTES = 64 << 20

#: Seconds that a message may take to arrive, and that a connection may stay open without one.
_MESSAGE_TIMEOUT = 30.0
#: Seconds in which a rejected client may go on sending, so that it reads the error.
_LINGERING_TIME = 2.0
#: Seconds beyond the grace for requests that have just ended, or are cut off.
_LEAVING_TIME = 0.25
#: aiohttp logs a traceback for whatever is not HTTP, which gets status 400.
_HTTP_LOG = logging.getLogger("tfae.serving.http")
_HTTP_LOG.setLevel(logging.CRITICAL)


@final
class LocalServer:
    """Serves SavedModels over TensorFlow Serving's REST and gRPC interfaces, from this process.

    For notebooks and tests; use TensorFlow Serving in production. It finds new versions while it runs, and can be
    started once.

    Args:
        models: Folder of a model's versions, such as ``saved_models/digits``, or of several such folders, each of which
            is served under its name; or a model config file of TensorFlow Serving, read again whenever it changes.
        name: What clients call the model, for a folder; its own name by default.
        labels: Numbers of versions by label, for a folder. With labels these versions are served, else the
            newest.
        host: Address to listen at. The default is reachable from this machine only.
        rest_port, grpc_port: Ports of REST and gRPC, 0 for any that is free.
        poll_seconds: Seconds between two polls for new versions, 0 for a single one.
        allow_xla: Whether functions compiled by XLA may run; TensorFlow Serving fails them by default on a CPU.
        max_request_bytes: Largest request, in bytes.
        access_log: Logger of REST requests, one line each in aiohttp's format.
        threads: Most predictions at the same time; further ones wait.

    Attributes:
        models: The loaded versions.
        rest_port, grpc_port: The ports, once it has started.

    Raises:
        ValueError: For an invalid argument, such as a folder that does not exist.

    Example:
        ::

            with LocalServer("saved_models/digits") as server:
                scores = server.client().score(images)
    """

    def __init__(
        self,
        models: str | os.PathLike[str],
        *,
        name: str | None = None,
        labels: Mapping[str, int] | None = None,
        host: str = "127.0.0.1",
        rest_port: int = 0,
        grpc_port: int = 0,
        poll_seconds: float = 1.0,
        allow_xla: bool = False,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        access_log: logging.Logger | None = None,
        threads: int = 16,
    ) -> None:
        validate_ports(rest_port=rest_port, grpc_port=grpc_port)
        for argument, value in (("max_request_bytes", max_request_bytes), ("threads", threads)):
            if value < 1:
                raise ValueError(f"{argument}: expected at least 1; received {value}.")
        self.rest_port, self.grpc_port = rest_port, grpc_port
        source = functools.partial(read_models, models, name=name, labels=labels)
        self.models = Models(source, poll_seconds=poll_seconds, allow_xla=allow_xla)
        self._host = host
        self._max_request_bytes = max_request_bytes
        self._access_log = access_log
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="tfae-predict")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._grpc: grpc.aio.Server | None = None
        self._rest: web.AppRunner | None = None

    def start(self, timeout: float | None = None) -> None:
        """Load the versions, then answer requests. A model without versions gives NOT_FOUND until one appears.

        Raises:
            ValueError: If a port is in use, or no version of a model can be loaded.
            TimeoutError: If loading took more than ``timeout`` seconds.
        """
        # The ports first, which takes no time; models may take minutes.
        for argument, port in (("grpc_port", self.grpc_port), ("rest_port", self.rest_port)):
            try:
                _try_listening(self._host, port)
            except OSError as error:
                raise ValueError(
                    f"host, {argument}: expected an address of this machine and a free port; received "
                    f"{self._host}:{port} ({error.strerror or error}). Take another, or port 0 for any that is free."
                ) from error
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_report)
        self._thread = threading.Thread(target=self._loop.run_forever, name="tfae-serve", daemon=True)
        self._thread.start()
        try:
            self.models.start(timeout)
            self._require_models()
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except BaseException:
            self.stop(0)
            raise

    def stop(self, grace: float = 10.0) -> bool:
        """Stop taking requests, finish those under way within ``grace`` seconds, then unload the models.

        Returns:
            Whether all were finished. If not, a kernel still runs in a thread, and can not be interrupted.
        """
        if self._loop is None:
            return True
        deadline = time.monotonic() + grace
        asyncio.run_coroutine_threadsafe(self._close(grace), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = None
        ending = threading.Thread(target=self._pool.shutdown, kwargs={"cancel_futures": True}, daemon=True)
        ending.start()
        ending.join(max(_LEAVING_TIME, deadline - time.monotonic()))
        return self.models.stop(max(_LEAVING_TIME, deadline - time.monotonic())) and not ending.is_alive()

    @property
    def rest_url(self) -> str:
        """Address of REST, such as ``http://127.0.0.1:8501``."""
        return f"http://{_format_authority(self._host, self.rest_port)}"

    @property
    def grpc_url(self) -> str:
        """Address of gRPC, such as ``grpc://127.0.0.1:8500``."""
        return f"grpc://{_format_authority(self._host, self.grpc_port)}"

    def client(self, model: str | None = None, *, grpc: bool = False, **options: Any) -> Client:
        """Make a client of one model, None for the only one, over REST or gRPC; ``options`` as for `Client`."""
        from tfae.serving.client import Client

        names = list(self.models.available())
        if model is None and len(names) != 1:
            raise ValueError(f"model: expected one of {', '.join(names)}; received none.")
        return Client(self.grpc_url if grpc else self.rest_url, model or names[0], **options)

    def __enter__(self) -> LocalServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _require_models(self) -> None:
        """Raise if a model has versions and none can be loaded, as TensorFlow Serving does."""
        for name, available in self.models.available().items():
            if available:
                continue
            with contextlib.suppress(StatusError):  # No version yet.
                failed = [status for status in self.models.status(name) if status.error_code != "OK"]
                raise ValueError(
                    f"models: expected {name} to have a version that can be loaded; received "
                    + "; ".join(f"version {s.version}, {s.error_code}: {s.error_message}" for s in failed)
                )

    async def _listen(self) -> None:
        limit, timeout = self._max_request_bytes, _MESSAGE_TIMEOUT
        self._grpc = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # Else two servers could share a port.
            ]
        )
        service = GrpcService(self.models, self._pool, max_request_bytes=limit)
        self._grpc.add_generic_rpc_handlers(service.build_handlers())
        self.grpc_port = self._grpc.add_insecure_port(_bracket(self._host) + f":{self.grpc_port}")
        rest = RestService(self.models, self._pool, max_request_bytes=limit, body_timeout=timeout)
        self._rest = web.AppRunner(
            rest.build_application(),
            access_log=self._access_log,
            auto_decompress=False,
            keepalive_timeout=timeout,
            lingering_time=_LINGERING_TIME,
            logger=_HTTP_LOG,
            read_bufsize=1 << 18,
            shutdown_timeout=_LEAVING_TIME,
        )
        await self._rest.setup()
        await web.TCPSite(self._rest, self._host, self.rest_port).start()
        self.rest_port = self._rest.addresses[0][1]
        await self._grpc.start()

    async def _close(self, grace: float) -> None:
        """Stop both at once, so that neither takes requests while the other finishes."""
        await asyncio.gather(self._close_rest(grace), *([] if self._grpc is None else [self._grpc.stop(grace)]))

    async def _close_rest(self, grace: float) -> None:
        if self._rest is None or self._rest.server is None:
            return
        for site in list(self._rest.sites):
            await site.stop()
        self._rest.server.pre_shutdown()
        # This may take twice the grace: once for the requests, and once for their tasks.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._rest.server.shutdown(grace), grace)
        await self._rest.cleanup()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what fails in a loop, but no false alarm of older gRPC in a process with several loops (grpc issue 25364)."""
    is_false = isinstance(context.get("exception"), BlockingIOError) and "PollerCompletionQueue" in context["message"]
    if not is_false:
        loop.default_exception_handler(context)


def _try_listening(host: str, port: int) -> None:
    """Listen at a port for a moment: the error is clearer than that of gRPC."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as trial:
        if os.name == "posix":  # On Windows it would take over a port in use.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(address)
        trial.listen()


def _format_authority(host: str, port: int) -> str:
    """Return host and port for a URL; the wildcard addresses become this machine's own."""
    return f"{_bracket({'0.0.0.0': '127.0.0.1', '::': '::1', '': '127.0.0.1'}.get(host, host))}:{port}"


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
