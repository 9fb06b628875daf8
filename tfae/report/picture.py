"""A picture with the words that say what it shows."""

from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tfae.atomic_write import write_atomically

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
