"""``tfae inspect``, ``tfae score`` and ``tfae reconstruct``: what is asked of a SavedModel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfae.cli.calibrate import explain_drift
from tfae.cli.command import Command
from tfae.cli.layout import fit_terminal
from tfae.cli.options import open_for_model, source_options, split_names, together, trust_option
from tfae.cli.tensorflow import import_tensorflow

if TYPE_CHECKING:
    from tfae.datasets import Source
    from tfae.export import SavedAutoencoder

_PICTURES = (".png", ".pdf", ".svg")

_saved_model_argument = click.argument("saved_model", type=click.Path(exists=True, file_okay=False, path_type=Path))


def _output_of_source(what: str) -> Callable:
    """Return the arguments and options of a command that writes a file on the samples of SOURCE."""
    output = click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        required=True,
        help=f"{what}; replaced if it exists.",
    )
    return together(_saved_model_argument, click.argument("source"), output, source_options, trust_option)


def _open(saved_model: Path, source: str, trust: bool, options: dict[str, Any]) -> tuple[SavedAutoencoder, Source]:
    import_tensorflow()
    from tfae import export

    model = export.load(saved_model, trust=trust)
    return model, open_for_model(source, options, model.description["data"], model.description["preprocessing"])


@click.command(cls=Command)
@_saved_model_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@trust_option
@click.pass_context
def inspect(ctx: click.Context, saved_model: Path, *, as_json: bool, trust: bool) -> None:
    """Say what is in SAVED_MODEL, a version or a folder of versions, and run each of its signatures once.

    It need not come from tfae. Nothing of it is run if it can do more than compute, unless it is trusted. The exit code
    is 1 if a signature does not answer.
    """
    import_tensorflow()
    from tfae import export

    inspection = export.inspect(saved_model)
    health = export.check_health(inspection.path, trust=trust)
    if as_json:
        click.echo(json.dumps({**inspection.as_dict(), "health": health.as_dict()}, indent=2))
    else:
        click.echo(fit_terminal(f"{inspection}\n\n{health}"))
    if not health.healthy:
        ctx.exit(1)


@click.command(cls=Command)
@_output_of_source("File to write, .csv or .parquet")
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
def score(
    saved_model: Path,
    source: str,
    *,
    output: Path,
    events: Path | None,
    keep: list[str] | None,
    explain: int,
    step_reduction: str,
    trust: bool,
    **options: Any,
) -> None:
    """Score every sample of SOURCE with SAVED_MODEL; the higher, the more anomalous.

    One row per sample, in stored order: its part (the data set's own split, or all), its index in there, its file where
    there are several, the columns to keep, its label if it has one, and its instance_score. A sample that can not be
    scored has none, and a reason. A model with a calibration gives p-values and alarms, too. Time series have a row per
    step, with its time, from all windows that cover it; its alarm is that of the window that ends with it.
    Interrupted, the same command goes on where it was.
    """
    if options["gaps"] == "drop":  # There is a row for each.
        options["gaps"] = None
    model, opened = _open(saved_model, source, trust, options)
    from tfae import scoring
    from tfae.datasets import TableFiles, locate
    from tfae.scoring.event_file import validate_events, write_events

    if events is not None:
        validate_events(events, opened, model, output)

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
    with scoring.ScoreFile(output, about=about) as file:
        if file.num_rows:
            click.echo(f"{output}: goes on after {file.num_rows:,} samples", err=True)
        summary = scoring.score(model, opened, file, keep=keep or (), explain=explain, step_reduction=step_reduction)
    click.echo(f"{output}: {summary.num_samples:,} samples", err=True)
    if summary.num_alarms is not None and summary.drift is not None:
        rate = model.description["calibration"]["false_alarm_rate"]
        click.echo(f"{summary.num_alarms:,} alarms, at a false-alarm rate of {rate:g}", err=True)
        if summary.drift.is_found:
            click.echo(f"Warning: {explain_drift(summary.drift)}", err=True)
    if events is not None:
        num_events = write_events(events, output, opened)
        click.echo(f"{events}: {num_events:,} events", err=True)
    if summary.num_defective:
        click.echo(f"{summary.num_defective:,} of them have no score; the first is {summary.first}", err=True)


@click.command(cls=Command)
@_output_of_source("Picture to write, .png, .pdf or .svg")
@click.option("--num-samples", type=click.IntRange(1, 64), default=8, help="Samples to show.")
def reconstruct(saved_model: Path, source: str, *, output: Path, num_samples: int, trust: bool, **options: Any) -> None:
    """Draw the first samples of SOURCE beside what SAVED_MODEL makes of them, and where the two differ."""
    if output.suffix.lower() not in _PICTURES:
        raise ValueError(f"output: expected a file that ends with {', '.join(_PICTURES)}; received {output}.")
    model, opened = _open(saved_model, source, trust, options)
    from tfae import plots
    from tfae.atomic_write import replace_atomically

    samples = next(opened.parts.get("test", next(iter(opened.parts.values()))).batches(num_samples)).samples
    explanation = model.explain(samples)
    reconstruction, names = explanation["reconstruction"], opened.feature_names
    categories = [column.name for column in opened.columns or () if column.kind == "category"]
    if categories and names:
        drawn = [index for index, name in enumerate(names) if name not in categories]
        if not drawn:
            raise ValueError("source: expected columns of numbers, which are drawn; received categories alone.")
        click.echo(f"left out, since they hold categories: {', '.join(categories)}", err=True)
        samples, reconstruction = samples[:, drawn], reconstruction[:, drawn]
        names = tuple(names[index] for index in drawn)
    figure = plots.side_by_side(
        samples,
        {"reconstruction": reconstruction},
        scores=explanation["instance_score"],
        score_name="loss",
        value_range=opened.value_range,
        feature_names=names,
    )
    with replace_atomically(output) as partial:
        figure.savefig(partial, dpi=150)
    click.echo(f"{output}: {len(samples)} samples", err=True)
