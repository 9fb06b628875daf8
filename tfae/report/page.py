"""What pages are made of: templates that are filled in, pictures with the words that say what they show, and tables."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import io
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tfae import losses, provenance
from tfae.advice import Advice, advise, format_floor
from tfae.atomic_write import write_atomically
from tfae.datasets import Data, take
from tfae.evaluation import METRICS, Evaluation
from tfae.evaluation.evaluation import align, percent
from tfae.evaluation.metrics import BOUND, LOSS

#: Values of the training split that a page's advice looks at: half a second. ``tfae advise`` looks at all.
MAX_VALUES = 2**23

#: Dots per inch: on a page, twice as many as a common screen shows.
_DPI = 150


@dataclasses.dataclass(frozen=True)
class Picture:
    """A PNG file, as a page holds it: sides in pixels of the page, and what it shows in words."""

    name: str
    alt: str
    content: bytes = dataclasses.field(repr=False)
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` address."""
        return f"data:image/png;base64,{base64.b64encode(self.content).decode()}"

    def save(self, folder: Path) -> None:
        """Write a PNG file, which carries its description."""
        write_atomically(folder / f"{self.name}.png", lambda partial: partial.write_bytes(self.content))


def draw_picture(name: str, alt: str, figure: Figure) -> Picture:
    """The picture of a figure."""
    # By Agg itself, as savefig would draw everything twice, to lay it out and to paint it.
    figure.dpi = _DPI
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # In the file itself, so that whoever finds the picture alone has its description, too.
    described = PngInfo()
    described.add_text("Description", alt)
    file, image = io.BytesIO(), Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    image.save(file, "PNG", pnginfo=described, dpi=(_DPI, _DPI))
    width, height = (round(96 * pixels / _DPI) for pixels in image.size)
    return Picture(name, alt, file.getvalue(), width, height)


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


def format_time(created: str) -> str:
    """Return a time in ISO format as people write it."""
    return f"{datetime.datetime.fromisoformat(created).astimezone(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"


def group_rows(e: Evaluation) -> dict[str, list[tuple[str, str, str]]]:
    """Return title, value and note of all metrics by the heading of their group, decimal points below each other."""
    unit = f", {e.loss_unit}" if e.loss_unit else ""
    headings = {LOSS: f"{LOSS}, {e.sample_reduction} over the elements{unit}"}
    rows = e.rows()
    numbers = [format_number(row.value) for row in rows]
    values = align(numbers, "\N{FIGURE SPACE}", "\N{PUNCTUATION SPACE}")
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for row, value in zip(rows, values, strict=True):
        title = row.title[0].upper() + row.title[1:]
        groups.setdefault(headings.get(row.group, row.group), []).append((title, value, _typeset(row.note)))
    return groups


def rows_of_losses(evaluations: Sequence[Sequence[Evaluation]]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the title of what is in the unit of each loss, and its mean over the seeds for each loss."""

    def mean(values: Iterable[float | None]) -> str:
        there = [value for value in values if value is not None and math.isfinite(value)]
        return format_number(statistics.fmean(there) if there else None)

    given = [e for of_seeds in evaluations for e in of_seeds]
    metrics = [
        metric
        for metric in METRICS.values()
        if metric.group == LOSS or (metric.group == BOUND and any(getattr(e, metric.name) is not None for e in given))
    ]
    penalties = dict.fromkeys(name for e in given for name in e.penalties)
    columns = [
        [mean(getattr(e, metric.name) for e in of_seeds) for metric in metrics]
        + [mean(e.penalties.get(name) for e in of_seeds) for name in penalties]
        for of_seeds in evaluations
    ]
    titles = [*(metric.heading for metric in metrics), *(f"Penalty of {name}" for name in penalties)]
    # Decimal points below each other, in the column of each loss.
    aligned = (align(column, "\N{FIGURE SPACE}", "\N{PUNCTUATION SPACE}") for column in columns)
    return list(zip(titles, zip(*aligned, strict=True), strict=True))


def format_number(value: float | None) -> str:
    """Format a number with five significant digits."""
    if value is None or not math.isfinite(value):
        return "∞" if value == math.inf else "n/a"
    text = f"{value:,.0f}" if 1e5 <= abs(value) < 1e9 else f"{value:,.5g}"
    return text.replace("-", "−")


def format_percent(skill: float | None) -> str:
    """Format a skill as in print, in the characters of a page."""
    return "n/a" if skill is None or not math.isfinite(skill) else _typeset(percent(skill))


def _typeset(text: str) -> str:
    return re.sub(r"-(?=\d)", "−", text).replace(" %", "\N{NO-BREAK SPACE}%")
