"""Scores of tables in files by Apache Beam, on one machine or on many: shards in, shards of Parquet out.

An element of the pipeline is a block of rows: as elements of their own, rows take four times as long.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import pyarrow as pa

from tfae import export, progress
from tfae.datasets import Source
from tfae.datasets.defects import close_matches
from tfae.datasets.pieces import PieceReader, cut
from tfae.export import SavedAutoencoder
from tfae.scoring import CHUNK, Summary
from tfae.scoring.answers import ask
from tfae.scoring.score_rows import ScoreRows, schema_of

logging.disable(logging.WARNING)  # It warns of clouds that it can not speak to.
try:
    import apache_beam as beam
    from apache_beam.io.parquetio import WriteToParquetBatched
    from apache_beam.metrics import Metrics, MetricsFilter
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineState
    from apache_beam.utils.shared import Shared

    from tfae.scoring.remote_files import RemoteFiles, is_remote, list_urls
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"runner: expected Apache Beam, which is not installed ({error.name} is missing). Install it with "
        "pip install 'tfae[beam]'.",
        name=error.name,
    ) from error
finally:
    logging.disable(logging.NOTSET)

#: What Beam calls what runs a job, by the name that is asked for. Its own DirectRunner would first download Prism.
RUNNERS = {"DirectRunner": "FnApiRunner"}
_NAMESPACE = "tfae"
SUFFIX = ".parquet"


@final
class JobError(RuntimeError):
    """A job that has failed; what it has left is said."""


def score(
    model: SavedAutoencoder,
    source: Source | RemoteFiles,
    output: str | os.PathLike[str],
    *,
    runner: str = "DirectRunner",
    runner_options: Sequence[str] = (),
    keep: Sequence[str] = (),
    explain: int = 0,
    trust: bool = False,
) -> Summary | None:
    """Write a row for every row of a table in files, as :func:`tfae.scoring.score` does, by a job of Apache Beam.

    The rows are those that it writes, to what rounding does to sums, but for ``index``, which is the row in its
    ``file``, and for their order, which is none. Where there is one file, there is no column ``file``.

    Each worker reads the folder of the model, which it may have to ``trust``, and files on a disk under the same paths.
    The output ``scores/part.parquet`` stands for ``scores/part-00000-of-00008.parquet``, and so on; how many shards
    there are, is up to the runner. Its options are as on a command line, ``--flink_master=host:8081``.

    Returns:
        What became of the samples, without drift, which needs all p-values at once, and the first defect, for there is
        no order; None of a runner that does not count.

    Raises:
        ValueError: If the source is no table in files, there are shards already, or as of
            :func:`tfae.scoring.score`; if no row has a score, the shards with the reasons are there.
        JobError: If the job fails.
    """
    prefix, pattern = find_shards(output)
    options = _parse_options(runner, runner_options)
    places = {"source": isinstance(source, RemoteFiles), "output": is_remote(prefix)}
    if runner == "DataflowRunner" and not all(places.values()):
        argument = min(places, key=lambda name: places[name])
        raise ValueError(
            f"{argument}: expected files that the workers of Dataflow reach, such as gs://bucket/shards/*.parquet; "
            "received files on this machine."
        )
    pieces: Sequence[Any]
    reader: PieceReader | RemoteFiles
    with contextlib.ExitStack() as fetched:
        if isinstance(source, RemoteFiles):
            reader = dataclasses.replace(source, keep=tuple(keep))
            pieces = reader.find()
            sample = fetched.enter_context(reader.open_source(pieces[0]))
        else:
            for part in source.parts.values():
                part.keep(keep)
                part.is_tolerant = True
            reader, pieces = cut(source)
            sample = source
        # What can not be kept, read or asked shows here, before there is a job; and so do the types of all rows.
        rows = ScoreRows.of(model, sample, explain)
        part_name, part = next(iter(sample.parts.items()))
        answer = ask(model, next(part.batches(CHUNK)), explain=bool(explain))
        schema = schema_of(rows.table(0, part_name, part, answer))
    shared = Shared()
    shared.acquire(lambda: model)  # For workers in this process.
    scoring = _ScorePieces(str(model.path.resolve()), trust, reader, rows, schema, shared)
    progress.log.info("scoring %s on %s, %s pieces of files", sample.name, runner, f"{len(pieces):,}")
    try:
        pipeline = beam.Pipeline(options=options)
        tables = pipeline | "pieces" >> beam.Create(pieces) | "score" >> beam.ParDo(scoring)
        # As one shard per bundle, which is done again as a whole if its worker is lost.
        _ = tables | "write" >> WriteToParquetBatched(prefix, schema, codec="snappy", file_name_suffix=SUFFIX)
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as error:
        raise JobError(_explain_failure(runner, str(error), pattern)) from error
    if state not in (None, PipelineState.DONE):
        raise JobError(_explain_failure(runner, str(state), pattern))
    return _summarize(result, model, pattern)


def find_shards(output: str | os.PathLike[str]) -> tuple[str, str]:
    """Return what the names of the shards of an output begin with, as each worker finds them, and a pattern of them.

    The pattern finds nothing that belongs to a job that has not ended.

    Raises:
        ValueError: If the suffix is none of Parquet, or there are such shards.

    Example:
        >>> find_shards("/scores/part.parquet")
        ('/scores/part', '/scores/part-*-of-*.parquet')
    """
    place = os.fspath(output)
    if not place.endswith(SUFFIX):
        raise ValueError(f"output: expected a name for shards, such as scores/part{SUFFIX}; received {place}.")
    if not is_remote(place):
        place = str(Path(place).absolute())
    prefix = place.removesuffix(SUFFIX)
    pattern = f"{prefix}-*-of-*{SUFFIX}"
    if there := list_urls(pattern):
        raise ValueError(
            f"output: expected no shards yet, which the new ones would mix with; received {output}, and there is "
            f"{there[0]}. Delete them, or choose another name."
        )
    return prefix, pattern


def _parse_options(runner: str, given: Sequence[str]) -> PipelineOptions:
    """Return Beam's options; ValueError if there are no such ones, or they have no such values."""
    options = PipelineOptions([f"--runner={RUNNERS.get(runner, runner)}", *given])
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            known, found = (options.get_all_options(retain_unknown_options=unknown) for unknown in (False, True))
    except SystemExit:
        reason = said.getvalue().rstrip().rpartition("error: ")[2]
        raise ValueError(
            f"runner: expected options that Beam takes, such as --name=value; it says: {reason}."
        ) from None
    # A cluster's job server has options that only itself knows.
    if (unknown := sorted(found.keys() - known.keys())) and runner not in ("FlinkRunner", "SparkRunner"):
        raise ValueError(
            f"runner: expected options that Beam knows; received --{unknown[0]}. {close_matches(unknown[0], known)}"
        )
    return options


@final
class _ScorePieces(beam.DoFn):
    """Scores the rows of pieces, a block at a time."""

    def __init__(
        self,
        model: str,
        trust: bool,
        reader: PieceReader | RemoteFiles,
        rows: ScoreRows,
        schema: pa.Schema,
        shared: Shared,
    ) -> None:
        self._model, self._trust, self._reader = model, trust, reader
        self._rows, self._schema, self._shared = rows, schema, shared

    def setup(self) -> None:
        """Load the model, once per process."""
        self._loaded = self._shared.acquire(lambda: export.load(self._model, trust=self._trust))

    def process(self, piece: Any) -> Iterator[pa.Table]:
        """Yield the rows of a file of scores."""
        with self._reader.open(piece) as (name, start, part):
            for batch in part.batches(CHUNK):
                answer = ask(self._loaded, batch, explain=bool(self._rows.explain))
                _count("samples", len(batch.samples))
                _count("defective", len(answer.defects))
                if answer.is_outlier is not None:
                    _count("alarms", int(answer.is_outlier.sum()))
                yield self._rows.table(start, name, part, answer).cast(self._schema)
                start += len(batch.samples)


def _count(name: str, number: int) -> None:
    Metrics.counter(_NAMESPACE, name).inc(number)


def _summarize(result: Any, model: SavedAutoencoder, pattern: str) -> Summary | None:
    found = result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))["counters"]
    if not found:
        return None
    counts = {each.key.metric.name: each.result for each in found}
    num_samples, num_defective = counts["samples"], counts.get("defective", 0)
    if num_samples == num_defective:
        raise ValueError(
            f"source: expected samples that the model can score; received none. The reasons are in {pattern}."
        )
    return Summary(num_samples, num_defective, "", counts.get("alarms", 0) if model.detects else None)


def _explain_failure(runner: str, error: str, pattern: str) -> str:
    """Say why a job failed, on one line, of what Beam says with the tracebacks of all workers."""
    raised = re.findall(r"^[\w.]*(?:Error|Exception|Exit): (.+)$", error, re.MULTILINE)
    reason = re.sub(r" \[while running .*", "", raised[-1] if raised else " ".join(error.split())).rstrip(".")
    if reason == "Channel closed prematurely":
        reason = f"a worker was lost ({reason})"
    # They get their names one after the other, at the very end.
    left = "some of the shards are" if list_urls(pattern) else "nothing is"
    return (
        f"{runner}: expected a job that ends; it failed: {reason}. What it has written is in a folder beam-temp-*, "
        f"which can be deleted, and {left} in {pattern}."
    )
