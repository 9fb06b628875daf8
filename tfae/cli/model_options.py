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

_BUILT_IN = ("dense", "convolutional", "denoiser")
_OF_BOTTLENECKS = ("l1", "kl_weight", "kl_warmup", "free_bits", "score")
#: Steps that train a denoiser, in which its scores no longer change much.
_DENOISER_STEPS = 2000


class _Finite(click.FloatRange):
    """As NaN is in no range and in every one, to click."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        return (
            number if math.isfinite(number) else self.fail(f"expected a finite number; received {number}.", param, ctx)
        )


def _integers(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    try:
        return None if value is None else tuple(int(number) for number in value.split(","))
    except ValueError as error:
        message = f"expected integers separated by commas, such as 256,128; received {value!r}."
        raise click.BadParameter(message) from error


def _share_or_steps(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | int | None:
    try:
        number = None if value is None else int(value) if value.isdigit() else float(value)
    except ValueError:
        number = -1
    if number is not None and (number < 0 or (isinstance(number, float) and not number <= 1)):
        raise click.BadParameter(
            f"expected a share of the training in [0, 1], such as 0.2, or steps, such as 500; received {value!r}."
        )
    return number


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
        "dense; convolutional, for images and sequences; denoiser, which finds anomalies in tables; or "
        "MODULE:FUNCTION, which gets the data, and output_activation if it has such an argument, and returns a Keras "
        "model.  [default: convolutional for "
        "windows; denoiser for tables with --detect; else dense]",
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
        "Layer that emits the latent: plain; sparse, with an L1 penalty; or gaussian, of a variational autoencoder.",
        type=click.Choice(["plain", "sparse", "gaussian"]),
    )
    l1: float | None = _option(None, "Weight of the L1 penalty; with --bottleneck sparse.", type=_Finite(0))
    kl_weight: float | None = _option(
        None,
        "Weight of the KL divergence; with --bottleneck gaussian.  [default: 1]",
        type=_Finite(0),
    )
    kl_warmup: float | int | None = _option(
        None,
        "How long that weight rises from 0: 0.2 is a share of the training, 500 a number of steps.  [default: 0]",
        callback=_share_or_steps,
        metavar="SHARE|STEPS",
    )
    free_bits: float | None = _option(
        None,
        "Nats of each unit of the latent below which the divergence costs nothing less.  [default: 0]",
        type=_Finite(0),
    )
    score: str | None = _option(
        None,
        "What a variational autoencoder scores samples by.  [default: reconstruction]",
        type=click.Choice(["reconstruction", "negative_elbo"]),
    )
    input_noise: float = _option(
        0.0,
        "Standard deviation of noise on the input, in training only (a denoising autoencoder).",
        type=click.FloatRange(0, 1),
    )
    epochs: int | None = _option(
        None, "Epochs of a training.  [default: 30; denoiser: as many as take 2,000 steps]", type=click.IntRange(1)
    )
    learning_rate: float | None = _option(
        None,
        "Peak of Adam's learning rate, which rises to it and falls to 0.  [default: 0.005 dense; 0.008 convolutional; "
        "0.001 denoiser]",
        type=_Finite(0, min_open=True),
    )

    def validate(self) -> None:
        """Raise ValueError for what can be told before the data is read: another architecture, module or bottleneck."""
        for name in _OF_BOTTLENECKS:
            of = "sparse" if name == "l1" else "gaussian"
            if getattr(self, name) is not None and self.bottleneck != of:
                option = f"--{name.replace('_', '-')}"
                raise ValueError(
                    f"{option}: expected it with --bottleneck {of}; received --bottleneck {self.bottleneck}."
                )
        if self.bottleneck == "sparse" and self.l1 is None:
            raise ValueError(
                "--l1: expected the weight of the penalty of --bottleneck sparse, such as 0.001; received none."
            )
        is_own = ":" in (self.architecture or "")
        if not is_own and self.architecture not in (None, *_BUILT_IN):
            raise ValueError(
                f"--model: expected {' or '.join(_BUILT_IN)}, or MODULE:FUNCTION, which gets the data and returns a "
                f"Keras model; received {self.architecture!r}."
            )
        if is_own or self.architecture == "denoiser":
            beside = "a function, which builds the model" if is_own else "the denoiser, which has sizes of its own"
            for name in ("latent_dim", "widths", "bottleneck", "input_noise"):
                if getattr(self, name) != getattr(ModelOptions, name):
                    option = f"--{name.replace('_', '-')}"
                    raise ValueError(
                        f"--model: expected no {option} beside {beside}; received {self.architecture}. Leave {option} "
                        "out."
                    )
        if is_own:
            self._own_function()

    def for_data(self, data: Data, *, detects: bool = False) -> ModelOptions:
        """Return the options with the architecture and the epochs that data, and the search for anomalies, ask for."""
        chosen = self.architecture
        if chosen is None:
            chosen = "convolutional" if data.window else "dense"
            if detects and data.kind == "table" and not data.window and self.bottleneck == "plain":
                chosen = "denoiser"
        is_denoiser = chosen == "denoiser"
        steps = -(-len(data.raw.train) // data.batch_size)
        default = max(30, math.ceil(_DENOISER_STEPS / steps)) if is_denoiser else 30
        found = dataclasses.replace(self, architecture=chosen, epochs=self.epochs or default)
        if is_denoiser:
            found.validate()
        return found

    def builder(self, data: Data) -> Callable[..., keras.Model]:
        """Return a builder of the model, to be called with the ``output_activation`` that fits the loss."""
        from tfae import models

        if ":" in (self.architecture or ""):
            return functools.partial(self._build_own, data)
        if self.architecture == "denoiser":
            return lambda output_activation: models.denoiser(data)
        is_dense = self.architecture == "dense"
        more: dict[str, Any] = {} if self.widths is None else {"widths" if is_dense else "filters": self.widths}
        if is_dense:
            more["input_layer"] = data.fill_gaps()
        if self.bottleneck != "plain":
            given = {name: getattr(self, name) for name in _OF_BOTTLENECKS if getattr(self, name) is not None}
            more["bottleneck"] = (models.Sparse if self.bottleneck == "sparse" else models.Gaussian)(**given)
        return functools.partial(
            models.dense if is_dense else models.convolutional,
            data.shape,
            latent_dim=self.latent_dim or models.default_latent_dim(data.shape),
            input_noise=self.input_noise,
            **more,
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
