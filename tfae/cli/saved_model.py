"""``tfae inspect`` and ``tfae reconstruct``: what is asked of a SavedModel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfae.cli.command import Command
from tfae.cli.options import json_option, open_for_model, source_options, together, trust_option
from tfae.cli.tensorflow import import_tensorflow
from tfae.cli.terminal import fit_terminal

if TYPE_CHECKING:
    from tfae.datasets import Source
    from tfae.export import SavedAutoencoder

_PICTURES = (".png", ".pdf", ".svg")

_saved_model_argument = click.argument("saved_model", type=click.Path(exists=True, file_okay=False, path_type=Path))


def output_of_source(what: str) -> Callable:
    """Return the arguments and options of a command that writes a file on the samples of SOURCE."""
    output = click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False),
        required=True,
        help=f"{what}; replaced if it exists.",
    )
    return together(_saved_model_argument, click.argument("source"), output, source_options, trust_option)


def open_with_source(
    saved_model: Path, source: str, trust: bool, options: dict[str, Any]
) -> tuple[SavedAutoencoder, Source]:
    """Load SAVED_MODEL, and open SOURCE for it."""
    import_tensorflow()
    from tfae import export

    model = export.load(saved_model, trust=trust)
    return model, open_for_model(source, options, model.description["data"], model.description["preprocessing"])


@click.command(cls=Command)
@_saved_model_argument
@json_option
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
@output_of_source("Picture to write, .png, .pdf or .svg")
@click.option("--num-samples", type=click.IntRange(1, 64), default=8, help="Samples to show.")
def reconstruct(saved_model: Path, source: str, *, output: str, num_samples: int, trust: bool, **options: Any) -> None:
    """Draw the first samples of SOURCE beside what SAVED_MODEL makes of them, and where the two differ."""
    path = Path(output)
    if path.suffix.lower() not in _PICTURES:
        raise ValueError(f"output: expected a file that ends with {', '.join(_PICTURES)}; received {output}.")
    model, opened = open_with_source(saved_model, source, trust, options)
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
    with replace_atomically(path) as partial:
        figure.savefig(partial, dpi=150)
    click.echo(f"{output}: {len(samples)} samples", err=True)
