"""The gRPC port."""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent import futures
from typing import Any, NoReturn, TypeVar, final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from tfae.serving.local.grpc_service import Services
from tfae.serving.local.journal import Journal
from tfae.serving.local.models import Models

_T = TypeVar("_T")
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]]


@final
class GrpcServer:
    """TensorFlow Serving's gRPC interface on one port.

    Connections live in an event loop, and a thread of the pool is taken only when the message of a call is there as
    a whole: calls that never send theirs keep nobody waiting.

    Args:
        models: What is served.
        journal: Where each exchange is noted.
        host: Address to listen at.
        port: Port to listen at, 0 for any that is free.
        threads: Requests that are worked on at the same time; further ones wait.
        max_request_bytes: Largest request; gRPC refuses larger ones as RESOURCE_EXHAUSTED.
        message_timeout: Seconds that a call may take to send its message; then it is ended.
        token: What clients have to send as ``authorization: Bearer …`` in the metadata, None for nothing.
        certificate: Chain of the server's certificate and private key, both PEM, None for no TLS.

    Attributes:
        port: That it listens at.

    Raises:
        OSError: If it cannot listen there.
    """

    def __init__(
        self,
        models: Models,
        journal: Journal,
        *,
        host: str,
        port: int,
        threads: int,
        max_request_bytes: int,
        message_timeout: float = 30.0,
        token: str | None = None,
        certificate: tuple[bytes, bytes] | None = None,
    ) -> None:
        self._pool = futures.ThreadPoolExecutor(threads, thread_name_prefix="tfae-grpc")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tfae-grpc", daemon=True)
        self._thread.start()

        async def listen() -> tuple[grpc.aio.Server, int]:
            server = grpc.aio.server(
                interceptors=[
                    _Messages(message_timeout, self._pool, journal),
                    *([] if token is None else [_TokenCheck(token, journal)]),
                ],
                options=[
                    ("grpc.max_receive_message_length", max_request_bytes),
                    ("grpc.max_send_message_length", -1),
                    # Two servers on one port would each get some of the requests.
                    ("grpc.so_reuseport", 0),
                ],
            )
            # One byte of a request can stand for several of a tensor, as where one value fills it.
            Services(models, journal, max_tensor_bytes=4 * max_request_bytes).add_to(server)
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            try:
                if certificate is None:
                    return server, server.add_insecure_port(address)
                chain, key = certificate
                return server, server.add_secure_port(address, grpc.ssl_server_credentials([(key, chain)]))
            except RuntimeError:
                return server, 0

        self._server, self.port = self._await(listen())
        if not self.port:
            self.stop(0)
            raise OSError(f"{host}:{port} cannot be listened at")

    def start(self) -> None:
        """Begin to answer."""
        self._await(self._server.start())

    def stop(self, grace: float) -> None:
        """Refuse new calls, let those under way end for ``grace`` seconds, then cut them off."""
        if self._loop.is_closed():
            return
        self._await(self._server.stop(grace))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        # Kernels cannot be interrupted.
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _await(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


@final
class _Messages(grpc.aio.ServerInterceptor):
    """Waits for the message of a call in the event loop, and reads and answers it in a thread of the pool.

    Args:
        seconds: From the beginning of a call to its message.
        pool: Of the threads.
        journal: Where calls without a message are noted.
    """

    def __init__(self, seconds: float, pool: futures.ThreadPoolExecutor, journal: Journal) -> None:
        self._seconds = seconds
        self._pool = pool
        self._journal = journal

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Put the wait before the handler."""
        handler = await continuation(handler_call_details)
        path = handler_call_details.method

        async def answer(messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
            try:
                raw = await asyncio.wait_for(anext(messages), self._seconds)
            except asyncio.TimeoutError:
                text = f"Request message not received within {self._seconds:g} seconds"
                self._note(path, context, "CANCELLED")
                await context.abort(grpc.StatusCode.CANCELLED, text)
            except StopAsyncIteration:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Requires exactly one request message.")
            call = _Call(context.peer())
            try:
                return await asyncio.get_running_loop().run_in_executor(self._pool, _answered, handler, raw, call)
            except DecodeError:
                self._note(path, context, "INTERNAL", len(raw))
                await context.abort(grpc.StatusCode.INTERNAL, "")  # As the real server answers it.
                raise
            except _AbortedError as refusal:
                await context.abort(refusal.code, refusal.text)
                raise

        # The same on the wire as a call of one message; but here the handler itself takes the message.
        return grpc.stream_unary_rpc_method_handler(answer)

    def _note(self, path: str, context: grpc.aio.ServicerContext, code: str, num_bytes: int = 0) -> None:
        with self._journal.exchange("gRPC", "unknown", path, context.peer()) as exchange:
            exchange.code, exchange.request_bytes = code, num_bytes


class _AbortedError(Exception):
    """A handler has refused a call."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


@final
class _Call:
    """What a handler in a thread may know of a call, and do with it."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def peer(self) -> str:
        """Who asks."""
        return self._peer

    def abort(self, code: grpc.StatusCode, text: str) -> NoReturn:
        """Refuse."""
        raise _AbortedError(code, text)


def _answered(handler: grpc.RpcMethodHandler, raw: bytes, call: _Call) -> bytes:
    """The answer to a message, both as bytes."""
    message = handler.request_deserializer(raw) if handler.request_deserializer else raw
    response = handler.unary_unary(message, call)
    return handler.response_serializer(response) if handler.response_serializer else response


@final
class _TokenCheck(grpc.aio.ServerInterceptor):
    """Refuses calls without the token."""

    def __init__(self, token: str, journal: Journal) -> None:
        self._expected = f"Bearer {token}".encode()
        self._journal = journal

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Let a call through, or refuse it."""
        given = dict(handler_call_details.invocation_metadata).get("authorization", "")
        given = given if isinstance(given, bytes) else given.encode()
        if hmac.compare_digest(given, self._expected):
            return await continuation(handler_call_details)
        path = handler_call_details.method

        def refuse(_: bytes, context: grpc.ServicerContext) -> None:
            with self._journal.exchange("gRPC", "unauthenticated", path, context.peer()) as exchange:
                exchange.code = "UNAUTHENTICATED"
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "authorization: expected the server's bearer token.")

        return grpc.unary_unary_rpc_method_handler(refuse)
