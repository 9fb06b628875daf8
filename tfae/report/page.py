"""Pages: templates, filled in."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from tfae.atomic_write import write_atomically
from tfae.report.picture import Picture

#: Bytes of all pictures of a page; base64 makes them a third larger.
_BYTES_OF_PICTURES = 2 * 10**6


@dataclasses.dataclass(frozen=True)
class Section:
    """Pictures, with the caption of each, under a heading and what to look for."""

    title: str
    text: str
    pictures: Sequence[tuple[Picture, str]]


def write(path: Path, template: str, sections: Sequence[Section], **values: Any) -> None:
    """Fill in a template and write it, with pictures that are made small enough where there are many."""
    number = sum(len(section.pictures) for section in sections)
    limit = _BYTES_OF_PICTURES // max(1, number)
    compact = [
        dataclasses.replace(
            section, pictures=[(picture.compact(limit), caption) for picture, caption in section.pictures]
        )
        for section in sections
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfae.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = moment
    write_atomically(path, environment.get_template(template).render(sections=compact, **values) + "\n")


def moment(created: str) -> str:
    """A time in ISO format as people write it."""
    return f"{datetime.datetime.fromisoformat(created).astimezone(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"
