"""``tfae evaluate`` and ``tfae export``: what is made of the directory of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfae.cli.command import Command
from tfae.cli.layout import fit_terminal
from tfae.cli.options import default_export_dir, export_dir_option, ignore_option, open_for_model, source_options
from tfae.cli.tensorflow import import_tensorflow, onednn_of
from tfae.cli.wording import in_options

_run_dir_argument = click.argument("run_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.command(cls=Command)
@_run_dir_argument
@click.argument("source", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@ignore_option
@source_options
def evaluate(run_dir: Path, source: str | None, *, as_json: bool, ignore: tuple[str, ...], **options: Any) -> None:
    """Evaluate the model of RUN_DIR on the test split of its data, or on all of SOURCE.

    The baselines come from the training split, and are left out where that can no longer be loaded. Checks that the
    training left out are left out here, too.
    """
    given = [name for name, value in options.items() if value is not None]
    if source is None and given:
        raise click.UsageError(f"expected --{given[0].replace('_', '-')} only with SOURCE.")
    import_tensorflow(onednn=onednn_of(run_dir))
    from tfae import datasets, evaluation, runs

    run = runs.load_run(run_dir)
    if source is None:
        data = run.load_data()
        dataset, train = data.normal_test(), data.train_from(0)
    else:
        opened = open_for_model(source, options, run.config["data"], run.preprocessing.get_config())
        dataset = datasets.stream(opened, run.preprocessing)
        try:
            train = run.load_data().train_from(0)
        except ValueError as error:
            click.echo(
                f"No baselines without the training split: {in_options(error, click.get_current_context())}", err=True
            )
            train = None
    measures = evaluation.evaluate(
        run.autoencoder,
        dataset,
        train=train,
        data_range=run.preprocessing.value_range,
        ignore={*run.config["ignore"], *ignore},
    )
    click.echo(json.dumps(measures.as_dict(), indent=2) if as_json else fit_terminal(str(measures)))


@click.command(cls=Command)
@_run_dir_argument
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
        click.echo(f"Compared on made samples: {in_options(error, click.get_current_context())}", err=True)
    click.echo(run.export(export_dir or default_export_dir(run.config["data"]["name"]), data=data, ignore=ignore))
