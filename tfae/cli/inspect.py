"""``tfae inspect``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tfae.cli.options import saved_model_argument
from tfae.cli.tensorflow import import_tensorflow


@click.command()
@saved_model_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(saved_model: Path, *, as_json: bool) -> None:
    """Say what is in SAVED_MODEL, a version or a folder of versions, without running anything of it."""
    import_tensorflow()
    from tfae import export as exporting

    inspection = exporting.inspect(saved_model)
    click.echo(json.dumps(inspection.as_dict(), indent=2) if as_json else str(inspection))
