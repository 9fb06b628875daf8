"""Pages: templates, filled in."""

from __future__ import annotations

import dataclasses
import datetime
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from tfae import losses, provenance
from tfae.advice import Advice, advise
from tfae.atomic_write import write_atomically
from tfae.datasets import Data, take
from tfae.report.metric_tables import format_number, format_percent
from tfae.report.picture import Picture

#: Values of the training split that a page's advice looks at: half a second. ``tfae advise`` looks at all.
MAX_VALUES = 2**23


def write(
    path: Path, template: str, pictures: dict[str, Picture], data: Data, about: dict[str, Any], **values: Any
) -> None:
    """Fill in a template with what made it, ``about``, the configuration of a run or the plan of a comparison."""
    advice, note = advise_page(data, noted=about.get("notes", {}).get("advice"))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfae.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (format_time, format_floor, format_number, format_percent, provenance.format_model, title_of_loss)
    environment.filters |= {each.__name__: each for each in filters}
    values |= {"pictures": pictures, "about": about, "advice": advice, "note": note}
    write_atomically(path, environment.get_template(template).render(values) + "\n")


def advise_page(data: Data, *, noted: Any = None) -> tuple[dict[str, Any] | None, str]:
    """Return what :func:`tfae.advice.advise` says of data, or said to the user, and its basis; or None, and why.

    Of a large training split it is asked about every k-th sample: a page is written after every training.
    """
    if isinstance(noted, dict) and noted.keys() == {field.name for field in dataclasses.fields(Advice)}:
        return noted, ""
    train, note = data.raw.train, ""
    num = max(1, MAX_VALUES // math.prod(data.shape))
    if num < len(train):
        chosen = np.arange(num) * len(train) // num
        data = dataclasses.replace(data, raw=data.raw._replace(train=take(train, chosen)))
        note = f"It is based on {num:,} of the {len(train):,} training samples; tfae advise looks at all of them."
    try:
        return advise(data).as_dict(), note
    except ValueError as error:  # A training that is done is not lost over it.
        return None, str(error)


def title_of_loss(name: str) -> str:
    """Return the title of a loss; its name, where the module that registers it is not imported."""
    known = losses.find(name)
    return name if known is None else known.title


def format_floor(choice: dict[str, Any]) -> str:
    """Return the floor of a loss that is advised, with its unit."""
    known = losses.find(choice["loss"])
    if choice["floor"] is None:
        return "known once the noise is"
    return f"{choice['floor']:.4g}{f' {known.unit}' if known and known.unit else ''}"


def format_time(created: str) -> str:
    """Return a time in ISO format as people write it."""
    return f"{datetime.datetime.fromisoformat(created).astimezone(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"
