"""Calls to one model: cached metadata, validated inputs, and one version of the model for all pieces of an input."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, final

import numpy as np

from tfae.serving.client.arguments import validate_integer, validate_seconds
from tfae.serving.client.description import Metadata
from tfae.serving.client.error import ServingError
from tfae.serving.client.inputs import Bind
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
class Session:
    """One model on one server; the arguments are those of :class:`tfae.serving.Client`, and are validated here."""

    def __init__(
        self,
        transport: Transport,
        target: ModelSpec,
        *,
        timeout: float,
        batch_size: int,
        concurrency: int,
        retries: int,
    ) -> None:
        self._transport = transport
        self._target = target
        self._timeout = validate_seconds("timeout", timeout)
        self._batch_size = validate_integer("batch_size", batch_size, 1)
        self._concurrency = concurrency
        self._retries = validate_integer("retries", retries, 0)
        #: None if it has to be fetched before the next use.
        self._metadata: Metadata | None = None
        #: Most rows of a request, known once the server has rejected more.
        self._row_limit: int | None = None

    def metadata(self, timeout: float | None = None) -> Metadata:
        """Fetch the metadata, and keep it for later calls."""
        return self._fetch_metadata(self._deadline(timeout))

    def status(self, timeout: float | None = None) -> list[VersionStatus]:
        """Fetch the states of the versions, newest first."""
        deadline = self._deadline(timeout)
        versions = ask_with_retries(lambda: self._transport.status(self._target, deadline), deadline, self._retries)
        available = [entry.version for entry in versions if entry.state == "AVAILABLE"]
        if self._metadata is not None and self._metadata.version != max(available, default=None):
            self._metadata = None
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
        batch_size = self._batch_size if batch_size is None else validate_integer("batch_size", batch_size, 1)
        retries = self._retries if retries is None else retries
        is_fresh = self._metadata is None
        metadata = self._metadata or self._fetch_metadata(deadline)
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
                if len(pieces) > 1:
                    return self._ask_pieces(metadata, signature, arrays, pieces, deadline.seconds, retries)
                num_rows = pieces[0].stop if is_one_row_each else None
                return self._ask_once(self._target, metadata, signature, arrays, num_rows, deadline, retries)
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
        deadline = Deadline(validate_seconds("timeout", timeout))
        pause = _FIRST_PAUSE
        while True:
            try:
                # What hangs while it starts may be well a moment later: each question has the time of a call.
                seconds = max(min(self._timeout, deadline.remaining()), 1e-3)
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
        return Deadline(self._timeout if timeout is None else validate_seconds("timeout", timeout))

    def _fetch_metadata(self, deadline: Deadline) -> Metadata:
        self._metadata = ask_with_retries(
            lambda: self._transport.metadata(self._target, deadline), deadline, self._retries
        )
        return self._metadata

    def _ask_once(
        self,
        target: ModelSpec,
        metadata: Metadata,
        signature: Signature,
        inputs: Arrays,
        num_rows: int | None,
        deadline: Deadline,
        retries: int,
    ) -> Arrays:
        outputs, version = ask_with_retries(
            lambda: self._transport.predict(target, signature, inputs, deadline), deadline, retries
        )
        if version is not None and version != metadata.version:
            self._metadata = None
        _validate_outputs(outputs, metadata, signature, num_rows)
        return outputs

    def _ask_pieces(
        self,
        metadata: Metadata,
        signature: Signature,
        arrays: Arrays,
        pieces: list[slice],
        seconds: float,
        retries: int,
    ) -> Arrays:
        # They name the version, as the newest may be another one for the last piece.
        target = ModelSpec(self._target.name, metadata.version)

        def ask(rows: slice) -> Arrays:
            inputs = {name: array[rows] for name, array in arrays.items()}
            num_rows = rows.stop - rows.start
            try:
                return self._ask_once(target, metadata, signature, inputs, num_rows, Deadline(seconds), retries)
            except ServingError as error:
                error.request += f", rows {rows.start} to {rows.stop - 1}"
                raise

        with ThreadPoolExecutor(min(self._concurrency, len(pieces))) as pool:
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
        row_bytes = max(1, sum(map(self._transport.estimate_row_bytes, arrays.values())))
        rows = max(1, min(batch_size, self._row_limit or batch_size, self._transport.max_bytes // row_bytes))
        num_rows = len(next(iter(arrays.values())))
        return [slice(start, min(start + rows, num_rows)) for start in range(0, num_rows, rows)]

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
