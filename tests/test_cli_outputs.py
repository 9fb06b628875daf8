"""No command writes over what it reads."""

import errno
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from tests.commands import run
from tfae import comparison, datasets, export, models, runs
from tfae.losses import SquaredError
from tfae.scoring import score_file

ROWS = np.random.default_rng(0).normal(size=(40, 3))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    np.savetxt(folder / "data.csv", ROWS, delimiter=",", header="a,b,c", comments="")
    pa.parquet.write_table(pa.table(dict(zip("abc", ROWS.T, strict=True))), folder / "data.parquet")
    data = datasets.load(folder / "data.csv")
    keras.utils.set_random_seed(0)
    model = models.dense(data.shape, latent_dim=2)
    model.compile(loss=SquaredError())
    export.save(model, folder / "saved_models" / "m", data=data)
    (folder / "photos").mkdir()
    for index in range(3):
        Image.fromarray(np.full((8, 8), index, "uint8")).save(folder / "photos" / f"{index}.png")
    return folder


@pytest.fixture
def folder(template, tmp_path, monkeypatch):
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("score saved_models/m data.csv -o data.csv", "--output"),
        ("score saved_models/m data.parquet -o ./photos/../data.parquet", "--output"),
        ("score saved_models/m data.csv -o {folder}/data.csv", "--output"),
        ("score saved_models/m data.csv -o link.csv", "--output"),
        ("score saved_models/m link.csv -o hard.csv", "--output"),
        ("score saved_models/m photos -o photos/scores.csv", "--output"),
        ("score saved_models/m data.csv -o saved_models/m/1/scores.csv", "--output"),
        ("score linked data.csv -o saved_models/m/1/scores.csv", "--output"),
        ("reconstruct saved_models/m photos -o photos/1.png", "--output"),
        ("train photos --run-dir photos/run", "--run-dir"),
        ("train photos --export-dir photos", "--export-dir"),
        ("train data.csv --run-dir run --export-dir run/exported", "--export-dir"),
        ("train . --run-dir run", "--run-dir"),
        ("train . --epochs 1", "--export-dir"),
        ("train . --epochs 1 --export-dir {folder}/../exported", "--run-dir"),
        ("train . --epochs 1 --run-dir {folder}/../run", "--export-dir"),
        ("train --resume run --export-dir run", "--export-dir"),
        ("compare photos/ --run-dir photos", "--run-dir"),
        ("deploy saved_models/m -o saved_models/m --replace", "--output"),
        ("deploy saved_models/m -o saved_models/m/deploy", "--output"),
        ("export run --export-dir run/exported", "--export-dir"),
        ("serve saved_models/m --access-log saved_models/m/log.txt", "--access-log"),
    ],
)
@pytest.mark.filterwarnings("ignore:skipped what is not")  # Models lie in the folder of images, too.
def test_an_output_that_is_an_input_or_inside_of_one_is_refused_and_nothing_is_touched(folder, command, option):
    (folder / "link.csv").symlink_to("data.csv")
    (folder / "linked").symlink_to("saved_models/m")
    (folder / "run").mkdir()
    os.link(folder / "data.csv", folder / "hard.csv")
    before = contents(folder)
    message = run(*command.format(folder=folder).split(), code=2).stderr.splitlines()[-1]
    assert message.startswith(f"Error: {option}: expected a place outside of what is read, ")
    assert message.endswith(". Choose another.")
    assert contents(folder) == before


def test_a_deployment_does_not_replace_the_folder_of_its_models(folder):
    before = contents(folder)
    message = run("deploy", "saved_models/m", "-o", "saved_models", "--replace", code=2).stderr
    assert "expected a folder with nothing but what was written before; received saved_models with m" in message
    assert contents(folder) == before


def test_a_full_disk_is_said_with_the_file_that_had_no_room_and_leaves_none(folder, monkeypatch):
    def fill(*_, **__):
        raise OSError(errno.ENOSPC, "Error writing bytes to file")  # As pyarrow does.

    monkeypatch.setitem(score_file._WRITERS, ".csv", fill)
    before = contents(folder)
    message = run("score", "saved_models/m", "data.csv", "-o", "scores.csv", code=2).stderr.splitlines()[-1]
    assert message == f"Error: scores.csv: {os.strerror(errno.ENOSPC)}"
    assert contents(folder) == before


def test_python_does_not_write_over_what_it_reads_either(folder):
    data = datasets.load(folder / "photos")
    model = models.dense(data.shape, latent_dim=2)
    model.compile("sgd", SquaredError())
    before = contents(folder)
    calls = [
        lambda: runs.train(model, data, run_dir="photos/run"),
        lambda: comparison.compare(data, run_dir="photos/run", build=lambda **_: model),
        lambda: export.save(model, "photos", data=data),
        lambda: runs.Run(folder / "run", model, data.preprocessing, {}, None).export(folder / "run" / "model"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="expected a place outside of what is read"):
            call()
    assert contents(folder) == before


def test_a_folder_of_models_that_is_called_like_a_data_set_is_not_replaced(folder):
    (folder / "saved_models" / "m").rename(folder / "digits")
    before = contents(folder)
    message = run("deploy", "digits", "-o", "digits", "--replace", code=2).stderr
    assert "--output: expected a place outside of what is read" in message
    assert contents(folder) == before


def test_tensorflow_is_not_imported_to_compare_paths(folder):
    code = (
        "import sys, click\n"
        "from tfae.cli.command import Command\n"
        "command = Command('train', callback=lambda **_: print('tensorflow' in sys.modules), params=[\n"
        "    click.Argument(['source']), click.Option(['--run-dir'], type=click.Path())])\n"
        "command.main(['photos', '--run-dir', 'run'])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_other_places_are_written_even_where_a_folder_is_called_like_a_data_set(folder):
    run("score", "saved_models/m", "data.csv", "-o", "scores.csv")
    run("score", "saved_models/m", "data.csv", "-o", "scores.csv")
    (folder / "wine").mkdir()
    message = run("train", "wine", "--export-dir", "wine", "--loss", "bce", code=2).stderr
    assert "BinaryCrossentropy is defined on" in message
