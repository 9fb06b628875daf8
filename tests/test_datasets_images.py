"""Folders of images."""

import contextlib
import csv
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image, ImageOps

from tests.commands import run
from tfae import export, models, preprocessing
from tfae.datasets import load, open_source
from tfae.losses import SquaredError

#: Those of TIFF that are converted; Pillow before 13 can not read the YCbCr that it writes.
COLORS_OF_TIFF = ("CMYK", "RGB", *(("YCbCr",) if int(PIL.__version__.partition(".")[0]) >= 13 else ()))
RANDOM = np.random.RandomState(0)
GRAY = RANDOM.randint(0, 256, (12, 6, 5), dtype="uint8")
COLOR = RANDOM.randint(0, 256, (12, 6, 5, 3), dtype="uint8")


def save(folder: Path, images: np.ndarray, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:02}{suffix}")
    return folder


def read(folder: Path, **options: Any) -> np.ndarray:
    return open_source(folder, **options).parts["all"].read()[0]


def pictures(mode: str, size: tuple[int, int] = (6, 5), count: int = 3) -> list[Image.Image]:
    """Noise in one of Pillow's modes."""
    numbers = np.random.default_rng(0).random((count, *size, 4))
    if mode in DEEP:
        return [Image.fromarray((noise * DEEP[mode][1]).astype(DEEP[mode][0])) for noise in numbers[..., 0]]
    return [Image.fromarray((noise * 256).astype("uint8"), "RGBA").convert(mode) for noise in numbers]


DEEP = {"I;16": ("uint16", 65535), "I;16B": (">u2", 65535), "I": ("int32", -1e6), "F": ("float32", 0.1)}


def write(folder: Path, images: list[Image.Image], suffix: str, **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        image.save(folder / f"{index:02}{suffix}", **options)
    return folder


def of_pillow(folder: Path, prepare: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """What Pillow makes of the files, with a channel axis."""
    files = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            files.append(np.asarray(prepare(image)))
    stacked = np.stack(files)
    return stacked if stacked.ndim == 4 else stacked[..., None]


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


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
    assert [len(batch.samples) for batch in source.parts["all"].batches(5)] == [5, 5, 2]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_jpegs_are_decoded(tmp_path: Path, suffix: str) -> None:
    smooth = np.linspace(0, 255, 12 * 16 * 16).reshape(12, 16, 16).astype("uint8")
    samples = read(save(tmp_path, smooth, suffix))
    assert samples.shape == (12, 16, 16, 1)
    assert np.abs(samples[..., 0].astype(int) - smooth).max() <= 4


@pytest.mark.parametrize(
    ("suffix", "mode", "taken", "dtype"),
    [
        *((".png", mode, taken, "uint8") for mode, taken in [("1", "L"), ("L", "L"), ("LA", "LA"), ("P", "RGBA")]),
        *((".png", mode, mode, "uint8") for mode in ("RGB", "RGBA")),
        *((".tif", mode, taken, "uint8") for mode, taken in [("1", "L"), ("L", "L"), ("P", "RGB"), ("RGBA", "RGBA")]),
        *((".TIFF", mode, mode, "uint8") for mode in ("LA", "RGB")),
        *((".bmp", mode, taken, "uint8") for mode, taken in [("1", "L"), ("L", "L"), ("P", "RGB"), ("RGB", "RGB")]),
        *((".webp", mode, mode, "uint8") for mode in ("RGB", "RGBA")),
        *((suffix, "RGB", "RGB", "uint8") for suffix in (".gif", ".jpg", ".jp2", ".ppm", ".tga", ".mpo", ".qoi")),
        *((suffix, "I;16", "I", "uint16") for suffix in (".png", ".tif", ".jp2")),
        *((".tif", mode, mode[0], DEEP[mode][0]) for mode in ("I", "F")),
        (".tif", "I;16B", "I", "uint16"),
    ],
)
def test_pixels_are_pillows_in_every_format_and_mode(
    tmp_path: Path, suffix: str, mode: str, taken: str, dtype: str
) -> None:
    """``taken`` is the mode that Pillow is asked to convert to for comparison."""
    folder = write(tmp_path / "pictures", pictures(mode), suffix)
    for options in ({}, {"image_size": (6, 5)}):
        source = open_source(folder, **options)  # type: ignore[arg-type]
        samples = source.parts["all"].read()[0]
        assert (source.dtype, samples.dtype.name) == (dtype, dtype)
        np.testing.assert_array_equal(samples, of_pillow(folder, lambda image: image.convert(taken)))
    assert source.value_range == {"uint8": (0, 255), "uint16": (0, 65535)}.get(dtype)


def test_sixteen_bits_are_read_whole(tmp_path: Path) -> None:
    levels = np.array([[0, 1, 255, 256, 4863, 65535]], "uint16")
    for suffix, dtype in ((".png", "<u2"), (".tif", "<u2"), (".tiff", ">u2")):
        folder = write(tmp_path / suffix, [Image.fromarray(levels.astype(dtype))], suffix)
        assert read(folder).ravel().tolist() == levels.ravel().tolist()


@pytest.mark.parametrize("suffix", [".gif", ".png", ".tif", ".webp"])
def test_a_file_of_several_frames_is_refused(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, pictures("RGB"), suffix)
    first, *others = pictures("RGB", count=4)
    first.save(tmp_path / f"02{suffix}", save_all=True, append_images=others)
    with pytest.raises(
        ValueError, match=rf"^source: expected files of one image; .*02\{suffix}' with 4 frames or pages"
    ):
        read(tmp_path)


def test_of_what_phones_write_the_picture_is_read_and_not_what_is_behind_it(tmp_path: Path) -> None:
    first, depth = pictures("RGB", count=2)
    first.save(tmp_path / "0.jpg", "mpo", save_all=True, append_images=[depth])
    first.save(tmp_path / "1.jpg")
    np.testing.assert_array_equal(*read(tmp_path))


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    save(tmp_path / "data" / "dogs", GRAY[:4])
    save(tmp_path / "data" / "cats", GRAY[4:])
    part = open_source(tmp_path / "data").parts["all"]
    samples, labels = part.read()
    assert np.asarray(labels).tolist() == ["cats"] * 8 + ["dogs"] * 4
    np.testing.assert_array_equal(samples[..., 0], np.concatenate([GRAY[4:], GRAY[:4]]))
    assert isinstance(part.sample_names, tuple)
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
    for name in ("a.pdf", "b.h5", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.warns(
        UserWarning, match=r"skipped what is not an image, by its suffix, in '.*': a\.pdf, b\.h5, notes\.txt$"
    ):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", ""), (b"hello", ""), (None, "image file is truncated")], ids=["empty", "text", "cut"]
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    save(tmp_path, COLOR)
    broken = tmp_path / "07.png"
    broken.write_bytes(broken.read_bytes()[:80] if content is None else content)
    with pytest.raises(ValueError, match=f"expected an image.*received '.*07.png'.*{reason}.* remove the file"):
        read(tmp_path)


PALETTE = Image.fromarray(COLOR[0]).convert("P")
SIXTEEN = Image.fromarray(GRAY[0].astype("uint16") * 257)


@pytest.mark.parametrize(
    ("odd", "name", "options", "message"),
    [
        (Image.fromarray(GRAY[0, :5]), "05.png", {}, "5×5 grayscale. image_size=(6, 5) makes them so."),
        (Image.fromarray(COLOR[0]), "05.png", {}, '6×5 RGB. color_mode="rgb" makes them so.'),
        (Image.fromarray(COLOR[0, :5]), "05.png", {}, '5×5 RGB. image_size=(6, 5) color_mode="rgb" makes them so.'),
        (PALETTE, "05.png", {}, '6×5 RGB. color_mode="rgb" makes them so.'),
        (PALETTE, "05.bmp", {"image_size": (9, 9)}, '6×5 RGB. color_mode="rgb" makes them so.'),
        (SIXTEEN, "05.png", {"color_mode": "gray"}, "6×5 grayscale of 16 bits. Convert them first."),
    ],
)
def test_an_image_unlike_the_others_is_named(
    tmp_path: Path, odd: Image.Image, name: str, options: dict[str, Any], message: str
) -> None:
    save(tmp_path, GRAY, name[2:])
    odd.save(tmp_path / name)
    first, other = (str(tmp_path / each) for each in (f"00{name[2:]}", name))
    expected = f"one depth; received {first!r} with 6×5 grayscale and {other!r} with {message}"
    with pytest.raises(ValueError, match=re.escape(expected)):
        read(tmp_path, **options)


@pytest.mark.parametrize(
    ("mode", "suffix", "options", "message"),
    [
        ("CMYK", ".tif", {}, r'^source: expected gray, RGB or .*; received CMYK in .*00\.tif\'. color_mode="rgb" conv'),
        ("CMYK", ".jpg", {"color_mode": "rgb"}, r"^source: .*00\.jpg' with CMYK, .* Convert it to RGB and save it"),
        ("CMYK", ".jpg", {"image_size": (6, 5)}, r"^source: .*00\.jpg' with CMYK, .* Convert it to RGB and save it"),
        ("I;16", ".tif", {"color_mode": "rgb"}, r"^color_mode: .* received 'rgb' and '.*00\.tif' with .* 16 bits\."),
        ("F", ".tif", {"color_mode": "rgba"}, r"^color_mode: .* received 'rgba' and '.*00\.tif' with .* 32-bit floats"),
    ],
)
def test_colors_that_are_not_taken_are_named_with_the_option(
    tmp_path: Path, mode: str, suffix: str, options: dict[str, Any], message: str
) -> None:
    write(tmp_path, pictures(mode), suffix)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, **options)


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")  # Of Pillow, when it is asked for comparison.
@pytest.mark.parametrize(("color_mode", "converted"), [("gray", "L"), ("rgb", "RGB"), ("rgba", "RGBA")])
@pytest.mark.parametrize(
    ("suffix", "modes"),
    [(".png", ("1", "L", "LA", "P", "RGB", "RGBA")), (".tif", COLORS_OF_TIFF), (".jpg", ("L", "RGB"))],
)
def test_color_mode_converts_as_pillow_does(
    tmp_path: Path, color_mode: str, converted: str, suffix: str, modes: tuple[str, ...]
) -> None:
    write(tmp_path, [pictures(mode, count=1)[0] for mode in modes], suffix)
    expected = of_pillow(tmp_path, lambda image: image.convert(converted))
    np.testing.assert_array_equal(read(tmp_path, color_mode=color_mode), expected)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "I;16", "I;16B", "I", "F"])
def test_image_size_scales_as_pillows_bilinear(tmp_path: Path, mode: str) -> None:
    """16 bits are compared in those of this machine: in others Pillow's resize is wrong."""
    write(tmp_path, pictures(mode, (12, 20)), ".tif")

    def scale(image: Image.Image) -> Image.Image:
        if mode == "I;16B":
            image = Image.fromarray(np.asarray(image).astype("uint16"))
        return image.convert({"1": "L"}.get(mode, image.mode)).resize((10, 6), Image.Resampling.BILINEAR)

    samples = read(tmp_path, image_size=[6, 10])
    assert samples.shape == (3, 6, 10, {"RGB": 3, "RGBA": 4}.get(mode, 1))
    np.testing.assert_array_equal(samples, of_pillow(tmp_path, scale))


def test_scaling_is_antialiased_and_stays_between_its_neighbours(tmp_path: Path) -> None:
    """By hand: the triangle of halved size has weights 1/8, 3/8, 3/8, 1/8 inside."""
    row = np.array([0, 0, 80, 160, 240, 240, 0, 0], "uint8")
    write(tmp_path, [Image.fromarray(np.tile(row, (8, 1)))], ".png")
    scaled = read(tmp_path, image_size=(4, 4))[0, :, :, 0]
    np.testing.assert_array_equal(scaled[0][1:3], [(0 + 3 * 80 + 3 * 160 + 240) / 8, (160 + 3 * 240 + 3 * 240) / 8])
    assert (scaled == scaled[0]).all()


def test_what_is_scaled_and_stretched_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for index, size in enumerate([(6, 6), (12, 12), (1000, 994)]):  # 6 of 1000 pixels are rounding.
        pictures("L", size, 1)[0].save(tmp_path / f"{index}.png")
    with caplog.at_level(logging.INFO, "tfae.progress"):
        open_source(tmp_path, image_size=(6, 6))
    assert caplog.messages == [f"{tmp_path.name}: resized 2 of 3 images to 6×6 with Pillow's BILINEAR, antialiased"]
    for index, size in enumerate([(12, 18), (20, 10)], 3):
        pictures("L", size, 1)[0].save(tmp_path / f"{index}.png")
    with pytest.warns(
        UserWarning, match=r"^image_size=\(6, 6\) stretches 2 of 5 .* most of all '4\.png' of 20×10, by 2; crop or pad"
    ):
        open_source(tmp_path, image_size=(6, 6))


def turned(orientation: int, size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    image = pictures(mode, size, 1)[0]
    image.info["exif"] = exif(orientation).tobytes()
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_an_exif_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    """All of the samples' size: as their bytes are stored, a served model refuses them."""
    upright = (7, 4) if orientation > 4 else (4, 7)
    write(tmp_path / "a", [turned(orientation, (4, 7))], suffix, exif=exif(orientation))
    for options in ({}, {"image_size": (9, 8)}):
        if not options and suffix in (".jpg", ".png") and orientation in (2, 3, 4):
            continue
        with pytest.warns() if options else contextlib.nullcontext():
            samples = read(tmp_path / "a", **options)
        expected = of_pillow(tmp_path / "a", ImageOps.exif_transpose)
        assert expected.shape[1:3] == upright
        if options:
            expected = of_pillow(tmp_path / "a", lambda image: ImageOps.exif_transpose(image).resize((8, 9), 2))
        np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize(
    ("orientation", "size", "options"),
    [(3, (4, 7), {}), (6, (6, 6), {}), (2, (4, 7), {"image_size": (4, 7)}), (8, (4, 7), {"image_size": (4, 7)})],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_what_a_served_model_would_take_as_it_lies_is_refused(
    tmp_path: Path, suffix: str, orientation: int, size: tuple[int, int], options: dict[str, Any]
) -> None:
    write(tmp_path, [turned(orientation, size)], suffix, exif=exif(orientation))
    with pytest.raises(
        ValueError,
        match=rf"^source: .*00\{suffix}' with EXIF orientation {orientation}, .*exif_transpose and save it\.",
    ):
        read(tmp_path, **options)


def test_an_orientation_behind_the_pixels_is_found_too(tmp_path: Path) -> None:
    """As ImageMagick writes PNG files: the chunk moved by hand."""
    write(tmp_path, [turned(6, (4, 7))], ".png", exif=exif(6))
    path = tmp_path / "00.png"
    found = re.fullmatch(rb"(?s)(.*)(.{4}eXIf.*?)(.{4}IDAT.*)(.{4}IEND.{4})", path.read_bytes())
    assert found is not None
    path.write_bytes(found[1] + found[3] + found[2] + found[4])
    expected = of_pillow(tmp_path, lambda image: ImageOps.exif_transpose(image).resize((9, 9), 2))
    with pytest.warns(UserWarning, match="stretches 1 of 1 images"):
        np.testing.assert_array_equal(read(tmp_path, image_size=(9, 9)), expected)
    with pytest.raises(
        ValueError, match=r"as their headers announce them, uint8 \(4, 7, 3\); received '.*00\.png' with"
    ):
        read(tmp_path)


def mvtec(folder: Path) -> Path:
    """With numbers in place of pictures: 0 to 11 normal ones, 20 to 22 and 40 to 43 of the tests."""
    for part, numbers in {"train/good": range(12), "test/good": range(20, 23), "test/scratch": range(40, 44)}.items():
        write(folder / part, [Image.new("L", (4, 4), number) for number in numbers], ".png")
    masks = [Image.new("L", (4, 4), 255)] * 4
    write(folder / "ground_truth" / "scratch", masks, "_mask.png")
    (folder / "license.txt").touch()
    return folder


def test_the_layout_of_mvtec_has_normal_images_to_train_on_and_its_own_test(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tfae.progress"):
        data = load(mvtec(tmp_path / "bottle"))
    assert "bottle: left ground_truth out, which holds masks" in caplog.messages
    levels = [sorted(set(samples.ravel().tolist())) for samples in data.raw]
    assert sorted(levels[0] + levels[1]) == list(range(12))
    assert len(levels[1]) == 1
    assert levels[2] == [20, 21, 22, 40, 41, 42, 43]
    assert data.labels is not None
    assert data.labels.test.tolist() == ["good"] * 3 + ["scratch"] * 4
    assert set(data.labels.train) == set(data.labels.validation) == {"good"}
    test = open_source(tmp_path / "bottle" / "test").parts["all"]
    assert test.read()[1].tolist() == ["good"] * 3 + ["scratch"] * 4  # type: ignore[union-attr]
    with pytest.raises(
        ValueError, match=rf"the test images of MVTec AD\. Give '{re.escape(str(tmp_path / 'bottle'))}'"
    ):
        load(tmp_path / "bottle" / "test")
    with pytest.raises(ValueError, match=rf"Of MVTec AD, train on one kind: '{re.escape(str(tmp_path / 'bottle'))}'"):
        load(tmp_path)


def test_images_beside_the_folders_of_splits_belong_to_none(tmp_path: Path) -> None:
    mvtec(tmp_path)
    Image.new("L", (4, 4)).save(tmp_path / "extra.png")
    with pytest.raises(ValueError, match=r"received test, train, extra\.png in"):
        load(tmp_path)


def exported(folder: Path) -> tuple[export.SavedAutoencoder, np.ndarray]:
    """A model with random weights, saved and loaded back, and the scores of the folder by Keras."""
    source = open_source(folder)
    samples = source.parts["all"].read()[0]
    fitted = preprocessing.fit("unit", samples, kind="image", value_range=source.value_range)
    autoencoder = models.dense(source.shape, latent_dim=2, output_activation="sigmoid")
    loss = SquaredError()
    autoencoder.compile("adam", loss=loss)
    saved = export.load(export.save(autoencoder, folder.parent / "saved", preprocessing=fitted))
    x = fitted(samples)
    return saved, loss.per_sample(x, autoencoder(x)).numpy()


@pytest.mark.parametrize(
    "files",
    [
        (("L", "a.jpg", {}), ("L", "b.png", {}), ("1", "c.png", {})),
        (
            ("RGB", "a.jpg", {"quality": 60}),
            ("RGB", "b.jpg", {"quality": 90, "progressive": True, "subsampling": 0}),
            ("RGB", "c.png", {}),
        ),
        (("RGBA", "a.png", {}), ("P", "b.png", {})),
    ],
)
def test_the_bytes_of_a_file_score_as_its_pixels_do(tmp_path: Path, files: tuple[tuple[str, str, Any], ...]) -> None:
    (tmp_path / "pictures").mkdir()
    for mode, name, options in files:
        pictures(mode, (16, 24), 1)[0].save(tmp_path / "pictures" / name, **options)
    saved, scores = exported(tmp_path / "pictures")
    contents = np.array([(tmp_path / "pictures" / name).read_bytes() for _, name, _ in files], object)
    served = saved.call("serve_image_bytes", image_bytes=contents)["instance_score"]
    np.testing.assert_allclose(served, scores, rtol=1e-6)
    for suffix in (".gif", ".bmp", ".webp", ".tif"):
        path = write(tmp_path / suffix, pictures("RGB", (16, 24), 1), suffix) / f"00{suffix}"
        with pytest.raises(ValueError, match="image_bytes: expected PNG or JPEG; received another format"):
            saved.call("serve_image_bytes", image_bytes=np.array([path.read_bytes()], object))


def test_the_command_line_scores_a_folder_as_the_model_was_trained_to_read_one(tmp_path: Path) -> None:
    folder = write(tmp_path / "pictures", pictures("RGB", (16, 24), 20), ".jpg")
    data = load(folder, image_size=(4, 6), color_mode="gray")
    autoencoder = models.dense(data.shape, latent_dim=2, output_activation="sigmoid")
    autoencoder.compile("adam", loss=SquaredError())
    saved = export.save(autoencoder, tmp_path / "saved", data=data)
    table = tmp_path / "scores.csv"
    expected = export.load(saved).score(read(folder, image_size=(4, 6), color_mode="gray"))
    for options in ((), ("--image-size", 4, 6, "--color-mode", "gray")):
        run("score", saved, folder, "-o", table, *options)
        scores = [float(row["instance_score"]) for row in csv.DictReader(table.read_text().splitlines())]
        np.testing.assert_allclose(scores, expected, rtol=1e-5)
    write(folder, pictures("LA", (9, 9), 1), ".png")
    message = run("advise", folder, code=2).stderr
    assert "9×9 grayscale with alpha. " in message
    assert message.endswith("--image-size 16 24 --color-mode rgb makes them so.\n")


def test_sixteen_bits_are_served_as_numbers_only(tmp_path: Path) -> None:
    folder = write(tmp_path / "pictures", pictures("I;16", count=6), ".png")
    saved, scores = exported(folder)
    signatures = export.inspect(saved.path).signatures
    assert "serve_image_bytes" not in signatures
    assert signatures["score"]["inputs"] == {"inputs": "int32 (batch, 6, 5, 1)"}
    np.testing.assert_allclose(saved.score(read(folder)), scores, rtol=1e-6)


def test_folders_without_images_or_of_mixed_depth_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"images in {str(tmp_path)!r}, with a suffix that Pillow knows, or tables")
    ):
        open_source(tmp_path)
    (tmp_path / "readme.md").touch()
    with pytest.raises(ValueError, match=r"received 'readme.md'"):
        open_source(tmp_path)
    save(tmp_path, GRAY[:1])
    save(tmp_path / "cats", GRAY[:1])
    with pytest.raises(ValueError, match=r"in one level of sub-folders .* received '00.png' and 'cats/00.png'"):
        open_source(tmp_path)
