"""What a way to a server has to offer, be it REST or gRPC."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import final

import numpy as np

from tfae.serving.client.description import Metadata, Signature, VersionStatus
from tfae.serving.client.retries import Deadline


@final
@dataclasses.dataclass(frozen=True)
class Target:
    """Which model is asked: the newest version, unless a version or a label says another."""

    model: str
    version: int | None = None
    label: str | None = None


class Transport(abc.ABC):
    """Connections to one server. Every method raises ``ServingError``, at the deadline if not before."""

    #: Most bytes of a request that holds more than one row.
    max_bytes: int

    @abc.abstractmethod
    def metadata(self, target: Target, deadline: Deadline) -> Metadata:
        """Signatures of the version that the target means now."""

    @abc.abstractmethod
    def status(self, target: Target, deadline: Deadline) -> list[VersionStatus]:
        """States of the versions, newest first; labels are not looked at."""

    @abc.abstractmethod
    def predict(
        self, target: Target, signature: Signature, inputs: Mapping[str, np.ndarray], deadline: Deadline
    ) -> tuple[dict[str, np.ndarray], int | None]:
        """Outputs by name, and the version that gave them, where the server says it."""

    @abc.abstractmethod
    def row_bytes(self, array: np.ndarray) -> np.ndarray:
        """int ``(rows,)``: about how much of a request each row of an input takes."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connections."""
