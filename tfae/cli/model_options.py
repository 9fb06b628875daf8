"""Options of a model and its training, which several commands share."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tfae.cli.options import options_of
from tfae.cli.tensorflow import import_module

if TYPE_CHECKING:
    import keras

    from tfae.datasets import Data

_BUILT_IN = ("dense", "convolutional")


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


def _option(default: Any, text: str, **details: Any) -> Any:
    return dataclasses.field(default=default, metadata={"help": text, **details})


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """The options of a model and its training, with their values."""

    sample_reduction: str = _option(
        "sum", "How the elements of a sample become one number.", type=click.Choice(["sum", "mean"])
    )
    architecture: str | None = _option(
        None,
        "dense; convolutional, for images and sequences; or MODULE:FUNCTION, which gets the data, and "
        "output_activation if it has such an argument, and returns a Keras model.  [default: convolutional for "
        "windows, else dense]",
        metavar="NAME",
    )
    latent_dim: int | None = _option(
        None,
        "Width of the latent.  [default: 16, or half the elements of a sample where these are fewer than 32]",
        type=click.IntRange(1),
    )
    widths: tuple[int, ...] | None = _option(
        None,
        "Units, or filters, of the encoder's layers.  [default: 256,128 dense; 32,64 convolutional]",
        callback=_integers,
        metavar="N,N,…",
    )
    bottleneck: str = _option(
        "plain",
        "Layer that emits the latent; sparse=0.001 adds an L1 penalty of that weight.",
        metavar="NAME[=WEIGHT]",
    )
    input_noise: float = _option(
        0.0,
        "Standard deviation of noise on the input, in training only (a denoising autoencoder).",
        type=click.FloatRange(0, 1),
    )
    epochs: int = _option(30, "Epochs of a training.", type=click.IntRange(1))
    learning_rate: float | None = _option(
        None,
        "Peak of Adam's learning rate, which rises to it and falls to 0.  [default: 0.005 dense; 0.008 convolutional]",
        type=click.FloatRange(0, min_open=True),
        callback=_finite,
    )

    def validate(self) -> None:
        """Raise ValueError for what can be told before the data is read: another architecture, module or bottleneck."""
        from tfae import models

        models.parse_bottleneck(self.bottleneck)
        if self.architecture is None or self.architecture in _BUILT_IN:
            return
        if ":" in self.architecture:
            for name in ("latent_dim", "widths", "bottleneck", "input_noise"):
                if getattr(self, name) != getattr(ModelOptions, name):
                    option = f"--{name.replace('_', '-')}"
                    raise ValueError(
                        f"--model: expected no {option} beside a function, which builds the model; received "
                        f"{self.architecture}. Leave {option} out."
                    )
            self._own_function()
        else:
            raise ValueError(
                f"--model: expected {' or '.join(_BUILT_IN)}, or MODULE:FUNCTION, which gets the data and returns a "
                f"Keras model; received {self.architecture!r}."
            )

    def builder(self, data: Data) -> Callable[..., keras.Model]:
        """Return a builder of the model, to be called with the ``output_activation`` that fits the loss."""
        from tfae import models

        if ":" in (self.architecture or ""):
            return functools.partial(self._build_own, data)
        is_dense = (self.architecture or ("convolutional" if data.window else "dense")) == "dense"
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
        module_name, _, name = (self.architecture or "").partition(":")
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


def model_options(command: Callable) -> Callable:
    """Add the options of a model and its training to a command, which gets them as ``model``, a `ModelOptions`."""

    @functools.wraps(command)
    def grouped(**options: Any) -> Any:
        model = ModelOptions(**{field.name: options.pop(field.name) for field in dataclasses.fields(ModelOptions)})
        return command(model=model, **options)

    return options_of(ModelOptions, {"architecture": {"flags": "--model"}})(grouped)
