"""How a source is read, split and scaled: Python, command line and runs derive from it."""

# ruff: noqa: RUF009 (`_option` returns a field)

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from typing_extensions import Self

#: The value of ``columns`` that takes those that are not constant in the training split.
VARYING = "varying"
#: What is read as the data of a model was, unless the user says otherwise.
AS_TRAINED = ("image_size", "color_mode", "window", "stride", "time", "group")
#: Pillow's modes of images by what ``color_mode`` calls them.
COLOR_MODES = {"gray": "L", "rgb": "RGB", "rgba": "RGBA"}


def _option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a source is read: the keyword arguments of ``open_source``. The help of each field says what it is.

    Raises:
        ValueError: An option is not what it should be.
    """

    columns: Sequence[int | str] | None = _option(
        None,
        'Columns of a table, by name, or by index in an array; "varying": those that are not constant in '
        "the training split.  [default: all but the label]",
    )
    drop: Sequence[int | str] | None = _option(None, "Columns of a table to leave out, named as in columns.")
    category: Sequence[int | str] | None = _option(
        None, "Columns of a table that hold categories, although numbers are found in them."
    )
    number: Sequence[int | str] | None = _option(
        None, "Columns of a table that hold numbers, although texts are found."
    )
    missing: Sequence[str] | None = _option(
        None, "What stands for a missing value in a table, such as ? or -999, beside empty cells and NaN."
    )
    max_categories: int | None = _option(
        None,
        "Categories of a column that the model tells apart, the most frequent in the training split; the rest share a "
        "place.  [default: all, if they are at most 100]",
    )
    gaps: str | None = _option(
        None,
        "What becomes of missing values in a table: drop leaves their rows out; mask leaves the cells out of loss, "
        "score and baselines, and shows the model that they are missing.  [default: they are refused]",
    )
    header: bool | None = _option(
        None, "Whether the first row of a text file names its columns.  [default: unless all of it are numbers]"
    )
    delimiter: str | None = _option(
        None, "What separates the cells of a text file; a space is any white space.  [default: found]"
    )
    decimal: str | None = _option(None, "Decimal sign of the numbers of a text file, . or ,.  [default: found]")
    thousands: str | None = _option(
        None, "What stands between the thousands of a number of a text file.  [default: found]"
    )
    encoding: str | None = _option(None, "Of a text file, such as latin-1.  [default: utf-8, and utf-16 with its mark]")
    comment: str | None = _option(
        None, "What the lines of a text file begin with that are no rows.  [default: # or %, if the first line does]"
    )
    label: str | None = _option(None, "Column of a table that holds labels, not features.")
    window: int | None = _option(
        None,
        "Makes time series of a table: the samples are windows of so many rows that follow each other, and the splits "
        "follow each other in time.",
    )
    stride: int | None = _option(None, "Rows from the beginning of a window to that of the next.  [default: 1]")
    time: str | None = _option(
        None,
        "Column of a table with the time of each row, which is no feature; no window goes across a step that is not "
        "the usual one.  [default: rows come one step after the other]",
    )
    group: str | None = _option(
        None,
        "Column of a table that tells several time series apart, which is no feature; no window is in two of them.",
    )
    key: str | None = _option(None, "Array of an .npz archive to take.")
    feature: str | None = _option(
        None, 'Feature of a TFDS data set to reconstruct.  [default: its supervised input, else "image"]'
    )
    data_dir: str | os.PathLike[str] | None = _option(
        None, "Where TFDS keeps prepared data sets.  [default: $TFDS_DATA_DIR, else ~/tensorflow_datasets]"
    )
    manual_dir: str | os.PathLike[str] | None = _option(
        None, "Folder with the files that TFDS would download, to prepare a data set without a network."
    )

    image_size: tuple[int, int] | None = _option(
        None,
        "Height and width to scale the images of a folder to, with Pillow's BILINEAR; other proportions are stretched, "
        "with a warning.  [default: as the files are, which have to agree]",
    )
    color_mode: str | None = _option(
        None,
        "gray, rgb or rgba, to which Pillow converts the images of a folder; rgb drops alpha.  [default: as the files "
        "are, which have to agree]",
    )

    def __post_init__(self) -> None:
        if not isinstance(self.header, bool | None):
            raise ValueError(f"header: expected True, False or None; received {self.header!r}.")
        for name in ("label", "key", "feature", "encoding", "comment", "time", "group"):
            if not isinstance(getattr(self, name), str | None):
                raise ValueError(f"{name}: expected a name; received {getattr(self, name)!r}.")
        size = None if self.image_size is None else _numbers(self.image_size, 2)
        if self.image_size is not None and (size is None or not all(side >= 1 and side % 1 == 0 for side in size)):
            raise ValueError(f"image_size: expected (height, width) in pixels; received {self.image_size!r}.")
        if self.color_mode not in (None, *COLOR_MODES):
            raise ValueError(
                f"color_mode: expected {', '.join(map(repr, COLOR_MODES))} or None; received {self.color_mode!r}."
            )
        for name in ("delimiter", "decimal", "thousands"):
            sign = getattr(self, name)
            if sign is not None and (not isinstance(sign, str) or len(sign) != 1):
                raise ValueError(f"{name}: expected one character; received {sign!r}.")
        for name, least in (("max_categories", 1), ("window", 2), ("stride", 1)):
            _validate_integer(name, getattr(self, name), least)
        for name in ("stride", "time", "group"):
            if self.window is None and getattr(self, name) is not None:
                raise ValueError(f"{name}: expected None without a window; received {getattr(self, name)!r}.")
        if self.window is not None and self.gaps == "mask":
            raise ValueError(
                'gaps: expected None or "drop" beside window, for no window goes across a gap; received "mask".'
            )
        if self.gaps not in (None, "mask", "drop"):
            raise ValueError(f'gaps: expected "mask", "drop" or None; received {self.gaps!r}.')
        missing = [self.missing] if isinstance(self.missing, str) else self.missing
        if missing is not None and not all(isinstance(each, str | int | float) for each in missing):
            raise ValueError(f"missing: expected texts or numbers; received {self.missing!r}.")
        self._set(
            **{name: _column_list(name, getattr(self, name)) for name in ("columns", "drop", "category", "number")},
            missing=missing and [str(each) for each in missing],
            image_size=size and (int(size[0]), int(size[1])),
            data_dir=_absolute("data_dir", self.data_dir),
            manual_dir=_absolute("manual_dir", self.manual_dir),
        )

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def by_position(self) -> Self:
        """Return options in which columns of a table without names are called column_<index>."""

        def name(column: int | str) -> str:
            return f"column_{column}" if str(column).isdecimal() else str(column)

        lists = {each: getattr(self, each) for each in ("columns", "drop", "category", "number")}
        named: dict[str, Any] = {each: [*map(name, chosen)] for each, chosen in lists.items() if chosen is not None}
        named |= {each: name(column) for each in ("label", "time", "group") if (column := getattr(self, each))}
        return dataclasses.replace(self, **named)

    def as_dict(self) -> dict[str, Any]:
        """Return the keyword arguments that give equal options, JSON-able."""
        options = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


@final
@dataclass(frozen=True, kw_only=True)
class LoadOptions(ReadOptions):
    """How a source is read, split and scaled: the keyword arguments of ``load``. The help of each says what it is.

    Raises:
        ValueError: An option is not what it should be.

    Example:
        >>> LoadOptions(seed=3, columns="height").as_dict()["columns"]
        ['height']
    """

    seed: int = _option(0, "Of the splits and of the order of training, in [0, 2³²); tfae train: of the weights, too.")
    batch_size: int | None = _option(
        None,
        "Samples per batch; the last one of an epoch is smaller where they do not come out even.  [default: 128, or "
        "as many fewer, down to 8, as make 10 batches of an epoch]",
    )
    splits: tuple[float, float, float] = _option(
        (0.8, 0.1, 0.1), "Fractions of training, validation and test, where the data set has no test split of its own."
    )
    preprocessing: str = _option(
        "default",
        "Scaling: unit to [0, 1], symmetric to [-1, 1], standard to mean 0 and deviation 1; default: unit "
        "for images, else standard.",
    )
    value_range: tuple[float, float] | None = _option(
        None, "Least and greatest value that the raw data can take, where neither data set nor dtype says it."
    )
    inputs: Any = _option(
        None,
        "What the model gets in place of each sample and is to turn into it, such as the sample with noise: a source "
        "of as many rows of the same shape, which are scaled alike. Such data is held in memory.",
    )
    sample_weight: Any = _option(
        None,
        "Weight of each sample in the loss of training and validation, but not in evaluations: a .npy file, or a "
        "column of a table; in Python, an array, too. Such data is held in memory.",
    )
    normal: str | None = _option(
        None,
        "Label of normal samples, as COLUMN=VALUE of a table or as VALUE of what has labels by itself: training and "
        "validation have these alone, and the test split all others, too.",
    )
    in_memory: bool | None = _option(
        None, "Whether the raw samples are held in memory or read from disk.  [default: as it fits]"
    )

    def __post_init__(self) -> None:
        if not _is_integer(self.seed) or not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: expected an integer in [0, 2**32); received {self.seed!r}.")
        _validate_integer("batch_size", self.batch_size, 1)
        if self.normal is not None:
            column, sign, _ = str(self.normal).rpartition("=")
            if self.window is not None:
                raise ValueError(f"normal: expected None beside window; received {self.normal!r}.")
            if sign and self.label not in (None, column):
                raise ValueError(
                    f"normal: expected a value of the label, {self.label}=VALUE; received {self.normal!r}."
                )
            self._set(normal=str(self.normal), label=column if sign else self.label)
        splits = _numbers(self.splits, 3)
        if splits is None or not all(fraction > 0 for fraction in splits) or not math.isclose(sum(splits), 1):
            raise ValueError(
                "splits: expected three positive fractions that sum to 1, for training, validation and test; "
                f"received {self.splits!r}."
            )
        value_range = None if self.value_range is None else _numbers(self.value_range, 2)
        if self.value_range is not None and (
            value_range is None or not value_range[0] < value_range[1] or not all(map(math.isfinite, value_range))
        ):
            raise ValueError(f"value_range: expected (low, high) with low < high; received {self.value_range!r}.")
        if not isinstance(self.preprocessing, str):
            raise ValueError(f"preprocessing: expected the name of a method; received {self.preprocessing!r}.")
        if self.in_memory is not None and not isinstance(self.in_memory, bool):
            raise ValueError(f"in_memory: expected None, True or False; received {self.in_memory!r}.")
        batch_size = None if self.batch_size is None else int(self.batch_size)
        if (self.inputs is not None or self.sample_weight is not None) and self.in_memory is False:
            raise ValueError("in_memory: expected None or True beside inputs and sample_weight; received False.")
        for name in ("inputs", "sample_weight"):
            if self.window is not None and getattr(self, name) is not None:
                raise ValueError(f"{name}: expected None beside window; received some.")
            given = getattr(self, name)
            if isinstance(given, str | os.PathLike) and ("/" in str(given) or Path(given).suffix):
                self._set(**{name: str(Path(given).expanduser().absolute())})
        self._set(seed=int(self.seed), batch_size=batch_size, splits=splits, value_range=value_range)
        super().__post_init__()


def _column_list(option: str, columns: Any) -> list[int | str] | None:
    """Return ``columns`` as a list of names and indices, each once; None if it is None."""
    if columns is None:
        return None
    asked = [columns] if isinstance(columns, str) else list(columns) if isinstance(columns, Iterable) else []
    if not asked or not all(isinstance(column, str) or _is_integer(column) for column in asked):
        raise ValueError(
            f"{option}: expected a list of names, or of indices for a table without names"
            f"{f', or {VARYING!r}' if option == 'columns' else ''}; received {columns!r}."
        )
    plain = [column if isinstance(column, str) else int(column) for column in asked]
    repeated = [column for index, column in enumerate(plain) if column in plain[:index]]
    if repeated:
        raise ValueError(f"{option}: expected each column once; received {repeated[0]!r} more than once.")
    return plain


def _absolute(option: str, folder: Any) -> str | None:
    """Return a folder as it can be found from another working directory; None if it is None."""
    if folder is None:
        return None
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        raise ValueError(f"{option}: expected the path of a folder; received {folder!r}.")
    path = os.fspath(folder)
    return path if "://" in path else str(Path(path).expanduser().absolute())


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and getattr(value, "shape", ()) == ()


def _validate_integer(option: str, value: Any, least: int) -> None:
    if value is not None and (not _is_integer(value) or value < least):
        raise ValueError(f"{option}: expected an integer of at least {least}; received {value!r}.")


def _numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """Return a sequence or array of so many numbers as a tuple, or None if it is something else."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, Sequence) or len(values) != count:
        return None
    is_numeric = all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
    return tuple(map(float, values)) if is_numeric else None
