"""Text that fits the terminal, broken between words only."""

from __future__ import annotations

import shutil
import sys
import textwrap

#: Columns that are left to the last one of a table; in fewer, what does not fit goes on below the whole line.
_LEAST = 24


def terminal_width() -> int | None:
    """Columns of the terminal that is printed to; None if it is a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fit_terminal(text: str) -> str:
    """Go on below the last column of a table with what of it is wider than the terminal."""
    width = terminal_width()
    return text if width is None else "\n".join(_fit(line, width) for line in text.split("\n"))


def _fit(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    column = line.rfind("  ", 0, width - _LEAST) + 2
    if column < 2 or not line[:column].strip():  # It has one column, which may be indented.
        column = len(line) - len(line.lstrip()) + 2
        return textwrap.fill(line, width, subsequent_indent=" " * column, break_on_hyphens=False)
    before, last = line[:column], line[column:]
    indent = " " * column
    return textwrap.fill(
        last, width, initial_indent=before, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
