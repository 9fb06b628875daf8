"""What Prometheus is told of the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, exposition
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from tfae.serving.local.journal import Exchange

#: Seconds; the first is what a small model takes for one row.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@final
class Metrics:
    """Counts of one server, in a registry of its own, so that several servers fit into one process.

    Example:
        >>> body, content_type = Metrics().render()
        >>> content_type.split(";")[0], b"tfae_in_flight_requests" in body
        ('text/plain', True)
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tfae_requests",
            "Requests that were answered.",
            ["model", "signature", "protocol", "method", "code"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tfae_request_duration_seconds",
            "Time from the request to its answer, in seconds.",
            ["model", "signature", "protocol"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "tfae_in_flight_requests", "Requests that wait for their answer.", ["protocol"], registry=self.registry
        )
        for protocol in ("REST", "gRPC"):
            self._in_flight.labels(protocol)
        self._rows = Histogram(
            "tfae_batch_rows", "Rows of the batches that requests were put into.", buckets=_ROWS, registry=self.registry
        )

    def watch(self, available: Callable[[], Mapping[str, Sequence[int]]]) -> None:
        """Tell of the versions that answer: ``available`` gives their numbers by model."""
        self.registry.register(_Versions(available))

    def began(self, protocol: str) -> None:
        """Count a request that came in."""
        self._in_flight.labels(protocol).inc()

    def ended(self, exchange: Exchange, seconds: float) -> None:
        """Count a request that was answered after so many seconds."""
        self._in_flight.labels(exchange.protocol).dec()
        self._requests.labels(
            exchange.model, exchange.signature, exchange.protocol, exchange.method, exchange.code
        ).inc()
        self._seconds.labels(exchange.model, exchange.signature, exchange.protocol).observe(seconds)

    def batched(self, rows: int) -> None:
        """Count a batch."""
        self._rows.observe(rows)

    def render(self) -> tuple[bytes, str]:
        """All of it in Prometheus's text format, and the Content-Type for it."""
        return exposition.generate_latest(self.registry), exposition.CONTENT_TYPE_LATEST


class _Versions(Collector):
    """Which versions answer at the moment of the question."""

    def __init__(self, available: Callable[[], Mapping[str, Sequence[int]]]) -> None:
        self._available = available

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One line for each version that answers."""
        family = GaugeMetricFamily(
            "tfae_available_version", "1 for each version that answers.", labels=["model", "version"]
        )
        for name, versions in self._available().items():
            for version in versions:
                family.add_metric([name, str(version)], 1)
        yield family
