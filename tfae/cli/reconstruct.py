"""``tfae reconstruct``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tfae.cli.options import open_for_model, output_option, saved_model_argument, source_options, trust_option
from tfae.cli.tensorflow import import_tensorflow

_FORMATS = (".png", ".pdf", ".svg")


@click.command()
@saved_model_argument
@click.argument("source")
@output_option("Picture to write, .png, .pdf or .svg")
@click.option("--num-samples", type=click.IntRange(1, 64), default=8, help="Samples to show.")
@source_options
@trust_option
def reconstruct(saved_model: Path, source: str, *, output: Path, num_samples: int, trust: bool, **options: Any) -> None:
    """Draw the first samples of SOURCE beside what SAVED_MODEL makes of them, and where the two differ."""
    if output.suffix.lower() not in _FORMATS:
        raise ValueError(f"output: expected a file that ends with {', '.join(_FORMATS)}; received {output}.")
    import_tensorflow()
    from tfae import export as exporting
    from tfae import plots
    from tfae.atomic_write import replace_atomically

    model = exporting.load(saved_model, trust=trust)
    opened = open_for_model(source, options, model.description["data"], model.sample_shape)
    samples, _ = next(opened.parts.get("test", next(iter(opened.parts.values()))).batches(num_samples))
    explanation = model.explain(samples)
    figure = plots.side_by_side(
        samples,
        {"reconstruction": explanation["reconstruction"]},
        scores=explanation["instance_score"],
        score_name="loss",
        value_range=opened.value_range,
        feature_names=opened.feature_names,
    )
    with replace_atomically(output) as partial:
        figure.savefig(partial, dpi=150)
    click.echo(f"{output}: {len(samples)} samples", err=True)
