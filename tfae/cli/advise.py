"""``tfae advise``."""

from __future__ import annotations

import json
from typing import Any

import click

from tfae.cli.command import Command
from tfae.cli.layout import fit_terminal
from tfae.cli.options import load_options
from tfae.cli.tensorflow import import_tensorflow


@click.command(cls=Command)
@click.argument("source")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@load_options
def advise(source: str, *, as_json: bool, **options: Any) -> None:
    """Say which loss and which preprocessing fit SOURCE, and why: a look at its training split, without training."""
    import_tensorflow()
    from tfae import advice, datasets

    advised = advice.advise(datasets.load(source, **options))
    click.echo(json.dumps(advised.as_dict(), indent=2) if as_json else fit_terminal(str(advised)))
