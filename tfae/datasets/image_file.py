"""A file of one image, as Pillow reads it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from PIL import ExifTags, Image, ImageOps

from tfae.datasets import defects
from tfae.load_options import COLOR_MODES

#: What Pillow only describes, or has another program draw.
_UNREAD = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
#: What the served signature decodes. MPO is JPEG with more behind the picture.
_SERVED = ("PNG", "JPEG", "MPO")
#: Number of channels, dtype and name of the modes that files are taken in.
_MODES = {
    "L": (1, "uint8", "grayscale"),
    "LA": (2, "uint8", "grayscale with alpha"),
    "RGB": (3, "uint8", "RGB"),
    "RGBA": (4, "uint8", "RGB with alpha"),
    "I;16": (1, "uint16", "grayscale of 16 bits"),
    "I": (1, "int32", "grayscale of 32-bit integers"),
    "F": (1, "float32", "grayscale of 32-bit floats"),
}
_DEEP = ("I;16", "I", "F")


def suffixes() -> tuple[str, ...]:
    """Return the suffixes of what is read: all formats in which Pillow, with its plug-ins, finds a picture."""
    formats = (*_formats(), "MPO")
    return tuple(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


class Header(NamedTuple):
    """Height and width, upright, and Pillow's mode in which an image is taken; EXIF's orientation 1 is upright."""

    size: tuple[int, int]
    mode: str
    orientation: int = 1

    @property
    def num_channels(self) -> int:
        """How many channels the image has."""
        return _MODES[self.mode][0]

    @property
    def dtype(self) -> np.dtype:
        """Of the pixels."""
        return np.dtype(_MODES[self.mode][1])

    def __str__(self) -> str:
        return f"{self.size[0]}×{self.size[1]} {_MODES[self.mode][2]}"


@final
@dataclass(frozen=True)
class ImageReader:
    """Reads images: turned upright by EXIF, and scaled and converted if there is a size, ``(height, width)``, or mode.

    Without a mode a palette becomes its colors, and single bits 0 and 255.
    """

    size: tuple[int, int] | None = None
    color_mode: str | None = None

    def header(self, path: Path) -> Header:
        """Read what there is to know without decoding: of the image upright, but not yet scaled."""
        with _named(path):
            image = Image.open(path, formats=_formats())
        with image:
            return self._header(path, image)

    def decode(self, path: Path) -> np.ndarray:
        """Read an image, ``(height, width, channels)``."""
        with _named(path):
            image = Image.open(path, formats=_formats())
        with image:
            with _named(path):
                image.load()
            header = self._header(path, image)
            with _named(path):
                if header.orientation != 1:
                    ImageOps.exif_transpose(image, in_place=True)
                scaled: Image.Image = image
                if image.mode == "P":  # In one step, Pillow would warn of transparency that is lost.
                    scaled = image.convert("RGBA" if image.has_transparency_data else "RGB")
                # 16 bits as 32, since Pillow scales those of the other byte order wrongly.
                scaled = scaled.convert("I" if header.mode == "I;16" else header.mode)
                if self.size is not None:
                    # The mean of neighbours, weighted by distance: unlike LANCZOS it leaves no value's range, and draws
                    # no halo along an edge, which would be an anomaly. Pillow widens it when it scales down.
                    scaled = scaled.resize(self.size[::-1], Image.Resampling.BILINEAR)
                pixels = np.asarray(scaled)
        return pixels.reshape(*pixels.shape[:2], header.num_channels).astype(header.dtype, copy=False)

    def _header(self, path: Path, image: Image.Image) -> Header:
        with _named(path):
            # Phones keep previews, depth and the like behind the picture, which no reader of JPEG shows.
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        if frames > 1:
            raise ValueError(
                f"source: expected files of one image; received {str(path)!r} with {frames} frames or pages. Save each "
                "as a file, or remove the file."
            )
        if _is_cut(image):
            raise ValueError(
                f"source: expected 8 bits per channel, or gray of 16; received {image.mode} of 16 in {str(path)!r}, of "
                "which Pillow reads 8. Convert such images, or give them as a uint16 array."
            )
        stored, orientation = image.size[::-1], _orientation(image)
        size = image.size if orientation >= 5 else stored
        unlike = "CMYK" if image.mode == "CMYK" else f"EXIF orientation {orientation}" if orientation != 1 else None
        if unlike and image.format in _SERVED and stored == (self.size or size):
            remedy = "Convert it to RGB" if image.mode == "CMYK" else "Turn it with PIL.ImageOps.exif_transpose"
            raise ValueError(
                "source: expected images whose bytes a served model decodes to the same pixels; received "
                f"{str(path)!r} with {unlike}, which as it is stored has the size of the samples. {remedy} and save it."
            )
        return Header(size, self._mode(path, image), orientation)

    def _mode(self, path: Path, image: Image.Image) -> str:
        mode = "I;16" if image.mode.startswith("I;16") else image.mode
        if mode in _DEEP and self.color_mode in (None, "gray"):
            return mode
        if mode in _DEEP:
            raise ValueError(
                f'color_mode: expected "gray" for images of more than 8 bits; received {self.color_mode!r} and '
                f"{str(path)!r} with {_MODES[mode][2]}. Convert such images first."
            )
        if self.color_mode is not None:
            return COLOR_MODES[self.color_mode]
        if mode in ("P", "PA"):
            return "RGBA" if image.has_transparency_data else "RGB"
        mode = "L" if mode == "1" else mode
        if mode not in _MODES:
            raise ValueError(
                f"source: expected gray, RGB or a palette, with or without alpha; received {mode} in {str(path)!r}. "
                'color_mode="rgb" converts it.'
            )
        return mode


def _formats() -> tuple[str, ...]:
    Image.preinit()  # The frequent formats are tried first.
    Image.init()
    return tuple(name for name in Image.OPEN if name not in _UNREAD)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in errors of Pillow's, which are of many types."""
    try:
        yield
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(
            f"source: expected images of at most {limit:,} pixels; received {str(path)!r} with more. "
            "Scale it down, or set PIL.Image.MAX_IMAGE_PIXELS."
        ) from None
    except Exception as error:
        raise ValueError(
            f"source: expected an image; received {str(path)!r}: {defects.reason(error)}. Repair or remove the file."
        ) from None


def _is_cut(image: Image.Image) -> bool:
    """Whether Pillow cuts 16 bits per channel to 8."""
    if image.mode.startswith(("I", "F")):
        return False
    tiles = getattr(image, "tile", ())
    if image.format == "PPM":
        return any(isinstance(tile[3], tuple) and tile[3][-1] > 255 for tile in tiles)  # The greatest value.
    return any(marked in str(tiles) for marked in (";16", "SGI16"))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 where there is none, or Pillow heeds it itself."""
    if image.format == "TIFF":
        return 1
    with contextlib.suppress(Exception):  # EXIF data that can not be read says nothing.
        # Of PNG files Pillow would decode the pixels to see whether there is any behind them; then, there is.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
        return orientation if orientation in range(1, 9) else 1
    return 1
