"""``tfae evaluate`` and ``tfae export``: what is made of the directory of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfae.cli.calibrate import explain_drift, read_samples
from tfae.cli.command import Command
from tfae.cli.options import (
    default_export_dir,
    export_dir_option,
    ignore_option,
    json_option,
    open_for_model,
    source_options,
    validate_source_options,
)
from tfae.cli.tensorflow import import_tensorflow, onednn_of
from tfae.cli.terminal import fit_terminal
from tfae.cli.wording import in_options

_run_dir_argument = click.argument("run_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.command(cls=Command)
@_run_dir_argument
@click.argument("source", required=False)
@json_option
@click.option(
    "--draws",
    type=click.IntRange(0, 2**31 - 1),
    help="Of a variational autoencoder: draws of each latent for the negative ELBO.  [default: 16]",
)
@click.option(
    "--draws-seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="What they are made from."
)
@ignore_option
@source_options
def evaluate(
    run_dir: Path,
    source: str | None,
    *,
    as_json: bool,
    draws: int | None,
    draws_seed: int,
    ignore: tuple[str, ...],
    **options: Any,
) -> None:
    """Evaluate the model of RUN_DIR on the test split of its data, or on all of SOURCE.

    Of a run with a calibration it says how many samples raise an alarm, whether their p-values are those of normal
    samples, and with labels, of a run on --normal samples, how good the alarms are.

    The baselines come from the training split, and are left out where that can no longer be loaded. Checks that the
    training left out are left out here, too.
    """
    validate_source_options(source, options)
    import_tensorflow(onednn=onednn_of(run_dir))
    from tfae import datasets, detection, evaluation, runs
    from tfae.evaluation.bound_metrics import NUM_DRAWS
    from tfae.moments import blocks

    run = runs.load_run(run_dir)
    is_anomaly = None
    if source is None:
        data = run.load_data()
        dataset, scored, train = data.normal_test(), data.test, data.train_from(0)
        samples, columns, is_anomaly = blocks(data.raw.test), data.columns, data.is_anomaly
    else:
        opened = open_for_model(source, options, run.config["data"], run.preprocessing.get_config())
        dataset = scored = datasets.stream(opened, run.preprocessing)
        samples, columns = read_samples(opened), opened.columns or ()
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
        num_draws=NUM_DRAWS if draws is None else draws,
        seed=draws_seed,
        ignore={*run.config["ignore"], *ignore},
    )
    found = measures.as_dict()
    if run.calibration is not None:
        by, groups = run.calibration.column, None
        scores = evaluation.scores(run.autoencoder, scored)
        is_normal = slice(None) if is_anomaly is None else ~is_anomaly
        if by is not None:
            groups = detection.read_categories(samples, columns, by)[is_normal]
        normal = scores[is_normal], groups
        p_values, alarms = run.calibration.p_values(*normal), run.calibration.is_outlier(*normal)
        drift = detection.compare_with_uniform(p_values, run.calibration.quantiles.num_samples)
        found |= {"alarms": run.calibration.describe(), "alarm_rate": float(alarms.mean()), "drift": drift._asdict()}
        if is_anomaly is not None:
            truth = detection.tell_truth(scores, data, run.calibration)
            found["truth"] = truth.as_dict()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(fit_terminal(str(measures)))
    if run.calibration is not None:
        click.echo(
            f"\nalarms {run.calibration}\n{alarms.mean():.2%} of {len(alarms):,} samples that are taken as normal "
            f"raise one\ntheir p-values against uniform ones: {drift}"
        )
        if drift.is_found:
            click.echo(f"! {explain_drift(drift)}")
        if "truth" in found:
            click.echo(f"\n{truth}")


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
