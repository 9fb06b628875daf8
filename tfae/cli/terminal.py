"""What is shown in a terminal: text that fits it, and messages on stderr."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import sys
import textwrap

import click

#: Characters that steer a terminal or break a line, other than the line feed and the tab.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
#: Columns that are left to the last one of a table; in fewer, what does not fit goes on below the whole line.
_LEAST = 24


class Echo(logging.Handler):
    """Shows a log, parts of which may come from clients or models, unless stderr is closed."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message: further lines are indented, and what would steer a terminal is written out."""
        text = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], self.format(record))
        with contextlib.suppress(OSError):
            click.echo(text.replace("\n", "\n    "), err=True)


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
