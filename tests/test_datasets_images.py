"""Folders of images."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfae.datasets import load, open_source

RANDOM = np.random.RandomState(0)
GRAY = RANDOM.randint(0, 256, (12, 6, 5), dtype="uint8")
COLOR = RANDOM.randint(0, 256, (12, 6, 5, 3), dtype="uint8")


def save(folder: Path, images: np.ndarray, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:02}{suffix}")
    return folder


def read(folder: Path) -> np.ndarray:
    return open_source(folder).parts["all"].read()[0]


@pytest.mark.parametrize(("images", "channels"), [(GRAY, 1), (COLOR, 3)])
@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp"])
def test_a_flat_folder_is_its_pixels_in_the_order_of_names(
    tmp_path: Path, images: np.ndarray, channels: int, suffix: str
) -> None:
    source = open_source(save(tmp_path / "pictures", images, suffix))
    samples, labels = source.parts["all"].read()
    assert (source.name, source.kind, source.shape, source.dtype) == ("pictures", "image", (6, 5, channels), "uint8")
    assert source.value_range == (0.0, 255.0)
    assert source.parts["all"].sample_names == tuple(f"{index:02}{suffix}" for index in range(12))
    assert labels is None
    np.testing.assert_array_equal(samples, images.reshape(12, 6, 5, channels))
    assert [len(samples) for samples, _ in source.parts["all"].batches(5)] == [5, 5, 2]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_jpegs_are_decoded(tmp_path: Path, suffix: str) -> None:
    smooth = np.linspace(0, 255, 12 * 16 * 16).reshape(12, 16, 16).astype("uint8")
    samples = read(save(tmp_path, smooth, suffix))
    assert samples.shape == (12, 16, 16, 1)
    assert np.abs(samples[..., 0].astype(int) - smooth).max() <= 4


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((6, 5), level, "uint8")) for level in (50, 150)]
    for name in ("a.gif", "b.gif", "c.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    samples = read(tmp_path)
    assert samples.shape == (3, 6, 5, 3)
    assert set(samples.ravel().tolist()) == {50}


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    save(tmp_path / "data" / "dogs", GRAY[:4])
    save(tmp_path / "data" / "cats", GRAY[4:])
    part = open_source(tmp_path / "data").parts["all"]
    samples, labels = part.read()
    assert np.asarray(labels).tolist() == ["cats"] * 8 + ["dogs"] * 4
    np.testing.assert_array_equal(samples[..., 0], np.concatenate([GRAY[4:], GRAY[:4]]))
    assert part.sample_names is not None
    assert part.sample_names[0] == "cats/00.png"


def test_folders_named_train_and_test_are_the_splits(tmp_path: Path) -> None:
    save(tmp_path / "data" / "train" / "dogs", GRAY[:6])
    save(tmp_path / "data" / "train" / "cats", GRAY[6:9])
    save(tmp_path / "data" / "test", GRAY[9:])
    data = load(tmp_path / "data")
    assert sum(map(len, data.raw)) == 12
    np.testing.assert_array_equal(data.raw.test[..., 0], GRAY[9:])
    assert data.labels is None


def test_other_files_are_skipped_by_name_and_hidden_ones_silently(tmp_path: Path) -> None:
    save(tmp_path, GRAY)
    (tmp_path / ".DS_Store").touch()
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "0.png").touch()
    assert len(read(tmp_path)) == 12
    for name in ("a.tif", "b.webp", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.warns(UserWarning, match=r"skipped what is not .png, .* a\.tif, b\.webp, notes\.txt$"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", ""), (b"hello", ""), (None, "Invalid PNG data")], ids=["empty", "text", "cut"]
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    save(tmp_path, COLOR)
    broken = tmp_path / "07.png"
    broken.write_bytes(broken.read_bytes()[:80] if content is None else content)
    with pytest.raises(ValueError, match=f"expected an image.*received '.*07.png'.*{reason}.* remove the file"):
        read(tmp_path)


PALETTE = Image.fromarray(COLOR[0]).convert("P")  # which TensorFlow decodes to RGB


@pytest.mark.parametrize(
    ("odd", "name", "message"),
    [
        (Image.fromarray(GRAY[0, :5]), "05.png", "'.*00.png' with 6×5 grayscale and '.*05.png' with 5×5 grayscale"),
        (Image.fromarray(COLOR[0]), "05.png", "'.*00.png' with 6×5 grayscale and '.*05.png' with 6×5 RGB"),
        (PALETTE, "05.png", "'.*00.png' with 6×5 grayscale and '.*05.png' with 6×5 RGB"),
        (Image.fromarray(GRAY[0].astype("uint16") * 257), "05.png", "16 in '.*05.png'"),
        (PALETTE, "05.bmp", "a BMP with a palette in '.*05.bmp'"),
    ],
    ids=["size", "channels", "channels that only decoding tells", "sixteen bits", "palette"],
)
def test_an_image_unlike_the_others_is_named(tmp_path: Path, odd: Image.Image, name: str, message: str) -> None:
    save(tmp_path, GRAY, name[2:])
    odd.save(tmp_path / name)
    with pytest.raises(ValueError, match=f"received {message}"):
        read(tmp_path)


def test_folders_without_images_or_of_mixed_depth_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"images in {str(tmp_path)!r}; received no file")):
        open_source(tmp_path)
    (tmp_path / "readme.txt").touch()
    with pytest.raises(ValueError, match=r"received 'readme.txt'"):
        open_source(tmp_path)
    save(tmp_path, GRAY[:1])
    save(tmp_path / "cats", GRAY[:1])
    with pytest.raises(ValueError, match=r"in one level of sub-folders .* received '00.png' and 'cats/00.png'"):
        open_source(tmp_path)
