"""The local server as a whole: models, REST and gRPC, started and stopped together."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, final

from tfae.serving.local.access import Access
from tfae.serving.local.batching_parameters import BatchingParameters
from tfae.serving.local.grpc_server import GrpcServer
from tfae.serving.local.journal import Journal
from tfae.serving.local.metrics import Metrics
from tfae.serving.local.models import Models
from tfae.serving.local.ports import authority, port_of, try_listening
from tfae.serving.local.rest import RestServer
from tfae.serving.model_config import ModelConfig, Source, source
from tfae.serving.status import StatusError

if TYPE_CHECKING:
    from tfae.serving.client import Client

#: Largest request by default, in bytes: a hundred RGB images of 224 × 224 as float32 fit into it.
MAX_REQUEST_BYTES = 64 << 20


@final
class LocalServer:
    """Serves SavedModels over TensorFlow Serving's REST and gRPC interfaces, from this process.

    For notebooks, tests and machines without Docker. It answers as TensorFlow Serving does and finds new versions by
    itself, but does not replace it in production: this is one process of Python, nor is it as fast. A server is
    started once; take a new one to start again.

    Args:
        models: Folder of a model's versions, such as ``saved_models/digits``; or a model config file of TensorFlow
            Serving, read again whenever it changes; or the configs themselves, or a function that returns them.
        name: What clients call the model, for a folder; its own name by default.
        labels: Numbers of versions by label, for a folder. With labels these versions are served, else the
            newest.
        host: Address to listen at. The default is reached from this machine only.
        rest_port: Port of REST, 0 for any that is free.
        grpc_port: Port of gRPC, 0 for any that is free.
        poll_seconds: Time between two looks for new versions, 0 for a single look.
        batching: How requests that come together are batched, None for not at all.
        allow_xla: Whether functions compiled by XLA may run, which the real server refuses by default on a CPU.
        max_request_bytes: Largest request.
        access: Who may ask, and whether the line is encrypted; everybody over a plain line by default.
        cors: Whether pages of other sites may ask.
        metrics: Whether ``/monitoring/prometheus/metrics`` answers.
        access_log: File, which is added to, or stream that gets one JSON object a line for every request.
        threads: Requests of each interface that are worked on at the same time.

    Attributes:
        models: What is loaded.
        rest_port: The port of REST.
        grpc_port: The port of gRPC.
        access: As given.

    Raises:
        ValueError: For an argument that cannot be, such as a folder that is not there.

    Example:
        ::

            with LocalServer("saved_models/digits") as server:
                scores = server.client().score(images)
    """

    def __init__(
        self,
        models: str | os.PathLike[str] | Sequence[ModelConfig] | Source,
        *,
        name: str | None = None,
        labels: Mapping[str, int] | None = None,
        host: str = "127.0.0.1",
        rest_port: int = 0,
        grpc_port: int = 0,
        poll_seconds: float = 1.0,
        batching: BatchingParameters | None = None,
        allow_xla: bool = False,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        access: Access | None = None,
        cors: bool = False,
        metrics: bool = False,
        access_log: IO[str] | str | os.PathLike[str] | None = None,
        threads: int | None = None,
    ) -> None:
        for argument, port in (("rest_port", rest_port), ("grpc_port", grpc_port)):
            if not 0 <= port < 65536:
                raise ValueError(f"{argument}: expected a number from 0 to 65535; received {port}.")
        if rest_port == grpc_port != 0:
            raise ValueError(f"rest_port: expected another port than grpc_port; received {rest_port} for both.")
        for argument, value in (("max_request_bytes", max_request_bytes), ("threads", threads)):
            if value is not None and value < 1:
                raise ValueError(f"{argument}: expected at least 1; received {value}.")
        self.rest_port, self.grpc_port = rest_port, grpc_port
        self._host = host
        self.access = access or Access()
        self._cors = cors
        self._max_request_bytes = max_request_bytes
        self._threads = threads or _threads(batching)
        self._access_log = access_log
        self._metrics = Metrics() if metrics else None
        self.models = Models(
            source(models, name=name, labels=labels),
            poll_seconds=poll_seconds,
            batching=batching,
            allow_xla=allow_xla,
            batched=None if self._metrics is None else self._metrics.batched,
        )
        if self._metrics is not None:
            self._metrics.watch(self.models.available)
        self._log = contextlib.ExitStack()
        self._rest: RestServer | None = None
        self._grpc: GrpcServer | None = None

    def start(self, timeout: float | None = None) -> None:
        """Load what is there, then begin to answer. A folder without versions is waited for, and answers NOT_FOUND.

        Args:
            timeout: Seconds that loading may take.

        Raises:
            ValueError: If a port is taken, or if a model has versions of which not one can be loaded.
            TimeoutError: If loading took longer.
        """
        with contextlib.ExitStack() as undo:
            undo.callback(self._log.close)
            journal = Journal(_opened(self._access_log, self._log), self._metrics)
            shared: dict[str, Any] = {
                "host": self._host,
                "threads": self._threads,
                "max_request_bytes": self._max_request_bytes,
            }
            # First the ports: if one is taken, nobody wants to wait for the models to hear of it.
            with port_of("grpc_port", self._host, self.grpc_port):
                try_listening(self._host, self.grpc_port)  # Says better than gRPC what is wrong.
                grpc = GrpcServer(
                    self.models,
                    journal,
                    port=self.grpc_port,
                    token=self.access.token,
                    certificate=self.access.certificate(),
                    **shared,
                )
            undo.callback(grpc.stop, 0)
            with port_of("rest_port", self._host, self.rest_port):
                try_listening(self._host, self.rest_port)
            undo.callback(self.models.stop, 0)
            self.models.start(timeout)
            self._require_models()
            rest = RestServer(
                self.models,
                journal,
                port=self.rest_port,
                token=self.access.token,
                ssl_context=self.access.ssl_context(),
                cors=self._cors,
                metrics=self._metrics,
                **shared,
            )
            with port_of("rest_port", self._host, self.rest_port):
                rest.start()
            undo.callback(rest.stop, 0)
            grpc.start()
            self._grpc, self._rest = grpc, rest
            self.grpc_port, self.rest_port = grpc.port, rest.port
            undo.pop_all()

    def stop(self, grace: float = 10.0) -> bool:
        """Refuse new requests, finish those under way, then unload everything.

        Args:
            grace: Seconds for what is under way; then it is cut off.

        Returns:
            Whether all was finished. If not, a kernel still runs in a thread, which nothing can interrupt.
        """
        if self._rest is None or self._grpc is None:
            return True
        deadline = time.monotonic() + grace
        # Both at once, lest the one goes on taking requests while the other finishes.
        grpc = threading.Thread(target=self._grpc.stop, args=(grace,), name="tfae-grpc-stop")
        grpc.start()
        self._rest.stop(grace)
        grpc.join()
        self._rest = self._grpc = None
        finished = self.models.stop(max(0.0, deadline - time.monotonic()))
        self._log.close()
        return finished

    @property
    def rest_url(self) -> str:
        """Where REST answers, such as ``http://127.0.0.1:8501``."""
        return f"{'https' if self.access.encrypted else 'http'}://{authority(self._host, self.rest_port)}"

    @property
    def grpc_url(self) -> str:
        """Where gRPC answers, such as ``grpc://127.0.0.1:8500``."""
        return f"{'grpcs' if self.access.encrypted else 'grpc'}://{authority(self._host, self.grpc_port)}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self._host).is_loopback
        except ValueError:
            return self._host == "localhost"

    def client(self, model: str | None = None, *, grpc: bool = False, **options: Any) -> Client:
        """A client of this server.

        Args:
            model: Its name; may be left out where there is only one.
            grpc: Whether it shall speak gRPC.
            **options: Further arguments of `Client`.

        Raises:
            ValueError: If there are several models and none is named.
        """
        from tfae.serving.client import Client

        names = list(self.models.available())
        if model is None and len(names) != 1:
            raise ValueError(f"model: expected one of {', '.join(names)}; received none.")
        if self.access.encrypted:
            options.setdefault("ca_file", self.access.certificate_file)
        options.setdefault("token", self.access.token)
        return Client(self.grpc_url if grpc else self.rest_url, model or names[0], **options)

    def __enter__(self) -> LocalServer:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _require_models(self) -> None:
        """Refuse to start if a model has versions and none of them works, as the real server does."""
        for name, available in self.models.available().items():
            if available:
                continue
            with contextlib.suppress(StatusError):  # No version yet.
                failed = [status for status in self.models.status(name) if status.error_code != "OK"]
                raise ValueError(
                    f"models: expected {name} to have a version that can be loaded; received "
                    + "; ".join(f"version {s.version}, {s.error_code}: {s.error_message}" for s in failed)
                )


def _threads(batching: BatchingParameters | None) -> int:
    """Threads for each interface: enough to keep the processors busy, or to fill a batch with single rows."""
    return 16 if batching is None else min(256, max(16, 2 * batching.max_batch_size))


def _opened(log: IO[str] | str | os.PathLike[str] | None, stack: contextlib.ExitStack) -> IO[str] | None:
    """The stream of the access log; a file is closed by the stack."""
    if not isinstance(log, (str, os.PathLike)):
        return log
    try:
        stream = Path(log).open("a", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise ValueError(
            f"access_log: expected a file that can be written; received {os.fspath(log)} ({error.strerror})."
        ) from error
    stack.callback(_close, stream)
    return stream


def _close(log: IO[str]) -> None:
    """Close the access log; the journal has already said it if the last lines cannot be written."""
    with contextlib.suppress(OSError):
        log.close()
