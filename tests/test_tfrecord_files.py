"""Tables of tf.train.Example in TFRecord files."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf

from tests.samples import write_examples
from tfae.datasets import load, open_source, tfrecord_files


def read(source, **options):
    part = open_source(source, **options).parts["all"]
    return part.read()[0], part


def rows(size=10, first=0):
    return [
        {"x": [float(row), -float(row)], "n": [row], "who": [f"user {row % 2}"]} for row in range(first, first + size)
    ]


@pytest.mark.parametrize("name", ["a.tfrecord", "a.tfrecords", "a.tfrecord.gz", "a.TFRecord-00000-of-00001"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_features_are_columns_whose_values_have_one_each(tmp_path, name, is_compressed):
    path = write_examples(tmp_path / name, rows(), is_compressed=is_compressed)
    samples, part = read(path)
    assert [(column.name, column.kind) for column in part.columns] == [
        ("n", "number"),
        ("who", "category"),
        ("x[0]", "number"),
        ("x[1]", "number"),
    ]
    expected = [[row, row % 2, row, -row] for row in range(10)]
    np.testing.assert_array_equal(samples, expected)
    assert part.columns[1].vocabulary == ("user 0", "user 1")


def test_numbers_of_one_dtype_keep_it(tmp_path):
    floats = write_examples(tmp_path / "a.tfrecord", [{"x": [0.1, 0.2]}])
    integers = write_examples(tmp_path / "b.tfrecord", [{"x": [2**62]}])
    assert read(floats)[0].tolist() == np.float32([[0.1, 0.2]]).tolist()
    assert read(floats)[0].dtype == np.float32
    assert read(integers)[0].tolist() == [[2**62]]


def test_features_without_values_are_gaps(tmp_path):
    found = [{"x": [1.0], "n": [1]}, {"x": [], "n": [2]}, {"n": [3]}, {"x": [4.0]}]
    path = write_examples(tmp_path / "a.tfrecord", found)
    samples, _ = read(path, gaps="mask")
    np.testing.assert_array_equal(samples, [[1, 1], [2, np.nan], [3, np.nan], [np.nan, 4]])
    with pytest.raises(ValueError, match="missing"):
        read(path)


def test_shards_are_one_table_and_those_without_records_are_left_out(tmp_path):
    for number in range(3):
        write_examples(tmp_path / f"rows.tfrecord-{number:05}-of-00003", rows(5) if number != 1 else [])
    for source in (tmp_path, f"{tmp_path}/*.tfrecord-*", sorted(tmp_path.iterdir())):
        samples, part = read(source, drop=["who"])
        np.testing.assert_array_equal(samples[:, 0], [*range(5)] * 2)
        assert part.sample_names[4:6] == ["rows.tfrecord-00000-of-00003", "rows.tfrecord-00002-of-00003"]


def test_splits_and_labels_and_streaming(tmp_path):
    write_examples(tmp_path / "train.tfrecord", rows(100))
    write_examples(tmp_path / "test.tfrecord", rows(20, first=100))
    options = {"label": "who", "drop": ["n"], "batch_size": 8}
    data, streamed = (load(tmp_path, in_memory=in_memory, **options) for in_memory in (True, False))
    assert data.digest == streamed.digest
    assert data.feature_names == ("x[0]", "x[1]")
    assert len(data.raw.test) == 20
    assert set(data.labels.test.tolist()) == {"user 0", "user 1"}
    for split in ("train", "validation", "test"):
        ours, theirs = getattr(data.raw, split), getattr(streamed.raw, split)
        np.testing.assert_array_equal(ours, np.asarray(theirs))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"x": [1.0, 2.0, 3.0], "n": [1]}, "3 values in 'x', where there are 2 before"),
        ({"x": [1, 2], "n": [1]}, "int64 in 'x', where float is expected"),
        (b"garbage", "what is no tf.train.Example"),
        ({"x": [0.0, 0.0], "n": [1], "who": [b"\xff"]}, "bytes that are no UTF-8 in 'who'"),
    ],
)
def test_records_unlike_the_first_ones_are_named_or_are_defects(tmp_path, monkeypatch, record, said):
    monkeypatch.setattr(tfrecord_files, "SCHEMA_RECORDS", 5)
    path = write_examples(tmp_path / "a.tfrecord", [*rows(7), record, *rows(2)])
    with pytest.raises(ValueError, match=r"received (.*)\.$") as caught:
        read(path)
    assert f"received {said} in row 7 of {str(path)!r}" in str(caught.value)
    part = open_source(path).parts["all"]
    part.is_tolerant = True
    part.keep(["n"])
    batches = list(part.batches(4))
    found = {}
    first = 0
    for batch in batches:
        found |= {first + row: reason for row, reason in batch.defects.items()}
        first += len(batch.samples)
    assert found == {7: said}
    kept = [number for batch in batches for number in batch.kept["n"].to_pylist()]
    assert kept == [*range(7), None if record == b"garbage" else 1, 0, 1]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([{"x": [1.0], "t": [1]}, {"x": [2.0], "t": [1, 2, 3]}], r"'t' \(lists of 1 to 3 values\)"),
        ([{"x": [1.0], "t": [b"\x89PNG\xff"]}], r"'t' \(bytes\)"),
    ],
)
def test_what_is_no_column_is_named_and_can_be_left_out_or_kept(tmp_path, records, said):
    path = write_examples(tmp_path / "a.tfrecord", records)
    with pytest.raises(ValueError, match=f"{said}.*drop="):
        read(path)
    part = open_source(path, drop=["t"]).parts["all"]
    part.keep(["t"])
    (batch,) = part.batches(9)
    assert batch.samples.tolist() == [[record["x"][0]] for record in records]
    assert batch.kept["t"].to_pylist() in ([[1], [1, 2, 3]], [b"\x89PNG\xff"])


def test_files_that_hold_no_example_or_are_damaged_are_named(tmp_path):
    empty = write_examples(tmp_path / "empty.tfrecord", [])
    garbage = write_examples(tmp_path / "garbage.tfrecord", [b"garbage"])
    for path in (empty, garbage):
        with pytest.raises(ValueError, match=r"records that are tf\.train\.Example; received .*, which holds none"):
            open_source(path)
    damaged = write_examples(tmp_path / "damaged.tfrecord", rows())
    content = bytearray(damaged.read_bytes())
    content[-20] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"'.*damaged\.tfrecord', which is damaged: [^{}]*\d\.$"):
        read(damaged)
    damaged.write_bytes(b"no records at all, but a text")
    with pytest.raises(ValueError, match="which is damaged"):
        open_source(damaged)
    write_examples(tmp_path / "more" / "a.tfrecord", rows())
    (tmp_path / "more" / "b.csv").write_text("x\n1\n")
    with pytest.raises(ValueError, match=r"tfrecord files, and nothing else.*more/\*\.tfrecord\*|more/\*\.csv"):
        open_source(tmp_path / "more")


def test_a_column_of_a_feature_that_is_called_like_another_feature_is_refused(tmp_path):
    path = write_examples(tmp_path / "a.tfrecord", [{"x": [1.0, 2.0], "x[0]": [3.0]}])
    with pytest.raises(ValueError, match=r"names of their own; received \['x\[0\]'\] more than once"):
        open_source(path)


def test_sequence_examples_are_refused_whose_context_is_like_an_example(tmp_path):
    record = tf.train.SequenceExample()
    record.context.feature["a"].float_list.value.append(1.0)
    record.feature_lists.feature_list["s"].feature.add().float_list.value.append(2.0)
    path = write_examples(tmp_path / "a.tfrecord", [record.SerializeToString()])
    with pytest.raises(ValueError, match=r"which holds tf\.train\.SequenceExample.*--group|group="):
        open_source(path)


def test_a_data_set_of_tfds_is_known_by_its_name(tmp_path):
    write_examples(tmp_path / "mnist-train.tfrecord-00000-of-00001", rows())
    for name in ("dataset_info.json", "features.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=r"a prepared data set of TensorFlow Datasets\. Give its name, with data_dir="):
        open_source(tmp_path)


def test_the_same_table_as_parquet_gives_the_same_samples(tmp_path):
    path = write_examples(tmp_path / "a.tfrecord", rows(5000))
    numbers = range(5000)
    columns = {
        "n": pa.array(numbers, pa.int64()),
        "who": pa.array([f"user {row % 2}" for row in numbers]),
        "x[0]": pa.array(numbers, pa.int64()).cast(pa.float32()),
        "x[1]": pa.array([-row for row in numbers], pa.int64()).cast(pa.float32()),
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    np.testing.assert_array_equal(read(path)[0], read(tmp_path / "a.parquet")[0])
