"""A folder of images: flat, or with one sub-folder per class."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from tfae.datasets import defects
from tfae.datasets.source import Batch, Part, Source

#: What the served signature decodes too.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")

# Channels that TensorFlow decodes a PNG or JPEG of Pillow's mode to. Palettes are left to decoding: it knows whether
# they have transparency.
_CHANNELS = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 3}
_WORDS = {1: "grayscale", 2: "grayscale with alpha", 3: "RGB", 4: "RGB with alpha"}


@final
@dataclass(kw_only=True, eq=False, repr=False)
class FolderPart(Part):
    """Images that are decoded as they are read, in the order of their names."""

    folder: Path
    sample_names: tuple[str, ...]
    labels: np.ndarray | None

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield decoded images."""
        names = self.sample_names
        for start in range(0, len(names), size):
            stop = min(start + size, len(names))
            samples = np.empty((stop - start, *self.shape), np.uint8)
            for index, name in enumerate(names[start:stop]):
                image = decode(self.folder / name)
                if image.shape != self.shape:
                    raise ValueError(_mix_error(self.folder / names[0], self.shape, self.folder / name, image.shape))
                samples[index] = image
            yield samples, None if self.labels is None else self.labels[start:stop]


def from_folder(folder: Path) -> Source:
    """Open images of one size: in a folder, in one sub-folder per class, or either in each of "train", "test", …."""
    sub_folders = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if {"train", "test"} <= sub_folders <= {"train", "validation", "test"}:
        folders: dict[str, Path] = {
            name: folder / name for name in ("train", "validation", "test") if name in sub_folders
        }
    else:
        folders = {"all": folder}
    listed = {part: _list_images(path) for part, path in folders.items()}
    first = next(folders[part] / names[0] for part, (names, _) in listed.items())
    shape = decode(first).shape
    parts = {}
    for part, (names, has_classes) in listed.items():
        for name in names:
            path = folders[part] / name
            header = _header(path)
            if any(found not in (None, expected) for found, expected in zip(header, shape, strict=True)):
                raise ValueError(_mix_error(first, shape, path, header))
        labels = np.array([name.split("/")[0] for name in names]) if has_classes else None
        parts[part] = FolderPart(
            shape=shape,
            dtype=np.dtype("uint8"),
            num_samples=len(names),
            folder=folders[part],
            sample_names=tuple(names),
            labels=labels,
        )
    return Source(folder.resolve().name, parts)


def decode(path: Path) -> np.ndarray:
    """Decode an image, or the first frame of several, as the served model does: uint8 ``(height, width, channels)``."""
    try:
        with tf.device("CPU"):
            return tf.io.decode_image(tf.io.read_file(str(path)), expand_animations=False).numpy()
    except tf.errors.OpError as error:
        reason = error.message.split("\n")[0].split("}} ")[-1].split(" [Op:")[0]
        raise ValueError(
            f"source: expected an image that can be decoded; received {str(path)!r}: {reason.rstrip('.')}. "
            "Repair or remove the file."
        ) from None


def _list_images(folder: Path) -> tuple[list[str], bool]:
    """Return the images relative to the folder, sorted, and whether they are in sub-folders."""
    # Sorted as text, for paths sort differently on different systems.
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = [name for name in files if not any(part.startswith(".") for part in name.split("/"))]
    names = [name for name in files if name.lower().endswith(SUFFIXES)]
    if not names:
        found = ", ".join(map(repr, files[:5])) or "no file"
        raise ValueError(f"source: expected {', '.join(SUFFIXES)} images in {str(folder)!r}; received {found}.")
    depths = {name.count("/"): name for name in names}
    if len(depths) > 1 or max(depths) > 1:
        raise ValueError(
            f"source: expected images in {str(folder)!r} itself, or in one level of sub-folders named by their class; "
            f"received {' and '.join(map(repr, depths.values()))}."
        )
    skipped = [name for name in files if not name.lower().endswith(SUFFIXES)]
    if skipped:
        more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        warnings.warn(
            f"skipped what is not {', '.join(SUFFIXES)} in {str(folder)!r}: {', '.join(skipped[:5])}{more}",
            stacklevel=6,
        )
    return names, max(depths) == 1


def _header(path: Path) -> tuple[int, int, int | None]:
    """Return height, width and channels (None where only decoding tells), without decoding."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):
                raise ValueError(
                    f"source: expected 8 bits per channel; received 16 in {str(path)!r}. Convert such images, or give "
                    "them as a uint16 array."
                )
            if image.format == "BMP" and image.mode == "P":  # TensorFlow would take the indices for gray levels
                raise ValueError(
                    f"source: expected RGB or grayscale; received a BMP with a palette in {str(path)!r}. Convert such "
                    "images."
                )
            channels = _CHANNELS.get(image.mode) if image.format in ("PNG", "JPEG") else None
            return image.height, image.width, channels
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(
            f"source: expected an image; received {str(path)!r}: {defects.reason(error)}. Repair or remove the file."
        ) from None


def _mix_error(path: Path, shape: Sequence[int | None], other: Path, other_shape: Sequence[int | None]) -> str:
    return (
        f"source: expected images of one size and one number of channels; received {str(path)!r} with "
        f"{_describe(shape)} and {str(other)!r} with {_describe(other_shape)}. Resize or convert them first."
    )


def _describe(shape: Sequence[int | None]) -> str:
    height, width, channels = shape
    return f"{height}×{width}" + ("" if channels is None else f" {_WORDS.get(channels, f'{channels} channels')}")
