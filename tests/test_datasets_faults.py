"""What people have in files, and what is said of it."""

import io
import os
import re
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from tests.commands import begin, run, train
from tfae import datasets, export, plots
from tfae.load_options import ReadOptions

GRAY = np.random.default_rng(0).integers(0, 256, (30, 8, 8)).astype("uint8")


def write_images(folder, images=GRAY, suffix="png", **options):
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index}.{suffix}", **options)


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_folders_of_splits_are_the_splits_whatever_the_validation_is_called(tmp_path, validation):
    for number, (split, count) in enumerate((("train", 12), (validation, 5), ("test", 7))):
        write_images(tmp_path / split, GRAY[:count] + number)
    data = datasets.load(tmp_path)
    assert [len(samples) for samples in data.raw] == [12, 5, 7]
    assert data.labels is None


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "Test"),
        ("train", "val"),
        ("train", "test", "ground_truth"),
        ("training", "test"),
        ("train",),
        ("cats", "test"),
    ],
)
def test_what_is_nearly_folders_of_splits_is_neither_pooled_nor_trained_on(tmp_path, folders):
    for folder in folders:
        write_images(tmp_path / folder)
    with pytest.raises(
        ValueError, match=rf"for the splits, or one for each class; received {', '.join(sorted(folders))} in"
    ):
        datasets.load(tmp_path)


def test_folders_of_classes_stay_classes(tmp_path):
    for folder, images in (("cats", GRAY[:9]), ("testers", GRAY[9:])):
        write_images(tmp_path / folder, images)
    assert set(datasets.load(tmp_path).labels.train) == {"cats", "testers"}


def png_of_16_bits(channels):
    """By hand: Pillow writes none but gray ones."""
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + b"\x12\xff" * 8 * channels for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_images_of_16_bits_are_refused_and_not_cut_to_8(tmp_path, channels):
    for index in range(5):
        (tmp_path / f"{index}.png").write_bytes(png_of_16_bits(channels))
    with pytest.raises(
        ValueError, match=r"expected 8 bits per channel, or gray of 16; received (LA|RGBA?) of 16 in '.*0\.png'"
    ):
        datasets.load(tmp_path)


def test_names_of_images_that_are_no_text_are_named(tmp_path):
    write_images(tmp_path / os.fsdecode(b"\xff"))
    with pytest.raises(ValueError, match=r"names of files in UTF-8; received '\\udcff/0\.png'"):
        datasets.load(tmp_path)


def test_a_large_image_is_named(tmp_path, monkeypatch):
    write_images(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 31)
    with pytest.raises(ValueError, match=r"expected images of at most 62 pixels; received '.*0\.png' with more"):
        datasets.load(tmp_path)


def test_channels_that_come_first_are_told():
    images = np.repeat(GRAY[:, None], 3, axis=1)
    with pytest.warns(
        UserWarning, match=r"\(30, 3, 8, 8\) is taken for images .* of height 3; .*np\.moveaxis\(x, 1, -1\)"
    ):
        datasets.load(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        datasets.load(np.moveaxis(images, 1, -1))


def csv_file(path, text):
    (path / "table.csv").write_text(text)
    return path / "table.csv"


HEART = "75,?,190\n74,1,188\n70,0,150\n" + "".join(f"{60 + i},{i % 3},{140 + 7 * i % 50}\n" for i in range(9))


def test_a_first_row_of_numbers_and_others_is_no_header_without_a_word(tmp_path):
    path = csv_file(tmp_path, HEART)
    with pytest.raises(ValueError, match=r"received '75,\?,190' .* header=False if it is a sample"):
        datasets.load(path)
    with pytest.raises(ValueError, match=r"'\?' in row 0.* missing=\['\?'\]"):
        datasets.load(path, header=False)
    with pytest.warns(UserWarning, match="left out 1 of 12 rows, which have gaps: column_1 1"):
        assert datasets.load(path, header=False, missing=["?"], gaps="drop").raw.train.shape == (9, 3)
    assert datasets.load(path, header=False, drop=["column_1"]).raw.train.shape == (10, 2)
    assert datasets.load(path, header=True).feature_names == ("75", "?", "190")
    path.write_text(HEART.replace("?", "yes"))
    with pytest.raises(ValueError, match=r"received '75,yes,190' .* header=False if it is a sample"):
        datasets.load(path)
    path.write_text("a,b,2020\n" + HEART.split("\n", 1)[1])
    with pytest.warns(UserWarning, match=r"'a,b,2020', is taken for a header, although some of it are numbers"):
        datasets.load(path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_true_and_false_are_one_and_zero(tmp_path, kind):
    values = {"x": list(np.arange(20.0) % 7), "flag": [index % 3 == 0 for index in range(20)]}
    if kind == "csv":
        rows = "".join(f"{x},{flag}\n" for x, flag in zip(*values.values(), strict=True))
        path = csv_file(tmp_path, "x,flag\n" + rows)
    else:
        path = tmp_path / "table.parquet"
        pa.parquet.write_table(pa.table(values), path)
    part = datasets.open_source(path).parts["all"]
    np.testing.assert_array_equal(part.read()[0], np.stack([*values.values()], axis=1).astype("float64"))


NAMES = ["height", "weight", "age"]
ROWS = np.random.default_rng(0).normal(size=(60, 3)).round(6)


def as_csv(rows, *header):
    text = io.StringIO()
    np.savetxt(text, rows, delimiter=",", fmt="%.6f")
    return "".join([*header, text.getvalue()])


@pytest.mark.filterwarnings("ignore:.*has no header")
def test_a_file_without_header_is_scored_by_the_positions_of_its_columns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(
        csv_file(tmp_path, as_csv(ROWS, "height,weight,age\n")), "--epochs", 1, "--run-dir", "run", export_dir="model"
    )
    (tmp_path / "bare.csv").write_text(as_csv(ROWS[:, [2, 0, 1]]))
    message = run("score", "model", "bare.csv", "-o", "scores.csv", code=2).stderr
    assert "If the file has no header, say which of its columns they are" in message
    run("score", "model", "bare.csv", "-o", "scores.csv", "--no-header", "--columns", "1,2,0")
    scores = np.genfromtxt("scores.csv", delimiter=",", names=True)["instance_score"]
    np.testing.assert_allclose(scores, export.load("model").score(ROWS), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*rises or falls from row to row")
def test_columns_are_dropped_and_headers_may_hold_commas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = 'id,"height, cm",weight\n'
    rows = np.column_stack([np.arange(60), ROWS[:, :2]])
    with pytest.warns(UserWarning, match=r"each of 'id' rises or falls"):
        datasets.load(csv_file(tmp_path, as_csv(rows[::-1], header)))
    with pytest.warns(UserWarning, match=r"each of 'id' rises or falls from row to row.*drop=\[\.\.\.\] leaves"):
        datasets.load(csv_file(tmp_path, as_csv(rows, header)))
    data = datasets.load(tmp_path / "table.csv", drop=["id"])
    assert data.feature_names == ("height, cm", "weight")
    output = train("table.csv", "--drop", "id", "--epochs", 1, "--run-dir", "run", export_dir="model").output
    assert "table data of shape (2,)" in output
    assert "shape (1,)" in begin("table.csv", "--columns", '"height, cm"', "--run-dir", "one").output
    run("evaluate", "run")
    run("score", "model", "table.csv", "-o", "scores.csv")
    assert datasets.load(ROWS, drop=[0]).shape == (2,)
    with pytest.raises(ValueError, match=r"drop: expected a column of .*received 'iden'\. Did you mean 'id'"):
        datasets.load(tmp_path / "table.csv", drop=["iden"])
    with pytest.raises(ValueError, match="drop: expected each column once"):
        ReadOptions(drop=["id", "id"])


def test_labels_of_bytes_are_texts():
    labels = np.array([b"cat", b"dog", None, "cat"], object)
    assert plots.style.validate_labels(labels, 4).tolist() == ["cat", "dog", "missing", "cat"]


@pytest.mark.parametrize(
    ("value", "method"), [(1e300, "unit"), (-1e30, "symmetric"), (1e30, "standard"), (999_999, "unit")]
)
def test_columns_that_extreme_values_squash_are_told(value, method):
    rows = np.round(ROWS, 3)
    rows[17, 1] = value
    names = ["a", "b", "c"]
    with pytest.warns(UserWarning, match=rf'"{method}" brings the middle half .* of column \'b\' within 0\.0001 of'):
        datasets.load(pa.table(dict(zip(names, rows.T, strict=True))), preprocessing=method)
    with pytest.warns(UserWarning, match=r"of column 1 within"):
        datasets.load(rows, preprocessing=method)
    rows[17, 1] = 1000  # As heavy tails are.
    datasets.load(rows, preprocessing=method)
    rows[:, 1] = np.where(np.arange(60) % 10, 7, rows[:, 1])  # Most of which is one value.
    datasets.load(rows, preprocessing=method)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(("value", "method"), [(1e300, "standard"), (1e39, "none"), (-1.5e308, "standard")])
def test_a_number_that_leaves_float32_is_told_with_row_and_column(tmp_path, value, method, in_memory):
    rows = ROWS.copy()
    for row in (int(places[0]) for places in datasets.load(ROWS, seed=1).origins):  # One of each split.
        rows[row, 1] = value
        path = tmp_path / "table.csv"
        np.savetxt(path, rows, delimiter=",", header="a,b,c", comments="")
        number = re.escape(f"{value:g}")
        told = rf'^source: .* after preprocessing "{method}"; received {number} in column .b., row {row} '
        with pytest.raises(ValueError, match=told):
            datasets.load(path, in_memory=in_memory, preprocessing=method, seed=1)
        rows[row, 1] = 0
    assert datasets.load(rows * 1e30).shape == (3,)


def test_a_number_that_leaves_float32_is_told_wherever_it_is():
    splits = {"train": ROWS, "test": ROWS + 1}
    splits["test"][7, 2] = 1e300
    with pytest.raises(ValueError, match=r"received 1e\+300 in column 2, row 7 \(rows count from 0\) of 'test'"):
        datasets.load(splits)
    images = np.zeros((40, 4, 4, 1)) + np.arange(40)[:, None, None, None]
    images[9, 1, 2, 0] = -1e300
    with pytest.raises(ValueError, match=r"received -1e\+300 in sample 9 at \(1, 2, 0\)"):
        datasets.load(images, preprocessing="standard")
    noisy = ROWS.copy()
    noisy[20, 0] = 1e300
    with pytest.raises(ValueError, match=r"^inputs: .* received 1e\+300 in column 0, row 20"):
        datasets.load(ROWS, inputs=noisy)


def test_a_column_without_a_name_is_left_out_by_the_option_that_the_error_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index.csv").write_text(",a,b\n" + "".join(f"{row},{row % 7},{row % 5}\n" for row in range(30)))
    said = run("advise", "index.csv", code=2).stderr
    assert said.splitlines()[-1].endswith("Leave it out, --drop '', or write the file with index=False.")
    assert "0 of 2" in run("advise", "index.csv", "--drop", "").output
    assert datasets.load("index.csv", drop=[""]).feature_names == ("a", "b")


@pytest.mark.parametrize("value", ["inf", "1e+300"])
def test_a_number_that_can_not_be_is_told_with_its_row_among_rows_that_are_left_out(tmp_path, value):
    rows = [f"{row},{row % 5}" for row in range(30)]
    rows[3], rows[29] = "3,", f"{value},1"
    (tmp_path / "gaps.csv").write_text("a,b\n" + "\n".join(rows))
    told = re.escape(f"{value} in column 'a', row 29 ")
    with pytest.raises(ValueError, match=told), pytest.warns(UserWarning, match="left out 1"):
        datasets.load(tmp_path / "gaps.csv", gaps="drop")
