"""``tfae evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfae.cli.options import ignore_option, open_for_model, run_dir_argument, source_options
from tfae.cli.tensorflow import import_tensorflow, onednn_of


@click.command()
@run_dir_argument
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
        dataset, train = data.test, data.train_from(0)
    else:
        opened = open_for_model(source, options, run.config["data"], run.preprocessing.sample_shape)
        dataset = datasets.stream(opened, run.preprocessing)
        try:
            train = run.load_data().train_from(0)
        except ValueError as error:
            click.echo(f"No baselines without the training split: {error}", err=True)
            train = None
    measures = evaluation.evaluate(
        run.autoencoder,
        dataset,
        train=train,
        data_range=run.preprocessing.value_range,
        ignore={*run.config["ignore"], *ignore},
    )
    click.echo(json.dumps(measures.as_dict(), indent=2) if as_json else str(measures))
