"""``tfae advise`` and ``tfae compare``: which loss fits, before training and by training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfae import progress
from tfae.cli.command import Command
from tfae.cli.model_options import ModelOptions, model_options
from tfae.cli.options import ignore_option, json_option, load_options, loss_option
from tfae.cli.tensorflow import import_tensorflow
from tfae.cli.terminal import fit_terminal, terminal_width


@click.command(cls=Command)
@click.argument("source")
@json_option
@load_options
def advise(source: str, *, as_json: bool, **options: Any) -> None:
    """Say which loss and which preprocessing fit SOURCE, and why: a look at its training split, without training."""
    import_tensorflow()
    from tfae import advice, datasets

    advised = advice.advise(datasets.load(source, **options))
    click.echo(json.dumps(advised.as_dict(), indent=2) if as_json else fit_terminal(str(advised)))


@click.command(cls=Command)
@click.argument("source")
@loss_option(
    "loss_names",
    multiple=True,
    help="A loss to compare, as for tfae train; may be repeated.  [default: all that are defined on the data]",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=3,
    help="Trainings of each loss, from other initial weights each; the first from those of --seed.",
)
@click.option(
    "--corrupt",
    "corruptions",
    multiple=True,
    metavar="NAME=SHARE",
    help="Train on damaged data too: salt_and_pepper=0.05 of the elements, or outliers=0.02 of the samples; may be "
    "repeated.",
)
@model_options
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    help="New directory for the runs, or that of this comparison.  [default: runs/NAME-comparison]",
)
@ignore_option
@json_option
@load_options
@click.pass_context
def compare(
    ctx: click.Context,
    source: str,
    *,
    loss_names: tuple[str, ...],
    seeds: int,
    corruptions: tuple[str, ...],
    model: ModelOptions,
    run_dir: Path | None,
    ignore: tuple[str, ...],
    as_json: bool,
    **load: Any,
) -> None:
    """Train the same model on SOURCE under several losses, and compare the results.

    Within a seed, all losses begin with the same weights, and see the same batches for as many epochs. Ctrl-C stops
    it, and saves; the same command again goes on.
    """
    import_tensorflow(onednn="1")
    from tfae import comparison, datasets, losses

    # Mistakes show before the data is read.
    model.validate()
    chosen_losses = [losses.get(name, sample_reduction=model.sample_reduction) for name in loss_names]
    chosen = [comparison.Corruption.parse(text) for text in corruptions]
    data = datasets.load(source, **load)
    run_dir = run_dir or Path("runs", f"{data.name.replace('/', '-')}-comparison")
    model = model.for_data(data)
    progress.log.setLevel("WARNING")  # Of every run, the comparison says itself how far it is.
    try:
        found = comparison.compare(
            data,
            chosen_losses or None,
            run_dir=run_dir,
            seeds=seeds,
            epochs=model.epochs or 30,
            build=model.builder(data),
            corruptions=chosen,
            learning_rate=model.learning_rate,
            sample_reduction=model.sample_reduction,
            ignore=ignore,
        )
    except comparison.Interrupted as interruption:
        click.echo(f"\n{interruption}", err=True)
        ctx.exit(128 + interruption.signal_number)
    comparison.write_page(found, data, found.directory / "report.html")
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        places = f"report    {found.directory / 'report.html'}\nruns      {found.directory}"
        click.echo(fit_terminal(f"{found.text(terminal_width())}\n\n{places}"))
