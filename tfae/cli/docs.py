"""``tfae docs``."""

from __future__ import annotations

import difflib
import re
import shutil
import sys
from pathlib import Path

import click

from tfae.cli.command import Command

#: Columns that the tables need, and that prose is to have at most.
_WIDTH = 100


@click.command(cls=Command)
@click.argument("topic", required=False)
def docs(topic: str | None) -> None:
    """Show the guide to TOPIC, such as sum_or_mean or tables; without TOPIC, list them."""
    files = sorted(_find_folder().glob("*.md"), key=lambda path: (path.stem != "index", path.stem))
    pages = {path.stem: path for path in files}
    if topic is None:
        width = max(map(len, pages))
        for name, path in pages.items():
            click.echo(f"{name:{width}}  {path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        return
    name = topic.lower().replace("-", "_").removesuffix(".md")
    if name not in pages:
        near = difflib.get_close_matches(name, pages, n=1)
        remedy = f"Did you mean {near[0]!r}?" if near else "Without TOPIC all are listed."
        raise ValueError(f"topic: expected one of {', '.join(pages)}; received {topic!r}. {remedy}")
    click.echo_via_pager(_render(pages[name].read_text(encoding="utf-8")))


def _find_folder() -> Path:
    """Return where the guides are: in an installed package beside this file, in a clone in its docs/."""
    installed = Path(__file__).parent / "guides"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "docs"


def _render(text: str) -> str:
    """Return Markdown for the terminal, without pictures."""
    from rich.console import Console
    from rich.markdown import Markdown

    text = re.sub(r"^!\[[^\n]*\n|^```\{.*?^```\n", "", text, flags=re.MULTILINE | re.DOTALL)
    is_terminal = sys.stdout.isatty()
    size = shutil.get_terminal_size()
    width = min(_WIDTH, size.columns) if is_terminal else _WIDTH
    # Without a height Rich takes 80 columns where TERM=dumb, whatever the width.
    console = Console(width=width, height=size.lines, force_terminal=is_terminal)
    with console.capture() as rendered:
        console.print(Markdown(text, hyperlinks=False))
    return rendered.get()
