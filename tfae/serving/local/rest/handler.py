"""One REST request, one answer: everything but the connection."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from tfae.serving.local.models import Models, ModelSpec
from tfae.serving.local.prediction import check_inputs
from tfae.serving.local.rest import answers
from tfae.serving.local.rest.document import parse
from tfae.serving.local.rest.examples import check_examples
from tfae.serving.local.rest.inputs import read_inputs, signature_name
from tfae.serving.local.rest.paths import Route, VersionTooLargeError, is_api, route
from tfae.serving.status import StatusError

if TYPE_CHECKING:
    from tfae.serving.local.journal import Exchange
    from tfae.serving.local.models import Lease

_LOG = logging.getLogger("tfae.serving")
_JSON = {"Content-Type": "application/json"}
#: What libevent says of a body of which nobody said what it is.
_UNNAMED = {"Content-Type": "text/html; charset=ISO-8859-1"}
_ORIGIN = re.compile(r"https?://")
_METHOD_NAMES = {"classify": "classification", "regress": "regression"}


@dataclass(frozen=True)
class Answer:
    """What goes back to the client.

    Attributes:
        status: Of HTTP.
        headers: By name.
        body: Any bytes.
        code: One of ``tfae.serving.status.CODES``.
        closes: Whether the connection ends with it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    code: str = "OK"
    closes: bool = field(default=False, kw_only=True)


def error_answer(error: StatusError, *, status: int | None = None, closes: bool = False) -> Answer:
    """An error as a JSON object.

    Args:
        error: What is wrong.
        status: Of HTTP, if not the one of the code.
        closes: Whether the connection ends with it.
    """
    return Answer(
        status or error.http_status, _JSON, _encoded(answers.error_text(error.message)), error.code, closes=closes
    )


def html_answer(status: int, reason: str, code: str) -> Answer:
    """The page that libevent shows where TensorFlow Serving was not even asked; the connection ends with it."""
    page = f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n"
    return Answer(status, {"Content-Type": "text/html"}, page.encode(), code, closes=True)


@final
class Handler:
    """Answers requests; thread-safe, and blocks until there is an answer.

    Args:
        models: What is served.
    """

    def __init__(self, models: Models) -> None:
        self._models = models

    def answer(self, method: str, path: str, body: bytes, exchange: Exchange, *, origin: str = "") -> Answer:
        """The answer to one request.

        Args:
            method: ``"POST"`` or any other.
            path: With the query, still encoded.
            body: Unpacked.
            exchange: Told which model, version and signature were used, and how many rows came in.
            origin: The header of that name, which is asked for where browsers inquire whether a page may ask.
        """
        if not is_api(path):
            return html_answer(404, "Not Found", "NOT_FOUND")
        if method == "OPTIONS":
            refusal = None if _ORIGIN.search(origin) else "FAILED_PRECONDITION"
            return Answer(400 if refusal else 200, _UNNAMED, b"", refusal or "OK")
        try:
            text = self._text(method, path, body, exchange)
        except VersionTooLargeError as error:
            return Answer(error.http_status, _JSON, b"", error.code)
        except StatusError as error:
            return error_answer(error)
        except Exception as error:
            _LOG.exception("%s %s failed", method, path)
            internal = StatusError("INTERNAL", f"{type(error).__name__}: {error}")
            return error_answer(internal)
        return Answer(200, _JSON, _encoded(text))

    def _text(self, method: str, path: str, body: bytes, exchange: Exchange) -> str:
        """The body of the answer."""
        asked = route(method, path)
        if asked.question == "status":
            found = self._models.status(asked.name, asked.version)
            exchange.model = asked.name
            return answers.status_text(found)
        questions: dict[str, Callable[[Route, bytes, Exchange], str]] = {
            "predict": self._predict,
            "metadata": self._metadata,
            "classify": self._refuse_examples,
            "regress": self._refuse_examples,
        }
        return questions[asked.question](asked, body, exchange)

    def _predict(self, asked: Route, body: bytes, exchange: Exchange) -> str:
        document = parse(body)
        named = signature_name(document)
        name = named or "serving_default"
        with self._models.lease(ModelSpec(asked.name, asked.version, asked.label)) as lease:
            _note(exchange, lease)
            if name not in lease.servable.signature_def_map:
                raise StatusError("INVALID_ARGUMENT", f'Serving signature name: "{name}" not found in signature def')
            signature = lease.servable.signatures.get(name)
            if signature is None or not signature.inputs:
                raise StatusError("INVALID_ARGUMENT", f"Failed to get input map for signature: {named or 'DEFAULT'}")
            exchange.signature = name
            inputs, in_rows = read_inputs(document, signature.inputs, has_booleans=b"true" in body or b"false" in body)
            del document  # It is larger than the arrays, and the kernels may take a while.
            exchange.rows = next((len(array) for array in inputs.values() if array.ndim), None)
            check_inputs(signature, inputs)
            outputs = self._models.run(lease, name, inputs)
        return answers.predictions_text(outputs) if in_rows else answers.outputs_text(outputs)

    def _metadata(self, asked: Route, body: bytes, exchange: Exchange) -> str:
        with self._models.lease(ModelSpec(asked.name, asked.version, asked.label)) as lease:
            _note(exchange, lease)
            return answers.metadata_text(lease.name, lease.version, lease.servable.signature_def_map)

    def _refuse_examples(self, asked: Route, body: bytes, exchange: Exchange) -> str:
        """Answer :classify and :regress as far as the real server gets where no signature is for them."""
        document = parse(body)
        name = signature_name(document) or "serving_default"
        check_examples(document)
        with self._models.lease(ModelSpec(asked.name, asked.version, asked.label)) as lease:
            _note(exchange, lease)
            if name not in lease.servable.signatures:
                raise StatusError("INVALID_ARGUMENT", f"No signature was found with the name: {name}")
            exchange.signature = name
            if lease.servable.signatures[name].method_name == "tensorflow/serving/predict":
                definition = lease.servable.signature_def_map[name]
                what = _METHOD_NAMES[asked.question]
                raise StatusError("INVALID_ARGUMENT", f"No {what} inputs found in SignatureDef: {definition}")
            raise StatusError("UNIMPLEMENTED", f"The local server has no :{asked.question}. TensorFlow Serving has it.")


def _note(exchange: Exchange, lease: Lease) -> None:
    exchange.model, exchange.version = lease.name, lease.version


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
