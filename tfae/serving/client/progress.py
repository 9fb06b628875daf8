"""How many rows are answered, on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def shown(num_rows: int, title: str, *, progress: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr as long as the block lasts, if asked to.

    Yields:
        Function to call with the number of rows that are done.
    """
    if not progress:
        yield lambda rows: None
        return
    from rich.console import Console  # Half as long to import as all the rest of the client.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=num_rows)
        yield lambda rows: bar.advance(task, rows)
