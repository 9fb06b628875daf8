"""Options of a model and its training, which several commands share."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tfae.cli.options import together

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """Values of `model_options`: the model and its training."""

    sample_reduction: str
    architecture: str
    latent_dim: int | None
    widths: tuple[int, ...] | None
    bottleneck: str
    input_noise: float
    epochs: int
    learning_rate: float | None

    def builder(self, shape: tuple[int, ...]) -> functools.partial[keras.Model]:
        """Return a builder of the model, to be called with the ``output_activation`` that fits the loss.

        Raises:
            ValueError: If there is no such bottleneck.
        """
        from tfae import models

        is_dense = self.architecture == "dense"
        sizes: dict[str, Any] = {} if self.widths is None else {"widths" if is_dense else "filters": self.widths}
        return functools.partial(
            models.dense if is_dense else models.convolutional,
            shape,
            latent_dim=self.latent_dim or models.default_latent_dim(shape),
            bottleneck=models.parse_bottleneck(self.bottleneck),
            input_noise=self.input_noise,
            **sizes,
        )


def _finite(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"expected a finite number; received {value}.")
    return value


def _integers(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    try:
        return None if value is None else tuple(int(number) for number in value.split(","))
    except ValueError as error:
        message = f"expected integers separated by commas, such as 256,128; received {value!r}."
        raise click.BadParameter(message) from error


def model_options(command: Callable) -> Callable:
    """Add the options of a model and its training to a command, which gets them as ``model``, a `ModelOptions`."""

    @functools.wraps(command)
    def grouped(**options: Any) -> Any:
        model = ModelOptions(**{field.name: options.pop(field.name) for field in dataclasses.fields(ModelOptions)})
        return command(model=model, **options)

    return together(
        click.option(
            "--sample-reduction",
            type=click.Choice(["sum", "mean"]),
            default="sum",
            help="How the elements of a sample become one number.",
        ),
        click.option(
            "--model",
            "architecture",
            type=click.Choice(["dense", "convolutional"]),
            default="dense",
            help="Convolutional models take images and sequences.",
        ),
        click.option(
            "--latent-dim",
            type=click.IntRange(1),
            help="Width of the latent.  [default: 16, or half the elements of a sample where these are fewer than 32]",
        ),
        click.option(
            "--widths",
            callback=_integers,
            metavar="N,N,…",
            help="Units, or filters, of the encoder's layers.  [default: 256,128 dense; 32,64 convolutional]",
        ),
        click.option(
            "--bottleneck",
            metavar="NAME[=WEIGHT]",
            default="plain",
            help="Layer that emits the latent; sparse=0.001 adds an L1 penalty of that weight.",
        ),
        click.option(
            "--input-noise",
            type=click.FloatRange(0, 1),
            default=0.0,
            help="Standard deviation of noise on the input, in training only (a denoising autoencoder).",
        ),
        click.option("--epochs", type=click.IntRange(1), default=30, help="Epochs of a training."),
        click.option(
            "--learning-rate",
            type=click.FloatRange(0, min_open=True),
            callback=_finite,
            help="Peak of Adam's learning rate, which rises to it and falls to 0.  [default: 0.005 dense; 0.008 "
            "convolutional]",
        ),
    )(grouped)
