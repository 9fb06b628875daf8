"""Models of one's own on the command line."""

import sys

import numpy as np
import pytest

from tests.commands import run, train
from tfae import datasets, export

MODULE = """
import keras
from keras import layers

@keras.saving.register_keras_serializable("mine")
class Halving(layers.Layer):
    def call(self, x):
        return x / 2

def build(data):
    return keras.Sequential([layers.Dense(3), Halving(), layers.Dense(*data.shape)])

def build_for(data, output_activation):
    inputs = keras.Input(data.shape)
    return keras.Model(inputs, layers.Dense(*data.shape, activation=output_activation)(layers.Dense(3)(inputs)))

def fail(data):
    raise KeyError("layers")

def none(data):
    return None

number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_models.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("my_models", None)


def test_a_function_builds_the_model_that_is_trained_and_exported_and_compared(folder):
    output = train("wine", "--model", "my_models:build", "--epochs", 2, "--run-dir", "run", export_dir="model").output
    assert "sequential" in output
    assert "no latent" in output
    raw = datasets.load("wine").raw.test
    assert np.isfinite(export.load("model").score(raw)).all()
    assert "squared_error on" in run("--import", "my_models", "evaluate", "run").stdout
    run("--import", "my_models", "export", "run", "--export-dir", "again", "--ignore", "constant")
    options = "--preprocessing unit --loss mse --loss bce --seeds 1 --epochs 1 --ignore domain"
    output = run("compare", "wine", "--model", "my_models:build_for", *options.split(), "--run-dir", "compared").output
    assert "binary_crossentropy" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--model my_models:build --widths 3", "--model: expected no --widths beside a function"),
        ("--model my_models:build --bottleneck sparse --l1 1", "--model: expected no --bottleneck beside a function"),
        ("--model my_models:missing", "expected a function 'missing' in module my_models; received none"),
        ("--model my_models:number", "expected a function 'number' in module my_models; received none"),
        (
            "--model nowhere:build",
            "--model: expected a module in the working directory or on the Python path; received n",
        ),
        ("--model deep", "--model: expected dense or convolutional or denoiser, or MODULE:FUNCTION"),
        ("--model my_models:fail", "--model: my_models:fail raised KeyError: 'layers'"),
        ("--model my_models:none", "--model: expected my_models:none to return a Keras model; received NoneType"),
    ],
)
def test_mistakes_are_one_line(folder, options, message):
    result = run("train", "wine", *options.split(), "--run-dir", "run", code=2)
    assert message in result.stderr.splitlines()[-1]
    assert not (folder / "run").exists()
