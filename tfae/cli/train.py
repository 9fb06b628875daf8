"""``tfae train``."""

from __future__ import annotations

import datetime
import functools
import itertools
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfae.cli.options import Integers, arguments, export_dir_option, load_options
from tfae.cli.tensorflow import import_tensorflow

if TYPE_CHECKING:
    from tfae.datasets import Data


@click.command()
@click.argument("source")
@click.option(
    "--loss",
    "loss_name",
    type=click.Choice(["mse", "mae", "bce"]),
    default="mse",
    show_default=True,
    help="Squared error; absolute error, for data with outliers; binary cross-entropy, for data in [0, 1].",
)
@click.option(
    "--sample-reduction",
    type=click.Choice(["sum", "mean"]),
    default="sum",
    show_default=True,
    help="How the elements of a sample become one number.",
)
@click.option(
    "--model",
    "architecture",
    type=click.Choice(["dense", "convolutional"]),
    default="dense",
    show_default=True,
    help="Convolutional models take images and sequences.",
)
@click.option(
    "--latent-dim",
    type=click.IntRange(1),
    help="Width of the code.  [default: 16, or half the elements of a sample where these are fewer than 32]",
)
@click.option(
    "--widths",
    type=Integers(),
    metavar="N,N,…",
    help="Units, or filters, of the encoder's layers.  [default: 256,128 dense; 32,64 convolutional]",
)
@click.option(
    "--input-noise",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Standard deviation of noise on the input, in training only (a denoising autoencoder).",
)
@click.option(
    "--code-l1", type=click.FloatRange(0), default=0.0, show_default=True, help="Weight of an L1 penalty on the code."
)
@click.option("--epochs", type=click.IntRange(1), default=30, show_default=True, help="Epochs at most.")
@click.option(
    "--patience",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Epochs without a better validation loss after which to stop.",
)
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3, show_default=True, help="Of Adam."
)
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="New directory for the run.  [default: runs/NAME-TIME]"
)
@export_dir_option
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard logs, with reconstructions.")
@load_options
def train(
    source: str,
    *,
    loss_name: str,
    sample_reduction: str,
    architecture: str,
    latent_dim: int | None,
    widths: tuple[int, ...] | None,
    input_noise: float,
    code_l1: float,
    epochs: int,
    patience: int,
    learning_rate: float,
    run_dir: Path | None,
    export_dir: Path | None,
    tensorboard: bool,
    **load: Any,
) -> None:
    """Train on SOURCE, evaluate, draw pictures, export, and score with what was exported."""
    if not math.isfinite(learning_rate):
        raise click.BadParameter(f"expected a finite number; received {learning_rate}.", param_hint="--learning-rate")
    import_tensorflow()
    import keras
    import numpy as np

    from tfae import datasets, losses, models, training
    from tfae import export as exporting

    data = datasets.load(source, **arguments(load))
    click.echo(_summary(data))
    config = {"from_logits": True} if loss_name == "bce" else {}
    loss = losses.get(loss_name, sample_reduction=sample_reduction, **config)
    keras.utils.set_random_seed(load["seed"])
    name = data.name.replace("/", "-")
    export_dir = export_dir or Path("saved_models", name)
    exporting.check_writable(export_dir)
    num_elements = math.prod(data.shape)
    latent_dim = latent_dim or max(1, min(16, num_elements // 2))
    if latent_dim >= num_elements and not code_l1 and not input_noise:
        remedy = "a smaller --latent-dim" if num_elements > 1 else "more columns, or --input-noise"
        click.echo(
            f"Warning: a code of width {latent_dim} compresses nothing for samples of that size ({num_elements}); the "
            f"model can learn to copy. Choose {remedy}.",
            err=True,
        )
    build = functools.partial(models.dense if architecture == "dense" else models.convolutional, data.shape)
    if widths is not None:
        build = functools.partial(build, **{"widths" if architecture == "dense" else "filters": widths})
    autoencoder = build(
        latent_dim=latent_dim,
        output_activation=loss.output_activation,
        input_noise=input_noise,
        code_l1=code_l1,
    )
    autoencoder.compile(optimizer=keras.optimizers.Adam(learning_rate), loss=loss)
    click.echo(
        f"{autoencoder.name}: {autoencoder.count_params():,} parameters, latent_dim {latent_dim}; "
        f"{type(loss).__name__}, {sample_reduction} over elements"
    )
    run = training.train(
        autoencoder,
        data,
        run_dir=run_dir or _unused(Path("runs", f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}")),
        epochs=epochs,
        patience=patience,
        tensorboard=tensorboard,
        # A bar redraws its line, which would fill a log file; there it is one line per epoch.
        verbose=1 if sys.stdout.isatty() else 2,
    )
    path = exporting.save(
        autoencoder,
        export_dir,
        preprocessing=data.preprocessing,
        data=data,
        metrics=run.evaluation.as_dict(),
    )
    scores = exporting.load(path).score(data.raw.test)
    click.echo(f"\n{run.evaluation}\n")
    click.echo(f"report    {run.directory / 'report.md'}")
    click.echo(f"pictures  {run.directory / 'pictures'}")
    click.echo(f"exported  {path}")
    click.echo(f"scored    {len(scores):,} test samples with it: mean {np.mean(scores, dtype='float64'):.7g}")


def _unused(directory: Path) -> Path:
    """``directory``, with a number behind it if another run of the same second has taken it."""
    numbered = (directory.with_name(f"{directory.name}-{number}") for number in itertools.count(2))
    return next(candidate for candidate in itertools.chain([directory], numbered) if not candidate.exists())


def _summary(data: Data) -> str:
    parts = ", ".join(f"{len(samples):,} {split}" for split, samples in zip(data.raw._fields, data.raw, strict=True))
    return (
        f"{data.name}: {data.kind} data of shape {data.shape}, {data.raw.train.dtype}; {parts}; "
        f"preprocessing {data.preprocessing.method}"
    )
