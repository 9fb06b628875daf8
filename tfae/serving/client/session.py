"""How a call becomes requests: metadata that is kept, inputs that are checked and cut, one version for all pieces."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import final

import numpy as np

from tfae.serving.client import progress as progress_bar
from tfae.serving.client.binding import Bind
from tfae.serving.client.description import Metadata, Signature, VersionStatus
from tfae.serving.client.error import ServingError
from tfae.serving.client.inputs import fit_inputs
from tfae.serving.client.pieces import cut
from tfae.serving.client.retries import Deadline, ask_with_retries
from tfae.serving.client.transport import Target, Transport

#: How often one call begins anew because the server changed the model under it.
_MAX_RESTARTS = 10
#: Errors that may come from metadata which is out of date.
_PERHAPS_STALE = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL")
_ROW_LIMIT = re.compile(r"larger than maximum input batch size (\d+)")

Arrays = dict[str, np.ndarray]


@final
class Session:
    """One model on one server.

    Args:
        transport: The way to it.
        target: The model, and which version.
        batch_size: Most rows of a request.
        concurrency: Most requests of a call at once.
        retries: How often a request is asked again.
    """

    def __init__(
        self, transport: Transport, target: Target, *, batch_size: int, concurrency: int, retries: int
    ) -> None:
        self._transport = transport
        self._target = target
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._retries = retries
        #: None is: ask before the next use.
        self._metadata: Metadata | None = None
        #: Most rows that the server said it takes at once, which it does not say before it refuses more.
        self._row_limit: int | None = None

    def metadata(self, timeout: float) -> Metadata:
        """What the server says now, kept for later calls."""
        return self._fetch(Deadline(timeout))

    def status(self, timeout: float) -> list[VersionStatus]:
        """States of the versions, newest first."""
        versions = ask_with_retries(
            lambda deadline: self._transport.status(self._target, deadline), Deadline(timeout), self._retries
        )
        available = [entry.version for entry in versions if entry.state == "AVAILABLE"]
        if self._metadata is not None and self._metadata.version != max(available, default=None):
            self._metadata = None
        return versions

    def ask(
        self,
        signature_name: str,
        bind: Bind,
        *,
        timeout: float,
        batch_size: int | None = None,
        progress: bool = False,
        retries: int | None = None,
        is_one_row_each: bool = False,
    ) -> Arrays:
        """Outputs of a signature by name, all from the same version of the model.

        Args:
            signature_name: Of the model.
            bind: Says which arrays are which inputs of the signature.
            timeout: Seconds for the whole call; of an input that is sent in pieces, for each.
            batch_size: Most rows of a request, instead of the session's own.
            progress: Whether to show a bar.
            retries: Instead of the session's own.
            is_one_row_each: Whether an answer with another number of rows than the input is an error; of an input that
                is sent in pieces it always is.
        """
        deadline = Deadline(timeout)
        kept = self._metadata
        metadata = kept or self._fetch(deadline)
        is_fresh = kept is None
        restarts = 0
        while True:
            try:
                signature = metadata.signature(signature_name)
                arrays = fit_inputs(signature, bind(signature))
            except ValueError:
                if is_fresh:
                    raise
                metadata, is_fresh = self._fetch(deadline), True  # What does not fit any more may fit a new version.
                continue
            pieces = self._cut(signature, arrays, batch_size)
            if not pieces:
                return _empty(signature)
            in_pieces = len(pieces) > 1
            if in_pieces and not is_fresh:
                metadata, is_fresh = self._fetch(deadline), True
                continue
            # Pieces name the version: the newest may become another between the first and the last.
            target = Target(self._target.model, metadata.version) if in_pieces else self._target
            call = _Call(self, target, metadata, signature, arrays, self._retries if retries is None else retries)
            try:
                if not in_pieces:
                    num_rows = pieces[0].stop if is_one_row_each else None
                    return call.ask(pieces[0], deadline, num_rows)
                return call.ask_pieces(pieces, timeout, progress=progress)
            except ServingError as error:
                restarts += 1
                if error.code not in _PERHAPS_STALE or restarts > _MAX_RESTARTS:
                    raise
                if in_pieces:
                    deadline = Deadline(timeout)
                if self._learn_row_limit(error, pieces):
                    continue
                newer = self._fetch_or_raise(error, deadline)
                if newer == metadata:
                    raise
                metadata, is_fresh = newer, True

    def _fetch(self, deadline: Deadline) -> Metadata:
        self._metadata = ask_with_retries(
            lambda deadline: self._transport.metadata(self._target, deadline), deadline, self._retries
        )
        return self._metadata

    def _fetch_or_raise(self, error: ServingError, deadline: Deadline) -> Metadata:
        try:
            return self._fetch(deadline)
        except ServingError:
            raise error from None  # The reason for asking is what the caller has to know.

    def _cut(self, signature: Signature, arrays: Arrays, batch_size: int | None) -> list[slice]:
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
        max_rows = self._batch_size if batch_size is None else batch_size
        if self._row_limit is not None:
            max_rows = min(max_rows, self._row_limit)
        row_bytes = sum(self._transport.row_bytes(array) for array in arrays.values())
        return cut(np.asarray(row_bytes), max_rows, self._transport.max_bytes)

    def _learn_row_limit(self, error: ServingError, pieces: list[slice]) -> bool:
        """Whether the server refused a request because of its rows and takes it in smaller pieces."""
        found = _ROW_LIMIT.search(error.message)
        if found is None or pieces == [slice(None)]:
            return False
        limit = int(found[1])
        if limit < 1 or max(piece.stop - piece.start for piece in pieces) <= limit:
            return False
        self._row_limit = limit
        return True


@final
class _Call:
    """Requests that belong together: one signature of one version, and its inputs."""

    def __init__(
        self,
        session: Session,
        target: Target,
        metadata: Metadata,
        signature: Signature,
        arrays: Arrays,
        retries: int,
    ) -> None:
        self._session = session
        self._target = target
        self._metadata = metadata
        self._signature = signature
        self._arrays = arrays
        self._retries = retries

    def ask_pieces(self, pieces: list[slice], timeout: float, *, progress: bool) -> Arrays:
        """The outputs of all pieces, put together."""
        title = f"{self._metadata.model} {self._signature.name}"
        workers = min(self._session._concurrency, len(pieces))
        with (
            progress_bar.shown(pieces[-1].stop, title, progress=progress) as advance,
            ThreadPoolExecutor(workers) as pool,
        ):
            # The time of a piece begins when its turn comes.
            futures = {
                pool.submit(lambda rows: self.ask_piece(rows, Deadline(timeout)), piece): piece for piece in pieces
            }
            try:
                for future in as_completed(futures):
                    future.result()
                    advance(futures[future].stop - futures[future].start)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        answers = [future.result() for future in futures]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in self._signature.outputs}

    def ask_piece(self, rows: slice, deadline: Deadline) -> Arrays:
        """The outputs of some rows; an error names them."""
        try:
            return self.ask(rows, deadline, rows.stop - rows.start)
        except ServingError as error:
            error.request += f", rows {rows.start} to {rows.stop - 1}"
            raise

    def ask(self, rows: slice, deadline: Deadline, num_rows: int | None) -> Arrays:
        """The outputs of some rows, of which there have to be so many, checked against the metadata."""
        # A 0-D input has no rows, and belongs to a request that is not cut.
        inputs = {name: array[rows] if array.ndim else array for name, array in self._arrays.items()}
        outputs, version = ask_with_retries(
            lambda deadline: self._session._transport.predict(self._target, self._signature, inputs, deadline),
            deadline,
            self._retries,
        )
        if version is not None and version != self._metadata.version:
            self._session._metadata = None
        self._check(outputs, num_rows)
        return outputs

    def _check(self, outputs: Arrays, num_rows: int | None) -> None:
        specs = self._signature.outputs
        received = {name: array.shape for name, array in outputs.items()}
        fits = set(received) == set(specs) and all(specs[name].admits(shape) for name, shape in received.items())
        if not fits or (num_rows is not None and any(shape[0] != num_rows for shape in received.values())):
            expected = ", ".join(f"{name} {spec.shape_text()}" for name, spec in specs.items())
            rows = "" if num_rows is None else f", with a batch of {num_rows}"
            raise ServingError(
                "INTERNAL",
                f"expected outputs {expected}{rows}; received "
                f"{', '.join(f'{name} {shape}' for name, shape in received.items())}",
                f"signature {self._signature.name} of version {self._metadata.version} of model {self._metadata.model}",
            )


def _empty(signature: Signature) -> Arrays:
    """What no rows give."""
    return {
        name: np.zeros([side or 0 for side in spec.shape or (None,)], spec.dtype)
        for name, spec in signature.outputs.items()
    }
