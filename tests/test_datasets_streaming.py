"""Data that is streamed: the same as in memory but for the order of training, and never as a whole in memory."""

import gc
import json
import os
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf
from PIL import Image

from tests.samples import numbered, values
from tfae import losses, models, moments
from tfae.datasets import Data, StoredSamples, load, memory, open_source, orders
from tfae.datasets.row_file import RowFile
from tfae.datasets.scan import Scan

RANDOM = np.random.RandomState(0)
# Every third repeats another, so that there are groups to keep together.
TABLE = RANDOM.randint(0, 99, (200, 3))[RANDOM.randint(0, 200, 300)].astype("float32")
IMAGES = RANDOM.randint(0, 256, (60, 5, 7), dtype="uint8")


def save(folder: Path, samples: np.ndarray) -> Path:
    np.save(folder / "samples.npy", samples)
    return folder / "samples.npy"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 64 bytes and windows of 256, so that a few samples make many of them."""
    monkeypatch.setattr(moments, "BLOCK_BYTES", 64)
    monkeypatch.setattr(orders, "WINDOW_BYTES", 256)


@pytest.fixture
def numbers(tmp_path: Path, small_chunks: None) -> Data:
    """1,000 numbers on disk, 800 of them to train on."""
    path = save(tmp_path, numbered(1000, "int32"))
    return load(path, in_memory=False, preprocessing="none", batch_size=30, seed=5)


def csv(folder: Path) -> Path:
    np.savetxt(folder / "table.csv", TABLE, delimiter=",", header="a,b,c", comments="")
    return folder / "table.csv"


def parquet(folder: Path) -> Path:
    columns = {name: TABLE[:, index] for index, name in enumerate("abc")}
    pyarrow.parquet.write_table(pa.table(columns), folder / "table.parquet", row_group_size=70)
    return folder / "table.parquet"


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez_compressed(folder / "archive.npz", **(arrays or {"x": TABLE, "y": np.arange(len(TABLE))}))
    return folder / "archive.npz"


def with_test_split(folder: Path) -> Path:
    train, test = numbered(200), numbered(210)[190:]
    return npz(folder, x_train=train, y_train=train[:, 0], x_test=test, y_test=test[:, 0])


def images(folder: Path) -> Path:
    for index, image in enumerate(IMAGES):
        path = folder / "images" / f"class{index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder / "images"


# How a source is made in a folder, by what it is.
SOURCES: dict[str, Callable[[Path], Path | str]] = {
    "npy": lambda folder: save(folder, TABLE),
    "npy of images": lambda folder: save(folder, IMAGES),
    "npy by column": lambda folder: save(folder, np.asfortranarray(TABLE)),
    "npy of another machine": lambda folder: save(folder, TABLE.astype(">f4")),
    "npz": npz,
    "npz by column": lambda folder: npz(folder, x=np.asfortranarray(TABLE)),
    "npz with a test split": with_test_split,
    "csv": csv,
    "parquet": parquet,
    "images": images,
    "digits": lambda folder: "digits",
}


@pytest.mark.filterwarnings("ignore:left 10 samples of 'archive' out")
@pytest.mark.parametrize(
    ("source", "preprocessing"),
    [(source, "default") for source in SOURCES]
    + [("npy", "unit"), ("npy of images", "standard"), ("parquet", "unit"), ("images", "standard")],
)
def test_everything_but_the_order_of_training_is_as_in_memory(source: str, preprocessing: str, tmp_path: Path) -> None:
    made = SOURCES[source](tmp_path)
    held, streamed = (
        load(made, in_memory=in_memory, preprocessing=preprocessing, seed=3) for in_memory in (True, False)
    )
    for ours, theirs, our_bounds, bounds in zip(streamed.raw, held.raw, streamed.bounds, held.bounds, strict=True):
        assert isinstance(ours, StoredSamples)
        assert isinstance(theirs, np.ndarray)
        assert (ours.shape, ours.dtype, len(ours)) == (theirs.shape, theirs.dtype, len(theirs))
        np.testing.assert_array_equal(ours[:], theirs)
        np.testing.assert_array_equal(our_bounds, bounds)
        np.testing.assert_array_equal(bounds, [theirs.min(axis=0), theirs.max(axis=0)])
    assert (streamed.labels is None) == (held.labels is None)
    for ours, theirs in zip(streamed.labels or (), held.labels or (), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert streamed.preprocessing.get_config() == held.preprocessing.get_config()
    assert streamed.digest == held.digest
    assert values(streamed.validation) == values(held.validation)
    assert values(streamed.test) == values(held.test)
    assert sorted(values(streamed.train)) == sorted(values(held.train))
    for split in ("train", "validation", "test"):
        pipelines = [getattr(data, split) for data in (streamed, held)]
        assert pipelines[0].element_spec == pipelines[1].element_spec
        assert pipelines[0].cardinality() == pipelines[1].cardinality()
        for pipeline in pipelines:  # None is fed by a generator, which would slow the process down.
            graph = pipeline._as_serialized_graph().numpy()
            assert b"PrefetchDataset" in graph
            assert b"GeneratorDataset" not in graph


def test_each_sample_is_in_each_epoch_once_in_the_order_of_seed_and_epoch(numbers: Data, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    first, second = values(numbers.train), values(numbers.train)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(numbers.raw.train[:].ravel().tolist())
    assert [len(x) for x, _ in numbers.train] == [30] * 26 + [20]
    keras.utils.set_random_seed(2)
    again = load(tmp_path / "samples.npy", in_memory=False, preprocessing="none", batch_size=7, seed=5)
    assert [values(again.train), values(again.train)] == [first, second]  # whatever the size of the batches
    other = load(tmp_path / "samples.npy", in_memory=False, preprocessing="none", batch_size=500, seed=6)
    assert [len(x) for x, _ in other.train] == [500, 300]  # Batches that are larger than a window.
    assert values(other.train)[:30] != first[:30]


def test_the_order_of_training_is_frozen(small_chunks: None, tmp_path: Path) -> None:
    # By hand: 4 rows of 16 bytes in a chunk; two windows of three chunks, for 6 chunks of 4 rows are 384 bytes.
    data = load(save(tmp_path, numbered(30).repeat(4, axis=1)), in_memory=False, preprocessing="none", seed=5)
    rows = data.raw.train.rows
    assert len(rows) == 24
    chunks = [rows[rows // 4 == number] for number in range(8)]
    chunks = [chunk for chunk in chunks if len(chunk)]
    order = np.concatenate(
        [chunks[index] for index in orders.shuffle(range(len(chunks)), len(chunks), seed=5, epoch=0)]
    )
    mixed = [orders.shuffle(range(12), 12, seed=5, epoch=0, window=1 + window).numpy() for window in range(2)]
    expected = np.concatenate([order[:12][mixed[0]], order[12:][mixed[1]]]).tolist()
    assert np.array(values(data.train)).reshape(-1, 4)[:, 0].tolist() == expected


@pytest.mark.parametrize("in_memory", [True, False])
def test_training_can_begin_with_any_batch_of_any_epoch(in_memory: bool, small_chunks: None, tmp_path: Path) -> None:
    path = save(tmp_path, numbered(1000, "int32"))
    data = load(path, in_memory=in_memory, preprocessing="none", batch_size=30, seed=5)
    epochs = [values(data.train) for _ in range(5)]
    later = data.train_from(3)
    assert [values(later), values(later)] == epochs[3:]
    assert later.cardinality() == data.train.cardinality() == 27
    assert data.batch_size == 30
    for step in (1, 25, 26):
        within = data.train_from(3, step)
        assert [values(within), values(within)] == [epochs[3][30 * step :], epochs[4]]
    shards = [list(data.train_from(3).shard(2, index).as_numpy_iterator()) for index in range(2)]
    assert [len(shard) for shard in shards] == [14, 13]
    assert np.concatenate([shards[step % 2][step // 2][0] for step in range(27)]).ravel().tolist() == epochs[3]
    for epoch in (0, 3):
        found = [data.raw.train[data.training_batch(epoch, batch)].ravel().tolist() for batch in range(27)]
        assert list(map(len, found)) == [30] * 26 + [20]
        assert [value for batch in found for value in batch] == epochs[epoch]


def test_stored_samples_are_indexed_as_an_array_is(numbers: Data) -> None:
    samples = numbers.raw.train
    array = np.asarray(samples)
    assert array.dtype == np.int32
    mask = array[:, 0] % 3 == 0
    for key in (0, -1, slice(None), slice(3, 700), slice(700, 3, -7), [5, 2, 2, 799], np.array([], int), mask):
        np.testing.assert_array_equal(samples[key], array[key])
    with pytest.raises(IndexError):
        samples[800]


def test_keras_trains_on_what_is_streamed(tmp_path: Path) -> None:
    data = load(save(tmp_path, IMAGES), in_memory=False, batch_size=16)
    autoencoder = models.dense(data.shape, latent_dim=2, widths=(8,))
    autoencoder.compile("adam", loss=losses.SquaredError())
    history = autoencoder.fit(data.train, validation_data=data.validation, epochs=3, verbose=0, shuffle=False)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_what_was_decided_is_in_the_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, TABLE)  # 3,600 bytes
    for free, expected in ((4 * TABLE.nbytes, True), (4 * TABLE.nbytes - 1, False)):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        data = load(path)
        arguments = json.loads(json.dumps(data.arguments))
        assert arguments["in_memory"] is expected
        assert isinstance(data.raw.train, StoredSamples) != expected
        monkeypatch.undo()
        again = load(**arguments)  # type: ignore[call-arg]
        assert (again.digest, values(again.train)) == (data.digest, values(data.train))


@pytest.mark.parametrize("source", ["csv", "parquet", "npz", "images", "digits"])
def test_every_source_says_what_it_takes_at_most(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SOURCES[source](tmp_path)
    for available, kind in ((1000, StoredSamples), (10**9, np.ndarray)):
        monkeypatch.setattr(memory, "available", lambda available=available: available)
        assert isinstance(load(made).raw.train, kind)


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   2000 kB\n", "/sys/fs/cgroup/memory.max": "max\n"}
    monkeypatch.setattr(memory, "_read", lambda path: files.get(path, ""))
    assert memory.available() == 2000 * 1024
    files["/sys/fs/cgroup/memory.max"] = "5000\n"
    assert memory.available() == 5000


def test_data_from_memory_is_not_streamed() -> None:
    for source in (TABLE, pa.table({"a": TABLE[:, 0], "b": TABLE[:, 1]})):
        with pytest.raises(ValueError, match=r"^in_memory: expected None or True for data that is in memory already"):
            load(source, in_memory=False)
        assert load(source, in_memory=True).arguments is None
    with pytest.raises(ValueError, match=r"^in_memory: expected None, True or False; received 'no'\."):
        load(TABLE, in_memory="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["npy", "csv", "parquet", "npz"])
def test_columns_that_vary_are_taken_as_in_memory(source: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}.TABLE", TABLE * [1, 0, 1] + [0, 7, 0])
        path = SOURCES[source](tmp_path)
    held, streamed = (load(path, in_memory=in_memory, columns="varying") for in_memory in (True, False))
    assert held.feature_names == streamed.feature_names
    assert len(held.feature_names or ()) == 2
    assert held.digest == streamed.digest
    assert load(**(streamed.arguments or {})).digest == held.digest  # type: ignore[call-arg]


def test_defects_are_refused_as_in_memory(tmp_path: Path) -> None:
    for place, value, message in (((1, 2), np.nan, "received NaN in column 2, row 1"), (slice(None), 4, "as every")):
        table = TABLE.copy()
        table[place] = value
        for path in (save(tmp_path, table), tmp_path / "table.npz"):
            np.savez(tmp_path / "table.npz", x=table)
            with pytest.raises(ValueError, match=message):
                load(path, in_memory=False)
    with pytest.raises(ValueError, match=r"^value_range: expected a range that holds all values"):
        load(save(tmp_path, TABLE), in_memory=False, value_range=(0, 1))


def replace(path: Path) -> None:
    other = path.with_name("other.npy")
    shutil.copyfile(path, other)
    other.replace(path)


def overwrite(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-4] + b"\1\1\1\1")
    os.utime(path, ns=(1, 1))  # whatever the resolution of the clock


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (Path.unlink, "is no longer there"),
        (replace, "has been replaced by another file"),
        (lambda path: os.truncate(path, 2000), "has changed from 4128 to 2000 bytes"),
        (overwrite, "has changed"),
    ],
)
def test_a_file_that_changes_under_training_is_an_error_that_says_so(change, what, numbers: Data, tmp_path) -> None:
    path = tmp_path / "samples.npy"
    message = rf"^source: expected the file to stay as it was when it was opened; '{path}' {what}\. Load it again when "
    message += r"nothing writes to it anymore\.$"
    iterator = iter(numbers.train)
    next(iterator)
    assert [data.defect for data in (numbers, load(TABLE))] == [None, None]
    change(path)
    with pytest.raises(ValueError, match=message):
        numbers.raw.test[0]
    with pytest.raises(tf.errors.OpError, match="expected the file to stay"):
        list(iterator)
    with pytest.raises(ValueError, match=message):
        raise numbers.defect or AssertionError


def test_the_temporary_file_has_no_name_needs_no_source_and_goes_with_the_data(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    data = load(parquet(tmp_path), in_memory=False)
    assert not list((tmp_path / "temporary").iterdir())
    (tmp_path / "table.parquet").unlink()
    file = data.raw.train.file._file
    assert len(values(data.train)) == 3 * len(data.raw.train)
    del data
    gc.collect()
    assert file.closed


def test_too_little_space_is_refused_with_the_folder_and_what_to_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    path = parquet(tmp_path)
    message = rf"^source: expected space for samples that are streamed in '{tmp_path}'.*; received {{}}\. Set TMPDIR to"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
        with pytest.raises(ValueError, match=message.format("0 MB free where 0 MB are needed")):
            load(path, in_memory=False)
    if Path("/dev/full").exists():
        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "TemporaryFile", lambda dir: Path("/dev/full").open("wb"))  # noqa: SIM115
            with pytest.raises(ValueError, match=message.format("No space left on device")):
                load(csv(tmp_path), in_memory=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="received No such file or directory"):
        load(path, in_memory=False)


@pytest.mark.parametrize("kind", ["npy", "npz", "npy_by_column"])
def test_the_peak_does_not_grow_with_the_data(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "WINDOW_BYTES", 2**22)
    images = np.random.RandomState(0).randint(0, 256, (60_000, 784), dtype="uint8")  # 47 MB
    path = tmp_path / ("images.npz" if kind == "npz" else "images.npy")
    if kind == "npz":
        np.savez(path, images)
    else:
        np.save(path, np.asfortranarray(images) if kind == "npy_by_column" else images)
    del images
    tracemalloc.start()
    try:
        data = load(path, in_memory=False, preprocessing="unit", value_range=(0, 255))
        for _ in data.train:
            pass
        assert len(data.digest) == 32
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Two windows of 4 MB; blocks of 8 MB, once as read and once as they come; 60 bytes for each sample.
    assert peak < 30e6


def test_a_set_with_another_number_of_samples_than_announced_is_refused(tmp_path: Path) -> None:
    for announced, received in ((301, "300"), (299, "more")):
        source = open_source(parquet(tmp_path))
        part = source.parts["all"]
        part.num_samples = announced
        for read in (part.read, lambda part=part: part.store(4096, Scan())):
            with pytest.raises(ValueError, match=f"expected {announced} samples, .*; received {received}. Is the file"):
                read()
    path = save(tmp_path, TABLE)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(ValueError, match=r"^source: expected a \.npy file of numbers; .*: it is not complete\.$"):
        load(path)


def test_a_pipeline_keeps_its_samples_when_the_data_is_gone(tmp_path: Path) -> None:
    path = save(tmp_path, TABLE)
    num_samples = len(load(path, in_memory=False).raw.train)
    dataset = load(path, in_memory=False, batch_size=128).train.map(lambda x, _: x).take(2)
    gc.collect()
    assert sum(len(x) for x in dataset) == num_samples
    iterator = iter(load(path, in_memory=False, batch_size=10).train)
    gc.collect()
    assert sum(len(x) for x, _ in iterator) == num_samples


def test_iterations_that_overlap_or_are_given_up_do_not_disturb_each_other(small_chunks: None, tmp_path: Path) -> None:
    path = save(tmp_path, numbered(100))
    data, again = (load(path, in_memory=False, preprocessing="none", batch_size=7) for _ in range(2))
    expected = [np.concatenate([x for x, _ in again.train]) for _ in range(3)]
    given_up = iter(data.train)
    next(given_up)
    pairs = list(zip(data.train, data.train, strict=True))
    for side in (0, 1):
        np.testing.assert_array_equal(np.concatenate([pair[side][0] for pair in pairs]), expected[1 + side])
    rest = np.concatenate([x for x, _ in given_up])
    np.testing.assert_array_equal(rest, expected[0][7:])


def test_a_npy_file_is_read_once_and_again_only_if_samples_repeat(tmp_path, monkeypatch) -> None:
    values = np.random.RandomState(0).rand(5000, 40)
    distinct, repeated = save(tmp_path, values), tmp_path / "repeated.npy"
    np.save(repeated, np.concatenate([values[:-1], values[:1]]))
    num_bytes = 0
    expected: dict[Path, Any] = {}
    read = RowFile.read

    def count(file: RowFile, first: int, rows: np.ndarray) -> None:
        nonlocal num_bytes
        num_bytes += rows.nbytes
        read(file, first, rows)

    monkeypatch.setattr(RowFile, "read", count)
    for path, in_memory, passes in (distinct, True, 1), (distinct, False, 1), (repeated, True, 1), (repeated, False, 2):
        num_bytes = 0
        data = load(path, in_memory=in_memory, preprocessing="standard")
        assert len(data.digest) == 32
        found = (data.digest, data.preprocessing.get_config())
        assert expected.setdefault(path, found) == found
        assert num_bytes / path.stat().st_size == pytest.approx(passes, abs=0.01)
