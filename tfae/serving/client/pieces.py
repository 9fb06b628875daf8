"""A large input, in pieces: how it is cut into requests, and their answers put together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from tfae.serving.client.error import ServingError

Arrays = dict[str, np.ndarray]


def cut(row_bytes: np.ndarray, max_rows: int, max_bytes: int) -> list[slice]:
    """Slices of rows, in order, each of at most so many rows and bytes; a row that is larger alone stands alone.

    ``row_bytes`` is int ``(num_rows,)``, what each row takes in a request.

    Example:
        >>> cut(np.array([4, 4, 4, 9, 1]), max_rows=2, max_bytes=8)
        [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None), slice(4, 5, None)]
    """
    ends = np.cumsum(row_bytes, dtype=np.int64)
    slices = []
    start = 0
    while start < len(ends):
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + max_bytes, side="right"))
        stop = max(start + 1, min(stop, start + max_rows))
        slices.append(slice(start, stop))
        start = stop
    return slices


def ask_pieces(
    ask: Callable[[slice], Arrays], pieces: list[slice], *, concurrency: int, bar_title: str | None
) -> Arrays:
    """The outputs of all rows, put together in order.

    Args:
        ask: Gives the outputs of some rows.
        pieces: Of the rows, in order.
        concurrency: Most that are asked at once.
        bar_title: Of a bar on stderr; None for no bar.

    Raises:
        ServingError: That of the first piece to fail, with its rows; those that have not begun are left.
    """

    def ask_piece(rows: slice) -> Arrays:
        try:
            return ask(rows)
        except ServingError as error:
            error.request += f", rows {rows.start} to {rows.stop - 1}"
            raise

    with _bar(pieces[-1].stop, bar_title) as advance, ThreadPoolExecutor(min(concurrency, len(pieces))) as pool:
        futures = {pool.submit(ask_piece, piece): piece for piece in pieces}
        try:
            for future in as_completed(futures):
                future.result()
                advance(futures[future].stop - futures[future].start)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    answers = [future.result() for future in futures]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


@contextlib.contextmanager
def _bar(num_rows: int, title: str | None) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of rows that are done."""
    if title is None:
        yield lambda rows: None
        return
    from rich.console import Console  # Half as long to import as all the rest of the client.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=num_rows)
        yield lambda rows: bar.advance(task, rows)
