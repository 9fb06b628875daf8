"""``tfae calibrate``, and how a calibration is asked for and told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfae.cli.command import Command
from tfae.cli.options import (
    default_export_dir,
    export_dir_option,
    open_for_model,
    source_options,
    together,
    trust_option,
    validate_source_options,
)
from tfae.cli.tensorflow import import_tensorflow, onednn_of

if TYPE_CHECKING:
    import numpy as np

    from tfae.datasets import Source
    from tfae.detection import Drift

calibration_options = together(
    click.option(
        "--false-alarm-rate",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.01,
        help="Share of normal samples that is to raise an alarm.",
    ),
    click.option("--by", metavar="COLUMN", help="Column of categories each of which has a threshold of its own."),
)


@click.command(cls=Command)
@click.argument("trained", metavar="RUN_OR_MODEL", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("source", required=False)
@calibration_options
@export_dir_option
@trust_option
@source_options
def calibrate(
    trained: Path,
    source: str | None,
    *,
    false_alarm_rate: float,
    by: str | None,
    export_dir: Path | None,
    trust: bool,
    **options: Any,
) -> None:
    """Make scores alarms with a known false-alarm rate, and export that as a new version; nothing is trained.

    RUN_OR_MODEL is the directory of a run, or an export. SOURCE holds normal samples that the model was not trained on;
    of a run, it is the validation split unless given.
    """
    validate_source_options(source, options)
    is_run = (trained / "config.json").exists()
    if source is None and not is_run:
        raise click.UsageError("expected a SOURCE of normal samples beside a model, which has none with it.")
    if export_dir is not None and not is_run:
        raise click.UsageError("expected no --export-dir beside an export, whose next version it becomes.")
    import_tensorflow(onednn=onednn_of(trained) if is_run else "1")
    from tfae import datasets, detection, evaluation, runs
    from tfae import export as exporting

    if is_run:
        run = runs.load_run(trained)
        described, preprocessing = run.config["data"], run.preprocessing.get_config()
    else:
        model = exporting.load(trained, trust=trust)
        described, preprocessing = model.description["data"], model.description["preprocessing"]
    data = None
    if source is None:
        data = run.load_data()
        calibration = detection.calibrate(run.autoencoder, data, false_alarm_rate=false_alarm_rate, by=by)
    else:
        opened = open_for_model(source, options, described, preprocessing)
        if is_run:
            scores = evaluation.scores(run.autoencoder, datasets.stream(opened, run.preprocessing))
        else:
            import numpy as np

            scores = np.concatenate([model.score(samples) for samples in read_samples(opened)])
        groups = None
        if by is not None:
            groups = detection.read_categories(read_samples(opened), opened.columns or (), by)
        calibration = detection.calibrate_scores(
            scores, false_alarm_rate=false_alarm_rate, by=by, groups=groups, source=opened.name
        )
    if is_run:
        if data is None and described["arguments"] is not None:
            data = run.load_data()
        path = run.calibrate(calibration).export(export_dir or default_export_dir(described["name"]), data=data)
    else:
        path = exporting.recalibrate(model, calibration)
    click.echo(path)
    click.echo(f"alarms {calibration}", err=True)


def read_samples(source: Source) -> Iterator[np.ndarray]:
    """Yield all samples of a source, block by block."""
    return (batch.samples for part in source.parts.values() for batch in part.batches(8192))


def explain_drift(drift: Drift) -> str:
    """Return what it means that p-values of samples that are taken as normal are not uniform."""
    return (
        f"the p-values of these samples are not uniform ({drift}): they do not come from where the calibration samples "
        "do, or many of them are anomalies. If they are normal, the false-alarm rate is not kept on them: calibrate "
        "anew, tfae calibrate"
    )
