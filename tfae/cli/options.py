"""Options that several commands share, and the arguments of `tfae.datasets` that they stand for."""

from __future__ import annotations

import csv
import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tfae.load_options import AS_TRAINED, COLOR_MODES, LoadOptions, ReadOptions

if TYPE_CHECKING:
    from tfae.datasets import Source


def together(*options: Callable) -> Callable[[Callable], Callable]:
    """Return several options as one decorator."""
    return lambda command: functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


def split_names(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    """Names as in a row of a .csv file: one that holds a comma stands in quotes."""
    if not value:
        return None if value is None else [""]
    return [name.strip() for name in next(csv.reader([value], skipinitialspace=True))]


_NAMES = {"metavar": "A,B,…", "callback": split_names}
# What click has to know of options, beside their defaults and help.
_DETAILS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("columns", "drop", "category", "number", "missing"), _NAMES),
    **{key: {"metavar": "COLUMN"} for key in ("label", "time", "group")},
    **{key: {"metavar": "SIGN"} for key in ("delimiter", "decimal", "thousands")},
    **{key: {"metavar": "NAME"} for key in ("encoding", "key", "feature")},
    "max_categories": {"type": click.IntRange(1)},
    "gaps": {"type": click.Choice(["mask", "drop"])},
    "header": {"flags": "--header/--no-header"},
    "comment": {"metavar": "TEXT"},
    "window": {"type": click.IntRange(2)},
    "stride": {"type": click.IntRange(1)},
    "image_size": {"type": click.IntRange(1), "nargs": 2, "metavar": "HEIGHT WIDTH"},
    "color_mode": {"type": click.Choice(list(COLOR_MODES))},
    "data_dir": {"type": click.Path(file_okay=False)},
    "manual_dir": {"type": click.Path(exists=True, file_okay=False)},
    "seed": {"type": click.IntRange(0, 2**32 - 1)},
    "batch_size": {"type": click.IntRange(1)},
    "splits": {"type": float, "nargs": 3, "metavar": "TRAIN VALIDATION TEST"},
    "preprocessing": {"type": click.Choice(["default", "unit", "symmetric", "standard", "none"])},
    "value_range": {"type": float, "nargs": 2, "metavar": "LOW HIGH"},
    "inputs": {"metavar": "SOURCE"},
    "sample_weight": {"metavar": "FILE|COLUMN"},
    "normal": {"metavar": "[COLUMN=]VALUE"},
    "in_memory": {"flags": "--in-memory/--streamed"},
}


def options_of(options: type, details: Mapping[str, dict[str, Any]]) -> Callable[[Callable], Callable]:
    """Return the options of the command line for the fields of a dataclass, with ``details`` that click has to know."""
    decorators = []
    for field in dataclasses.fields(options):
        known = {"flags": f"--{field.name.replace('_', '-')}", "default": field.default, **details.get(field.name, {})}
        decorators.append(click.option(known.pop("flags"), field.name, **field.metadata, **known))
    return together(*decorators)


#: How SOURCE is read: the arguments of `datasets.open_source`.
source_options = options_of(ReadOptions, _DETAILS)
#: How SOURCE is read, split and scaled: the arguments of `datasets.load`.
load_options = options_of(LoadOptions, _DETAILS)
#: Losses are known by name only once the modules that register them are imported, which commands do themselves.
loss_option = functools.partial(click.option, "--loss", metavar="NAME")

ignore_option = click.option(
    "--ignore",
    multiple=True,
    metavar="CHECK",
    help="Check of data, loss and model to leave out, by the name that its message tells; may be repeated.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

trust_option = click.option(
    "--trust", is_flag=True, help="Run the SavedModel even if it may read or write files or run Python."
)


export_dir_option = click.option(
    "--export-dir", type=click.Path(path_type=Path), help="Directory of the versions.  [default: saved_models/NAME]"
)


def is_given(ctx: click.Context, parameter: click.Parameter) -> bool:
    """Return whether the user gave a parameter on the command line, even if it is the default."""
    return ctx.get_parameter_source(parameter.name or "") == ParameterSource.COMMANDLINE


def validate_source_options(source: str | None, options: Mapping[str, Any]) -> None:
    """Refuse options of how SOURCE is read where there is none."""
    given = [name for name, value in options.items() if value is not None]
    if source is None and given:
        raise click.UsageError(f"expected --{given[0].replace('_', '-')} only with SOURCE.")


def default_export_dir(data_name: str) -> Path:
    """Return where models of a data set are exported to by default."""
    return Path("saved_models", data_name.replace("/", "-"))


def open_for_model(
    source: str, options: dict[str, Any], data: Mapping[str, Any] | None, preprocessing: Mapping[str, Any]
) -> Source:
    """Open SOURCE for a model whose data and preprocessing are described so.

    Of a table, the columns are those that the model was trained on, by name, and hold what they held there; images of a
    folder are scaled and converted as those that it was trained on.
    """
    from tfae.columns import Column
    from tfae.datasets import TableFiles, locate, open_source

    located = locate(source)
    is_table = isinstance(located, TableFiles)
    is_folder = isinstance(located, Path) and located.is_dir()
    trained = {**((data or {}).get("arguments") or {}), **(data or {})}  # Of a run, and of an export.
    options = dict(options)
    for name in AS_TRAINED:
        if options[name] is None and (is_folder or not name.startswith(("image", "color"))):
            options[name] = trained.get(name)
    columns = [Column(**each) for each in preprocessing.get("columns", ())]
    if options["window"] is not None:
        columns = [*map(Column, trained.get("feature_names") or ())]
    names = [column.name for column in columns]
    chosen = options["columns"]
    # Where a file has no header, they say which of its columns is which of the model's.
    by_position = bool(chosen) and len(chosen) == len(names) and all(re.fullmatch(r"(column_)?\d+", c) for c in chosen)
    if names and chosen not in (None, ["varying"]) and sorted(chosen) != sorted(names) and not by_position:
        raise ValueError(
            f"columns: expected those that the model was trained on, {', '.join(names)}; received {', '.join(chosen)}. "
            "Leave --columns out; or, for a file without a header, give the position in it of each of them, from 0."
        )
    # The columns of an array that were chosen by index are called column_<index>.
    if names and (is_table or chosen or all(name.startswith("column_") for name in names)) and not by_position:
        # In the order of the training, whatever that of the file or the option.
        options["columns"] = names
    if is_table and names:
        called = dict(zip(names, chosen if by_position else names, strict=True))
        for kind in ("category", "number"):
            options[kind] = [called[each.name] for each in columns if each.kind == kind] or None
    if preprocessing.get("fill") is not None and options["gaps"] is None:
        options["gaps"] = "mask"
    try:
        opened = open_source(located, **options)
    except ValueError as error:
        is_text = isinstance(located, TableFiles) and located.suffix == ".csv"
        if options["columns"] is not names or not is_text:
            raise
        raise ValueError(
            f"{error} The model was trained on columns {', '.join(names)}. If the file has no header, say which of its "
            f"columns they are, counted from 0: --no-header --columns {','.join(map(str, range(len(names))))}."
        ) from error
    if (shape := tuple(preprocessing["sample_shape"])) != tuple(opened.shape):
        raise ValueError(
            f"source: expected samples of shape {shape}, which the model was trained on; received {source!r} with "
            f"samples of shape {tuple(opened.shape)}."
        )
    for part in opened.parts.values():
        part.use_vocabularies(columns)
    return opened
