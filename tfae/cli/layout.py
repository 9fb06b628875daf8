"""Text that fits the terminal, broken between words only."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

import click

#: A hyphen at which no line is broken.
_NO_BREAK = "\u2011"
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


class Formatter(click.HelpFormatter):
    """Breaks no option in two, as ``--run-`` and ``dir``."""

    def write_text(self, text: str) -> None:
        """Write a paragraph."""
        super().write_text(text.replace("-", _NO_BREAK))

    def write_dl(self, rows: Iterable[tuple[str, str]], *args: Any, **options: Any) -> None:
        """Write a list of names and what they are."""
        super().write_dl([(name, text.replace("-", _NO_BREAK)) for name, text in rows], *args, **options)

    def getvalue(self) -> str:
        """Return the text."""
        return super().getvalue().replace(_NO_BREAK, "-")


class Context(click.Context):
    """A context whose help is laid out so."""

    formatter_class = Formatter
