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
    from tfae.datasets import Source


def together(*options: Callable) -> Callable[[Callable], Callable]:
    """Return several options as one decorator."""
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
        shown = {"default": field.default, "help": field.metadata["help"]}
        decorators.append(click.option(details.pop("flags"), field.name, **details, **shown))
    return together(*decorators)


#: How SOURCE is read: the arguments of `datasets.open_source`.
source_options = _options_of(ReadOptions)
#: How SOURCE is read, split and scaled: the arguments of `datasets.load`.
load_options = _options_of(LoadOptions)
#: Losses are known by name only once the modules that register them are imported, which commands do themselves.
loss_option = functools.partial(click.option, "--loss", metavar="NAME")

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
    """Return whether the user gave a parameter on the command line, even if it is the default."""
    return ctx.get_parameter_source(parameter.name or "") == ParameterSource.COMMANDLINE


def versions_by_label(labels: Sequence[str]) -> dict[str, int]:
    """Parse ``("stable=1", "canary=2")`` into versions by label.

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
    """Return the option of the file that a command writes; ``what`` describes it."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        required=True,
        help=f"{what}; replaced if it exists.",
    )


def arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments that the options stand for."""
    columns = options["columns"]
    return {**options, "columns": None if columns is None else [name.strip() for name in columns.split(",")]}


def open_for_model(
    source: str, options: dict[str, Any], data: Mapping[str, Any] | None, sample_shape: Sequence[int]
) -> Source:
    """Open SOURCE for a model; of a table, with the columns that the model was trained on, by name.

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
