"""Messages in the words of the command line.

Errors and warnings of the package speak of arguments: they begin with the name of one, ``columns: expected …``, and
write what to pass as Python has it, ``ignore=["range"]``. Of a command's own options both become what the user types.
"""

from __future__ import annotations

import ast
import re
import shlex
from typing import Any

import click

from tfae.cli.options import is_given

#: What Python calls what an option gives, where that is another name and the option is given.
_ARGUMENTS = {"resume": "run_dir", "widths": "filters", "export_dir": "directory"}
_TEXT = r"""(?<!\w)(?:"[^"]*"|'[^']*')"""
_LITERAL = rf"""\[(?:{_TEXT}|[^\[\]])*\]|\((?:{_TEXT}|[^()])*\)|"[^"]*"|'[^']*'|\w(?:[\w.+-]*\w)?"""


def in_options(message: object, ctx: click.Context | None) -> str:
    """Return a message about arguments as one about the options of the command that is running, in one line."""
    text = " ".join(str(message).split())
    if ctx is None:
        return text
    by_name = {parameter.name or "": parameter for parameter in ctx.command.params}
    by_name |= {_option(each).lstrip("-").replace("-", "_"): each for each in ctx.command.params}
    for name, argument in _ARGUMENTS.items():
        if name in by_name and is_given(ctx, by_name[name]):
            by_name[argument] = by_name[name]

    def name_option(found: re.Match[str]) -> str:
        # What the command has no option for is what it passes itself.
        return f"{_option(by_name[found[1]])}: " if found[1] in by_name else ""

    def write_option(found: re.Match[str]) -> str:
        parameter = by_name.get(found[1])
        return found[0] if parameter is None or _is_inside_call(text[: found.start()]) else _typed(parameter, found[2])

    text = re.sub(r"^(\w+): (?=expected)", name_option, text)
    return re.sub(rf"(?<![\w.=-])(\w+)=({_LITERAL})?(?![\w=])", write_option, text)


def _option(parameter: click.Parameter) -> str:
    """What a user calls a parameter: its longest option, or the name of an argument in capitals."""
    return max(parameter.opts, key=len) if isinstance(parameter, click.Option) else (parameter.name or "").upper()


def _is_inside_call(before: str) -> bool:
    """Whether what follows is an argument of a call that is written out, ``compile(optimizer, loss=…)``."""
    while (shorter := re.sub(r"\([^()]*\)", "", before)) != before:
        before = shorter
    return re.search(r"\w\([^()]*$", before) is not None


def _typed(parameter: click.Parameter, literal: str | None) -> str:
    """What a user types to give a parameter a value, which Python writes so."""
    try:
        value: Any = ast.literal_eval(literal or "...")
    except (ValueError, SyntaxError):  # Names, which stand for values.
        value = re.sub(r"[()\[\],]", "", literal or "").split()
    if isinstance(value, bool):
        return max(parameter.opts if value else parameter.secondary_opts or parameter.opts, key=len)
    values = list(map(str, value)) if isinstance(value, list | tuple) else [str(value)]
    if value in (..., None) or value == [...]:
        return _option(parameter)
    if parameter.nargs > 1:
        return f"{_option(parameter)} {' '.join(values)}"
    if parameter.multiple:
        return " ".join(f"{_option(parameter)} {shlex.quote(each)}" for each in values)
    return f"{_option(parameter)} {shlex.quote(','.join(values))}"
