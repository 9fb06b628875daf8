"""``tfae score``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tfae.cli.options import open_for_model, output_option, saved_model_argument, source_options, trust_option
from tfae.cli.tensorflow import import_tensorflow

#: Samples read, scored and written at a time.
CHUNK = 8192


@click.command()
@saved_model_argument
@click.argument("source")
@output_option("File to write, .csv or .parquet")
@source_options
@trust_option
def score(saved_model: Path, source: str, *, output: Path, trust: bool, **options: Any) -> None:
    """Score every sample of SOURCE with SAVED_MODEL; the higher, the more anomalous.

    One row per sample, in stored order: its part (the data set's own split, or all), its index in there, its file if
    SOURCE is a folder, its label if it has one, and its instance_score.
    """
    import_tensorflow()
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from tfae import export as exporting
    from tfae.score_file import ScoreFile

    model = exporting.load(saved_model, trust=trust)
    opened = open_for_model(source, options, model.description["data"], model.sample_shape)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    total = 0
    with ScoreFile(output) as file, Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        for name, part in opened.parts.items():
            task = progress.add_task(f"scoring {opened.name}, {name}", total=part.num_samples)
            start = 0
            for samples, labels in part.batches(CHUNK):
                names = None if part.sample_names is None else part.sample_names[start : start + len(samples)]
                file.write(name, start, model.score(samples), labels=labels, names=names)
                start += len(samples)
                progress.advance(task, len(samples))
            total += start
    click.echo(f"{output}: {total:,} samples", err=True)
