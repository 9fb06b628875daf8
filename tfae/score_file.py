"""Scores in a file: CSV or Parquet, written batch by batch, there only when complete."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tfae.atomic_write import replace_atomically, validate_apart

_WRITERS = {".csv": pa.csv.CSVWriter, ".parquet": pa.parquet.ParquetWriter}


@final
class ScoreFile:
    """A context manager that writes one row per scored sample.

    The file has the columns ``part``, ``index``, ``file`` (if the samples have names), ``label`` (if they have
    labels) and ``instance_score``. It appears under its name when the block ends without an error.

    Args:
        path: Where to write to; the suffix, ``.csv`` or ``.parquet``, says how.
        inputs: Files and folders that are read meanwhile.

    Raises:
        ValueError: If the suffix is another, or the path is one of the inputs, or in one.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with ScoreFile(Path(folder, "scores.csv")) as file:
        ...         file.write("all", 0, np.array([1.5, 2.5], "float32"))
        ...     print(Path(folder, "scores.csv").read_text(), end="")
        "part","index","instance_score"
        "all",0,1.5
        "all",1,2.5
    """

    def __init__(self, path: Path, *, inputs: Sequence[Path] = ()) -> None:
        validate_apart("output", path, *inputs)
        if path.suffix.lower() not in _WRITERS:
            raise ValueError(f"output: expected a file that ends with {' or '.join(_WRITERS)}; received {path}.")
        self._path = path
        self._writer: pa.csv.CSVWriter | pa.parquet.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> ScoreFile:
        self._partial = self._exits.enter_context(replace_atomically(self._path))
        return self

    def write(
        self,
        part: str,
        start: int,
        scores: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        """Append a batch.

        Args:
            part: Name of the part of the data set that the samples are in.
            start: Index of the first of them in that part.
            scores, labels: ``(batch,)``.
            names: File of each sample; labels and names are given for all batches or for none.
        """
        columns = {"part": pa.array([part] * len(scores)), "index": pa.array(np.arange(start, start + len(scores)))}
        if names is not None:
            columns["file"] = pa.array(names)
        if labels is not None:
            columns["label"] = pa.array(labels)
        table = pa.table({**columns, "instance_score": pa.array(scores)})
        if self._writer is None:
            # A column of missing labels only has no type yet; text holds whatever comes.
            fields = (field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in table.schema)
            self._schema = pa.schema(fields)
            self._writer = self._exits.enter_context(_WRITERS[self._path.suffix.lower()](self._partial, self._schema))
        self._writer.write_table(table.cast(self._schema))

    def __exit__(self, *error: Any) -> None:
        self._exits.__exit__(*error)
