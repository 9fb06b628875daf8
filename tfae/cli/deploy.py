"""``tfae deploy``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tfae.cli.command import Command
from tfae.cli.options import label_option
from tfae.cli.tensorflow import import_tensorflow


@click.command(cls=Command)
@click.argument("saved_models", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("deploy"), help="Folder to write.")
@click.option("--replace", is_flag=True, help="Replace a folder that was written before.")
@click.option("--name", help="Of the model, as clients ask for it.  [default: the folder's]")
@label_option
@click.option("--image", default="tensorflow/serving", help="Of TensorFlow Serving; give it a tag: NAME:TAG.")
@click.option("--batching", is_flag=True, help="Have the servers batch the requests of several clients.")
def deploy(
    saved_models: Path,
    *,
    output: Path,
    replace: bool,
    name: str | None,
    **options: Any,
) -> None:
    """Write the files that operate TensorFlow Serving with SAVED_MODELS, a folder of versions.

    Written are the configurations of models, batching and monitoring, a Docker compose file, a Kubernetes manifest, a
    readiness probe that asks every signature, and a README that tells how to use them.
    """
    import_tensorflow()
    from tfae.serving import deployment

    settings = deployment.Deployment(saved_models=saved_models, name=name or "", **options)
    deployment.write(settings, output, replace=replace)
    click.echo(output / "README.md")
