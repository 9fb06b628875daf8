"""TensorFlow Serving's REST interface, as an application of aiohttp."""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
import re
import urllib.parse
import zlib
from concurrent.futures import Executor
from typing import final

from aiohttp import web

from tfae.serving.local import json_bodies
from tfae.serving.local.grpc_service import describe, list_states
from tfae.serving.local.models import Models
from tfae.serving.local.prediction import find_signature, run
from tfae.serving.status import HTTP_STATUS, ModelSpec, StatusError

_LOG = logging.getLogger("tfae.serving")

#: Paths by method. The fixed parts match in any case, except for the verb of a POST.
_MODEL = r"(?i:/v1/models)/(?P<name>[^/:]+)(?:(?i:/versions)/(?P<version>[0-9]+)|(?i:/labels)/(?P<label>[^/:]+))?"
_ROUTES = {
    "POST": re.compile(_MODEL + r":predict", re.ASCII),
    "GET": re.compile(_MODEL + r"(?P<metadata>/(?i:metadata))?", re.ASCII),
}
_MAX_VERSION = 2**63 - 1


@final
class RestService:
    """Answers requests; predictions run in the threads of ``pool``.

    A body that is too large, packed or unpacked, gets status 413, one that does not arrive in time 408; then the
    connection is closed.
    """

    def __init__(self, models: Models, pool: Executor, *, max_request_bytes: int, body_timeout: float) -> None:
        self._models = models
        self._pool = pool
        self._max_request_bytes = max_request_bytes
        self._body_timeout = body_timeout

    def build_application(self) -> web.Application:
        """Build the application; its runner needs ``auto_decompress=False``."""
        application = web.Application(client_max_size=self._max_request_bytes)
        application.on_response_prepare.append(_name_server)
        application.router.add_route("*", "/{path:.*}", self._respond)
        return application

    async def _respond(self, request: web.Request) -> web.Response:
        pool = self._pool if request.method == "POST" else None  # A status does not wait for predictions.
        try:
            body = await asyncio.wait_for(request.read(), self._body_timeout)
            return await asyncio.get_running_loop().run_in_executor(pool, self._answer, request, body)
        except asyncio.TimeoutError:
            response = _make_error(408, f"body: not received within {self._body_timeout:g} seconds.")
        except web.HTTPRequestEntityTooLarge:
            response = _make_error(413, f"body: expected at most {self._max_request_bytes} bytes; received more.")
        response.force_close()  # What the client still sends is not read.
        return response

    def _answer(self, request: web.Request, body: bytes) -> web.Response:
        method, path = request.method, request.rel_url.raw_path_qs
        if not path.lower().startswith("/v1/"):
            return _make_error(404, f"path: expected one below /v1/models; received {path}")
        if method == "OPTIONS":
            is_site = request.headers.get("Origin", "").startswith(("http://", "https://"))
            return web.Response(status=200 if is_site else 400)
        if "gzip" in request.headers.get("Content-Encoding", ""):
            body = self._unpack(body)
        try:
            return web.Response(body=self._ask(method, path, body), content_type="application/json")
        except StatusError as error:
            return _make_error(HTTP_STATUS[error.code], error.message)
        except Exception as error:
            _LOG.exception("%s %s failed", method, path)
            return _make_error(500, f"{type(error).__name__}: {error}")

    def _ask(self, method: str, path: str, body: bytes) -> bytes:
        match = _ROUTES[method].fullmatch(path) if method in _ROUTES else None
        if match is None:
            raise StatusError(
                "INVALID_ARGUMENT",
                f"Malformed request: {method} {path}. Expected POST /v1/models/NAME[/versions/N|/labels/L]:predict, or "
                "GET /v1/models/NAME[/versions/N|/labels/L][/metadata].",
            )
        spec = _read_spec(match)
        if method == "GET":
            return json_bodies.write_message(
                (list_states if match["metadata"] is None else describe)(self._models, spec)
            )
        document = json_bodies.parse(body)
        name = json_bodies.read_signature_name(document)
        _, servable = self._models.find(spec)
        try:
            signature = find_signature(servable, name)
        except StatusError as error:
            raise StatusError("INVALID_ARGUMENT", error.message) from None  # FAILED_PRECONDITION over gRPC alone.
        inputs, in_rows = json_bodies.read_inputs(document, signature.inputs)
        del document  # It is larger than the arrays, and not needed while the kernels run.
        return json_bodies.write_predictions(run(servable, signature, inputs), in_rows=in_rows)

    def _unpack(self, body: bytes) -> bytes:
        """Unpack a gzip body; a damaged one reads as an empty document, as in TensorFlow Serving."""
        try:
            unpacked = gzip.GzipFile(fileobj=io.BytesIO(body)).read(self._max_request_bytes + 1)
        except (EOFError, OSError, zlib.error):
            return b""
        if len(unpacked) > self._max_request_bytes:
            raise web.HTTPRequestEntityTooLarge(max_size=self._max_request_bytes, actual_size=len(unpacked))
        return unpacked


async def _name_server(_: web.Request, response: web.StreamResponse) -> None:
    """Set the header that tells this server from TensorFlow Serving."""
    response.headers["Server"] = "tfae"


def _read_spec(match: re.Match[str]) -> ModelSpec:
    name, version, label = (
        None if part is None else urllib.parse.unquote(part) for part in match.group("name", "version", "label")
    )
    if version is not None and (len(version.lstrip("0")) > 19 or int(version) > _MAX_VERSION):
        raise StatusError("INVALID_ARGUMENT", f"version: expected at most {_MAX_VERSION}; received {version}.")
    return ModelSpec(name or "", None if version is None else int(version), label)


def _make_error(status: int, message: str) -> web.Response:
    return web.Response(status=status, body=json_bodies.write({"error": message}), content_type="application/json")
