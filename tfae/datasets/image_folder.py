"""A folder of images: flat, with one sub-folder per class, or with folders of splits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from tfae import progress
from tfae.datasets.folders import find_splits, list_files, warn_of_skipped
from tfae.datasets.image_file import Header, ImageReader, suffixes
from tfae.datasets.source import Batch, Part, Source
from tfae.datasets.table_files import TABLE_SUFFIXES
from tfae.load_options import ReadOptions

#: Where MVTec AD keeps the masks of defects.
_MASKS = "ground_truth"


@final
@dataclass(kw_only=True, eq=False, repr=False)
class FolderPart(Part):
    """Images that are decoded as they are read; ``defect`` is that of the first that can not be opened, if any."""

    folder: Path
    sample_names: tuple[str, ...]
    labels: np.ndarray | None
    reader: ImageReader
    defect: ValueError | None

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield decoded images."""
        if self.defect is not None and not self.is_tolerant:
            raise self.defect
        names = self.sample_names
        for start in range(0, len(names), size):
            stop = min(start + size, len(names))
            samples = np.zeros((stop - start, *self.shape), self.dtype)
            defects = {}
            for index, name in enumerate(names[start:stop]):
                try:
                    samples[index] = self._decode(name)
                except ValueError as error:
                    if not self.is_tolerant:
                        raise
                    defects[index] = str(error)
            yield Batch(samples, None if self.labels is None else self.labels[start:stop], defects=defects)

    def name_sample(self, place: int) -> int | str:
        """Name the file."""
        return f"file {self.sample_names[place]!r}"

    def _decode(self, name: str) -> np.ndarray:
        image = self.reader.decode(self.folder / name)
        if (image.shape, image.dtype) != (self.shape, self.dtype):
            raise ValueError(
                f"source: expected images as their headers announce them, {self.dtype} {self.shape}; received "
                f"{str(self.folder / name)!r} with {image.dtype} {image.shape}. If it did not change meanwhile, "
                "save it anew with Pillow."
            )
        return image


def from_folder(folder: Path, options: ReadOptions) -> Source:
    """Open images of one size: in a folder, in one sub-folder per class, or either in each of "train", "test", ….

    Pixels are Pillow's: uint8, or uint16, int32 and float32 of gray images that have them. An EXIF orientation is
    applied, and a file refused whose bytes a served model would take for another sample. With ``image_size`` images are
    scaled by Pillow's BILINEAR, which is antialiased, in each direction for itself: what has other proportions is
    stretched, which a warning says. In MVTec AD's layout, train/good is the training split and the folders of test are
    labels; the masks are left out.
    """
    reader = ImageReader(options.image_size, options.color_mode)
    folders = _folders_of_splits(folder) or {"all": folder}
    listed = {part: _list_images(path) for part, path in folders.items()}
    headers: dict[Path, Header] = {}
    broken: list[ValueError] = []
    for path in [folders[part] / name for part, (names, _) in listed.items() for name in names]:
        try:
            headers[path] = reader.header(path)
        except ValueError as error:
            broken.append(error)
    if not headers:
        raise broken[0]
    first = _common(headers, reader)
    _say_what_changes(folder, headers, reader.size)
    parts = {}
    for part, (names, has_classes) in listed.items():
        parts[part] = FolderPart(
            shape=(*(reader.size or first.size), first.num_channels),
            dtype=first.dtype,
            num_samples=len(names),
            folder=folders[part],
            sample_names=tuple(names),
            labels=np.array([name.split("/")[0] for name in names]) if has_classes else None,
            reader=reader,
            defect=broken[0] if broken else None,
        )
    value_range = (0.0, 65535.0) if first.dtype == np.uint16 else None
    return Source(folder.resolve().name, parts, value_range=value_range)


def _common(headers: Mapping[Path, Header], reader: ImageReader) -> Header:
    """Return the header of the first image, once all others are found to fit to it."""
    path, first = next(iter(headers.items()))
    for other, header in headers.items():
        same_size = reader.size is not None or header.size == first.size
        if same_size and header.mode == first.mode:
            continue
        remedies = [] if same_size else [f"image_size=({first.size[0]}, {first.size[1]})"]
        if header.mode != first.mode and header.dtype == first.dtype:
            remedies.append('color_mode="rgb"')
        remedy = f"{' '.join(remedies)} makes them so." if header.dtype == first.dtype else "Convert them first."
        raise ValueError(
            f"source: expected images of one size, one number of channels and one depth; received {str(path)!r} with "
            f"{first} and {str(other)!r} with {header}. {remedy}"
        )
    return first


def _say_what_changes(folder: Path, headers: Mapping[Path, Header], size: tuple[int, int] | None) -> None:
    """Log how images are scaled and turned, and warn of those that are stretched."""
    turned = sum(header.orientation != 1 for header in headers.values())
    if turned:
        progress.log.info("%s: turned %d of %d images upright, as EXIF says", folder.name, turned, len(headers))
    if size is None:
        return
    resized = {path: header.size for path, header in headers.items() if header.size != size}
    progress.log.info(
        "%s: resized %d of %d images to %d×%d with Pillow's BILINEAR, antialiased",
        *(folder.name, len(resized), len(headers), *size),
    )
    # By how much the width grows more than the height; up to half a pixel of either is rounding.
    stretch = {path: size[1] / width / (size[0] / height) for path, (height, width) in resized.items()}
    stretched = {
        path: max(factor, 1 / factor)
        for path, factor in stretch.items()
        if abs(size[1] / factor - size[1]) >= 0.5 and abs(size[0] * factor - size[0]) >= 0.5
    }
    if stretched:
        most = max(stretched, key=stretched.__getitem__)
        height, width = resized[most]
        warnings.warn(
            f"image_size={size} stretches {len(stretched)} of {len(headers)} images in {str(folder)!r}, most of all "
            f"{most.relative_to(folder).as_posix()!r} of {height}×{width}, by {stretched[most]:.3g}; crop or pad them "
            "first where their proportions matter",
            stacklevel=6,
        )


def _folders_of_splits(folder: Path) -> dict[str, Path] | None:
    """Return the folders of the splits; None if the sub-folders are classes, or there are none."""
    sub_folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if _MASKS in sub_folders and (folder / "train" / "good").is_dir():
        sub_folders.remove(_MASKS)
        progress.log.info("%s: left %s out, which holds masks", folder.name, _MASKS)
    found = find_splits(
        sub_folders,
        folder,
        expected="sub-folders train, test and perhaps val for the splits, or one for each class",
        remedy="give one of them as the source, to have it split",
        loose=sorted(path.name for path in folder.iterdir() if path.is_file() and _is_image(path.name))[:5],
    )
    return None if found is None else {split: folder / name for split, name in found.items()}


def _list_images(folder: Path) -> tuple[list[str], bool]:
    """Return the images relative to the folder, sorted, and whether they are in sub-folders."""
    files = list_files(folder)
    names = [name for name in files if _is_image(name)]
    if not names:
        found = ", ".join(map(repr, files[:5])) or "no file"
        raise ValueError(
            f"source: expected images in {str(folder)!r}, with a suffix that Pillow knows, or tables, which end with "
            f"{', '.join(TABLE_SUFFIXES)}; received {found}. Of .npy and .npz files, give one."
        )
    depths = {name.count("/"): name for name in names}
    if len(depths) > 1 or max(depths) > 1:
        normal = [name.partition("/train/good/")[0] for name in names if "/train/good/" in name]
        remedy = f" Of MVTec AD, train on one kind: {str(folder / normal[0])!r}." if normal else ""
        raise ValueError(
            f"source: expected images in {str(folder)!r} itself, or in one level of sub-folders named by their class; "
            f"received {' and '.join(map(repr, depths.values()))}.{remedy}"
        )
    warn_of_skipped(folder, [name for name in files if not _is_image(name)], "an image")
    return names, max(depths) == 1


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(suffixes())
