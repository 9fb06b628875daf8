"""``tfae inspect``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tfae.cli.options import saved_model_argument, trust_option
from tfae.cli.tensorflow import import_tensorflow


@click.command()
@saved_model_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@trust_option
@click.pass_context
def inspect(ctx: click.Context, saved_model: Path, *, as_json: bool, trust: bool) -> None:
    """Say what is in SAVED_MODEL, a version or a folder of versions, and run each of its signatures once.

    It need not come from tfae. Nothing of it is run if it can do more than compute, unless it is trusted. The exit code
    is 1 if a signature does not answer.
    """
    import_tensorflow()
    from tfae import export as exporting

    inspection = exporting.inspect(saved_model)
    health = exporting.check_health(inspection.path, trust=trust)
    if as_json:
        click.echo(json.dumps({**inspection.as_dict(), "health": health.as_dict()}, indent=2))
    else:
        click.echo(f"{inspection}\n\n{health}")
    if not health.healthy:
        ctx.exit(1)
