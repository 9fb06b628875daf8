"""A folder of images: flat, or with one sub-folder per class."""

from __future__ import annotations

import contextlib
import re
import struct
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

#: The EXIF tag.
_ORIENTATION = 0x0112
#: What the served signature decodes too.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")

# Channels that TensorFlow decodes a PNG or JPEG of Pillow's mode to. Palettes are left to decoding: it knows whether
# they have transparency.
_CHANNELS = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 3}
#: What sub-folders of the splits are called.
_SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
#: What looks like the folder of a split.
_LIKE_A_SPLIT = re.compile("(train|val|test|dev|eval)", re.IGNORECASE)
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
    folders = _folders_of_splits(folder) or {"all": folder}
    listed = {part: _list_images(path) for part, path in folders.items()}
    first = next(folders[part] / names[0] for part, (names, _) in listed.items())
    _header(first)
    shape = decode(first).shape
    parts = {}
    for part, (names, has_classes) in listed.items():
        for name in names:
            path = folders[part] / name
            header = _header(path)
            if any(found not in (None, expected) for found, expected in zip(header, shape, strict=True)):
                raise ValueError(_mix_error(first, shape, path, header))
        _warn_of_rotation(folders[part], names)
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


def _folders_of_splits(folder: Path) -> dict[str, Path] | None:
    """Return the folders of the splits; None if the sub-folders are classes, or there are none.

    Raises:
        ValueError: If only some of them look like splits, which would make classes of these and train on test images.
    """
    sub_folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = {split: [name for name in sub_folders if name in names] for split, names in _SPLITS.items()}
    like_splits = [name for name in sub_folders if _LIKE_A_SPLIT.match(name)]
    is_split = any(name.lower() in names for name in sub_folders for names in _SPLITS.values())
    if len(like_splits) < 2 and not is_split and not (like_splits and len(sub_folders) == 1):
        return None
    others = [name for name in sub_folders if not any(name in names for names in _SPLITS.values())]
    if "ground_truth" in others and (folder / "train" / "good").is_dir():
        raise ValueError(
            "source: expected images to train on; received the layout of MVTec AD, which has normal ones to train on "
            f"and others to test. Train on {str(folder / 'train' / 'good')!r}, and score what is in "
            f"{str(folder / 'test')!r} with the exported model."
        )
    if others or len(found["train"]) + len(found["test"]) < 2 or len(found["validation"]) > 1:
        raise ValueError(
            f"source: expected sub-folders train, test and perhaps val for the splits, or one for each class; received "
            f"{', '.join(sub_folders)} in {str(folder)!r}. Rename them, move what belongs to no split elsewhere, or "
            "give one of them as the source, to have it split."
        )
    return {split: folder / names[0] for split, names in found.items() if names}


def _warn_of_rotation(folder: Path, names: Sequence[str]) -> None:
    """Warn of images that their EXIF data wants rotated, which neither training nor a served model does."""
    rotated = []
    for name in names:
        # What is broken is found when it is decoded.
        with contextlib.suppress(OSError, SyntaxError, struct.error), Image.open(folder / name) as image:
            if image.getexif().get(_ORIENTATION, 1) != 1:
                rotated.append(name)
    if rotated:
        more = f" and {len(rotated) - 5} more" if len(rotated) > 5 else ""
        warnings.warn(
            f"images in {str(folder)!r} are taken as they are stored, although their EXIF orientation says that they "
            f"lie on a side: {', '.join(rotated[:5])}{more}. Turn them with PIL.ImageOps.exif_transpose and save them",
            stacklevel=6,
        )


def _list_images(folder: Path) -> tuple[list[str], bool]:
    """Return the images relative to the folder, sorted, and whether they are in sub-folders."""
    # Sorted as text, for paths sort differently on different systems.
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = [name for name in files if not any(part.startswith(".") for part in name.split("/"))]
    for name in files:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"source: expected names of files in UTF-8; received {name!r} in {str(folder)!r}. Rename it."
            ) from None
    names = [name for name in files if name.lower().endswith(SUFFIXES)]
    if not names:
        found = ", ".join(map(repr, files[:5])) or "no file"
        tables = [name for name in files if name.lower().endswith((".parquet", ".csv", ".npy", ".npz"))]
        if tables:
            first = str(folder / tables[0])
            raise ValueError(
                f"source: expected a file of data, or a folder of images; received a folder of {len(tables)} data "
                f"files. Give one of them, such as {first!r}, or write them as one with pyarrow, pandas or Polars."
            )
        raise ValueError(f"source: expected {', '.join(SUFFIXES)} images in {str(folder)!r}; received {found}.")
    depths = {name.count("/"): name for name in names}
    if len(depths) > 1 or max(depths) > 1:
        normal = [name.partition("/train/good/")[0] for name in names if "/train/good/" in name]
        remedy = f" Of MVTec AD, train on one kind: {str(folder / normal[0] / 'train' / 'good')!r}." if normal else ""
        raise ValueError(
            f"source: expected images in {str(folder)!r} itself, or in one level of sub-folders named by their class; "
            f"received {' and '.join(map(repr, depths.values()))}.{remedy}"
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
            # Pillow, and TensorFlow too, would cut channels of 16 bits to 8.
            if image.mode.startswith("I") or ";16" in str(image.tile):
                raise ValueError(
                    f"source: expected 8 bits per channel; received 16 in {str(path)!r}. Convert such images, or give "
                    "them as a uint16 array."
                )
            # TensorFlow would take the indices of a palette for gray levels, and takes no single bits.
            if image.format == "BMP" and image.mode in ("P", "1"):
                what = "a palette" if image.mode == "P" else "1 bit per pixel"
                raise ValueError(
                    f"source: expected RGB or grayscale; received a BMP with {what} in {str(path)!r}. Convert such "
                    "images, for instance to PNG."
                )
            channels = _CHANNELS.get(image.mode) if image.format in ("PNG", "JPEG") else None
            return image.height, image.width, channels
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(
            f"source: expected images of at most {limit:,} pixels; received {str(path)!r} with more. "
            "Scale it down, or set PIL.Image.MAX_IMAGE_PIXELS."
        ) from None
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
