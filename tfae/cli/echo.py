"""Messages on stderr."""

from __future__ import annotations

import contextlib
import logging
import re

import click

#: Characters that steer a terminal or break a line, other than the line feed and the tab.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def say(message: str) -> None:
    """Show a message, unless stderr is closed."""
    with contextlib.suppress(OSError):
        click.echo(message, err=True)


class Echo(logging.Handler):
    """Shows a log, parts of which may come from clients or models."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message: further lines are indented, and what would steer a terminal is written out."""
        text = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], self.format(record))
        say(text.replace("\n", "\n    "))
