"""Tables in files that are on no disk of this machine, gs://bucket/shards/*.parquet: Apache Beam fetches them."""

from __future__ import annotations

import contextlib
import posixpath
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from tfae.datasets import Part, Source
from tfae.datasets.file_rows import FileRows
from tfae.datasets.tables import TablePart


def is_remote(place: str) -> bool:
    """Whether a path or pattern is a URL."""
    return "://" in place


def list_urls(pattern: str) -> list[str]:
    """Return what fits to a pattern of paths or URLs, sorted."""
    return sorted(found.path for match in FileSystems.match([pattern]) for found in match.metadata_list)


@final
@dataclass(frozen=True)
class RemoteFiles:
    """Files of a table, by the pattern of their URLs: each is fetched whole, and opened by itself."""

    pattern: str
    open_file: Callable[[str], Source]
    keep: Sequence[str] = ()

    def find(self) -> list[str]:
        """Return the URLs, sorted; ValueError if there are none."""
        urls = list_urls(self.pattern)
        found = [each for each in urls if posixpath.basename(each)[0] not in "._" and "/beam-temp-" not in each]
        if not found:
            raise ValueError(
                f"source: expected a pattern that files fit to; received {self.pattern!r}, which none does."
            )
        return found

    @contextlib.contextmanager
    def open_source(self, url: str) -> Iterator[Source]:
        """Yield the table in a file; ValueError if it is none, or one of windows."""
        with tempfile.TemporaryDirectory() as folder:
            *folders, name = url.split("/")
            path = Path(folder, *(each for each in folders if "=" in each), name)  # Those key=value are columns.
            path.parent.mkdir(parents=True, exist_ok=True)
            as_it_is = CompressionTypes.UNCOMPRESSED
            with FileSystems.open(url, compression_type=as_it_is) as stored, path.open("wb") as fetched:
                shutil.copyfileobj(stored, fetched, 2**20)
            source = self.open_file(str(path))
            part = source.parts["all"]
            if not isinstance(part, TablePart):
                raise ValueError(
                    "source: expected a table in .parquet, .tfrecord or text files, whose rows do not depend on each "
                    f"other; received {url!r}."
                )
            part.keep(self.keep)
            part.is_tolerant = True
            if url != self.pattern:
                root = posixpath.dirname(re.split(r"[*?\[]", self.pattern)[0])
                part.sample_names = part.file_rows = FileRows([posixpath.relpath(url, root)])
            yield source

    @contextlib.contextmanager
    def open(self, url: str) -> Iterator[tuple[str, int, Part]]:
        """Yield the name of the part, the place of its first row, and the part, as a ``PieceReader`` does."""
        with self.open_source(url) as source:
            part = source.parts["all"]
            part.may_be_empty = True
            yield "all", 0, part
