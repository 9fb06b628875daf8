"""Tables whose columns have the same names, as one: the rows of one after those of the other."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

from tfae.datasets.columns import choose_features, find_columns, validate_distinct
from tfae.datasets.file_rows import FileRows
from tfae.datasets.source import Source
from tfae.datasets.table_files import TableFiles
from tfae.datasets.tables import Table, TablePart
from tfae.load_options import ReadOptions


def open_files(files: TableFiles, options: ReadOptions, open_file: Callable[[Path], Table]) -> Source:
    """Open the table in files; ``open_file`` opens one."""
    keys, tables = _read_keys(files, options), {}
    with warnings.catch_warnings():
        for path in files.paths:
            tables[path] = open_file(path).with_keys(keys.get(path, {}))
            warnings.simplefilter("ignore")  # What is said of one is said of all.
    parts = {name: [tables[path] for path in part] for name, part in files.parts.items()}
    names = {name: [path.relative_to(files.root).as_posix() for path in part] for name, part in files.parts.items()}
    return Source(files.name, join(parts, options, repr(str(files)), None if files.is_one else names))


def join(
    parts: Mapping[str, Sequence[Table]],
    options: ReadOptions,
    where: str,
    file_names: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, TablePart]:
    """Return the tables of each part as one; ``file_names`` say where there are several, ``where`` is for errors."""
    tables = [table for part in parts.values() for table in part]
    for table in tables:
        validate_distinct(table.names, table.where)
    if not all(table.has_header for table in tables):
        options = options.by_position()
    names = list(dict.fromkeys(name for table in tables for name in table.names))
    features = choose_features(names, options, where)
    needed = [*features, *filter(None, (options.label, options.time, options.group))]
    for table in tables:
        _validate_names(tables[0], table, needed)
    columns = find_columns(_find_kinds(tables, features, options), features, options, where)
    categories = {column.name for column in columns if column.kind == "category"}
    types = {
        name: _common_type([table.types[name] for table in tables if table.types], is_category=name in categories)
        for name in names
        if all(name in table.kinds for table in tables)
    }
    stored = [None if column.name in categories else types[column.name] for column in columns]
    codes: dict[str, dict[str, int]] | None = None
    joined = {}
    for name, part in parts.items():
        rows = FileRows(file_names[name] if file_names else [where])
        num_rows, max_rows = ([getattr(table, each) for table in part] for each in ("num_rows", "max_rows"))
        joined[name] = TablePart(
            shape=(len(columns),),
            dtype=_numpy_dtype(stored) or np.dtype(np.float64),
            num_samples=None if None in num_rows else sum(num_rows),
            max_samples=None if None in max_rows else sum(max_rows),
            sample_names=rows if file_names else None,
            found_columns=columns,
            tables=part,
            file_rows=rows,
            types=types,
            where=where if name == "all" else f"{name!r} of {where}",
            options=options,
        )
        joined[name].codes = codes = codes or joined[name].codes  # A category has one code in all parts.
    return joined


def _validate_names(first: Table, table: Table, names: Sequence[str]) -> None:
    lacking = [name for name in names if name in first.kinds and name not in table.kinds]
    more = [name for name in names if name in table.kinds and name not in first.kinds]
    if lacking or more:
        differences = [f"without {', '.join(map(repr, lacking[:5]))}"] if lacking else []
        differences += [f"with {', '.join(map(repr, more[:5]))}"] if more else []
        headers = "Of text files, header=True or header=False says whether they have a header. "
        raise ValueError(
            f"source: expected columns of the same names in all files; received {first.where}, and {table.where} "
            f"{' and '.join(differences)}. {'' if first.has_header and table.has_header else headers}Rename such "
            f"columns, or leave them out: drop={[*lacking, *more]!r}."
        )


def _find_kinds(tables: Sequence[Table], features: Sequence[str], options: ReadOptions) -> dict[str, str]:
    """Return what the columns hold, which is the same in all tables or said by the options."""
    said = {*(options.category or ()), *(options.number or ())}
    found: dict[str, tuple[str, str]] = {}
    for table in tables:
        for name, kind in table.kinds.items():
            known, where = found.get(name, ("missing", ""))
            if known == "missing":
                found[name] = kind, table.where
            elif kind not in (known, "missing") and name in features and name not in said:
                remedies = ["category", *(["number"] if "number" in (known, kind) else []), "drop"]
                raise ValueError(
                    f"source: expected a column to hold the same in all files; received {known} in {name!r} of {where} "
                    f"and {kind} in that of {table.where}. Say what it is, or leave it out: "
                    f"{' or '.join(f'{remedy}=[{name!r}]' for remedy in remedies)}."
                )
    nothing = "number" if tables[0].types is None else "text"  # Which goes with a type of nothing.
    return {name: nothing if kind == "missing" else kind for name, (kind, _) in found.items()}


def _common_type(types: Sequence[pa.DataType], *, is_category: bool) -> pa.DataType | None:
    """Return the type that holds a column of all tables; None for text files, which have none."""
    if len(set(types)) < 2:
        return types[0] if types else None
    if not is_category and (dtype := _numpy_dtype([dtype for dtype in types if not pa.types.is_null(dtype)])):
        return pa.from_numpy_dtype(dtype)
    return pa.string()


def _numpy_dtype(types: Sequence[pa.DataType | None]) -> np.dtype | None:
    """Return the dtype that holds numbers, true and false of these types; None if one of them is something else."""
    for each in types:
        if each is None or not (pa.types.is_integer(each) or pa.types.is_floating(each) or pa.types.is_boolean(each)):
            return None
    return np.result_type(*(pa.array([], each).to_numpy(zero_copy_only=False).dtype for each in types))


def _read_keys(files: TableFiles, options: ReadOptions) -> dict[Path, dict[str, pa.Scalar]]:
    """Return the columns that folders called ``key=value`` stand for, of each file; above the root, if asked for."""
    paths = files.paths
    folders = dict.fromkeys(part for path in paths for part in path.parent.parts if "=" in part)
    names = list(dict.fromkeys(folder.partition("=")[0] for folder in folders))
    if not names:
        return {}
    partitioning = pyarrow.dataset.HivePartitioning(pa.schema([(name, pa.string()) for name in names]))

    def parse(path: Path) -> dict[str, str | None]:
        return pyarrow.dataset.get_partition_keys(partitioning.parse(path.as_posix()))

    asked = {*(options.columns or ()), options.label}
    above = {name: value for name, value in parse(files.root / "file").items() if name in asked}
    found = [above | parse(path.relative_to(files.root)) for path in paths]
    keys: dict[Path, dict[str, pa.Scalar]] = {path: {} for path in paths}
    for name in names:
        values = pa.array([of_path.get(name) for of_path in found], pa.string())
        if name not in (options.category or ()):  # In which 01 is not 1.
            with contextlib.suppress(pa.ArrowInvalid):
                values = pc.cast(values, pa.int32())  # As pyarrow.dataset does.
        for path, of_path, value in zip(paths, found, values, strict=True):
            keys[path] |= {name: value} if name in of_path else {}
    return keys
