""".npy and .npz files, and what arrays are by their rank."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfae.datasets import load, open_source

RANDOM = np.random.RandomState(0)
TABLE = RANDOM.rand(40, 3).astype("float32")


@pytest.mark.parametrize(
    ("samples", "kind", "shape"),
    [
        (TABLE, "table", (3,)),
        (RANDOM.rand(9, 20, 2), "sequence", (20, 2)),
        (RANDOM.randint(0, 9, (9, 20, 2)).astype("uint8"), "image", (20, 2, 1)),
        (RANDOM.rand(9, 8, 6, 3), "image", (8, 6, 3)),
        (RANDOM.rand(9, 4, 8, 6, 3), "other", (4, 8, 6, 3)),
        (TABLE.tolist(), "table", (3,)),
    ],
)
def test_the_rank_of_an_array_says_what_it_is(samples: Any, kind: str, shape: tuple[int, ...]) -> None:
    source = open_source(samples)
    assert (source.kind, source.shape, source.feature_names) == (kind, shape, None)
    read, labels = source.parts["all"].read()
    np.testing.assert_array_equal(read.reshape(np.shape(samples)), samples)
    assert labels is None


def test_a_npy_file_is_streamed_as_it_is_stored_in_any_byte_order(tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", TABLE)
    source = open_source(tmp_path / "table.npy")
    assert (source.name, source.dtype, source.parts["all"].num_samples) == ("table", "float32", 40)
    batches = [batch.samples for batch in source.parts["all"].batches(16)]
    assert [len(batch) for batch in batches] == [16, 16, 8]
    np.testing.assert_array_equal(np.concatenate(batches), TABLE)
    # In the byte order of another machine.
    np.save(tmp_path / "big.npy", TABLE.astype(">f4"))
    data = load(str(tmp_path / "big.npy"), preprocessing="none")
    assert data.raw.train.dtype == np.dtype("float32")
    np.testing.assert_array_equal(data.raw.train, load(TABLE).raw.train)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["anything"], ["all"]),
        (["x", "y"], ["all"]),
        (["X", "y"], ["all"]),
        (["x_train", "y_train", "x_test", "y_test"], ["train", "test"]),
        (["x_train", "x_test"], ["train", "test"]),
        (["x_train", "y_train", "x_val", "y_val", "x_test", "y_test"], ["train", "validation", "test"]),
        (["train", "test"], ["train", "test"]),
        (["train", "validation", "test"], ["train", "validation", "test"]),
    ],
)
def test_npz_archives_are_known_by_their_usual_keys(tmp_path: Path, names: list[str], parts: list[str]) -> None:
    arrays: dict[str, Any] = {name: np.arange(40) if name.startswith("y") else TABLE for name in names}
    np.savez(tmp_path / "archive.npz", **arrays)
    source = open_source(tmp_path / "archive.npz")
    assert list(source.parts) == parts
    expected = list(range(40)) if any(name.startswith("y") for name in names) else None
    for part in source.parts.values():
        samples, labels = part.read()
        np.testing.assert_array_equal(samples, TABLE)
        assert np.asarray(labels).tolist() == expected


def test_key_takes_one_array_of_an_archive_and_unclear_and_unknown_ones_are_named(tmp_path: Path) -> None:
    path = tmp_path / "archive.npz"
    np.savez(path, first=TABLE, second=TABLE + 1)
    np.testing.assert_array_equal(open_source(path, key="second").parts["all"].read()[0], TABLE + 1)
    with pytest.raises(ValueError, match=r"received 'first', 'second' in .*archive.npz'\. Name the one .* with key="):
        open_source(path)
    with pytest.raises(ValueError, match=r"^key: .* received 'secnd'\. Did you mean 'second'\?$"):
        open_source(path, key="secnd")


def test_labels_must_be_as_many_as_samples_and_may_be_a_column(tmp_path: Path) -> None:
    np.savez(tmp_path / "archive.npz", X=TABLE, y=np.arange(40).reshape(-1, 1))
    _, labels = open_source(tmp_path / "archive.npz").parts["all"].read()
    assert np.asarray(labels).shape == (40,)
    np.savez(tmp_path / "archive.npz", X=TABLE, y=np.arange(39))
    with pytest.raises(ValueError, match=r"expected one label for each of the 40 samples .* shape \(39,\)"):
        open_source(tmp_path / "archive.npz")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            {"train": TABLE, "test": TABLE[:, :2]},
            r"expected array 'test' to be like the other parts, float32 .* shape \(3,\)",
        ),
        ({"train": TABLE, "test": TABLE.astype("float64")}, "received float64 samples"),
        ((TABLE,) * 4, r"received a tuple of 4.* samples in a tuple are np\.stack"),
        (dict.fromkeys(("train", "dev", "test"), TABLE), r"received \['train', 'dev', 'test'\]"),
    ],
)
def test_tuples_and_dicts_that_are_no_splits_of_like_samples_are_refused(samples: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_source(samples)


def test_pickles_and_broken_files_are_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "whole.npz", x=TABLE)
    with zipfile.ZipFile(tmp_path / "notes.npz", "w") as archive:
        archive.writestr("notes.npy", "hello")
    contents = {
        "array.npz": (tmp_path / "objects.npy").read_bytes(),
        "cut.npz": (tmp_path / "whole.npz").read_bytes()[:300],
        **dict.fromkeys(("text.npy", "text.npz"), b"hello"),
        **dict.fromkeys(("empty.npy", "empty.npz"), b""),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    reasons = {
        **dict.fromkeys(("objects.npy", "objects.npz"), "it holds Python objects"),
        **dict.fromkeys(("text.npy", "empty.npy"), "it is no .npy file"),
        **dict.fromkeys(("text.npz", "empty.npz", "cut.npz", "array.npz"), "it is no .npz archive, or not complete"),
        "notes.npz": "its member 'notes.*' is no array",
    }
    for name, reason in reasons.items():
        what = ".npy file" if name.endswith(".npy") else ".npz archive"
        message = f"^source: expected a {what} of numbers; received '.*{name}': {reason}\\.$"
        with pytest.raises(ValueError, match=message):
            open_source(tmp_path / name)


def test_the_real_anomaly_sets_come_with_their_labels(real_data: Path) -> None:
    path = real_data / "adbench" / "38_thyroid.npz"
    with np.load(path) as archive:
        samples, labels = archive["X"], archive["y"]
    data = load(path)
    assert data.labels is not None
    assert (data.name, data.kind, data.shape) == ("38_thyroid", "table", samples.shape[1:])
    assert sum(map(len, data.raw)) == len(samples)
    assert sum(map(np.sum, data.labels)) == labels.sum()
