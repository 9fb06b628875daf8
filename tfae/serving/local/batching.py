"""Requests that come at the same time, put together into one call of a signature."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tfae.serving.status import StatusError

if TYPE_CHECKING:
    from tfae.servable import Servable
    from tfae.serving.local.batching_parameters import BatchingParameters

Arrays = dict[str, np.ndarray]


@dataclass(eq=False)
class _Task:
    """One request that waits for its part of a batch."""

    inputs: Mapping[str, np.ndarray]
    rows: int
    answer: Future[Arrays] = field(default_factory=Future)


@dataclass(eq=False)
class _Batch:
    """Requests that run together: the same signature of the same version, with rows of the same shape."""

    servable: Servable
    signature_name: str
    key: tuple[Any, ...]
    due: float
    tasks: list[_Task] = field(default_factory=list)
    rows: int = 0


@final
class Batcher:
    """Batches as TensorFlow Serving's BatchingSession does, but for two kindnesses.

    A request that fails does not fail those that it was batched with: these run again, alone. And a request without
    rows is answered at once, where the real server lets it wait for another one.

    Args:
        parameters: Sizes and times.
        run: Asks a signature with ready inputs.
        batched: Told the number of rows of every batch.
    """

    def __init__(
        self,
        parameters: BatchingParameters,
        run: Callable[[Servable, str, Mapping[str, np.ndarray]], Arrays],
        batched: Callable[[int], object] | None = None,
    ) -> None:
        self._parameters = parameters
        self._run = run
        self._batched = batched
        self._queue: list[_Batch] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"tfae-batch-{number}", daemon=True)
            for number in range(parameters.num_batch_threads)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def run(self, servable: Servable, signature_name: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Ask a signature, together with whoever else does; the caller waits, and keeps the servable open.

        Raises:
            StatusError: INVALID_ARGUMENT for inputs that have no batch dimension, or not the same one, or more rows
                than a batch; UNAVAILABLE if too many batches wait; or what the kernel says of this request alone.
        """
        rows = _rows(inputs)
        if rows == 0:
            return _checked(self._run(servable, signature_name, inputs), 0)
        most = self._parameters.max_batch_size
        if rows <= most:
            return self._submit(servable, signature_name, inputs, rows).result()
        if not self._parameters.enable_large_batch_splitting:
            raise StatusError("INVALID_ARGUMENT", f"Task size {rows} is larger than maximum input batch size {most}")
        parts = [
            {name: array[start : start + most] for name, array in inputs.items()} for start in range(0, rows, most)
        ]
        answers: list[Future[Arrays]] = []
        try:
            answers += (self._submit(servable, signature_name, part, _rows(part)) for part in parts)
        finally:  # Whatever happens, the servable stays open until none of them needs it.
            wait(answers)
        return _joined([answer.result() for answer in answers])

    def stop(self) -> None:
        """Run what waits and end the threads; requests after it are refused."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5)

    def _submit(
        self, servable: Servable, signature_name: str, inputs: Mapping[str, np.ndarray], rows: int
    ) -> Future[Arrays]:
        """Put a request into a batch."""
        task = _Task(inputs, rows)
        shapes = tuple((name, array.dtype.name, array.shape[1:]) for name, array in sorted(inputs.items()))
        key = (id(servable), signature_name, shapes)
        with self._changed:
            if self._stopping:
                raise StatusError("UNAVAILABLE", "The server is shutting down.")
            batch = next((batch for batch in reversed(self._queue) if batch.key == key), None)
            if batch is None or batch.rows + rows > self._parameters.max_batch_size:
                self._refuse_if_full()
                due = time.monotonic() + self._parameters.batch_timeout_micros / 1e6
                batch = _Batch(servable, signature_name, key, due)
                self._queue.append(batch)
            batch.tasks.append(task)
            batch.rows += rows
            self._changed.notify()
        return task.answer

    def _refuse_if_full(self) -> None:
        most = self._parameters.max_enqueued_batches
        if len(self._queue) >= most:
            raise StatusError(
                "UNAVAILABLE",
                f"The batch scheduling queue to which this task was submitted is full; currently {len(self._queue)} "
                f"batches enqueued and max_enqueued_batches is {most}",
            )

    def _work(self) -> None:
        """Run batches until told to stop and none waits any more; what each thread does."""
        while (batch := self._next()) is not None:
            self._process(batch)

    def _next(self) -> _Batch | None:
        """Wait for a batch that is full or due, the oldest first; None at the end."""
        with self._changed:
            while True:
                now = time.monotonic()
                for batch in self._queue:
                    full = batch.rows >= self._parameters.max_batch_size
                    if full or batch.due <= now or self._stopping:
                        self._queue.remove(batch)
                        return batch
                if self._stopping:
                    return None
                self._changed.wait(self._queue[0].due - now if self._queue else None)

    def _process(self, batch: _Batch) -> None:
        """Answer every request of a batch, whatever happens."""
        if self._batched is not None:
            self._batched(batch.rows)
        try:
            answers = self._together(batch) if len(batch.tasks) > 1 else None
        except Exception:
            answers = None  # One of them is to blame, and the others need not know: each is asked alone.
        for position, task in enumerate(batch.tasks):
            try:
                if answers is None:
                    answer = _checked(self._run(batch.servable, batch.signature_name, task.inputs), task.rows)
                else:
                    answer = answers[position]
            except BaseException as error:
                task.answer.set_exception(error)
            else:
                task.answer.set_result(answer)

    def _together(self, batch: _Batch) -> list[Arrays]:
        """The answer to every request of a batch, from one call."""
        joined = _joined([task.inputs for task in batch.tasks])
        outputs = _checked(self._run(batch.servable, batch.signature_name, joined), batch.rows)
        ends = np.cumsum([task.rows for task in batch.tasks])
        return [
            {name: array[end - task.rows : end] for name, array in outputs.items()}
            for task, end in zip(batch.tasks, ends, strict=True)
        ]


def _joined(parts: list[Mapping[str, np.ndarray]] | list[Arrays]) -> Arrays:
    """Arrays one after the other along the batch dimension, by name."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _rows(inputs: Mapping[str, np.ndarray]) -> int:
    """The common first dimension of the inputs."""
    if not all(array.ndim for array in inputs.values()):
        raise StatusError("INVALID_ARGUMENT", "Batching Run() input tensors must have at least one dimension")
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) > 1:
        raise StatusError("INVALID_ARGUMENT", "Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop() if sizes else 0


def _checked(outputs: Arrays, rows: int) -> Arrays:
    """Outputs, if each has a row for every row of the inputs."""
    for array in outputs.values():
        if not array.ndim:
            raise StatusError("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")
        if len(array) != rows:
            raise StatusError(
                "FAILED_PRECONDITION",
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    return outputs
