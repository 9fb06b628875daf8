"""Calls to one model: cached metadata, validated inputs, and one version of the model for all pieces of an input."""

from __future__ import annotations

import dataclasses
import math
import numbers
import operator
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias, final

import numpy as np
import numpy.typing as npt

from tfae.serving.client.error import Deadline, ServingError, ask_with_retries
from tfae.serving.status import Metadata, ModelSpec, VersionStatus
from tfae.tensor_spec import Signature

if TYPE_CHECKING:
    from tfae.serving.client.grpc_transport import GrpcTransport
    from tfae.serving.client.rest import RestTransport

    #: Both raise ServingError, no later than at the deadline.
    Transport: TypeAlias = RestTransport | GrpcTransport

Arrays = dict[str, np.ndarray]
Inputs = Mapping[str, npt.ArrayLike]
#: Assigns the arrays of a call to the inputs of a signature, which may be fetched after the call began.
Bind = Callable[[Signature], Inputs]
#: Most times that a call starts over because the server replaced the model.
_MAX_RESTARTS = 10
#: Errors that outdated metadata may cause.
_PERHAPS_STALE = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL")
_ROW_LIMIT = re.compile(r"larger than maximum input batch size (\d+)")
#: Seconds between two probes of a model that is not ready: the first pause, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


@final
@dataclasses.dataclass
class Session:
    """One model on one server; the arguments are those of :class:`tfae.serving.Client`.

    Attributes:
        known: The metadata; None if it has to be fetched before the next use.
        row_limit: Most rows of a request, known once the server has rejected more.
    """

    transport: Transport
    target: ModelSpec
    timeout: float
    batch_size: int
    concurrency: int
    retries: int
    known: Metadata | None = None
    row_limit: int | None = None

    def metadata(self, timeout: float | None = None) -> Metadata:
        """Fetch the metadata, and keep it for later calls."""
        return self._fetch_metadata(self._deadline(timeout))

    def status(self, timeout: float | None = None) -> list[VersionStatus]:
        """Fetch the states of the versions, newest first."""
        deadline = self._deadline(timeout)
        versions = ask_with_retries(lambda: self.transport.status(self.target, deadline), deadline, self.retries)
        available = [entry.version for entry in versions if entry.state == "AVAILABLE"]
        if self.known is not None and self.known.version != max(available, default=None):
            self.known = None
        return versions

    def ask(
        self,
        name: str,
        bind: Bind,
        *,
        timeout: float | None = None,
        batch_size: int | None = None,
        retries: int | None = None,
        is_one_row_each: bool = True,
    ) -> Arrays:
        """Return the outputs of a signature by name, all from the same version of the model.

        With ``is_one_row_each``, as always with an input that is sent in pieces, it is an error if they have another
        number of rows than the input.
        """
        deadline = self._deadline(timeout)
        batch_size = self.batch_size if batch_size is None else validate_integer("batch_size", batch_size, 1)
        retries = self.retries if retries is None else retries
        is_fresh = self.known is None
        metadata = self.known or self._fetch_metadata(deadline)
        restarts = 0
        while True:
            try:
                signature = metadata.signature(name)
                arrays = signature.fit(bind(signature))
            except ValueError:
                if is_fresh:
                    raise
                metadata, is_fresh = self._fetch_metadata(deadline), True  # They may fit a newer version.
                continue
            pieces = self._cut(signature, arrays, batch_size)
            if not pieces:
                return {name: spec.zeros(0) for name, spec in signature.outputs.items()}
            if len(pieces) > 1 and not is_fresh:
                metadata, is_fresh = self._fetch_metadata(deadline), True
                continue
            try:
                return self._ask_pieces(metadata, signature, arrays, pieces, deadline, retries, is_one_row_each)
            except ServingError as error:
                restarts += 1
                if error.code not in _PERHAPS_STALE or restarts > _MAX_RESTARTS:
                    raise
                if len(pieces) > 1:
                    deadline = Deadline(deadline.seconds)
                if self._learn_row_limit(error, pieces):
                    continue
                try:
                    newer = self._fetch_metadata(deadline)
                except ServingError:
                    raise error from None  # The caller needs the first error.
                if newer == metadata:
                    raise
                metadata, is_fresh = newer, True

    def wait(self, name: str, bind: Bind, timeout: float) -> None:
        """Ask a signature until it answers, or raise the last error after ``timeout`` seconds, as a ServingError."""
        deadline, pause = Deadline(timeout), _FIRST_PAUSE
        while True:
            try:
                # What hangs while it starts may be well a moment later: each question has the time of a call.
                seconds = max(min(self.timeout, deadline.remaining()), 1e-3)
                self.ask(name, bind, timeout=seconds, retries=0, is_one_row_each=False)
                return
            except ServingError as error:
                if error.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
                    raise  # Waiting does not help.
                if pause >= deadline.remaining():
                    message = f"not ready within {timeout:g} s, at last because of: {error.message}"
                    raise ServingError("DEADLINE_EXCEEDED", message, error.request) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self.timeout if timeout is None else validate_seconds("timeout", timeout))

    def _fetch_metadata(self, deadline: Deadline) -> Metadata:
        self.known = ask_with_retries(lambda: self.transport.metadata(self.target, deadline), deadline, self.retries)
        return self.known

    def _ask_pieces(
        self,
        metadata: Metadata,
        signature: Signature,
        arrays: Arrays,
        pieces: list[slice],
        deadline: Deadline,
        retries: int,
        is_one_row_each: bool,
    ) -> Arrays:
        """Send the only piece until the deadline; of several each has as much time, and names the version.

        The newest may be another one for the last piece.
        """
        is_cut = len(pieces) > 1
        target = ModelSpec(self.target.name, metadata.version) if is_cut else self.target

        def ask(rows: slice) -> Arrays:
            inputs, end, num_rows = arrays, deadline, rows.stop if is_one_row_each else None
            if is_cut:
                inputs = {name: array[rows] for name, array in arrays.items()}
                end, num_rows = Deadline(deadline.seconds), rows.stop - rows.start
            try:
                outputs, version = ask_with_retries(
                    lambda: self.transport.predict(target, signature, inputs, end), end, retries
                )
                if version is not None and version != metadata.version:
                    self.known = None
                _validate_outputs(outputs, metadata, signature, num_rows)
                return outputs
            except ServingError as error:
                if is_cut:
                    error.request += f", rows {rows.start} to {rows.stop - 1}"
                raise

        if not is_cut:
            return ask(pieces[0])
        with ThreadPoolExecutor(min(self.concurrency, len(pieces))) as pool:
            answers = list(pool.map(ask, pieces))
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _cut(self, signature: Signature, arrays: Arrays, batch_size: int) -> list[slice]:
        """Slice the rows, all pieces as long but the last: a single slice if they can not be cut, none without rows.

        A server that batches never answers a request without rows, so none is sent.
        """
        if any(array.ndim and not len(array) for array in arrays.values()):
            if not all(spec.is_batch_first for spec in signature.outputs.values()):
                raise ValueError(
                    f"inputs: expected at least one row, as outputs of signature {signature.name} are not one row "
                    "for each; received none."
                )
            return []
        if not signature.is_batch_first:
            return [slice(None)]
        row_bytes = max(1, sum(map(self.transport.estimate_row_bytes, arrays.values())))
        rows = max(1, min(batch_size, self.row_limit or batch_size, self.transport.max_bytes // row_bytes))
        num_rows = len(next(iter(arrays.values())))
        return [slice(start, min(start + rows, num_rows)) for start in range(0, num_rows, rows)]

    def _learn_row_limit(self, error: ServingError, pieces: list[slice]) -> bool:
        """Return whether the server rejected a request for its rows and takes smaller pieces."""
        found = _ROW_LIMIT.search(error.message)
        limit = 0 if found is None or pieces == [slice(None)] else int(found[1])
        if not limit or limit >= max(piece.stop - piece.start for piece in pieces):
            return False
        self.row_limit = limit
        return True


def _validate_outputs(outputs: Arrays, metadata: Metadata, signature: Signature, num_rows: int | None) -> None:
    """Raise ServingError unless outputs have the names and shapes of the metadata, and ``num_rows`` rows."""
    specs = signature.outputs
    received = {name: array.shape for name, array in outputs.items()}
    fits = set(received) == set(specs) and all(specs[name].admits(shape) for name, shape in received.items())
    if not fits or (num_rows is not None and any(shape[0] != num_rows for shape in received.values())):
        expected = ", ".join(f"{name} {spec.shape_text()}" for name, spec in specs.items())
        rows = "" if num_rows is None else f", with a batch of {num_rows}"
        shapes = ", ".join(f"{name} {shape}" for name, shape in received.items())
        raise ServingError(
            "INTERNAL",
            f"expected outputs {expected}{rows}; received {shapes}",
            f"signature {signature.name} of version {metadata.version} of model {metadata.model}",
        )


def validate_integer(name: str, value: int, least: int) -> int:
    """Return an integer of at least ``least``, else raise ValueError."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):  # True is 1 in Python, and a switch to the caller.
        raise ValueError(f"{name}: expected an integer of at least {least}; received {value!r}.")
    return number


def validate_seconds(name: str, value: object) -> float:
    """Return a positive number, else raise ValueError."""
    seconds = math.nan if isinstance(value, bool) or not isinstance(value, numbers.Real) else float(value)
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name}: expected a positive number of seconds; received {value!r}.")
    return seconds
