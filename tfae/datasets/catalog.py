"""Data sets by name: those of scikit-learn, and those that TFDS knows or has prepared."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import random
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import sklearn.datasets
import tensorflow_datasets as tfds

from tfae.datasets import defects, downloads, records
from tfae.datasets.arrays import ArrayPart
from tfae.datasets.source import Source
from tfae.load_options import ReadOptions

#: Of scikit-learn, real data without a network: 8×8 images with gray values from 0 to 16, and three tables.
_OF_SKLEARN = ("digits", "breast_cancer", "wine", "diabetes")
_NAME = re.compile(r"(?P<name>\w+(/[\w+.-]+)?)(:(?P<version>[\d*]+(\.[\d*]+){0,2}))?")


def from_name(name: str, options: ReadOptions) -> Source:
    """Open a data set by name, scikit-learn's or TFDS's ``name[/config][:version]``; prepare it where it is not yet."""
    bare, feature, manual_dir = _bare(name), options.feature, options.manual_dir
    if bare in _OF_SKLEARN:
        for argument, value, expected in (("source", name, bare), ("manual_dir", manual_dir, None)):
            if value != expected:
                raise ValueError(
                    f"{argument}: expected {expected!r} for scikit-learn's {bare!r}, which has neither versions nor "
                    f"original files; received {value!r}."
                )
        return _from_sklearn(name, feature)
    builder = _builder(name, options.data_dir)
    records.choose_features(name, builder.info, feature)  # before a long preparation
    if not Path(builder.data_dir).exists():  # TFDS writes elsewhere and renames: what is there is complete
        _prepare(name, builder, manual_dir)
        builder = _builder(name, options.data_dir)
    return records.from_builder(name, builder, feature=feature)


def _from_sklearn(name: str, feature: str | None) -> Source:
    bunch = getattr(sklearn.datasets, f"load_{name}")()
    is_images = name == "digits"
    only = "image" if is_images else "features"
    if feature not in (None, only):
        raise ValueError(f"feature: expected {only!r} or None for {name!r}; received {feature!r}.")
    samples = bunch.images[..., np.newaxis].astype(np.uint8) if is_images else bunch.data
    part = ArrayPart(samples, bunch.target, feature_names=None if is_images else tuple(map(str, bunch.feature_names)))
    part.label_names = tuple(map(str, bunch.get("target_names", ()))) or None
    return Source(name, {"all": part}, value_range=(0.0, 16.0) if is_images else None)


def _builder(name: str, data_dir: str | os.PathLike[str] | None) -> tfds.core.DatasetBuilder:
    """Return the builder; offline and in milliseconds, whether or not the data set is prepared."""
    # TFDS reads the variable once, when it is imported.
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR") or None
    matched = _NAME.fullmatch(name)
    if matched is None:
        raise ValueError(
            f"source: expected the name of a data set, as name, name/config or name:version, or a file, folder or "
            f"array; received {name!r}. {_suggest(name)}"
        )
    full_name = matched["name"]
    if version := matched["version"]:
        full_name += f":{version}" + ".*" * (2 - version.count("."))
    try:
        return tfds.builder(full_name, data_dir=data_dir, try_gcs=False)
    except tfds.core.DatasetNotFoundError:
        raise ValueError(
            "source: expected the name of a data set, or an existing file or folder; "
            f"received {name!r}. {_suggest(name)}"
        ) from None
    except (AssertionError, ImportError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"source: expected a data set that TFDS can open; received {name!r}: {defects.reason(error)}."
        ) from error


def is_known(name: str) -> bool:
    """Whether there is a data set of this name, whatever files there are."""
    return _bare(name) in _OF_SKLEARN or _bare(name) in tfds.list_builders(with_community_datasets=False)


def _bare(name: str) -> str:
    return re.split("[/:]", name)[0]


def _suggest(name: str) -> str:
    names = [*_OF_SKLEARN, *tfds.list_builders(with_community_datasets=False)]
    listed = f"scikit-learn's are {', '.join(map(repr, _OF_SKLEARN))}, and tfds.list_builders() has the others."
    return defects.close_matches(_bare(name), names, otherwise=listed)


def _prepare(name: str, builder: tfds.core.DatasetBuilder, manual_dir: str | os.PathLike[str] | None) -> None:
    if manual_dir is None:
        downloads.validate_obtainable(name, builder)
    root = Path(builder.data_dir_root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        # A download folder of its own: TFDS extracts by file name, and two data sets that name their files alike
        # would read each other's.
        staging = tempfile.TemporaryDirectory(dir=root, prefix="incomplete.staging-")
    except OSError as error:
        raise ValueError(
            f"data_dir: expected a folder that {name!r} can be prepared in; received {str(root)!r}: {error.strerror}. "
            "Choose another."
        ) from None
    drawn = random.getstate()  # From which TFDS draws, and Keras the weights of a model.
    is_watched = sys.stderr.isatty() or hasattr(builtins, "__IPYTHON__")  # In a terminal, or in a notebook.
    if not is_watched:  # Bars would fill a log.
        tfds.disable_progress_bar()
    with staging, contextlib.redirect_stdout(sys.stderr if is_watched else io.StringIO()):
        if manual_dir is not None:
            downloads.stage(name, builder, Path(manual_dir), Path(staging.name))
        try:
            builder.download_and_prepare(
                # TFDS's own folder where it downloads, so that an interrupted download can go on.
                download_dir=None if manual_dir is None else staging.name,
                download_config=tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False),
            )
        except Exception as error:
            if Path(builder.data_dir).exists():
                return  # another process was faster, and its result is as good
            raise ValueError(
                f"source: expected a data set that TFDS can prepare; received {name!r}: {defects.reason(error)}."
            ) from error
        finally:
            random.setstate(drawn)
