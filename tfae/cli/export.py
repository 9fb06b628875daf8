"""``tfae export``."""

from __future__ import annotations

from pathlib import Path

import click

from tfae.cli.options import export_dir_option, ignore_option, run_dir_argument
from tfae.cli.tensorflow import import_tensorflow, onednn_of


@click.command()
@run_dir_argument
@export_dir_option
@ignore_option
def export(run_dir: Path, *, export_dir: Path | None, ignore: tuple[str, ...]) -> None:
    """Export the model of RUN_DIR as a SavedModel, under the next free version number.

    It has to answer as before on samples of the data that it was trained on, or on made ones where that can no longer
    be loaded.
    """
    import_tensorflow(onednn=onednn_of(run_dir))
    from tfae import runs

    run = runs.load_run(run_dir)
    data = None
    try:
        data = run.load_data()
    except ValueError as error:
        click.echo(f"Compared on made samples: {error}", err=True)
    export_dir = export_dir or Path("saved_models", run.config["data"]["name"].replace("/", "-"))
    click.echo(run.export(export_dir, data=data, ignore=ignore))
