"""No command writes over what it reads."""

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
from tfae import datasets, export, models
from tfae.losses import SquaredError

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
    ("command", "relation"),
    [
        ("score saved_models/m data.csv -o data.csv", "the same"),
        ("score saved_models/m data.parquet -o ./photos/../data.parquet", "the same"),
        ("score saved_models/m data.csv -o {folder}/data.csv", "the same"),
        ("score saved_models/m data.csv -o link.csv", "the same"),
        ("score saved_models/m link.csv -o hard.csv", "the same"),
        ("reconstruct saved_models/m photos -o photos/1.png", "inside of it"),
        ("train photos --run-dir photos/run", "inside of it"),
        ("train photos --export-dir photos", "the same"),
        ("train . --run-dir run", "inside of it"),
        ("compare photos/ --run-dir photos", "the same"),
        ("deploy saved_models/m -o saved_models/m --replace", "the same"),
        ("deploy saved_models/m -o saved_models --replace", "around it"),
        ("export saved_models/m --export-dir saved_models/m", "the same"),
    ],
)
def test_an_output_that_is_an_input_is_refused_and_nothing_is_touched(folder, command, relation):
    (folder / "link.csv").symlink_to("data.csv")
    os.link(folder / "data.csv", folder / "hard.csv")
    before = contents(folder)
    message = run(*command.format(folder=folder).split(), code=2).stderr
    assert f", which is {relation}. Choose one elsewhere." in message
    assert contents(folder) == before


def test_a_folder_of_models_that_is_called_like_a_data_set_is_not_replaced(folder):
    (folder / "saved_models" / "m").rename(folder / "digits")
    before = contents(folder)
    assert "which is the same" in run("deploy", "digits", "-o", "digits", "--replace", code=2).stderr
    assert contents(folder) == before


def test_tensorflow_is_not_imported_to_compare_paths(folder):
    code = (
        "import sys, click\n"
        "from tfae.cli.command import Command\n"
        "command = Command('train', callback=lambda **_: print('tensorflow' in sys.modules), params=[\n"
        "    click.Argument(['source']), click.Option(['--run-dir'])])\n"
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
