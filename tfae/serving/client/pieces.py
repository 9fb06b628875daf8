"""A large input: cut into requests, whose outputs are concatenated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from tfae.serving.client.error import ServingError

Arrays = dict[str, np.ndarray]


def cut(row_bytes: np.ndarray, max_rows: int, max_bytes: int) -> list[slice]:
    """Slice rows in order, at most ``max_rows`` and ``max_bytes`` each; a larger row is a slice of its own.

    ``row_bytes``, int ``(num_rows,)``, is what each row takes in a request.

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
    """Return what ``ask`` gives for all pieces, in order; at most ``concurrency`` of them are asked at once.

    ``bar_title`` is that of a progress bar on stderr; None for no bar. The first ServingError that ``ask`` raises is
    raised with its rows, and no further piece is asked then.
    """

    def ask_piece(rows: slice) -> Arrays:
        try:
            return ask(rows)
        except ServingError as error:
            error.request += f", rows {rows.start} to {rows.stop - 1}"
            raise

    with (
        _show_progress(pieces[-1].stop, bar_title) as advance,
        ThreadPoolExecutor(min(concurrency, len(pieces))) as pool,
    ):
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
def _show_progress(num_rows: int, title: str | None) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of rows that are done."""
    if title is None:
        yield lambda rows: None
        return
    from rich.console import Console  # Imported here: it takes half as long as the rest of the client.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=num_rows)
        yield lambda rows: bar.advance(task, rows)
