"""``tfae score``: scores of whole data sets, in this process or by Apache Beam."""

from __future__ import annotations

import fnmatch
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfae.atomic_write import validate_apart
from tfae.cli.calibrate import explain_drift
from tfae.cli.command import Command
from tfae.cli.options import open_for_model, split_names
from tfae.cli.saved_model import open_with_source, output_of_source
from tfae.cli.tensorflow import import_tensorflow

if TYPE_CHECKING:
    from tfae.datasets import Source
    from tfae.export import SavedAutoencoder
    from tfae.scoring import Summary

#: As Beam calls them.
_RUNNERS = ("DirectRunner", "PrismRunner", "FlinkRunner", "SparkRunner", "DataflowRunner")


@click.command(cls=Command)
@output_of_source("File to write, .csv or .parquet; with --runner, what shards are called")
@click.option("--keep", metavar="A,B,…", callback=split_names, help="Columns of SOURCE to write beside the scores.")
@click.option(
    "--explain",
    type=click.IntRange(0),
    default=0,
    metavar="NUM",
    help="Features to name for each sample, those that contribute most to its score, with what they contribute.",
)
@click.option(
    "--step-reduction",
    type=click.Choice(["mean", "min", "max"]),
    default="mean",
    help="Of time series: how the scores that a step has in all windows that cover it become one.",
)
@click.option(
    "--events",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Of time series: file to write, .csv or .parquet, with a row for each run of alarms.",
)
@click.option(
    "--runner",
    type=click.Choice(_RUNNERS),
    help="Have Apache Beam score a table in files, and write shards of Parquet; what it is to know follows behind --, "
    "such as -- --flink_master=host:8081.  [default: none, this process scores]",
)
@click.argument("runner_options", metavar="[-- BEAM_OPTION...]", nargs=-1, type=click.UNPROCESSED)
def score(
    saved_model: Path,
    source: str,
    *,
    output: str,
    events: Path | None,
    keep: list[str] | None,
    explain: int,
    step_reduction: str,
    runner: str | None,
    runner_options: tuple[str, ...],
    trust: bool,
    **options: Any,
) -> None:
    """Score every sample of SOURCE with SAVED_MODEL; the higher, the more anomalous.

    One row per sample, in stored order: its part (the data set's own split, or all), its index in there, its file where
    there are several, the columns to keep, its label if it has one, and its instance_score. A sample that can not be
    scored has none, and a reason. A model with a calibration gives p-values and alarms, too. Time series have a row per
    step, with its time, from all windows that cover it; its alarm is that of the window that ends with it.
    Interrupted, the same command goes on where it was.

    With --runner, -o scores/part.parquet stands for scores/part-00000-of-00008.parquet and so on. The rows are in no
    order, and index is that in the file.
    """
    if options["gaps"] == "drop":  # There is a row for each.
        options["gaps"] = None
    # What follows SAVED_MODEL and SOURCE and is none of Beam's options.
    if runner_options and (runner is None or not runner_options[0].startswith("-")):
        raise click.UsageError(
            f"Got unexpected extra arguments ({' '.join(runner_options)}). A pattern of files stands in quotes; "
            "options of Apache Beam need --runner, and follow behind --."
        )
    if runner is not None:
        if events is not None:
            raise ValueError(f"events: expected None with --runner, which reads no time series; received {events}.")
        how = {"runner": runner, "runner_options": runner_options, "keep": keep or (), "explain": explain}
        _score_on_beam(saved_model, source, output, how, trust, options)
        return
    model, opened = open_with_source(saved_model, source, trust, options)
    from tfae import scoring
    from tfae.datasets import TableFiles, locate
    from tfae.scoring.event_file import validate_events, write_events

    path = Path(output)
    if events is not None:
        validate_events(events, opened, model, path)

    about = {
        "model": str(model.path),
        "source": source,
        "keep": keep,
        "explain": explain,
        "step_reduction": step_reduction,
        **options,
    }
    located = locate(source)
    read = located.paths if isinstance(located, TableFiles) else [Path(source)] if Path(source).exists() else []
    paths = [model.path / "saved_model.pb", *read]
    about["files"] = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    with scoring.ScoreFile(path, about=about) as file:
        if known := file.num_rows:
            click.echo(f"{path}: goes on after {known:,} samples", err=True)
        summary = scoring.score(model, opened, file, keep=keep or (), explain=explain, step_reduction=step_reduction)
    _tell(summary, output, model, known)
    if events is not None:
        num_events = write_events(events, path, opened)
        click.echo(f"{events}: {num_events:,} events", err=True)


def _score_on_beam(
    saved_model: Path, source: str, output: str, how: dict[str, Any], trust: bool, options: dict[str, Any]
) -> None:
    import_tensorflow()
    from tfae import export
    from tfae.scoring import beam  # First, since it says what to install.
    from tfae.scoring.remote_files import RemoteFiles, is_remote

    prefix, pattern = beam.find_shards(output)
    shard = f"{prefix}-00000-of-00001{beam.SUFFIX}"
    if not is_remote(source):
        validate_apart("output", shard, source)
    elif fnmatch.fnmatchcase(shard, source):
        raise ValueError(f"output: expected a place outside of what is read, {source}; received {output}.")
    model = export.load(saved_model, trust=trust)
    described = {"data": model.description["data"], "preprocessing": model.description["preprocessing"]}
    opened: Source | RemoteFiles
    if is_remote(source):
        opened = RemoteFiles(source, functools.partial(open_for_model, options=options, **described))
    else:
        opened = open_for_model(source, options, **described)
    try:
        summary = beam.score(model, opened, output, trust=trust, **how)
    except beam.JobError as error:
        raise click.ClickException(str(error)) from error
    if summary is None:  # It is not known what became of the samples.
        click.echo(pattern, err=True)
    else:
        _tell(summary, pattern, model)


def _tell(summary: Summary, written: str, model: SavedAutoencoder, known: int = 0) -> None:
    """Say what became of the samples; where some were scored before an interruption, of the others."""
    others = f"the {summary.num_samples - known:,} that were left"
    click.echo(f"{written}: {summary.num_samples:,} samples", err=True)
    if summary.num_alarms is not None:
        rate = model.description["calibration"]["false_alarm_rate"]
        click.echo(
            f"{summary.num_alarms:,} alarms{f' in {others}' if known else ''}, at a false-alarm rate of {rate:g}",
            err=True,
        )
    if summary.drift is not None and summary.drift.is_found:
        click.echo(f"Warning: {explain_drift(summary.drift)}", err=True)
    if summary.num_defective:
        why = f"the first is {summary.first}" if summary.first else "their reasons are beside them"
        click.echo(f"{summary.num_defective:,} of {others if known else 'them'} have no score; {why}", err=True)
