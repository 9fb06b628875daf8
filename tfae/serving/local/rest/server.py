"""The web server in front of the models: connections, limits, and who may ask."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ssl
import threading
import zlib
from typing import TYPE_CHECKING, Any, final

from aiohttp import web

from tfae.serving.local.access import carries_token
from tfae.serving.local.rest.connections import BAD_REQUEST, NOT_IMPLEMENTED, SERVER, Connections, peer
from tfae.serving.local.rest.handler import Answer, Handler, error_answer, html_answer
from tfae.serving.local.rest.paths import is_api, path_of
from tfae.serving.status import StatusError

if TYPE_CHECKING:
    from tfae.serving.local.journal import Exchange, Journal
    from tfae.serving.local.metrics import Metrics
    from tfae.serving.local.models import Models

METRICS_PATH = "/monitoring/prometheus/metrics"
#: Methods that the real server looks at; metrics and logs need not know of any others that a client makes up.
_METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")
#: Of a read from a connection, in bytes. Large bodies come in few pieces, and small ones take no room.
_READ_BYTES = 1 << 18
#: How long a client that was cut off may still send, so that it reads the answer that says why; in seconds.
_LINGERING_SECONDS = 2.0


@final
class RestServer:
    """Answers TensorFlow Serving's REST requests, in a thread of its own; each request is worked on in one of a pool.

    Args:
        models: What is served; started and stopped by whoever owns them.
        journal: Where each exchange is noted.
        host: Address to listen at.
        port: 0 for any that is free.
        cors: Whether pages of other sites may ask.
        metrics: What ``/monitoring/prometheus/metrics`` shows; None, and there is no such page.
        max_request_bytes: Largest body, unpacked. A larger one is answered with 413 and the connection closed.
        body_timeout: Seconds that a body may take to arrive; then the answer is 408 and the connection closed. The
            same time is given to the head of a request, after which the connection is closed without a word.
        ssl_context: For TLS.
        token: What clients have to send as ``Authorization: Bearer …``; None lets everybody in.
        threads: Predictions that are worked on at the same time; further ones wait.

    Attributes:
        port: That it listens at; the given one until it has started.

    Example:
        ```python
        server = RestServer(models, Journal(), port=8501)
        server.start()
        ...
        server.stop()
        ```
    """

    def __init__(
        self,
        models: Models,
        journal: Journal,
        *,
        host: str = "127.0.0.1",
        port: int = 8501,
        cors: bool = False,
        metrics: Metrics | None = None,
        max_request_bytes: int = 64 << 20,
        body_timeout: float = 30.0,
        ssl_context: ssl.SSLContext | None = None,
        token: str | None = None,
        threads: int = 16,
    ) -> None:
        self.port = port
        self._host = host
        self._handler = Handler(models)
        self._cors_headers = {}
        if cors:
            self._cors_headers = {
                "Access-Control-Allow-Origin": "*",
                "Access-Control-Allow-Methods": "POST, GET",
                "Access-Control-Allow-Headers": "Content-Type" if token is None else "Content-Type, Authorization",
            }
        self._journal = journal
        self._metrics = metrics
        self._max_request_bytes = max_request_bytes
        self._body_timeout = body_timeout
        self._ssl_context = ssl_context
        self._token = token
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="tfae-rest")
        # Who asks for the status does not wait for models.
        self._quick = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="tfae-rest-quick")
        self._thread = threading.Thread(target=self._run, name="tfae-rest", daemon=True)
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._grace = 0.0

    def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: If the address cannot be had, such as a port that is taken.
        """
        self._thread.start()
        self._ready.result()

    def stop(self, grace: float = 10.0) -> None:
        """Listen no more, finish what is in flight, and close all connections; to be called once, from any thread.

        Args:
            grace: Seconds for what is in flight; then it is cut off.
        """
        self._grace = grace
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # It ended by itself.
                self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread.ident is not None:
            self._thread.join()
        # Kernels cannot be interrupted; whoever still runs one then writes to a connection that is closed.
        for pool in (self._pool, self._quick):
            pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        """What the thread does."""
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
                return
            raise

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._loop = loop
        connections = Connections(
            self._respond,
            journal=self._journal,
            head_timeout=self._body_timeout,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=self._body_timeout,
            lingering_time=_LINGERING_SECONDS,
            read_bufsize=_READ_BYTES,
        )
        listener = await loop.create_server(connections, self._host, self.port, ssl=self._ssl_context)
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set_result(None)
        try:
            await self._stopping.wait()
        finally:
            # asyncio loses a connection that was accepted, but not yet handed over, when its listener closes: take no
            # more, see those through the three steps from a socket to a request, and then close.
            with contextlib.suppress(NotImplementedError):  # Windows has no readers.
                for listening in listener.sockets:
                    loop.remove_reader(listening.fileno())
            for _ in range(4):
                await asyncio.sleep(0)
            listener.close()
            await connections.close(self._grace)

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        """Answer a request, whatever happens."""
        method = request.method if request.method in _METHODS else "OTHER"
        path = path_of(request.raw_path)
        # Bytes that are no text cannot be written into a log.
        shown = request.raw_path.encode(errors="backslashreplace").decode()
        with self._journal.exchange("REST", method, shown, peer(request)) as exchange:
            answer = html_answer(*BAD_REQUEST) if path is None else await self._answer(request, path, exchange)
            exchange.code, exchange.status = answer.code, answer.status
            exchange.response_bytes = len(answer.body)
        headers = {**SERVER, **answer.headers}
        if path is not None and is_api(path):
            headers.update(self._cors_headers)
        if answer.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        response = web.Response(status=answer.status, body=answer.body, headers=headers)
        if answer.closes:
            response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest, path: str, exchange: Exchange) -> Answer:
        if request.method not in _METHODS:
            return html_answer(*NOT_IMPLEMENTED)
        preflight = request.method == "OPTIONS"  # To which browsers add no token.
        if self._token is not None and not preflight and not self._knows_token(request):
            error = StatusError(
                "UNAUTHENTICATED", "Expected the header 'Authorization: Bearer' with the server's token"
            )
            return error_answer(error, closes=True)
        if path == METRICS_PATH and self._metrics is not None:
            body, content_type = self._metrics.render()
            return Answer(200, {"Content-Type": content_type}, body)
        try:
            body = await asyncio.wait_for(self._body(request), self._body_timeout)
        except asyncio.TimeoutError:
            error = StatusError("DEADLINE_EXCEEDED", f"Request body not received within {self._body_timeout:g} seconds")
            return error_answer(error, status=408, closes=True)
        except _BodyTooLargeError:
            return self._too_large()
        except (web.RequestPayloadError, ConnectionError):  # Chunks that are none, or a client that is gone.
            return html_answer(*BAD_REQUEST)
        exchange.request_bytes = len(body)
        headers = request.headers
        pool = self._pool if request.method == "POST" else self._quick
        return await asyncio.get_running_loop().run_in_executor(
            pool, self._in_thread, request.method, path, headers, body, exchange
        )

    def _in_thread(self, method: str, path: str, headers: Any, body: bytes, exchange: Exchange) -> Answer:
        """Unpack the body and answer."""
        if "gzip" in headers.get("Content-Encoding", ""):
            try:
                body = _unpacked(body, self._max_request_bytes)
            except _BodyTooLargeError:
                return self._too_large()
        return self._handler.answer(method, path, body, exchange, origin=headers.get("Origin", ""))

    async def _body(self, request: web.BaseRequest) -> bytes:
        """The body as it was sent, unless it is too large."""
        if request.content_length is not None and request.content_length > self._max_request_bytes:
            raise _BodyTooLargeError
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        parts, size = [], 0
        async for part in request.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > self._max_request_bytes:
                raise _BodyTooLargeError
        return b"".join(parts)

    def _too_large(self) -> Answer:
        error = StatusError("RESOURCE_EXHAUSTED", f"Request body larger than {self._max_request_bytes} bytes")
        return error_answer(error, status=413, closes=True)

    def _knows_token(self, request: web.BaseRequest) -> bool:
        given = [value.encode(errors="surrogateescape") for value in request.headers.getall("Authorization", [])]
        return self._token is not None and carries_token(given, self._token)


class _BodyTooLargeError(Exception):
    """A body is larger than the server takes."""


def _unpacked(body: bytes, most: int) -> bytes:
    """A gzip body unpacked; a bad one reads as an empty document.

    Raises:
        _BodyTooLargeError: If it is larger than ``most`` bytes.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        unpacked = stream.decompress(body, most + 1)
    except zlib.error:
        return b""
    if len(unpacked) > most:
        raise _BodyTooLargeError
    return unpacked if stream.eof and not stream.unused_data else b""
