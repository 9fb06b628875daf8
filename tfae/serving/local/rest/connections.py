"""The connections of the web server: made by aiohttp, closed in an orderly way, and what is not HTTP in them."""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, final

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod
from aiohttp.web_protocol import RequestHandler

from tfae.serving.local.rest.handler import error_answer, html_answer
from tfae.serving.status import StatusError

if TYPE_CHECKING:
    from tfae.serving.local.journal import Journal

#: In every answer; clients tell by it that it is not TensorFlow Serving's own.
SERVER = {"Server": "tfae"}
#: What libevent says by itself: of requests that are not HTTP, and of methods that it does not know.
BAD_REQUEST = (400, "Bad Request", "INVALID_ARGUMENT")
NOT_IMPLEMENTED = (501, "Not Implemented", "UNIMPLEMENTED")
#: What aiohttp says of a method that it does not know itself, in a line that is HTTP otherwise.
_REQUEST_LINE = re.compile(r"'[!-~]+ [!-~]+ HTTP/1\.[01]'")


@final
class Connections(web.Server):
    """Makes a `_Connection` of each, and closes those of clients that ask nothing.

    Args:
        handler: Answers requests.
        journal: Where requests are noted that never get there.
        head_timeout: Seconds until the head of the first request has to be there. aiohttp itself looks only at the
            time between two requests, in all but its newest versions.
        **settings: Of aiohttp's connections.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        journal: Journal,
        head_timeout: float,
        **settings: Any,
    ) -> None:
        super().__init__(handler, request_factory=self._request, **settings)
        self.journal = journal
        self._head_timeout = head_timeout
        self._transports: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()
        self._silent: dict[RequestHandler, asyncio.TimerHandle] = {}

    def __call__(self) -> RequestHandler:
        """A new connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Keep an eye on a connection until it is closed."""
        super().connection_made(handler, transport)
        self._transports.add(transport)
        self._silent[handler] = self._loop.call_later(self._head_timeout, handler.force_close)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        self._heard_of(handler)
        super().connection_lost(handler, exc)

    def _heard_of(self, handler: RequestHandler) -> None:
        """Let a connection stay open, or be forgotten."""
        timer = self._silent.pop(handler, None)
        if timer is not None:
            timer.cancel()

    def _request(self, message: Any, payload: Any, protocol: RequestHandler, writer: Any, task: Any) -> web.BaseRequest:
        """A request, whose head is there."""
        self._heard_of(protocol)
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop)

    async def close(self, grace: float) -> None:
        """Let requests end and answers leave, for ``grace`` seconds, and close all connections."""
        deadline = self._loop.time() + grace
        self.pre_shutdown()
        await self.shutdown(grace)
        while self._loop.time() < deadline and any(t.get_write_buffer_size() for t in self._transports):
            await asyncio.sleep(0.01)
        for transport in list(self._transports):
            transport.abort()
        await asyncio.sleep(0)  # Which it takes to let go of a socket.


@final
class _Connection(RequestHandler):
    """Answers what is not HTTP as libevent does."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that could not be read, or in which the server failed."""
        answer = html_answer(*BAD_REQUEST)
        if status == 500:
            self.log_exception("Error handling request", exc_info=exc)
            answer = error_answer(StatusError("INTERNAL", f"{type(exc).__name__}: {exc}"), closes=True)
        elif isinstance(exc, BadHttpMethod) and _REQUEST_LINE.search(str(exc)):
            answer = html_answer(*NOT_IMPLEMENTED)
        if isinstance(self._manager, Connections):
            with self._manager.journal.exchange("REST", "OTHER", "", peer(request)) as exchange:
                exchange.code, exchange.status = answer.code, answer.status
                exchange.response_bytes = len(answer.body)
        response = web.Response(status=answer.status, body=answer.body, headers={**SERVER, **answer.headers})
        response.force_close()
        return response


def peer(request: web.BaseRequest) -> str:
    """Who asks, as ``host:port``."""
    address = request.transport.get_extra_info("peername") if request.transport is not None else None
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else ""
