"""Calls to one model: cached metadata, validated inputs, and one version of the model for all pieces of an input."""

from __future__ import annotations

import dataclasses
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, final

import numpy as np

from tfae.serving.client.description import Metadata
from tfae.serving.client.error import ServingError
from tfae.serving.client.inputs import Bind, fit_input
from tfae.serving.client.pieces import cut
from tfae.serving.client.retries import Deadline, ask_with_retries
from tfae.serving.status import ModelSpec, VersionStatus
from tfae.tensor_spec import Signature

if TYPE_CHECKING:
    from tfae.serving.client.arguments import Transport

Arrays = dict[str, np.ndarray]
#: Most times that a call starts over because the server replaced the model.
_MAX_RESTARTS = 10
#: Errors that outdated metadata may cause.
_PERHAPS_STALE = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL")
_ROW_LIMIT = re.compile(r"larger than maximum input batch size (\d+)")
#: Seconds between two probes of a model that is not ready: the first pause, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """A call of the signature of a name; the settings are those of :class:`tfae.serving.Client`.

    Attributes:
        bind: Assigns the arrays of the call to the inputs of the signature.
        is_one_row_each: Whether outputs with another number of rows than the input are an error; for an input that is
            sent in pieces they always are.
    """

    signature: str
    bind: Bind
    timeout: float
    batch_size: int
    retries: int
    is_one_row_each: bool = False


@final
class Session:
    """One model on one server; ``retries`` applies to metadata and status."""

    def __init__(self, transport: Transport, target: ModelSpec, *, concurrency: int, retries: int) -> None:
        self._transport = transport
        self._target = target
        self._concurrency = concurrency
        self._retries = retries
        #: None if it has to be fetched before the next use.
        self._metadata: Metadata | None = None
        #: Most rows of a request, known once the server has rejected more.
        self._row_limit: int | None = None

    def metadata(self, deadline: Deadline) -> Metadata:
        """Fetch the metadata, and keep it for later calls."""
        self._metadata = ask_with_retries(
            lambda: self._transport.metadata(self._target, deadline), deadline, self._retries
        )
        return self._metadata

    def status(self, deadline: Deadline) -> list[VersionStatus]:
        """Fetch the states of the versions, newest first."""
        versions = ask_with_retries(lambda: self._transport.status(self._target, deadline), deadline, self._retries)
        available = [entry.version for entry in versions if entry.state == "AVAILABLE"]
        if self._metadata is not None and self._metadata.version != max(available, default=None):
            self._metadata = None
        return versions

    def ask(self, call: Call) -> Arrays:
        """Return the outputs of a signature by name, all from the same version of the model."""
        deadline = Deadline(call.timeout)
        is_fresh = self._metadata is None
        metadata = self._metadata or self.metadata(deadline)
        restarts = 0
        while True:
            try:
                signature = metadata.signature(call.signature)
                arrays = signature.fit(call.bind(signature), fit_input)
            except ValueError:
                if is_fresh:
                    raise
                metadata, is_fresh = self.metadata(deadline), True  # They may fit a newer version.
                continue
            pieces = self._cut(signature, arrays, call.batch_size)
            if not pieces:
                return {name: spec.zeros(0) for name, spec in signature.outputs.items()}
            if len(pieces) > 1 and not is_fresh:
                metadata, is_fresh = self.metadata(deadline), True
                continue
            try:
                return self._answer(call, metadata, arrays, pieces, deadline)
            except ServingError as error:
                restarts += 1
                if error.code not in _PERHAPS_STALE or restarts > _MAX_RESTARTS:
                    raise
                if len(pieces) > 1:
                    deadline = Deadline(call.timeout)
                if self._learn_row_limit(error, pieces):
                    continue
                try:
                    newer = self.metadata(deadline)
                except ServingError:
                    raise error from None  # The caller needs the first error.
                if newer == metadata:
                    raise
                metadata, is_fresh = newer, True

    def wait(self, call: Call, *, timeout: float) -> None:
        """Repeat a call until it succeeds, or raise its last error after ``timeout`` seconds, as a ServingError."""
        deadline = Deadline(timeout)
        pause = _FIRST_PAUSE
        while True:
            try:
                seconds = max(min(call.timeout, deadline.remaining()), 1e-3)
                self.ask(dataclasses.replace(call, timeout=seconds))
                return
            except ServingError as error:
                if error.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
                    raise  # Waiting does not help.
                if pause >= deadline.remaining():
                    message = f"not ready within {timeout:g} s, at last because of: {error.message}"
                    raise ServingError("DEADLINE_EXCEEDED", message, error.request) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _answer(
        self, call: Call, metadata: Metadata, arrays: Arrays, pieces: list[slice], deadline: Deadline
    ) -> Arrays:
        """Return the outputs of all pieces."""
        in_pieces = len(pieces) > 1
        signature = metadata.signature(call.signature)
        # Pieces name the version, as the newest may be another one for the last piece.
        target = ModelSpec(self._target.name, metadata.version) if in_pieces else self._target

        def ask(rows: slice, deadline: Deadline, num_rows: int | None) -> Arrays:
            # A 0-D input has no rows; its request is never cut.
            inputs = {name: array[rows] if array.ndim else array for name, array in arrays.items()}
            outputs, version = ask_with_retries(
                lambda: self._transport.predict(target, signature, inputs, deadline), deadline, call.retries
            )
            if version is not None and version != metadata.version:
                self._metadata = None
            _validate_outputs(outputs, metadata, signature, num_rows)
            return outputs

        def ask_piece(rows: slice) -> Arrays:
            try:
                return ask(rows, Deadline(call.timeout), rows.stop - rows.start)
            except ServingError as error:
                error.request += f", rows {rows.start} to {rows.stop - 1}"
                raise

        if not in_pieces:
            return ask(pieces[0], deadline, pieces[0].stop if call.is_one_row_each else None)
        with ThreadPoolExecutor(min(self._concurrency, len(pieces))) as pool:
            answers = list(pool.map(ask_piece, pieces))
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _cut(self, signature: Signature, arrays: Arrays, batch_size: int) -> list[slice]:
        """Slice the rows: a single slice if they can not be cut, none without rows.

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
        max_rows = batch_size if self._row_limit is None else min(batch_size, self._row_limit)
        row_bytes = sum(self._transport.estimate_row_bytes(array) for array in arrays.values())
        return cut(np.asarray(row_bytes), max_rows, self._transport.max_bytes)

    def _learn_row_limit(self, error: ServingError, pieces: list[slice]) -> bool:
        """Return whether the server rejected a request for its rows and takes smaller pieces."""
        found = _ROW_LIMIT.search(error.message)
        limit = 0 if found is None or pieces == [slice(None)] else int(found[1])
        if not limit or limit >= max(piece.stop - piece.start for piece in pieces):
            return False
        self._row_limit = limit
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
