"""How a text table is written: what separates and begins its cells, found where that is certain and else asked for."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pyarrow as pa

from tfae.datasets import defects
from tfae.datasets.cells import MISSING, is_header, is_number
from tfae.load_options import ReadOptions

#: Bytes and rows that are looked at.
_NUM_BYTES, _NUM_ROWS = 2**20, 1000
#: What separates cells, by its name; runs of white space count as one space.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_DATE, _CLOCK = r"\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4}", r"\d\d?:\d\d(:\d\d(\.\d+)?)?( ?[AaPp][Mm])?"
_TIME = re.compile(rf"({_DATE})([ T]{_CLOCK}( ?(Z|UTC|[+-]\d\d:?\d\d))?)?|{_CLOCK}")


@final
@dataclass(frozen=True)
class Dialect:
    """How a text table is written, where a delimiter of a space is a run of white space.

    Attributes:
        stored_names: The cells of the header, white space included; the names where there is none.
        kinds: Of the columns, "number", "yes/no", "time", "text" or "missing", as far as the first rows tell.
        has_line_breaks: Whether cells of several lines are among the first rows.
    """

    encoding: str
    delimiter: str
    comment: str | None
    decimal: str
    thousands: str | None
    has_header: bool
    names: tuple[str, ...]
    stored_names: tuple[str, ...]
    kinds: tuple[str, ...]
    has_line_breaks: bool

    def open(self, path: Path) -> pa.NativeFile:
        """Open the table for Arrow: its rows in UTF-8, with the header if Arrow can read it."""
        file = pa.input_stream(str(path), compression="detect")
        return file if self.is_plain else pa.PythonFile(io.BufferedReader(_Stream(self._rows(file))))

    @property
    def is_plain(self) -> bool:
        """Whether Arrow can read the file as it is."""
        return self.encoding.startswith("utf-8") and self.comment is None and self.delimiter != " "

    def _rows(self, file: pa.NativeFile) -> Iterator[bytes]:
        lines = _without_comments(io.TextIOWrapper(file, self.encoding, newline=""), self.comment)
        if self.delimiter == " ":
            lines = (" ".join(line.split()) + "\n" for line in lines)
        lines = itertools.islice((line for line in lines if line.strip()), self.has_header, None)
        while block := "".join(itertools.islice(lines, 10_000)):
            yield block.encode()


class _Stream(io.RawIOBase):
    """Blocks of bytes as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._block = blocks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._block = self._block or next(self._blocks, b"")
        part, self._block = self._block[: len(buffer)], self._block[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def find_dialect(path: Path, options: ReadOptions) -> Dialect:
    """Find how a text table is written; what ``options`` say of it is so, and an error names the option that helps."""
    text, encoding = _read_beginning(path, options.encoding)
    lines = [line for line in text.splitlines() if line.strip()]
    comment = _find_comment(lines) if options.comment is None else options.comment
    lines = list(_without_comments(lines, comment))
    if not lines:
        raise ValueError(f"source: expected a table; received {str(path)!r}, which is empty.")
    delimiter = options.delimiter or _find_delimiter(lines, path)
    rows = _split(lines, delimiter, path)
    decimal, thousands = _find_signs(rows, delimiter, path, options)
    has_header = is_header(rows[0], path, decimal, thousands) if options.header is None else options.header
    stored = rows[0] if has_header else [f"column_{index}" for index in range(len(rows[0]))]
    cells = itertools.zip_longest(*(row[: len(stored)] for row in rows[has_header:]), fillvalue="")
    kinds = [_find_kind([cell.strip() for cell in column], decimal, thousands) for column in cells]
    return Dialect(
        encoding=encoding,
        delimiter=delimiter,
        comment=comment,
        decimal=decimal,
        thousands=thousands,
        has_header=has_header,
        names=tuple(cell.strip() for cell in stored),
        stored_names=tuple(stored),
        kinds=tuple(kinds + ["missing"] * (len(stored) - len(kinds))),
        has_line_breaks=any("\n" in cell for row in rows for cell in row),
    )


def _read_beginning(path: Path, encoding: str | None) -> tuple[str, str]:
    """Return the first lines of a file, as many as are looked at, and their encoding."""
    try:
        with pa.input_stream(str(path), compression="detect") as file:
            content = file.read(_NUM_BYTES + 1)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"source: expected a text file; received {str(path)!r}: {defects.reason(error)}.") from None
    found = next((name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    if len(content) > _NUM_BYTES:
        content = content[: content.rfind(b"\n") + 1] or content
    try:
        text = content.decode(encoding or found)
    except UnicodeDecodeError:
        raise encoding_error(path) from None
    except LookupError:
        raise ValueError(
            f"encoding: expected the name of an encoding, such as latin-1; received {encoding!r}."
        ) from None
    if "\0" in text:
        raise ValueError(f"source: expected a text file; received {str(path)!r}, which holds zero bytes.")
    return text, encoding or found


def encoding_error(path: Path) -> ValueError:
    """What is said of bytes that are no UTF-8."""
    return ValueError(
        f"source: expected text in UTF-8; received {str(path)!r} in another encoding. Say which, such as "
        'encoding="latin-1" for Western European text, or encoding="cp1252" as Windows writes it.'
    )


def _find_comment(lines: Sequence[str]) -> str | None:
    """Return the sign of the comments above a table, "#" or "%"; None for none, and for a header that begins so."""
    sign = lines[0].lstrip()[:1] if lines else ""
    if sign not in ("#", "%") or len(lines) < 2:
        return None
    first = [line for line in lines[:2] if line.lstrip().startswith(sign)]
    widths = {len(re.split(r"[,;|\t]+|\s+", line.strip())) for line in lines[:2]}
    return sign if len(first) == 2 or len(widths) == 2 else None


def _without_comments(lines: Iterable[str], comment: str | None) -> Iterator[str]:
    return (line for line in lines if comment is None or not line.lstrip().startswith(comment))


def _find_delimiter(lines: Sequence[str], path: Path) -> str:
    """Return what separates the cells: the one sign that gives all rows one number of cells, two or more."""
    tried = {sign: _split(lines, sign, path, strict=False) for sign in DELIMITERS}
    same = {sign: rows for sign, rows in tried.items() if len(rows[0]) > 1 and len({*map(len, rows)}) == 1}
    if len(same) > 1:
        same.pop(" ", None)
    if len(same) > 1:  # "1,5;2,5": of two signs that fit, numbers tell the decimal one.
        numbers = {
            sign: sum(
                any(is_number(cell, mark, None) for mark in ".,".replace(sign, "")) for row in rows for cell in row
            )
            / len(rows[0])
            for sign, rows in same.items()
        }
        same = {sign: rows for sign, rows in same.items() if numbers[sign] == max(numbers.values())}
    if len(same) > 1:
        listed = " or ".join(DELIMITERS[sign] for sign in same)
        raise ValueError(
            f"source: expected a table whose cells are separated by one sign; received {str(path)!r}, in which that "
            f"may be {listed}, as in {lines[0]!r}. Say which: delimiter={next(iter(same))!r}."
        )
    if same:
        return next(iter(same))
    widest = max(tried, key=lambda sign: len(tried[sign][0]) if sign != " " else 0)
    return widest if len(tried[widest][0]) > 1 else ","


def _split(lines: Sequence[str], delimiter: str, path: Path, *, strict: bool = True) -> list[list[str]]:
    if delimiter == " ":
        return [line.split() for line in lines[:_NUM_ROWS]]
    try:
        return list(itertools.islice(filter(None, csv.reader(lines, delimiter=delimiter)), _NUM_ROWS))
    except csv.Error as error:
        if not strict:
            return [[""]]
        raise ValueError(
            f"source: expected a table whose cells are separated by {DELIMITERS.get(delimiter, delimiter)}; received "
            f"{str(path)!r}: {defects.reason(error)}."
        ) from None


def _find_signs(
    rows: Sequence[Sequence[str]], delimiter: str, path: Path, options: ReadOptions
) -> tuple[str, str | None]:
    """Return the decimal sign of numbers, and what stands between their thousands."""
    cells = [cell.strip() for row in rows for cell in row if "," in cell]
    grouped = [cell for cell in cells if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", cell)]
    commas = [cell for cell in cells if re.fullmatch(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d*([eE][+-]?\d+)?", cell)]
    decimal, thousands = options.decimal, options.thousands
    if decimal is None:
        decimal = "."
        points = any(is_number(cell, ".", None) and "." in cell for row in rows for cell in row)
        if commas and thousands != "," and not points:
            if all(cell in grouped for cell in commas) and delimiter != ",":
                raise ValueError(
                    f"source: expected numbers of one meaning; received {commas[0]!r} in {str(path)!r}, which may be "
                    'a thousand or a fraction. Say which: thousands="," or decimal=",".'
                )
            decimal = "," if len(commas) > len(set(commas) & set(grouped)) else "."
    if thousands is None and decimal == "," and any("." in cell for cell in commas):
        thousands = "."
    if thousands is None and decimal == "." and grouped and len(grouped) == len(cells):
        thousands = ","
    return decimal, thousands


def _find_kind(cells: Sequence[str], decimal: str, thousands: str | None) -> str:
    present = [cell for cell in cells if cell.lower() not in MISSING]
    if not present:
        return "missing"
    if all(cell.lower() in ("true", "false") for cell in present):
        return "yes/no"
    texts = [cell for cell in present if not is_number(cell, decimal, thousands)]
    # Numbers in which a few cells hold a sign for what is missing, such as "?", are numbers.
    if len(texts) == 0 or (2 * len(texts) < len(present) and len(set(texts)) == 1):
        return "number"
    return "time" if all(map(_TIME.fullmatch, present)) else "text"
