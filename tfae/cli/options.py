"""Options that several commands share, and the arguments of `tfae.datasets` that they stand for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tfae.load_options import LoadOptions, ReadOptions

if TYPE_CHECKING:
    import keras

    from tfae.datasets import Source


class Integers(click.ParamType):
    """A list of positive integers, separated by commas."""

    name = "integers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Parse ``"256,128"``."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(number) for number in value.split(","))
        except ValueError:
            self.fail(f"expected integers separated by commas, such as 256,128; received {value!r}.", param, ctx)


def _together(*options: Callable) -> Callable[[Callable], Callable]:
    """Several options as one decorator."""
    return lambda command: functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


# What click has to know of options, beside their defaults and help.
_FOLDER = click.Path(file_okay=False)
_DETAILS: dict[str, dict[str, Any]] = {
    "columns": {"metavar": "A,B,…"},
    "label": {"metavar": "COLUMN"},
    "key": {"metavar": "NAME"},
    "feature": {"metavar": "NAME"},
    "data_dir": {"type": _FOLDER},
    "manual_dir": {"type": click.Path(exists=True, file_okay=False)},
    "seed": {"type": click.IntRange(0, 2**32 - 1)},
    "batch_size": {"type": click.IntRange(1)},
    "splits": {"type": float, "nargs": 3, "metavar": "TRAIN VALIDATION TEST"},
    "preprocessing": {"type": click.Choice(["default", "unit", "symmetric", "standard", "none"])},
    "value_range": {"type": float, "nargs": 2, "metavar": "LOW HIGH"},
    "in_memory": {"flags": "--in-memory/--streamed"},
}


def _options_of(options: type[ReadOptions]) -> Callable[[Callable], Callable]:
    """The options of the command line for the fields of a dataclass."""
    decorators = []
    for field in dataclasses.fields(options):
        details = {"flags": f"--{field.name.replace('_', '-')}", **_DETAILS[field.name]}
        shown = {"default": field.default, "show_default": field.default is not None, "help": field.metadata["help"]}
        decorators.append(click.option(details.pop("flags"), field.name, **details, **shown))
    return _together(*decorators)


#: How SOURCE is read: the arguments of `datasets.open_source`.
source_options = _options_of(ReadOptions)
#: How SOURCE is read, split and scaled: the arguments of `datasets.load`.
load_options = _options_of(LoadOptions)
#: What is trained, and how fast.
model_options = _together(
    click.option(
        "--sample-reduction",
        type=click.Choice(["sum", "mean"]),
        default="sum",
        show_default=True,
        help="How the elements of a sample become one number.",
    ),
    click.option(
        "--model",
        "architecture",
        type=click.Choice(["dense", "convolutional"]),
        default="dense",
        show_default=True,
        help="Convolutional models take images and sequences.",
    ),
    click.option(
        "--latent-dim",
        type=click.IntRange(1),
        help="Width of the code.  [default: 16, or half the elements of a sample where these are fewer than 32]",
    ),
    click.option(
        "--widths",
        type=Integers(),
        metavar="N,N,…",
        help="Units, or filters, of the encoder's layers.  [default: 256,128 dense; 32,64 convolutional]",
    ),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, min_open=True),
        help="Peak of Adam's, which rises to it and falls to 0 at last.  [default: 0.005 dense; 0.008 convolutional]",
    ),
)

saved_model_argument = click.argument("saved_model", type=click.Path(exists=True, file_okay=False, path_type=Path))
run_dir_argument = click.argument("run_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
trust_option = click.option(
    "--trust", is_flag=True, help="Run SAVED_MODEL even if it may read or write files or run Python."
)
ignore_option = click.option(
    "--ignore",
    multiple=True,
    metavar="CHECK",
    help="Check of data, loss and model to leave out, by the name that its message tells; may be repeated.",
)

label_option = click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="LABEL=VERSION",
    help="Version that clients ask for by a label, such as stable=1; may be repeated. Only these versions are served.  "
    "[default: none, the highest version is served]",
)

export_dir_option = click.option(
    "--export-dir", type=click.Path(path_type=Path), help="Directory of the versions.  [default: saved_models/NAME]"
)


def is_given(ctx: click.Context, parameter: click.Parameter) -> bool:
    """Whether the user gave a parameter on the command line, even if it is the default."""
    return ctx.get_parameter_source(parameter.name or "") == ParameterSource.COMMANDLINE


def versions_by_label(labels: Sequence[str]) -> dict[str, int]:
    """Versions by label, of ``("stable=1", "canary=2")``.

    Raises:
        ValueError: If one is something else, or a label is there twice.
    """
    versions: dict[str, int] = {}
    for entry in labels:
        label, _, version = entry.partition("=")
        if not label or not version.isascii() or not version.isdecimal():
            raise ValueError(f"--label: expected LABEL=VERSION, such as stable=1; received {entry!r}.")
        if label in versions:
            raise ValueError(f"--label: expected each label once; received {label} twice.")
        versions[label] = int(version)
    return versions


def output_option(what: str) -> Callable:
    """The file that a command writes, which is ``what``."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        required=True,
        help=f"{what}; replaced if it exists.",
    )


def model_builder(
    shape: tuple[int, ...], architecture: str, latent_dim: int | None, widths: tuple[int, ...] | None
) -> Callable[..., keras.Model]:
    """What builds the model that the options describe, given the arguments that depend on the loss."""
    from tfae import models

    is_dense = architecture == "dense"
    sizes: dict[str, Any] = {} if widths is None else {"widths" if is_dense else "filters": widths}
    latent_dim = latent_dim or models.default_latent_dim(shape)
    return functools.partial(models.dense if is_dense else models.convolutional, shape, latent_dim=latent_dim, **sizes)


def arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments that the options stand for."""
    columns = options["columns"]
    return {**options, "columns": None if columns is None else [name.strip() for name in columns.split(",")]}


def open_for_model(
    source: str, options: dict[str, Any], data: Mapping[str, Any] | None, sample_shape: Sequence[int]
) -> Source:
    """Open SOURCE for a model: of a table, the columns that it was trained on are taken, by name.

    Args:
        source: As on the command line.
        options: Those of `source_options`.
        data: What the model says about the data that it was trained on; None if it says nothing.
        sample_shape: Shape of one sample, as the model takes it.

    Raises:
        ValueError: If there is no such data, or its samples are of another shape.
    """
    from tfae.datasets import open_source

    keywords = arguments(options)
    names = (data or {}).get("feature_names") or []
    # The columns of an array that were chosen by index are called column_<index>.
    named = Path(source).suffix.lower() in (".csv", ".parquet") or all(name.startswith("column_") for name in names)
    chosen = keywords["columns"]
    if names and chosen not in (None, ["varying"]) and sorted(chosen) != sorted(names):
        raise ValueError(
            f"columns: expected those that the model was trained on, {', '.join(names)}; received {', '.join(chosen)}. "
            "Leave --columns out."
        )
    if names and (named or chosen):
        keywords["columns"] = names  # In the order of the training, whatever that of the file or the option.
    try:
        opened = open_source(source, **keywords)
    except ValueError as error:
        if keywords["columns"] is not names:
            raise
        raise ValueError(f"{error} The model was trained on columns {', '.join(names)}.") from error
    if tuple(opened.shape) != tuple(sample_shape):
        raise ValueError(
            f"source: expected samples of shape {tuple(sample_shape)}, which the model was trained on; received "
            f"{source!r} with samples of shape {tuple(opened.shape)}."
        )
    return opened
