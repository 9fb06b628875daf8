"""What the server notes of every exchange: one line of JSON, and the numbers of the metrics."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from tfae.serving.local.metrics import Metrics

_LOG = logging.getLogger("tfae.serving")


@dataclass
class Exchange:
    """One request and its answer; whoever answers it fills in what it learns.

    Attributes:
        protocol: ``"REST"`` or ``"gRPC"``.
        method: ``"POST"``, or gRPC's method, such as ``"Predict"``.
        path: Of the request.
        peer: Who asks, as ``host:port``.
        model: Its name, once it was found; requests for unknown models leave it empty, lest a client can make up
            time series without end.
        version: That was used.
        signature: That was used.
        rows: First dimension of the inputs, None where there is none.
        code: Of the answer, one of ``tfae.serving.status.CODES``.
        status: Of an answer over HTTP.
        request_bytes: Of the body.
        response_bytes: Of the body.
    """

    protocol: str
    method: str
    path: str
    peer: str
    model: str = ""
    version: int | None = None
    signature: str = ""
    rows: int | None = None
    code: str = "OK"
    status: int | None = None
    request_bytes: int = 0
    response_bytes: int = 0


class Journal:
    """Writes the access log and counts for the metrics; thread-safe.

    A log that cannot be written, as on a full disk, costs its lines and no answers: the logger is told once.

    Args:
        log: Where the lines go, None for no access log.
        metrics: What counts, None for no metrics.

    Example:
        >>> import io
        >>> log = io.StringIO()
        >>> with Journal(log).exchange("REST", "GET", "/v1/models/digits", "127.0.0.1:5000") as exchange:
        ...     exchange.model = "digits"
        >>> line = json.loads(log.getvalue())
        >>> line["model"], line["code"]
        ('digits', 'OK')
    """

    def __init__(self, log: IO[str] | None = None, metrics: Metrics | None = None) -> None:
        self._log = log
        self.metrics = metrics
        self._lock = threading.Lock()
        self._is_broken = False

    @contextmanager
    def exchange(self, protocol: str, method: str, path: str, peer: str) -> Iterator[Exchange]:
        """Note one exchange when the block ends; an error that leaves the block is noted as INTERNAL."""
        exchange = Exchange(protocol, method, path, peer)
        began = time.perf_counter()
        if self.metrics is not None:
            self.metrics.began(protocol)
        try:
            yield exchange
        except BaseException:
            exchange.code = exchange.code if exchange.code != "OK" else "INTERNAL"
            raise
        finally:
            seconds = time.perf_counter() - began
            if self.metrics is not None:
                self.metrics.ended(exchange, seconds)
            if self._log is not None:
                self._write(exchange, seconds)

    def _write(self, exchange: Exchange, seconds: float) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": now, **vars(exchange), "milliseconds": round(seconds * 1000, 3)}
        text = json.dumps({key: value for key, value in line.items() if value not in (None, "")}, ensure_ascii=False)
        problem = None
        with self._lock:
            if self._log is None:
                return
            try:
                self._log.write(text + "\n")
                self._log.flush()
            except (OSError, ValueError) as error:  # ValueError: it is closed, or cannot hold these characters.
                problem = None if self._is_broken else error
                self._is_broken = True
            else:
                self._is_broken = False
        if problem is not None:
            _LOG.warning("The access log cannot be written (%s); requests are answered without it.", problem)


def rows(inputs: Mapping[str, np.ndarray]) -> int | None:
    """The first dimension of the first input that has one."""
    return next((array.shape[0] for array in inputs.values() if array.ndim), None)
