"""Any data, by name, file or array: split, scaled, and ready for ``fit``.

    a name, file, folder or array ─▶ Source: raw, streamed ─▶ splits ─▶ preprocessing ─▶ Data: tf.data pipelines

``load`` goes all the way, ``open_source`` the first step.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tfae import patterns, progress
from tfae.datasets import arrays, pipelines
from tfae.datasets.beside import called, read_inputs, read_weights
from tfae.datasets.columns import leave_out, select, take_gaps
from tfae.datasets.data import Data, stream
from tfae.datasets.keywords import takes
from tfae.datasets.preparation import prepare
from tfae.datasets.series import WindowPart, cut
from tfae.datasets.source import Batch, Part, Source
from tfae.datasets.splits import Splits
from tfae.datasets.stored import StoredSamples, take
from tfae.datasets.table_files import COMPRESSED, TABLE_SUFFIXES, TableFiles, find_tables, list_tables, match_tables
from tfae.load_options import VARYING, LoadOptions, ReadOptions

__all__ = [
    "Batch",
    "Data",
    "LoadOptions",
    "Part",
    "ReadOptions",
    "Source",
    "Splits",
    "StoredSamples",
    "TableFiles",
    "WindowPart",
    "load",
    "load_if_needed",
    "locate",
    "open_source",
    "stream",
    "take",
]

_FILE_SUFFIXES = (".npy", ".npz", *TABLE_SUFFIXES)


@takes(LoadOptions)
def load(source: Any, options: LoadOptions) -> Data:
    """Load a data set, split it by the seed, and scale it for training.

    A data set that has a test split of its own keeps it, and its validation split too; where it has none, that is
    carved from the training split, in the proportion of the first two of ``splits``. Everything else is split by
    ``splits``. No split holds a sample that is, byte for byte, in another: repeated samples stay together, and training
    and validation lose those that are in the data set's own test split. What is drawn depends on the data and the seed
    only, on every machine.

    Data that does not fit into memory is streamed: the samples of a .npy file from where they are, and those of all
    else from a temporary file without a name, in the folder $TMPDIR or /var/tmp. Splits, scaling and digest are the
    same as in memory; the order of training is another one. In memory, it is a permutation of all samples. Streamed,
    chunks of 1 MB come in any order, and the samples of 128 MB of them are mixed at a time, while the next 128 MB are
    read; each sample is in each epoch once. Both depend on the seed and the epoch only.

    Args:
        source: One of

            - ``"digits"``, ``"breast_cancer"``, ``"wine"``, ``"diabetes"``: scikit-learn's, without a network;
            - any TFDS name: ``"mnist"``, ``"mnist:3.*"``, ``"emnist/letters"``; prepared on the first use;
            - an array ``(n, *shape)``, or a dict of arrays for the splits, ``{"train": …, "test": …}``; a data frame;
            - a ``tf.data.Dataset`` or ``keras.utils.PyDataset`` of batches ``x``, ``(x, x)``, ``(x, label)``,
              ``(x, x, sample_weight)``, or of dicts with ``"samples"`` and, as there are, ``"inputs"``,
              ``"sample_weight"`` and ``"labels"``; or a dict of pipelines for the splits. It is read once: what it
              draws at random is drawn once;
            - a path: ``.npy``, ``.npz``, ``.csv``, ``.parquet``, ``.tfrecord`` of tf.train.Example, or a folder of
              images, flat or with a sub-folder per class, and in the layout of MVTec AD;
            - a table in several files: a folder, a pattern such as ``"logs/**/*.csv"``, or a list of paths. Rows are in
              the order of the paths, columns are matched by name, and folders ``key=value`` are columns, too.

            In folders, files and sub-folders called train, test and perhaps val are the splits.

            Arrays of rank 4 are images ``(n, h, w, c)``; uint8 arrays of rank 3 are gray images and get a channel axis;
            other arrays of rank 3 are sequences ``(n, time, channels)``; those of rank 2 are tables.
        options: As keyword arguments, those of ``LoadOptions``.

    Returns:
        The ``Data``: pipelines of ``(x, x)``, the raw samples, the labels apart, and the fitted preprocessing.

    Raises:
        ValueError: No autoencoder can be trained on the source, or an option does not fit; the message says what was
            expected, names the column, file or sample, and says what to do.

    Example:
        >>> import numpy as np
        >>> data = load(np.random.RandomState(0).rand(100, 3).astype("float32"), batch_size=32)
        >>> data.kind, data.shape, [len(samples) for samples in data.raw]
        ('table', (3,), [80, 10, 10])
        >>> [x.shape for x, _ in data.train.as_numpy_iterator()]
        [(32, 3), (32, 3), (16, 3)]
    """
    source = locate(source)
    if isinstance(source, Path) and source.name == "test" and (source.parent / "ground_truth").is_dir():
        raise ValueError(
            f"source: expected images to train on; received {str(source)!r}, the test images of MVTec AD. Give "
            f"{str(source.parent)!r}, whose training and test images are the splits."
        )
    arguments = None
    if isinstance(source, str | Path | TableFiles):
        arguments = {"source": source.given if isinstance(source, TableFiles) else str(source), **options.as_dict()}
        progress.log.info("reading %s", source)
    elif options.in_memory is False:
        raise ValueError("in_memory: expected None or True for data that is in memory already; received False.")
    else:
        options = replace(options, in_memory=True)
        if not hasattr(source, "__arrow_c_stream__"):
            source = arrays.name_arrays(source)
            options = _take_beside(source, options)
    beside = (options.inputs, options.sample_weight)
    for name, given in zip(("inputs", "sample_weight"), beside, strict=True):
        if any(map(pipelines.is_pipeline, given.values() if isinstance(given, Mapping) else [given])):
            raise ValueError(
                f"{name}: expected an array or a file; received a pipeline, which may come in another order than the "
                f'samples. Give both in one, of dicts {{"samples": ..., "{name}": ...}}.'
            )
    if any(each is not None for each in beside):
        if options.gaps == "drop":
            raise ValueError('gaps: expected None or "mask" beside inputs and sample_weight; received "drop".')
        options = replace(options, in_memory=True)
        if not all(isinstance(each, str | None) for each in beside):
            arguments = None
    reading = replace(options, columns=None) if options.columns == [VARYING] else options
    weights: Any = options.sample_weight
    if isinstance(weights, str) and not weights.endswith(".npy"):  # A column of the table.
        with called("sample_weight"):
            parts = _open(source, replace(reading, columns=[weights], drop=None)).parts
        weights = {name: part.read(options.batch_size or 1024)[0][:, 0] for name, part in parts.items()}
        reading = replace(reading, drop=[*(reading.drop or ()), options.sample_weight])
    opened = _open(source, reading)
    inputs = None
    if options.inputs is not None:
        with called("inputs"):
            located = locate(options.inputs)
            alike = getattr(source, "suffix", "") == getattr(located, "suffix", "")
            opened_inputs = _open(located, reading if alike else ReadOptions())
        if any(column.kind == "category" for column in opened.columns or ()):
            raise ValueError("inputs: expected samples of numbers; received inputs for a table with categories.")
        inputs = read_inputs(opened_inputs, opened)
    return prepare(opened, options, arguments, inputs, None if weights is None else read_weights(weights, opened))


def _take_beside(source: arrays.NamedArrays, options: LoadOptions) -> LoadOptions:
    """Return options with what the elements of pipelines name beside the samples."""
    given = {name: source.beside(name) for name in ("inputs", "sample_weight")}
    changes: dict[str, Any] = {name: found.get("all", found) for name, found in given.items() if found is not None}
    for name in changes:
        if getattr(options, name) is not None:
            raise ValueError(f"{name}: expected None, since the pipeline gives them; received some.")
    return replace(options, **changes)


def load_if_needed(data: Any) -> Data:
    """Return data that :func:`load` returned as it is, and all else as :func:`load` returns it by default."""
    with called("data"):
        return data if isinstance(data, Data) else load(data)


@takes(ReadOptions)
def open_source(source: Any, options: ReadOptions) -> Source:
    """Open data without splitting or scaling it, to be read in stored order and constant memory.

    Args:
        source: As for ``load``.
        options: As keyword arguments, those of ``ReadOptions``; ``columns="varying"`` is for ``load`` only.

    Returns:
        The ``Source``. Files are read when its parts are.

    Raises:
        ValueError: There is no such data, or it holds something else than numbers.

    Example:
        >>> import numpy as np
        >>> source = open_source(np.zeros((5, 8, 8), "uint8"))
        >>> source.kind, source.shape
        ('image', (8, 8, 1))
        >>> [len(batch.samples) for batch in source.parts["all"].batches(2)]
        [2, 2, 1]
    """
    if options.columns == [VARYING]:
        raise ValueError(
            f'columns: expected names or indices; received "{VARYING}", which only load() can tell, from its training '
            "split. Give those that it took, data.feature_names."
        )
    return _open(locate(source), options)


# What opens a source, as module and function, and the options that it takes. Imported where it is needed: TFDS,
# scikit-learn and Arrow take a second.
_TABLE = ("columns", "label", "drop", "category", "number", "missing", "max_categories")
_TEXT = (*_TABLE, "header", "delimiter", "decimal", "thousands", "encoding", "comment")
_OPENERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "a data set by name": ("catalog", "from_name", ("feature", "data_dir", "manual_dir")),
    "a data frame": ("parquet_files", "from_frame", _TABLE),
    "an array": ("arrays", "from_memory", ()),
    "a folder": ("image_folder", "from_folder", ("image_size", "color_mode")),
    "a .npy file": ("npy_files", "from_npy", ()),
    "a .npz file": ("npy_files", "from_npz", ("key",)),
    "a .csv file": ("csv_files", "from_csv", _TEXT),
    "a .parquet file": ("parquet_files", "from_parquet", _TABLE),
    "a .tfrecord file": ("tfrecord_files", "from_tfrecord", _TABLE),
}


def _open(source: Any, options: ReadOptions) -> Source:
    if isinstance(source, TableFiles):
        what = f"a {source.suffix} file"
    elif isinstance(source, Path):
        what = "a folder" if source.is_dir() else f"a {source.suffix.lower()} file"
        if what not in _OPENERS:
            raise ValueError(
                f"source: expected a folder of images or tables, or a file that ends with {', '.join(_FILE_SUFFIXES)}; "
                f"received {str(source)!r}."
            )
    elif isinstance(source, str):
        what = "a data set by name"
    else:
        what = "a data frame" if hasattr(source, "__arrow_c_stream__") else "an array"
    module, function, names = _OPENERS[what]
    common = ("columns", "drop", "gaps", "window", "stride", *(("time", "group") if "columns" in names else ()))
    for field in fields(ReadOptions):
        value = getattr(options, field.name)
        if value is not None and field.name not in (*common, *names):
            raise ValueError(f"{field.name}: expected None for {what}; received {value!r}.")
    opener = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    opened: Source = opener(source, options)
    if "columns" not in names:
        if options.drop is not None:
            opened = leave_out(opened, options.drop)
        if options.columns is not None:
            opened = select(opened, options.columns)
    if options.window is not None:
        return cut(opened, options)
    return opened if options.gaps is None else take_gaps(opened, options.gaps)


def locate(source: Any) -> Any:
    """Return what ``open_source`` finds at once: a path that is absolute, or ``TableFiles``; all else as it is."""
    if source is None or (isinstance(source, str) and not source.strip()):
        raise ValueError(f"source: expected {arrays.SOURCES}; received {source!r}.")
    if isinstance(source, list) and source and all(isinstance(each, str | os.PathLike) for each in source):
        return list_tables(source)
    if not isinstance(source, str | os.PathLike):
        return source
    # A data set's name/config has one slash, and no suffix of a file.
    suffixes = (*_FILE_SUFFIXES, *COMPRESSED, "/", "\\")
    may_be_path = isinstance(source, os.PathLike) or (
        source.endswith(suffixes) or source.startswith((".", "~", "/", "\\")) or source.count("/") > 1
    )
    is_pattern = patterns.is_pattern(source)
    if isinstance(source, str) and not may_be_path:
        from tfae.datasets import catalog

        is_known = catalog.is_known(source)
        # What a name means does not depend on the folder one is in: a folder named mnist is ./mnist.
        if is_known and "/" not in source:
            return source
        may_be_path = not is_known and ("/" in source or is_pattern) and ":" not in source
    path = Path(source).expanduser()
    if path.exists():
        return find_tables(path.absolute()) or path.absolute()
    if may_be_path and is_pattern:
        return match_tables(source)
    if may_be_path:
        raise ValueError(f"source: expected an existing file or folder; received {str(source)!r}, which is not there.")
    return source
