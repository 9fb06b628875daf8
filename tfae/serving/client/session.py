"""How a call becomes requests: metadata that is kept, inputs that are checked and cut, one version for all pieces."""

from __future__ import annotations

import dataclasses
import re
import time
from typing import final

import numpy as np

from tfae.serving.client.description import Metadata, Signature, VersionStatus
from tfae.serving.client.error import ServingError
from tfae.serving.client.inputs import Bind, fit_inputs
from tfae.serving.client.pieces import Arrays, ask_pieces, cut
from tfae.serving.client.retries import Deadline, ask_with_retries
from tfae.serving.client.transport import Target, Transport

#: How often one call begins anew because the server changed the model under it.
_MAX_RESTARTS = 10
#: Errors that may come from metadata which is out of date.
_PERHAPS_STALE = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL")
_ROW_LIMIT = re.compile(r"larger than maximum input batch size (\d+)")
#: Seconds between two questions whether a model is ready: the first time, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


@final
@dataclasses.dataclass(frozen=True, kw_only=True)
class Call:
    """What a session is asked.

    Attributes:
        signature: Name of the signature.
        bind: Says which arrays are which inputs of it.
        timeout: Seconds for the whole call; of an input that is sent in pieces, for each.
        batch_size: Most rows of a request.
        retries: How often a request is asked again.
        progress: Whether to show a bar.
        is_one_row_each: Whether an answer with another number of rows than the input is an error; of an input that
            is sent in pieces it always is.
    """

    signature: str
    bind: Bind
    timeout: float
    batch_size: int
    retries: int
    progress: bool = False
    is_one_row_each: bool = False


@final
class Session:
    """One model on one server; ``retries`` is for metadata and status."""

    def __init__(self, transport: Transport, target: Target, *, concurrency: int, retries: int) -> None:
        self._transport = transport
        self._target = target
        self._concurrency = concurrency
        self._retries = retries
        #: None is: ask before the next use.
        self._metadata: Metadata | None = None
        #: Most rows that the server said it takes at once, which it does not say before it refuses more.
        self._row_limit: int | None = None

    def metadata(self, deadline: Deadline) -> Metadata:
        """What the server says now, kept for later calls."""
        self._metadata = ask_with_retries(
            lambda deadline: self._transport.metadata(self._target, deadline), deadline, self._retries
        )
        return self._metadata

    def status(self, deadline: Deadline) -> list[VersionStatus]:
        """States of the versions, newest first."""
        versions = ask_with_retries(
            lambda deadline: self._transport.status(self._target, deadline), deadline, self._retries
        )
        available = [entry.version for entry in versions if entry.state == "AVAILABLE"]
        if self._metadata is not None and self._metadata.version != max(available, default=None):
            self._metadata = None
        return versions

    def ask(self, call: Call) -> Arrays:
        """Outputs of a signature by name, all from the same version of the model."""
        deadline = Deadline(call.timeout)
        is_fresh = self._metadata is None
        metadata = self._metadata or self.metadata(deadline)
        restarts = 0
        while True:
            try:
                signature = metadata.signature(call.signature)
                arrays = fit_inputs(signature, call.bind(signature))
            except ValueError:
                if is_fresh:
                    raise
                metadata, is_fresh = self.metadata(deadline), True  # What does not fit any more may fit a new version.
                continue
            pieces = self._cut(signature, arrays, call.batch_size)
            if not pieces:
                return _empty(signature)
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
                    raise error from None  # The reason for asking is what the caller has to know.
                if newer == metadata:
                    raise
                metadata, is_fresh = newer, True

    def wait(self, call: Call, *, timeout: float) -> None:
        """Ask until there is a good answer, for so many seconds; ``call`` says for how many each time.

        Raises:
            ServingError: If there was no good answer in time, with the last thing that went wrong.
        """
        deadline = Deadline(timeout)
        pause = _FIRST_PAUSE
        while True:
            try:
                seconds = max(min(call.timeout, deadline.remaining()), 1e-3)
                self.ask(dataclasses.replace(call, timeout=seconds))
                return
            except ServingError as error:
                if error.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
                    raise  # Waiting changes nothing about that.
                if pause >= deadline.remaining():
                    message = f"not ready within {timeout:g} s, at last because of: {error.message}"
                    raise ServingError("DEADLINE_EXCEEDED", message, error.request) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _answer(
        self, call: Call, metadata: Metadata, arrays: Arrays, pieces: list[slice], deadline: Deadline
    ) -> Arrays:
        """The outputs of all pieces, put together."""
        in_pieces = len(pieces) > 1
        signature = metadata.signature(call.signature)
        # Pieces name the version: the newest may become another between the first and the last.
        target = Target(self._target.model, metadata.version) if in_pieces else self._target

        def ask(rows: slice, deadline: Deadline, num_rows: int | None) -> Arrays:
            # A 0-D input has no rows, and belongs to a request that is not cut.
            inputs = {name: array[rows] if array.ndim else array for name, array in arrays.items()}
            outputs, version = ask_with_retries(
                lambda deadline: self._transport.predict(target, signature, inputs, deadline), deadline, call.retries
            )
            if version is not None and version != metadata.version:
                self._metadata = None
            _check(outputs, metadata, signature, num_rows)
            return outputs

        if not in_pieces:
            return ask(pieces[0], deadline, pieces[0].stop if call.is_one_row_each else None)
        return ask_pieces(
            # The time of a piece begins when its turn comes.
            lambda rows: ask(rows, Deadline(call.timeout), rows.stop - rows.start),
            pieces,
            concurrency=self._concurrency,
            bar_title=f"{metadata.model} {signature.name}" if call.progress else None,
        )

    def _cut(self, signature: Signature, arrays: Arrays, batch_size: int) -> list[slice]:
        """Slices of the rows; a single one for all that can not be cut, none for no rows.

        A server that batches never answers a request without rows, so that there is none.
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
        row_bytes = sum(self._transport.row_bytes(array) for array in arrays.values())
        return cut(np.asarray(row_bytes), max_rows, self._transport.max_bytes)

    def _learn_row_limit(self, error: ServingError, pieces: list[slice]) -> bool:
        """Whether the server refused a request because of its rows and takes it in smaller pieces."""
        found = _ROW_LIMIT.search(error.message)
        limit = 0 if found is None or pieces == [slice(None)] else int(found[1])
        if not limit or limit >= max(piece.stop - piece.start for piece in pieces):
            return False
        self._row_limit = limit
        return True


def _check(outputs: Arrays, metadata: Metadata, signature: Signature, num_rows: int | None) -> None:
    """Raise if an answer has not the outputs and shapes that the metadata tell, or not so many rows."""
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


def _empty(signature: Signature) -> Arrays:
    """What no rows give."""
    return {
        name: np.zeros([side or 0 for side in spec.shape or (None,)], spec.dtype)
        for name, spec in signature.outputs.items()
    }
