"""The gRPC port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent import futures
from typing import Any, TypeVar, final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from tfae.serving.local.access import carries_token
from tfae.serving.local.grpc_service import AbortedError, Call, Services
from tfae.serving.local.journal import Journal
from tfae.serving.local.models import Models

_T = TypeVar("_T")
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]]

#: They look into a table only, and are answered while all other threads run models.
_QUICK_METHODS = ("GetModelStatus", "GetModelMetadata")


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
        threads: Predictions that are worked on at the same time; further ones wait.
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
        self._quick = futures.ThreadPoolExecutor(2, thread_name_prefix="tfae-grpc-quick")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tfae-grpc", daemon=True)
        self._thread.start()

        async def listen() -> tuple[grpc.aio.Server, int]:
            server = grpc.aio.server(
                interceptors=[
                    *([] if token is None else [_TokenCheck(token, journal)]),
                    _Messages(message_timeout, self._pool, self._quick, journal),
                ],
                options=[
                    ("grpc.max_receive_message_length", max_request_bytes),
                    ("grpc.max_send_message_length", -1),
                    # Two servers on one port would each get some of the requests.
                    ("grpc.so_reuseport", 0),
                ],
            )
            # One byte of a request can stand for several of a tensor, as where one value fills it.
            Services(models, max_tensor_bytes=4 * max_request_bytes).add_to(server)
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
        for pool in (self._pool, self._quick):
            pool.shutdown(wait=False, cancel_futures=True)

    def _await(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


@final
class _Messages(grpc.aio.ServerInterceptor):
    """Waits for the message of a call in the event loop, and reads and answers it in a thread.

    A call is noted from its beginning to its end, whether or not a thread is ever free for it.

    Args:
        seconds: From the beginning of a call to its message.
        pool: Of the threads that run models.
        quick: Of the threads for methods that ask about them.
        journal: Where calls are noted.
    """

    def __init__(
        self, seconds: float, pool: futures.ThreadPoolExecutor, quick: futures.ThreadPoolExecutor, journal: Journal
    ) -> None:
        self._seconds = seconds
        self._pool, self._quick = pool, quick
        self._journal = journal

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Put the wait before the handler."""
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        is_known = handler.request_deserializer is not None
        method = path.rpartition("/")[2] if is_known else "unknown"
        pool = self._quick if method in _QUICK_METHODS else self._pool

        async def answer(messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
            with self._journal.exchange("gRPC", method, "" if is_known else path, context.peer()) as exchange:
                try:
                    raw = await self._message(messages)
                    exchange.request_bytes = len(raw)
                    response = await asyncio.get_running_loop().run_in_executor(
                        pool, _answered, handler, raw, Call(exchange)
                    )
                except asyncio.CancelledError:  # By the client, its deadline, or the end of the server.
                    exchange.code = "CANCELLED"
                    raise
                except AbortedError as refusal:
                    exchange.code = refusal.code.name
                    await context.abort(refusal.code, refusal.text)
                    raise
                exchange.response_bytes = len(response)
            return response

        # The same on the wire as a call of one message; but here the handler itself takes the message.
        return grpc.stream_unary_rpc_method_handler(answer)

    async def _message(self, messages: AsyncIterator[bytes]) -> bytes:
        """The first message of a call."""
        try:
            return await asyncio.wait_for(anext(messages), self._seconds)
        except asyncio.TimeoutError as error:
            text = f"Request message not received within {self._seconds:g} seconds"
            raise AbortedError(grpc.StatusCode.CANCELLED, text) from error
        except StopAsyncIteration as error:
            text = "Requires exactly one request message."
            raise AbortedError(grpc.StatusCode.UNIMPLEMENTED, text) from error


def _answered(handler: grpc.RpcMethodHandler, raw: bytes, call: Call) -> bytes:
    """The answer to a message, both as bytes."""
    try:
        message = handler.request_deserializer(raw) if handler.request_deserializer else raw
    except DecodeError as error:
        raise AbortedError(grpc.StatusCode.INTERNAL, "") from error  # As the real server answers it.
    response = handler.unary_unary(message, call)
    return handler.response_serializer(response) if handler.response_serializer else response


@final
class _TokenCheck(grpc.aio.ServerInterceptor):
    """Refuses calls without the token, before their message is read."""

    def __init__(self, token: str, journal: Journal) -> None:
        self._token = token
        self._journal = journal

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Let a call through, or refuse it."""
        given = [
            value if isinstance(value, bytes) else value.encode()
            for key, value in handler_call_details.invocation_metadata
            if key == "authorization"
        ]
        if carries_token(given, self._token):
            return await continuation(handler_call_details)
        path = handler_call_details.method

        async def refuse(_: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
            with self._journal.exchange("gRPC", "unauthenticated", path, context.peer()) as exchange:
                exchange.code = "UNAUTHENTICATED"
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "authorization: expected the server's bearer token.")

        return grpc.stream_unary_rpc_method_handler(refuse)
