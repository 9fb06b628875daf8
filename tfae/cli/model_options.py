"""Options of a model and its training, which several commands share."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tfae.cli.options import together
from tfae.cli.tensorflow import import_module

if TYPE_CHECKING:
    import keras

    from tfae.datasets import Data

_BUILT_IN = ("dense", "convolutional")


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

    def validate(self) -> None:
        """Raise ValueError for what can be told before the data is read: another architecture, module or bottleneck."""
        from tfae import models

        models.parse_bottleneck(self.bottleneck)
        if ":" in self.architecture:
            given = {"--latent-dim": self.latent_dim, "--widths": self.widths, "--input-noise": self.input_noise}
            useless = [name for name, value in given.items() if value]
            useless += ["--bottleneck"] if self.bottleneck != "plain" else []
            if useless:
                raise ValueError(
                    f"--model: expected no {useless[0]} beside a function, which builds the model; received "
                    f"{self.architecture}. Leave {useless[0]} out."
                )
            self._own_function()
        elif self.architecture not in _BUILT_IN:
            raise ValueError(
                f"--model: expected {' or '.join(_BUILT_IN)}, or MODULE:FUNCTION, which gets the data and returns a "
                f"Keras model; received {self.architecture!r}."
            )

    def builder(self, data: Data) -> Callable[..., keras.Model]:
        """Return a builder of the model, to be called with the ``output_activation`` that fits the loss."""
        from tfae import models

        if ":" in self.architecture:
            return functools.partial(self._build_own, data)
        is_dense = self.architecture == "dense"
        sizes: dict[str, Any] = {} if self.widths is None else {"widths" if is_dense else "filters": self.widths}
        if is_dense:
            sizes["input_layer"] = data.fill_gaps()
        return functools.partial(
            models.dense if is_dense else models.convolutional,
            data.shape,
            latent_dim=self.latent_dim or models.default_latent_dim(data.shape),
            bottleneck=models.parse_bottleneck(self.bottleneck),
            input_noise=self.input_noise,
            **sizes,
        )

    def _own_function(self) -> Callable[..., Any]:
        module_name, _, name = self.architecture.partition(":")
        function = getattr(import_module("--model", module_name), name, None)
        if not callable(function):
            raise ValueError(f"--model: expected a function {name!r} in module {module_name}; received none.")
        return function

    def _build_own(self, data: Data, *, output_activation: Any) -> keras.Model:
        import keras

        function = self._own_function()
        takes = inspect.signature(function).parameters
        try:
            model = function(data, **({"output_activation": output_activation} if "output_activation" in takes else {}))
        except Exception as error:  # Whatever the function raises is the user's.
            raise ValueError(f"--model: {self.architecture} raised {type(error).__name__}: {error}") from error
        if not isinstance(model, keras.Model):
            raise ValueError(
                f"--model: expected {self.architecture} to return a Keras model; received {type(model).__name__}."
            )
        return model


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
            metavar="NAME",
            default="dense",
            help="dense; convolutional, for images and sequences; or MODULE:FUNCTION, which gets the data, and "
            "output_activation if it has such an argument, and returns a Keras model.",
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
