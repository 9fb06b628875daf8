"""Data sets by name: prepared once, staged from their original files, or refused within seconds."""

import gzip
import hashlib
import http.server
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipykernel.kernelapp  # noqa: F401
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums

from tfae.datasets import load, open_source
from tfae.datasets.downloads import unreachable_hosts

URL = "https://nowhere.invalid/shapes/shapes.npy.gz"
IMAGES = np.random.RandomState(0).randint(0, 256, (40, 6, 5, 3), dtype="uint8")


class Shapes(tfds.core.GeneratorBasedBuilder):
    """A data set with one original file, an own test split, and features of many kinds."""

    VERSION = tfds.core.Version("2.1.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(6, 5, 3)),
                    "label": tfds.features.ClassLabel(names=["disc", "square", "star", "cross"]),
                    "mask": tfds.features.Tensor(shape=(6, 5), dtype=np.bool_),
                    "floats": tfds.features.Tensor(shape=(2, 3), dtype=np.float32),
                    "zipped": tfds.features.Tensor(shape=(3,), dtype=np.int32, encoding=tfds.features.Encoding.ZLIB),
                    "ragged": tfds.features.Tensor(shape=(None,), dtype=np.int64),
                    "text": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        path = dl_manager.download_and_extract(URL)
        return {"train": self._generate_examples(path, 0, 30), "test": self._generate_examples(path, 30, 40)}

    def _generate_examples(self, path: Any, start: int, stop: int) -> Iterator[tuple[int, dict[str, Any]]]:
        images = np.load(path)
        for index in range(start, stop):
            example = {
                "image": images[index],
                "label": index % 4,
                "mask": images[index, ..., 0] > 99,
                "floats": (images[index, :2, 0] / 7).astype("float32"),
                "zipped": images[index, 0, 0].astype("int32"),
                "ragged": np.arange(index),
                "text": str(index),
            }
            yield index, example


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    np.save(folder / "shapes.npy", IMAGES)
    (folder / "shapes.npy.gz").write_bytes(gzip.compress((folder / "shapes.npy").read_bytes(), mtime=0))
    expect(folder)
    return folder


def expect(folder: Path) -> None:
    """Have the data set expect the original file that is there."""
    Shapes.url_infos = {URL: checksums.compute_url_info(folder / "shapes.npy.gz")}


@pytest.fixture(scope="module")
def prepared(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("prepared")
    open_source("shapes", manual_dir=originals, data_dir=data_dir)
    return data_dir


def test_a_staged_data_set_is_read_bit_for_bit_in_stored_order_and_alone_left_behind(prepared: Path) -> None:
    source = open_source("shapes", data_dir=prepared)
    assert (source.name, source.kind, source.shape, source.dtype) == ("shapes", "image", (6, 5, 3), "uint8")
    assert {name: part.num_samples for name, part in source.parts.items()} == {"train": 30, "test": 10}
    for name, start, stop in (("train", 0, 30), ("test", 30, 40)):
        samples, labels = source.parts[name].read()
        np.testing.assert_array_equal(samples, IMAGES[start:stop])
        assert np.asarray(labels).tolist() == [index % 4 for index in range(start, stop)]
        assert source.label_names == ("disc", "square", "star", "cross")
    assert [len(batch.samples) for batch in source.parts["train"].batches(13)] == [13, 13, 4]
    assert [path.name for path in prepared.iterdir()] == ["shapes"]


@pytest.mark.parametrize(
    ("feature", "kind", "expected"),
    [
        ("mask", "sequence", IMAGES[30:, ..., 0] > 99),
        ("floats", "sequence", (IMAGES[30:, :2, 0] / 7).astype("float32")),
        ("zipped", "table", IMAGES[30:, 0, 0].astype("int32")),
    ],
)
def test_other_features_can_be_x(prepared: Path, feature: str, kind: str, expected: np.ndarray) -> None:
    source = open_source("shapes", data_dir=prepared, feature=feature)
    samples, labels = source.parts["test"].read()
    assert (source.kind, source.dtype, samples.dtype) == (kind, expected.dtype, expected.dtype)
    np.testing.assert_array_equal(samples, expected)
    assert np.asarray(labels).tolist() == [index % 4 for index in range(30, 40)]


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("imag", "^feature: .*; received 'imag'\\. Did you mean 'image'"),
        ("text", "expected feature 'text' of 'shapes' to hold numbers"),
        ("ragged", r"expected samples of one shape; received \(None,\) for feature 'ragged'"),
        ("label", "received the number 'label'"),
    ],
)
def test_features_that_can_not_be_x_are_refused(prepared: Path, feature: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_source("shapes", data_dir=prepared, feature=feature)


def test_versions_can_be_partly_named_and_have_to_be_there(prepared: Path) -> None:
    for version in ("2.1.0", "2.*.*", "2.*", "2"):
        assert open_source(f"shapes:{version}", data_dir=prepared).parts["test"].num_samples == 10
    with pytest.raises(ValueError, match=r"received 'shapes:3.\*'.*only: 2.1.0"):
        open_source("shapes:3.*", data_dir=prepared)


def test_a_missing_or_wrong_original_file_is_named_with_what_was_expected(originals: Path, tmp_path: Path) -> None:
    message = r"^manual_dir: .* files of 'shapes'; received '.*' without shapes.npy.gz \(.* KiB, https://"
    with pytest.raises(ValueError, match=message):
        open_source("shapes", manual_dir=tmp_path, data_dir=tmp_path / "data")
    right = (originals / "shapes.npy.gz").read_bytes()
    expected = hashlib.sha256(right).hexdigest()
    wrong = tmp_path / "shapes.npy.gz"
    wrong.write_bytes(right[:-1] + b"x")
    message = f"'shapes.npy.gz' .* {len(right)} bytes and sha256 {expected}; received sha256"
    with pytest.raises(ValueError, match=message):
        open_source("shapes", manual_dir=tmp_path, data_dir=tmp_path / "data")
    wrong.write_bytes(right[:-1])
    with pytest.raises(ValueError, match=f"sha256 {expected}; received {len(right) - 1} bytes in"):
        open_source("shapes", manual_dir=tmp_path, data_dir=tmp_path / "data")
    with pytest.raises(ValueError, match=r"^manual_dir: expected an existing folder"):
        open_source("shapes", manual_dir=tmp_path / "nothing", data_dir=tmp_path / "data")


def test_a_data_set_that_can_not_be_had_is_refused_within_seconds_with_what_to_get(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"no answer from nowhere.invalid\. .* manual_dir=, .*: shapes.npy.gz \("):
        open_source("shapes", data_dir=tmp_path / "data")
    assert time.monotonic() - start < 10
    assert not (tmp_path / "data").exists()
    monkeypatch.setattr(Shapes, "MANUAL_DOWNLOAD_INSTRUCTIONS", "Register at nowhere.invalid\nfor shapes.tar.")
    message = r"^manual_dir: expected a folder for 'shapes'.*Register at nowhere.invalid for shapes.tar"
    with pytest.raises(ValueError, match=message):
        open_source("shapes", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "received 'digit'\\. Did you mean 'digits'\\?$"),
        ("fashion_mnits", "Did you mean 'fashion_mnist'"),
        ("xyzzy", r"scikit-learn's are 'digits', .*, and tfds.list_builders\(\) has the others"),
        ("no such name", "expected the name of a data set, as name, name/config or name:version"),
        ("emnist/lettters", r"BuilderConfig lettters not found"),
        ("data/missing", "^source: expected an existing file or folder; received 'data/missing', which is not there"),
        ("data/flowers.csv", "^source: expected an existing file or folder; received 'data/flowers.csv', which is not"),
        (
            "digits:9.*",
            r"^source: expected 'digits' for scikit-learn's 'digits', .* versions .*; received 'digits:9\.\*'",
        ),
        ("./mnist", "expected an existing file or folder; received './mnist'"),
        ("missing.npy", "expected an existing file or folder"),
        ("imagenet2012", r"received \(None, None, 3\) for feature 'image' of 'imagenet2012'"),  # before it is prepared
    ],
)
def test_names_that_are_unknown_or_of_images_of_varying_size_are_refused(
    name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        open_source(name, data_dir=tmp_path)


def test_a_name_means_the_same_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert open_source("digits").shape == (8, 8, 1)
    with pytest.raises(ValueError, match="received no file"):
        open_source("./digits")


def test_folders_that_do_not_fit_are_named(originals: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^manual_dir: expected None for scikit-learn's 'wine'"):
        open_source("wine", manual_dir=originals)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"expected a folder that 'shapes' can be prepared in; received '.*file'"):
        open_source("shapes", manual_dir=originals, data_dir=tmp_path / "file")


def test_a_process_that_is_overtaken_takes_what_the_faster_one_prepared(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    generate = Shapes._generate_examples

    def overtake(self: Shapes, *arguments: Any) -> Iterator[Any]:
        monkeypatch.setattr(Shapes, "_generate_examples", generate)
        open_source("shapes", manual_dir=originals, data_dir=tmp_path)
        yield from generate(self, *arguments)

    monkeypatch.setattr(Shapes, "_generate_examples", overtake)
    opened = open_source("shapes", manual_dir=originals, data_dir=tmp_path)
    assert len(opened.parts["train"].read()[0]) == 30
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]
    assert "ipykernel.kernelapp" in sys.modules  # Imported for its class alone, as any library may.
    assert capfd.readouterr() == ("", "")  # No bars in a log.


@pytest.mark.parametrize(("name", "feature"), [("wine", None), ("shapes", None), ("shapes", "zipped")])
def test_loading_leaves_global_random_state_as_it_was(
    name: str, feature: str | None, originals: Path, tmp_path: Path
) -> None:
    staged = originals if name == "shapes" else None
    begin()
    first = draw()
    for _ in range(2):  # Prepared by the first one.
        begin()
        load(name, feature=feature, manual_dir=staged, data_dir=tmp_path)
        assert draw() == first


def begin() -> None:
    keras.utils.clear_session()  # Keras 3.8 goes on with the generator that it has.
    keras.utils.set_random_seed(0)


def draw() -> list[float]:
    return [random.random(), np.random.random(), float(tf.random.uniform([])), float(keras.random.uniform([]))]


@pytest.mark.slow
def test_two_processes_prepare_at_once(originals: Path, tmp_path: Path) -> None:
    code = """
import pathlib, sys
from tests.test_datasets_catalog import expect, open_source

expect(pathlib.Path(sys.argv[1]))
print(len(open_source("shapes", manual_dir=sys.argv[1], data_dir=sys.argv[2]).parts["train"].read()[0]))
"""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(originals), str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in processes] == [b"30", b"30"]
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]


@pytest.mark.slow
def test_mnist_and_fashion_mnist_are_staged_side_by_side_and_equal_their_originals(
    real_data: Path, tmp_path: Path
) -> None:
    for name in ("fashion_mnist", "mnist"):  # in one data_dir: files of the same names
        source = open_source(name, manual_dir=real_data / name, data_dir=tmp_path)
        for part, prefix in (("train", "train"), ("test", "t10k")):
            originals = {
                what: np.frombuffer(
                    gzip.decompress((real_data / name / f"{prefix}-{file}.gz").read_bytes()), "u1", -1, skip
                )
                for what, file, skip in (("images", "images-idx3-ubyte", 16), ("labels", "labels-idx1-ubyte", 8))
            }
            samples, labels = source.parts[part].read()
            assert labels is not None
            # TFDS shuffles when it prepares: the pairs are the same, in another order.
            expected = zip(originals["images"].reshape(-1, 784), originals["labels"], strict=True)
            received = zip(samples, labels, strict=True)
            assert sorted((x.tobytes(), y) for x, y in received) == sorted((x.tobytes(), y) for x, y in expected)
        data = load(f"{name}:3.*", data_dir=tmp_path)
        assert [len(split) for split in data.raw] == [53_333, 6_667, 10_000]


def test_hosts_are_reached_if_they_answer_for_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "there").write_text("content")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def do_GET(self) -> None:
            if self.path == "/forbidden":
                self.send_error(403)
            else:
                super().do_GET()

        def log_message(self, *arguments: Any) -> None:
            pass

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server,
        socket.create_server(("127.0.0.1", 0)) as silent,  # takes the connection, and never answers
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address, mute = (f"http://127.0.0.1:{port}" for port in (server.server_port, silent.getsockname()[1]))
        assert unreachable_hosts([f"{address}/there"]) == []
        assert unreachable_hosts([f"{address}/not_there"]) == []
        assert unreachable_hosts([f"{address}/forbidden"]) == ["127.0.0.1"]
        start = time.monotonic()
        silent_hosts = unreachable_hosts([f"{mute}/there", "http://localhost:1/there"], patience=0.5)
        assert silent_hosts == ["127.0.0.1", "localhost"]
        assert time.monotonic() - start < 3
        server.shutdown()
